//! A short `errors`; `campaign errors --count N` runs it at any length.

use skiff_tests::campaign::{self, Order};

#[test]
fn errors() {
    let campaign = campaign::named("errors").expect("it is among all");
    (campaign.run)(&Order { count: Some(5), seed: 1 }).expect_clean();
}
