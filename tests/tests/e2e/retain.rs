//! Making room: what was delivered goes first, the oldest first.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use skiff_tests::agent::files_told_of;
use skiff_tests::machine::{self, Mounted};
use skiff_tests::{Agent, Sshd, Tree, tree, wait};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn names(folder: &Path) -> BTreeSet<String> {
    let files = tree::files(folder).expect("it can be read");
    files.into_keys().map(|path| path.display().to_string()).collect()
}

/// Puts files one after the other, so that their order is known.
fn put(source: &mut Tree, names: impl IntoIterator<Item = String>, bytes: u64) {
    for name in names {
        source.file(name, bytes);
        thread::sleep(Duration::from_millis(5));
    }
}

/// A folder with a disk of 8 MiB of its own.
fn small_disk(scratch: &TempDir) -> (PathBuf, Mounted) {
    let folder = scratch.path().join("in");
    fs::create_dir(&folder).expect("a new folder");
    let disk = Mounted::tmpfs(&folder, "size=8m");
    (folder, disk)
}

fn beginning(folder: &Path, prefix: &str) -> usize {
    names(folder).iter().filter(|name| name.starts_with(prefix)).count()
}

/// Waits until the journal has them: who makes room asks it, and a receipt comes before.
fn wait_for_records(agent: &mut Agent, files: usize) {
    let log = agent.home().join("log");
    agent.wait_until("they are recorded", || files_told_of(&log, "delivered and verified") >= files);
}

/// Waits until so many files went that the disk is below its mark, and all of them are told of: that is when a walk that
/// made room ends.
fn wait_for_room(agent: &mut Agent, folder: &Path, mark_percent: u64, gone: impl Fn() -> usize) {
    let log = agent.home().join("log");
    let told = || files_told_of(&log, "delivered files were deleted to make room");
    let used_percent = || {
        let space = rustix::fs::statvfs(folder).expect("it is mounted");
        (space.f_blocks - space.f_bfree) * 100 / space.f_blocks
    };
    agent.wait_until("delivered ones went", || {
        used_percent() < mark_percent && gone() > 0 && told() == gone()
    });
}

fn numbered(prefix: &str, numbers: std::ops::Range<u32>) -> BTreeSet<String> {
    numbers.map(|number| format!("{prefix}{number:02}")).collect()
}

/// Of the delivered files only the newest stay, and what went is neither missed nor sent again.
#[test]
fn retained_bytes_are_those_of_the_newest() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    put(&mut source, numbered("f", 0..10), 10_000);
    let mut agent =
        Agent::to(&sshd).watch("in", source.root(), "rescan = '1s'\nretain = { bytes = '50 kB' }").started();
    agent.wait_until("all arrive", || names(&sshd.root()) == numbered("f", 0..10));
    agent.wait_until("five stay", || names(source.root()) == numbered("f", 5..10));
    put(&mut source, numbered("f", 10..12), 10_000);
    agent.wait_until("the next two oldest go", || names(source.root()) == numbered("f", 7..12));
    assert_eq!(names(&sshd.root()), numbered("f", 0..12));
    assert_eq!(agent.receipts().len(), 12, "nothing is sent twice");
}

