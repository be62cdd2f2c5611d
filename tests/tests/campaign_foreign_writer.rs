//! A short `foreign-writer`; `campaign foreign-writer --count N` runs it at any length.

use skiff_tests::campaign::{self, Order};

#[test]
fn foreign_writer() {
    let campaign = campaign::named("foreign-writer").expect("it is among all");
    (campaign.run)(&Order { count: Some(2), seed: 1 }).expect_clean();
}

skiff_tests::by_sftp_too! {
    foreign_writer,
}
