//! A short `kill-random`; `campaign kill-random --count N` runs it at any length.

use skiff_tests::campaign::{self, Order};

#[test]
fn kill_random() {
    let campaign = campaign::named("kill-random").expect("it is among all");
    (campaign.run)(&Order { count: Some(12), seed: 1 }).expect_clean();
}

skiff_tests::by_sftp_too! {
    kill_random,
}
