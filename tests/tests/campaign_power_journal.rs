//! A short `power-journal`; `campaign power-journal --count N` runs it at any length.

use skiff_tests::campaign::{self, Order};

#[test]
fn power_journal() {
    let campaign = campaign::named("power-journal").expect("it is among all");
    (campaign.run)(&Order { count: Some(10), seed: 1 }).expect_clean();
}
