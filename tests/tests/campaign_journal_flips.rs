//! A short `journal-flips`; `campaign journal-flips --whole` harms every byte.

use skiff_tests::campaign::{self, Order};

#[test]
fn journal_flips() {
    let campaign = campaign::named("journal-flips").expect("it is among all");
    (campaign.run)(&Order { count: Some(120), seed: 1 }).expect_clean();
}