/// With an age: the delivered go when it is over, and what can't be delivered stays however old it is.
#[test]
fn old_delivered_files_go_and_undelivered_ones_stay() {
    let (mut sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    put(&mut source, numbered("f", 0..3), 100);
    let mut agent =
        Agent::to(&sshd).watch("in", source.root(), "rescan = '1s'\nretain = { age = '2s' }").started();
    agent.wait_until("all arrive", || names(&sshd.root()) == numbered("f", 0..3));
    agent.wait_for_receipts(3);
    sshd.stop();
    put(&mut source, numbered("g", 0..3), 100);
    agent.wait_until("the delivered ones go", || names(source.root()) == numbered("g", 0..3));
    let one_went = || names(source.root()) != numbered("g", 0..3);
    assert!(wait::never_came_true(Duration::from_secs(4), one_went), "{:?} is left", names(source.root()));
    sshd.start_again();
    agent.wait_until("the others arrive, and go", || names(source.root()).is_empty());
    assert_eq!(names(&sshd.root()).len(), 6);
}

/// The disk fills while no server can be reached: delivered files go, the oldest first; no other does.
#[test]
fn a_full_disk_costs_delivered_files_and_no_others() {
    if !machine::is_root("a small disk") {
        return;
    }
    let (mut sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let (folder, _disk) = small_disk(&scratch);
    let mut source = Tree::new(&folder, 3);
    put(&mut source, numbered("sent", 0..10), MIB / 4);
    let mut agent = Agent::to(&sshd).watch("in", &folder, "rescan = '1s'\nhigh_water = '70%'").started();
    agent.wait_until("all arrive", || names(&sshd.root()) == numbered("sent", 0..10));
    wait_for_records(&mut agent, 10);
    sshd.stop();

    put(&mut source, numbered("new", 0..15), MIB / 4);
    wait_for_room(&mut agent, &folder, 70, || 10 - beginning(&folder, "sent"));
    let left = names(&folder);
    assert!(numbered("new", 0..15).is_subset(&left), "no undelivered file goes: {left:?}");
    let sent: Vec<_> = left.iter().filter(|name| name.starts_with("sent")).collect();
    assert!(!sent.is_empty(), "no more go than have to");
    assert_eq!(sent.last().map(|name| name.as_str()), Some("sent09"), "the oldest go first: {sent:?}");

    put(&mut source, numbered("newer", 0..10), MIB / 4);
    agent.wait_until_logged("it says that it can't help", |line| line.contains("no delivered file is left"));
    let new: BTreeSet<_> = numbered("new", 0..15).union(&numbered("newer", 0..10)).cloned().collect();
    assert_eq!(names(&folder), new, "not one undelivered file goes");
    let told = || agent.ask(&["status", "--json"]).expect_code(0).said.contains("no delivered file is left");
    assert!(wait::came_true(wait::LIMIT, told));
    assert!(!agent.state_dir().join("losses.jsonl").exists());
    sshd.start_again();
    agent.wait_until("all arrive", || new.is_subset(&names(&sshd.root())));
}

/// Where the configuration allows it in words, undelivered files go too: the oldest first, and each is written down.
#[test]
fn each_file_that_is_lost_by_permission_is_written_down() {
    if !machine::is_root("a small disk") {
        return;
    }
    let (mut sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let (folder, _disk) = small_disk(&scratch);
    let mut source = Tree::new(&folder, 4);
    put(&mut source, numbered("sent", 0..4), MIB / 4);
    let rules = "rescan = '1s'\nhigh_water = '60%'\nwhen_full = 'delete_undelivered'";
    let mut agent = Agent::to(&sshd).watch("in", &folder, rules).started();
    agent.wait_until("they arrive", || names(&sshd.root()) == numbered("sent", 0..4));
    wait_for_records(&mut agent, 4);
    sshd.stop();
    put(&mut source, numbered("new", 0..24), MIB / 4);

    let losses = agent.state_dir().join("losses.jsonl");
    agent.wait_until("some are lost", || losses.exists());
    agent.wait_until("the disk is below the mark", || tree::total_bytes(&folder) <= 19 * MIB / 4);
    let left = names(&folder);
    let text = fs::read_to_string(&losses).expect("it is there");
    let lost: BTreeSet<String> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("each line is JSON");
            assert_eq!(
                (&line["what"], &line["watch"], &line["size"]),
                (&"deleted_undelivered".into(), &"in".into(), &(MIB / 4).into())
            );
            line["path"].as_str().expect("a path").to_owned()
        })
        .collect();
    let all: BTreeSet<_> = left.union(&lost).cloned().collect();
    assert_eq!(
        all,
        numbered("new", 0..24),
        "each is there or written down, and all delivered ones went before"
    );
    assert!(left.is_disjoint(&lost), "{left:?} {lost:?}");
    assert!(lost.last() < left.first(), "the oldest go first: {lost:?}, {left:?}");
    sshd.start_again();
    agent.wait_until("what is left arrives", || left.is_subset(&names(&sshd.root())));
}

/// Done-files go with their files, whether those are retained no longer or lost by permission; none counts as a loss.
#[test]
fn done_files_go_with_their_files_and_are_no_losses() {
    if !machine::is_root("a small disk") {
        return;
    }
    let (mut sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let (folder, _disk) = small_disk(&scratch);
    let mut source = Tree::new(&folder, 7);
    let mut put_marked = |names: BTreeSet<String>| {
        for name in names {
            put(&mut source, [name.clone()], MIB / 4);
            fs::write(folder.join(name + ".done"), "").expect("there is room");
        }
    };
    put_marked(numbered("sent", 0..6));
    let rules = "rescan = '1s'\nretain = { bytes = '600 kB' }\nhigh_water = '60%'\n\
                 when_full = 'delete_undelivered'\nsettle_marker = '.done'";
    let mut agent = Agent::to(&sshd).watch("in", &folder, rules).started();
    agent.wait_until("they arrive", || names(&sshd.root()) == numbered("sent", 0..6));
    let marked = |files: &BTreeSet<String>| {
        let of = |name: &String| name.strip_suffix(".done").unwrap_or(name).to_owned();
        files.iter().all(|name| files.contains(&of(name)) && files.contains(&(of(name) + ".done")))
    };
    let is_marker = |name: &str| name.strip_suffix(".done").is_some();
    let kept = || names(&folder).iter().filter(|name| !is_marker(name)).count();
    agent.wait_until("the newest stay, with their done-files", || kept() == 2 && marked(&names(&folder)));
    agent.wait_for_receipts(6);
    sshd.stop();
    put_marked(numbered("new", 0..24));

    let losses = agent.state_dir().join("losses.jsonl");
    agent.wait_until("some are lost, with their done-files", || {
        losses.exists() && tree::total_bytes(&folder) <= 19 * MIB / 4 && marked(&names(&folder))
    });
    let text = fs::read_to_string(&losses).expect("it is there");
    let lost: BTreeSet<String> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("each line is JSON");
            line["path"].as_str().expect("a path").to_owned()
        })
        .collect();
    assert!(lost.iter().all(|name| name.starts_with("new") && !is_marker(name)), "{lost:?}");
}

