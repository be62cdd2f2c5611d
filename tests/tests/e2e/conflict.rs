//! P6: what somebody else put at the destination is not overwritten; what we put there is.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use skiff_tests::sshd::sftp_only;
use skiff_tests::{Agent, FaultProxy, Sshd, Tree, machine, tree};
use tempfile::TempDir;

/// A foreign file keeps its name; ours comes beside it, and its next version replaces it there.
#[test]
fn foreign_file_is_kept_and_ours_comes_beside_it() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let foreign = sshd.root().join("report.csv");
    fs::write(&foreign, "somebody else's").expect("the destination is writable");
    let mut source = Tree::new(scratch.path().join("in"), 1);
    let ours = source.file("report.csv", 3_000);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();

    let beside = || {
        let files = tree::files_if_there(&sshd.root());
        files.into_keys().find(|path| path.to_string_lossy().starts_with("report~"))
    };
    agent.wait_until("ours comes beside it", || {
        beside().is_some_and(|path| tree::same_bytes(&ours, &sshd.root().join(path)))
    });
    let first_name = beside();
    source.replace("report.csv", 4_000);
    agent.wait_until("the next version comes there too", || {
        beside().is_some_and(|path| tree::same_bytes(&ours, &sshd.root().join(path)))
    });

    assert_eq!(fs::read(&foreign).expect("it is there"), b"somebody else's");
    assert_eq!(beside(), first_name, "the name follows from the source, not from the attempt");
    assert_eq!(tree::count(&sshd.root()), 2, "one name each");
}

/// A name with no room for more gives way to what tells ours apart: a foreign file is never mistaken for our earlier version.
#[test]
fn foreign_file_of_the_longest_name_is_kept() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let name = format!("a.{}", "x".repeat(253));
    let foreign = sshd.root().join(&name);
    fs::write(&foreign, "somebody else's").expect("the destination is writable");
    let mut source = Tree::new(scratch.path().join("in"), 6);
    let ours = source.file(&name, 3_000);
    let kept = fs::read(&ours).expect("it was just written");
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "after_delivery = 'delete'").started();

    agent.wait_until("the source is disposed of", || !ours.exists());

    assert_eq!(fs::read(&foreign).expect("it is there"), b"somebody else's");
    let files = tree::files(&sshd.root()).expect("it can be read");
    let beside = files.into_keys().find(|path| path.to_string_lossy() != name).expect("ours comes beside it");
    assert_eq!(fs::read(sshd.root().join(beside)).expect("it is there"), kept);
}

/// An equal file is no conflict: it is taken as delivered.
#[test]
fn equal_file_is_taken_as_delivered() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    let ours = source.file("report.csv", 3_000);
    fs::copy(&ours, sshd.root().join("report.csv")).expect("the destination is writable");
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "after_delivery = 'delete'").started();

    agent.wait_until("the source is disposed of", || !ours.exists());

    let names: Vec<_> = tree::files(&sshd.root()).expect("it can be read").into_keys().collect();
    assert_eq!(names, [PathBuf::from("report.csv")]);
}

/// Our own earlier version is replaced, in a batch and alone.
#[test]
fn own_earlier_version_is_replaced() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 3);
    source.file("small.csv", 3_000);
    source.file("large.bin", 3 << 20);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    agent.wait_until("the first versions arrive", || tree::equal(source.root(), &sshd.root()));

    source.replace("small.csv", 2_000);
    source.replace("large.bin", 2 << 20);

    agent.wait_until("the second versions replace them", || tree::equal(source.root(), &sshd.root()));
}

/// By SFTP what stands there is read once before it is replaced: to read it changes when it was read, and nothing else.
#[test]
fn own_earlier_version_is_read_once_by_sftp() {
    const OLD_BYTES: u64 = 8 << 20;
    const NEW_BYTES: u64 = 3 << 20;
    let (sshd, scratch) = sftp_only(|| (Sshd::start(), TempDir::new().expect("a temporary folder")));
    // Where it isn't root, the usual rule: the first reading after a change is noted.
    let _notes_readings = machine::is_root("a file system that notes each reading")
        .then(|| machine::Mounted::tmpfs(&sshd.root(), "strictatime,size=64m"));
    let proxy = FaultProxy::to(sshd.port());
    let received = || proxy.carried_after(0).iter().map(|carried| carried.down).sum::<u64>();
    let mut source = Tree::new(scratch.path().join("in"), 7);
    let old = File::options().append(true).open(source.file("large.bin", OLD_BYTES));
    // Its copy gets this time, so that whoever reads that changes it.
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    old.and_then(|file| file.set_modified(an_hour_ago)).expect("it was just written");
    let mut agent = Agent::through(&proxy, &sshd, "").watch("in", source.root(), "").started();
    agent.wait_until("the first version arrives", || tree::equal(source.root(), &sshd.root()));
    let before = received();

    source.replace("large.bin", NEW_BYTES);

    agent.wait_until("the second version replaces it", || tree::equal(source.root(), &sshd.root()));
    let came = received() - before;
    assert!(came >= OLD_BYTES + NEW_BYTES, "{came} bytes can't have been both");
    assert!(came < OLD_BYTES + NEW_BYTES + OLD_BYTES / 2, "{came} bytes were read back");
}

/// Faults 64 and 76: a destination that cannot be written to is named in the log, others go on, and it recovers.
#[test]
fn blocked_destination_says_why_and_recovers() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let (mut blocked, mut free) =
        (Tree::new(scratch.path().join("blocked"), 4), Tree::new(scratch.path().join("free"), 5));
    blocked.small_files(20, 2);
    // A file in the place of the folder stops even root.
    let obstacle = sshd.root().join("obstacle");
    fs::write(&obstacle, "not a folder").expect("the destination is writable");
    let mut agent = Agent::to(&sshd)
        .watch("blocked", blocked.root(), "destination_path = 'obstacle'")
        .watch("free", free.root(), "destination_path = 'free'")
        .started();

    let reasons = ["not a directory", "not a folder", "file exists", "is a file"];
    agent.wait_until_logged("the reason is logged", |line| {
        line.contains("obstacle") && reasons.iter().any(|reason| line.contains(reason))
    });
    free.small_files(20, 2);
    agent.wait_until("the other watch goes on", || tree::equal(free.root(), &sshd.root().join("free")));
    assert_eq!(fs::read(&obstacle).expect("it is there"), b"not a folder");
    fs::remove_file(&obstacle).expect("the destination is writable");

    agent.wait_until("the blocked watch recovers", || tree::equal(blocked.root(), &obstacle));
}

skiff_tests::by_sftp_too! {
    foreign_file_is_kept_and_ours_comes_beside_it,
    equal_file_is_taken_as_delivered,
    own_earlier_version_is_replaced,
    blocked_destination_says_why_and_recovers,
}
