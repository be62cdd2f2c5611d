//! A short `power-server`; `campaign power-server --count N` runs it at any length.

use skiff_tests::campaign::{self, Order};

#[test]
fn power_server() {
    let campaign = campaign::named("power-server").expect("it is among all");
    (campaign.run)(&Order { count: Some(6), seed: 1 }).expect_clean();
}