/// A folder that can't be looked into may hold delivered files: as long as it is closed no undelivered one goes, though that
/// is allowed in words.
#[test]
fn a_closed_folder_costs_no_undelivered_file() {
    if !machine::is_root("a small disk") {
        return;
    }
    let (mut sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let (folder, _disk) = small_disk(&scratch);
    let mut source = Tree::new(&folder, 5);
    put(&mut source, (0..6).map(|number| format!("closed/sent{number}")), MIB / 4);
    let rules = "rescan = '1s'\nhigh_water = '65%'\nwhen_full = 'delete_undelivered'";
    // Root without the powers that make modes mean nothing.
    let mut agent = Agent::to(&sshd).watch("in", &folder, rules);
    agent.set_under(["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]);
    agent.start();
    agent.wait_until("they arrive", || names(&sshd.root()).len() == 6);
    agent.wait_for_receipts(6);
    sshd.stop();
    let set_mode = |mode| {
        fs::set_permissions(folder.join("closed"), fs::Permissions::from_mode(mode)).expect("its owner may");
    };
    set_mode(0o000);
    put(&mut source, numbered("new", 0..17), MIB / 4);

    let told = |line: &str| line.contains("left out while room is made");
    agent.wait_until_logged("the folder is told", told);
    // It ends what it is at, and a start looks at once.
    agent.terminate();
    let lines = agent.log().lines().count();
    agent.start();
    agent.wait_until_logged_after(lines, "it is told again", told);
    agent.terminate();
    let losses = agent.state_dir().join("losses.jsonl");
    assert!(!losses.exists(), "nothing is lost:\n{}", agent.log());
    set_mode(0o700);
    agent.start();
    wait_for_room(&mut agent, &folder, 65, || 6 - beginning(&folder, "closed/"));
    assert!(numbered("new", 0..17).is_subset(&names(&folder)) && !losses.exists());
}

/// With several destinations a file counts as delivered when each of them has it.
#[test]
fn what_one_of_two_destinations_lacks_stays() {
    let (one, mut other) = (Sshd::start(), Sshd::start());
    let scratch = TempDir::new().expect("a temporary folder");
    let mut source = Tree::new(scratch.path().join("in"), 6);
    put(&mut source, numbered("f", 0..4), 10_000);
    other.stop();
    let rules = "to = ['server', 'other']\nrescan = '1s'\nretain = { bytes = '10 kB' }";
    let agent = Agent::to(&one).and_destination("other", &other, "");
    let mut agent = agent.watch_by("in", source.root(), rules).started();
    agent.wait_until("one has all", || names(&one.root()) == numbered("f", 0..4));
    agent.wait_for_receipts(4);
    let one_went = || names(source.root()) != numbered("f", 0..4);
    assert!(wait::never_came_true(Duration::from_millis(3500), one_went), "the other has none of them yet");

    other.start_again();
    agent.wait_until("the other has all", || names(&other.root()) == numbered("f", 0..4));
    agent.wait_until("the oldest go", || names(source.root()) == numbered("f", 3..4));
}
