//! A short `lying-server`; `campaign lying-server --count N` runs it at any length.

use skiff_tests::campaign::{self, Order};

#[test]
fn lying_server() {
    let campaign = campaign::named("lying-server").expect("it is among all");
    (campaign.run)(&Order { count: Some(3), seed: 1 }).expect_clean();
}
