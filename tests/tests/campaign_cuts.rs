//! Faults 46 and 47, a short while: sessions cut at bytes spread evenly over all that there are.

use skiff_tests::campaign::{Order, cuts};

#[test]
fn cuts_leave_nothing_wrong() {
    let tally = (cuts::CAMPAIGN.run)(&Order { count: Some(60), seed: 1 });

    tally.expect_clean();
}
