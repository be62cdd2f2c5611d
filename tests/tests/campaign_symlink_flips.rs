//! A short `symlink-flips`; `campaign symlink-flips --count N` runs it at any length.

use skiff_tests::campaign::{self, Order};

#[test]
fn symlink_flips() {
    let campaign = campaign::named("symlink-flips").expect("it is among all");
    (campaign.run)(&Order { count: Some(2), seed: 1 }).expect_clean();
}
