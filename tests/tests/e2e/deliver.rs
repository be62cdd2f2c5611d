//! What appears in a watched folder arrives, whole, and is disposed of only then.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use skiff_tests::{Agent, Sshd, Tree, tree};
use tempfile::TempDir;

/// Many small files travel in batches, a large one alone; all arrive byte for byte. Fault 21: the first is empty.
#[test]
fn small_files_and_a_large_one_arrive() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.small_files(500, 20);
    source.file("large.bin", 5 << 20);

    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();

    agent.wait_until("all 501 files are delivered", || tree::equal(source.root(), &sshd.root()));
}

/// P1: at any moment each file stands at the source or, complete, at the destination; in the end only there.
#[test]
fn delete_takes_only_what_has_arrived() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let kept = Tree::new(scratch.path().join("kept"), 2);
    let mut source = Tree::new(scratch.path().join("in"), 2);
    source.small_files(300, 7);
    source.file("large.bin", 3 << 20);
    tree::copy(source.root(), kept.root());
    let copied = tree::files(kept.root()).expect("the new tree can be read");

    let mut agent =
        Agent::to(&sshd).watch("in", source.root(), "after_delivery = 'delete'\nbatch_items = 50").started();

    agent.wait_until("the source is empty", || {
        for path in copied.keys() {
            if !source.root().join(path).exists() {
                let arrived = tree::same_bytes(&kept.root().join(path), &sshd.root().join(path));
                assert!(arrived, "{path:?} is deleted here, but not whole at the destination");
            }
        }
        tree::files(source.root()).is_ok_and(|files| files.is_empty())
    });
    tree::assert_equal(kept.root(), &sshd.root());
    assert!(source.root().is_dir(), "the watched folder itself stays");
}

/// Fault 35: a folder that is full before the watch on it exists is found. No rescan helps: the next is minutes away.
#[test]
fn new_folder_filled_at_once_is_found() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 3);
    source.file("first", 10);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    agent.wait_until("the agent watches", || tree::equal(source.root(), &sshd.root()));

    for number in 0..50 {
        source.file(format!("a/b-{}/c/d/file-{number}", number % 3), 100);
    }

    agent.wait_until("the new folders are delivered", || tree::equal(source.root(), &sshd.root()));
}

/// Fault 35, again and again: files that come while the watch on their folder is being made are found too.
#[test]
fn folders_that_fill_while_they_are_attached_are_found() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 4);
    source.file("first", 10);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    agent.wait_until("the agent watches", || tree::equal(source.root(), &sshd.root()));

    for folder in 0..400 {
        (0..6).for_each(|number| drop(source.file(format!("{folder}/{number}"), 20)));
    }

    agent.wait_until("all is delivered", || tree::equal(source.root(), &sshd.root()));
}

/// A done-file comes last, and is the only news of a file that was found before. No rescan helps: the next is minutes away.
#[test]
fn a_done_file_that_comes_late_sends_its_file() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 6);
    for name in ["late.csv", "sub/late.csv", "first.csv", "first.csv.done"] {
        source.file(name, 1_000);
    }
    let rules = "settle_marker = '.done'\nafter_delivery = 'delete'";
    let mut agent = Agent::to(&sshd).watch("in", source.root(), rules).started();
    agent.wait_until("the first scan is over", || sshd.root().join("first.csv").exists());

    source.file("sub/late.csv.done", 0);
    agent.wait_until("it arrives", || sshd.root().join("sub/late.csv").exists());
    source.file("late.csv.done", 0);
    agent.wait_until("all go, and their done-files", || tree::count(source.root()) == 0);
    assert_eq!(tree::count(&sshd.root()), 3, "done-files are not delivered");
}

/// New folders are moved there whole, beside ones that stand there already, which keep what they hold. What a folder passes on
/// to those below it, they have.
#[test]
fn new_folders_come_beside_those_that_stand_there() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 5);
    for folder in
        ["new", "new/deep/er", "new-er", "standing", "standing/new", "shared/new", "shared/new/deep"]
    {
        (0..10).for_each(|number| drop(source.file(format!("{folder}/{number}"), 100)));
    }
    let shared = sshd.root().join("shared");
    for folder in [&shared, &sshd.root().join("standing")] {
        fs::create_dir(folder).expect("the destination is writable");
        fs::write(folder.join("theirs"), "somebody else's").expect("the destination is writable");
    }
    // Who makes a folder below it belongs to its group.
    fs::set_permissions(&shared, Permissions::from_mode(0o2775)).expect("the destination is ours");
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();

    agent.wait_until("all is delivered", || tree::count(&sshd.root()) == 72);

    for theirs in ["shared/theirs", "standing/theirs"] {
        assert_eq!(fs::read(sshd.root().join(theirs)).expect("it stands"), b"somebody else's");
        fs::remove_file(sshd.root().join(theirs)).expect("the destination is ours");
    }
    tree::assert_equal(source.root(), &sshd.root());
    for folder in ["shared/new", "shared/new/deep"] {
        let mode = fs::metadata(sshd.root().join(folder)).expect("it stands").permissions().mode();
        assert_eq!(mode & 0o2000, 0o2000, "{folder}");
    }
}

skiff_tests::by_sftp_too! {
    delete_takes_only_what_has_arrived,
}
