//! Files that somebody still writes, or replaces while they are read.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::chown;
use std::thread;
use std::time::{Duration, Instant};

use skiff_tests::machine::is_root;
use skiff_tests::{Agent, Sshd, Tree, receipts, tree};
use tempfile::TempDir;

/// Fault 32: written to for seconds, a file arrives once and whole.
#[test]
fn slowly_written_file_arrives_once() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let source = Tree::new(scratch.path().join("in"), 1);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    let path = source.root().join("slow.log");
    let writer = thread::spawn(move || {
        let mut file = File::create(path).expect("the source is writable");
        for number in 0..60_u8 {
            file.write_all(&[number; 1024]).expect("the source is writable");
            // The pace of the writer is what is tested; nothing waits by it.
            thread::sleep(Duration::from_millis(50));
        }
    });

    agent.wait_until("the writer is done", || {
        let arrived = tree::count(&sshd.root());
        let done = writer.is_finished();
        assert!(done || arrived == 0, "a file arrived while it was written");
        done
    });
    writer.join().expect("the writer wrote all");

    agent.wait_until("the file is delivered", || tree::equal(source.root(), &sshd.root()));
    assert!(agent.terminate().success());
    assert_eq!(receipts::naming(&agent.receipts(), "slow.log"), 1, "one delivery, one receipt");
}

/// Fault 32: where nobody can tell who writes to a file, it has to hold still, even if no quiet time is wanted.
#[test]
fn another_owners_file_holds_still_before_it_is_sent() {
    if !is_root("another owner's file") {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "settle = '0s'");
    // Root without the right to ask for a lease on what isn't its own.
    agent.set_under(["setpriv", "--bounding-set", "-lease"]);
    agent.start();
    source.file("own", 10);
    agent.wait_until("the agent works", || sshd.root().join("own").exists());

    let beside = scratch.path().join("another's");
    fs::write(&beside, "half").and_then(|()| chown(&beside, Some(1), None)).expect("root may");
    let begun = Instant::now();
    fs::rename(&beside, source.root().join("another's")).expect("it is the same file system");
    agent.wait_until("it is delivered", || tree::equal(source.root(), &sshd.root()));
    assert!(begun.elapsed() >= Duration::from_secs(1), "after {:?}", begun.elapsed());
    assert!(agent.terminate().success());
}

/// Fault 32: a file that is open for writing waits, however long it has been quiet.
#[test]
fn file_held_open_waits_until_it_is_closed() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    let held_path = source.root().join("held.log");
    let mut held = File::create(&held_path).expect("the source is writable");
    held.write_all(b"the first half, ").expect("the source is writable");
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    // Each of these is younger than the held file: when they are settled, it has been quiet for longer.
    for name in ["one", "two", "three"] {
        source.file(name, 10);
        agent.wait_until("a younger file is delivered", || sshd.root().join(name).exists());
    }
    assert!(!sshd.root().join("held.log").exists(), "delivered while it was open for writing");

    held.write_all(b"the second half").expect("the source is writable");
    drop(held);

    agent.wait_until("the held file is delivered", || tree::equal(source.root(), &sshd.root()));
    assert!(agent.terminate().success());
    assert_eq!(receipts::naming(&agent.receipts(), "held.log"), 1, "one delivery, one receipt");
}

/// P4, fault 30: a file that is replaced while it is sent ends as the new version, under the one name.
#[test]
fn file_replaced_while_it_is_read_ends_as_the_new_version() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 3);
    source.file("large.bin", 16 << 20);
    let slow = "bandwidth = '64 Mbit/s'";
    let mut agent = Agent::with_destination(&sshd, slow).watch("in", source.root(), "").started();
    agent.wait_until("the transfer is under way", || tree::staged_bytes(&sshd.root()) > 0);
    assert_eq!(tree::count(&sshd.root()), 0, "P2: a part never has the final name");

    source.replace("large.bin", 5 << 20);

    agent.wait_until("the new version is delivered", || tree::equal(source.root(), &sshd.root()));
}

/// P5: what is replaced while it is sent is not deleted for the delivery of what stood there before.
#[test]
fn file_replaced_while_it_is_read_is_not_lost_to_delete() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let expected = Tree::new(scratch.path().join("expected"), 4).file("large.bin", 5 << 20);
    let mut source = Tree::new(scratch.path().join("in"), 5);
    source.file("large.bin", 16 << 20);
    let mut agent = Agent::with_destination(&sshd, "bandwidth = '64 Mbit/s'")
        .watch("in", source.root(), "after_delivery = 'delete'")
        .started();
    agent.wait_until("the transfer is under way", || tree::staged_bytes(&sshd.root()) > 0);

    let beside = scratch.path().join("beside");
    fs::copy(&expected, &beside).expect("the copy can be made");
    fs::rename(&beside, source.root().join("large.bin")).expect("a rename on one file system works");

    agent.wait_until("the source is empty", || tree::is_empty(source.root()));
    let expected = expected.parent().expect("a file has a parent");
    tree::assert_equal(expected, &sshd.root());
}

skiff_tests::by_sftp_too! {
    file_replaced_while_it_is_read_ends_as_the_new_version,
    file_replaced_while_it_is_read_is_not_lost_to_delete,
}
