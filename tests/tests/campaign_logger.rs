//! A short `logger`; `campaign logger --minutes N` runs it at any length and at the pace of a real one.

use skiff_tests::campaign::{self, Order};

#[test]
fn logger() {
    let campaign = campaign::named("logger").expect("it is among all");
    (campaign.run)(&Order { count: Some(20), seed: 1 }).expect_clean();
}
