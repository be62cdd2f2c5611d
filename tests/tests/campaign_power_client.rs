//! A short `power-client`; `campaign power-client --count N` runs it at any length.

use skiff_tests::campaign::{self, Order};

#[test]
fn power_client() {
    let campaign = campaign::named("power-client").expect("it is among all");
    (campaign.run)(&Order { count: Some(6), seed: 1 }).expect_clean();
}
