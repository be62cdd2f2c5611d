//! Somebody at the destination fetches each file away as soon as it has its name: it comes once all the same.

use std::fs;

use skiff_tests::consumer::{Consumer, Links};
use skiff_tests::skiff::{Push, contents_of};
use skiff_tests::{Sshd, Toolbox, Tree, machine, tree};
use tempfile::TempDir;

#[test]
fn what_is_fetched_away_at_once_is_not_delivered_again() {
    for links in [Links::Real, Links::None, Links::Lies] {
        let Some(consumer) = Consumer::start(links) else {
            return machine::not_shown("what is fetched away at once", "there is no python3");
        };
        let scratch = TempDir::new().expect("a temporary folder");
        let mut source = Tree::new(scratch.path().join("in"), 1);
        source.small_files(5, 1);
        source.file("large", 3 << 20);
        let push = Push::to(&consumer.sshd).with(&["-q", "--transport", "sftp"]);
        push.run(contents_of(source.root()), &consumer.sshd.root()).expect_code(0);
        assert_eq!(consumer.fetched(), 6, "{links:?}");
    }
}

/// An `ln` whose links are fetched away before it ends.
const FETCHES: &str = r#"
"$REAL" "$@"
status=$?
for to; do :; done
for from; do
  if [ -d "$to" ]; then name=$to/${from##*/}; else name=$to; fi
  case $to in */.skiff/*) continue ;; esac
  [ "$from" != "$to" ] && [ "$from" -ef "$name" ] && mv "$name" "$HOME/taken.$$.${from##*/}" &&
    rm "$HOME/taken.$$.${from##*/}" && echo "$name" >>"$HOME/fetched"
done 2>/dev/null
exit $status"#;

/// The same by a shell: what is linked has gone before anybody looks whether it was.
#[test]
fn what_is_fetched_away_from_a_shell_at_once_is_not_delivered_again() {
    let toolbox = Toolbox::usual().with("ln", FETCHES);
    let sshd = Sshd::start_with(&toolbox.lines());
    let scratch = TempDir::new().expect("a temporary folder");
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.small_files(20, 1);
    source.file("large", 3 << 20);
    source.file(".hidden", 10);
    Push::to(&sshd).run(contents_of(source.root()), &sshd.root()).expect_code(0);
    let notes = fs::read_to_string(toolbox.home().join("fetched")).expect("it was noted");
    assert_eq!(notes.lines().count(), 22, "{notes}");
}

/// The same where a name is taken, so that one of many can't be linked.
#[test]
fn what_is_fetched_away_beside_a_name_that_is_taken_is_not_delivered_again() {
    let toolbox = Toolbox::usual().with("ln", FETCHES);
    let sshd = Sshd::start_with(&toolbox.lines());
    let scratch = TempDir::new().expect("a temporary folder");
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.small_files(20, 1);
    let taken = sshd.root().join("folder-000/file-00007.dat");
    fs::create_dir(sshd.root().join("folder-000")).expect("the destination is writable");
    fs::write(&taken, "somebody else's").expect("the destination is writable");
    Push::to(&sshd).run(contents_of(source.root()), &sshd.root()).expect_code(0);
    let notes = fs::read_to_string(toolbox.home().join("fetched")).expect("it was noted");
    // The one beside the foreign file has a name of its own.
    assert_eq!(notes.lines().count(), 20, "{notes}");
    assert_eq!(fs::read(&taken).expect("it stays"), b"somebody else's");
}

/// Where `ln` says yes and links nothing, what it says proves nothing.
#[test]
fn a_link_that_is_none_counts_as_none() {
    let toolbox = Toolbox::usual().with("ln", "exit 0");
    let sshd = Sshd::start_with(&toolbox.lines());
    let scratch = TempDir::new().expect("a temporary folder");
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.small_files(20, 1);
    source.file("large", 3 << 20);
    Push::to(&sshd).run(contents_of(source.root()), &sshd.root()).expect_code(0);
    tree::assert_equal(source.root(), &sshd.root());
}
