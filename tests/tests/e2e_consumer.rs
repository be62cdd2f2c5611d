//! Somebody at the destination fetches each file away as soon as it has its name: it comes once all the same.

use skiff_tests::Tree;
use skiff_tests::consumer::{Consumer, Links};
use skiff_tests::skiff::{Push, contents_of};
use tempfile::TempDir;

#[test]
fn what_is_fetched_away_at_once_is_not_delivered_again() {
    for links in [Links::Real, Links::None, Links::Lies] {
        let Some(consumer) = Consumer::start(links) else { return eprintln!("SKIPPED: there is no python3") };
        let scratch = TempDir::new().expect("a temporary folder");
        let mut source = Tree::new(scratch.path().join("in"), 1);
        source.small_files(5, 1);
        source.file("large", 3 << 20);
        let push = Push::to(&consumer.sshd).with(&["-q", "--transport", "sftp"]);
        push.run(contents_of(source.root()), &consumer.sshd.root()).expect_code(0);
        assert_eq!(consumer.fetched(), 6, "{links:?}");
    }
}
