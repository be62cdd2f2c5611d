//! A fleet of a few thousand agents comes back to its collector.

use skiff_tests::campaign::{Order, fleet};

#[test]
fn a_fleet_drains_and_is_refused_little() {
    let tally = (fleet::CAMPAIGN.run)(&Order { count: Some(5), seed: 1 });

    tally.expect_clean();
}
