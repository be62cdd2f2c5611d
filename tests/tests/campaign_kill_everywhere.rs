//! A short `kill-everywhere`; `campaign kill-everywhere --count N` runs it at any length.

use skiff_tests::campaign::{self, Order};

#[test]
fn kill_everywhere() {
    let campaign = campaign::named("kill-everywhere").expect("it is among all");
    (campaign.run)(&Order { count: Some(6), seed: 1 }).expect_clean();
}
