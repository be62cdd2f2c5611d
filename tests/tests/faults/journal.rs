//! Faults of the journal, by their numbers in `FAULTS.md`, as the whole agent meets them.
//!
//! What single bytes do is tested where the journal is (`journal::tests`), and by the campaign `journal-flips`.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use skiff_tests::machine::{self, inject};
use skiff_tests::{Agent, Sshd, Tree, process, tree, wait};
use tempfile::TempDir;

/// An agent that has delivered all of a folder and was stopped.
struct Delivered {
    sshd: Sshd,
    _scratch: TempDir,
    source: Tree,
    agent: Agent,
}

impl Delivered {
    fn new() -> Self {
        let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
        let mut source = Tree::new(scratch.path().join("in"), 1);
        source.small_files(200, 10);
        source.file("large.bin", 2 << 20);
        let agent = Agent::to(&sshd).watch("in", source.root(), "batch_items = 50").started();
        let mut delivered = Delivered { sshd, _scratch: scratch, source, agent };
        delivered.expect_all("the files are delivered");
        assert!(delivered.agent.terminate().success());
        delivered
    }

    #[track_caller]
    fn expect_all(&mut self, what: &str) {
        let (source, root) = (self.source.root().to_owned(), self.sshd.root());
        self.agent.wait_until(what, || tree::equal(&source, &root));
    }

    fn journal(&self) -> PathBuf {
        self.agent.state_dir().join("journal")
    }

    /// Starts the agent; a new file arrives and nothing else is written at the destination.
    #[track_caller]
    fn expect_nothing_sent_again(&mut self) {
        let before = tree::writings(&self.sshd.root());
        // It sorts last: the scan that finds it has seen all others.
        self.source.file("zz-last", 100);
        self.start_as_a_service();
        self.expect_all("a new file is delivered");
        // The comparing of what stands there may still go on; it ends before the agent does.
        assert!(self.agent.terminate().success());
        let mut after = tree::writings(&self.sshd.root());
        after.remove(Path::new("zz-last"));
        assert_eq!(after, before, "what the destination has is not sent again");
    }

    /// A store that is damaged can make sled panic, which ends the process. Whoever runs it starts it again, and the
    /// third start at the latest sets the store aside.
    fn start_as_a_service(&mut self) {
        let said = self.agent.log().lines().count();
        self.agent.start();
        for _ in 0..2 {
            let is_ready =
                |agent: &Agent| agent.log().lines().skip(said).any(|line| line.contains("ready watches"));
            wait::came_true(wait::LIMIT, || self.agent.has_ended() || is_ready(&self.agent));
            if !self.agent.has_ended() {
                return;
            }
            let status = self.agent.wait_for_end();
            assert_eq!(status.signal(), Some(6), "only a panic may end it; the log:\n{}", self.agent.log());
            self.agent.start();
        }
    }

    /// How many times it was told that a journal was set aside.
    fn reports(&self) -> usize {
        self.agent.log().matches("the journal could not be trusted").count()
    }

    /// How many of them are kept.
    fn quarantines(&self) -> usize {
        let names = fs::read_dir(self.agent.state_dir()).expect("it is there").flatten();
        names.filter(|entry| entry.file_name().to_string_lossy().starts_with("journal.quarantine-")).count()
    }
}

fn copy(from: &Path, to: &Path) {
    process::run(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// Cuts the last bytes off a log.
fn tear(log: &Path) {
    let bytes = fs::read(log).expect("it is there");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("there are records");
    fs::write(log, &bytes[..used - 10]).expect("there is room");
}

/// What sled had not finished when the power went, so that nobody was told that it is durable: it reads as the end of the log.
#[test]
fn fault_36_torn_tail() {
    let mut delivered = Delivered::new();
    let (side, acknowledged) =
        (delivered.agent.state_dir().join("journal.seq"), delivered.agent.home().join("acknowledged"));
    copy(&side, &acknowledged);
    delivered.source.file("later", 100);
    delivered.agent.start();
    delivered.expect_all("a later file is delivered");
    assert!(delivered.agent.terminate().success());
    fs::rename(&acknowledged, &side).expect("one file system");
    tear(&delivered.journal().join("db"));

    delivered.expect_nothing_sent_again();
    assert_eq!((delivered.quarantines(), delivered.reports()), (0, 0), "{}", delivered.agent.log());
}

/// The same of what was acknowledged is missed.
#[test]
fn fault_36_torn_tail_that_was_durable_is_missed() {
    let mut delivered = Delivered::new();
    tear(&delivered.journal().join("db"));

    delivered.expect_nothing_sent_again();
    assert_eq!((delivered.quarantines(), delivered.reports()), (1, 1), "{}", delivered.agent.log());
}

/// The log's middle is gone: quarantined, rebuilt by comparing, reported.
#[test]
fn fault_37_zeroed_sectors() {
    let mut delivered = Delivered::new();
    let log = delivered.journal().join("db");
    let mut bytes = fs::read(&log).expect("it is there");
    let middle = bytes.len() / 2 / 512 * 512;
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("there are records");
    let at = middle.min(used / 2 / 512 * 512);
    bytes[at..at + 4096].fill(0);
    fs::write(&log, bytes).expect("there is room");

    delivered.expect_nothing_sent_again();
    assert_eq!((delivered.quarantines(), delivered.reports()), (1, 1), "{}", delivered.agent.log());
}

/// All of it, or each of its files in turn: where what the store knew is gone, that is missed. `conf` is sled's settings, which it
/// writes anew.
#[test]
fn fault_38_missing_files() {
    let mut delivered = Delivered::new();
    let state = delivered.agent.state_dir();
    for (name, costs) in [("journal/conf", 0), ("journal/db", 1), ("journal.seq", 1), ("receipts.jsonl", 0)] {
        let before = delivered.reports();
        match fs::remove_file(state.join(name)) {
            Ok(()) => {}
            Err(error) => panic!("{name}: {error}"),
        }
        delivered.expect_nothing_sent_again();
        assert_eq!(delivered.reports() - before, costs, "{name} is missing; {}", delivered.agent.log());
        // Two are kept.
        assert!(delivered.quarantines() >= costs, "{name} is missing");
        fs::remove_file(delivered.source.root().join("zz-last")).expect("it was written");
        fs::remove_file(delivered.sshd.root().join("zz-last")).expect("it was delivered");
    }
    fs::remove_dir_all(&state).expect("it can be removed");
    delivered.expect_nothing_sent_again();
}

/// What a killed sled leaves of a snapshot.
#[test]
fn fault_39_stale_snapshot() {
    let mut delivered = Delivered::new();
    for name in ["snap.0000000000000001.generating", "snap.FFFFFFFFFFFFFFFF.generating"] {
        fs::write(delivered.journal().join(name), b"cut").expect("there is room");
    }

    delivered.expect_nothing_sent_again();
    assert_eq!(delivered.quarantines(), 0);
}

/// The second agent ends at once and names the first, which goes on.
#[test]
fn fault_40_held_by_another_skiff_names_the_holder() {
    let mut delivered = Delivered::new();
    let said = delivered.agent.log().lines().count();
    delivered.agent.start();
    let holder = delivered.agent.pid().as_raw_nonzero();
    delivered.agent.wait_until_logged_after(said, "the first is ready", |line| line.contains("ready"));

    let second = delivered.agent.ask(&["run"]);

    second.expect_code(1).expect_said(&format!("process {holder}")).expect_said("state_dir");
    delivered.source.file("after", 100);
    delivered.expect_all("the first goes on");
}

/// An old copy of the whole state folder: nothing it says can be told from the truth, and nothing it lacks is lost.
#[test]
fn fault_42_state_folder_rolled_back() {
    let mut delivered = Delivered::new();
    let (state, backup) = (delivered.agent.state_dir(), delivered.agent.home().join("backup"));
    copy(&state, &backup);
    delivered.source.replace("large.bin", 3 << 20);
    delivered.source.file("later", 100);
    delivered.agent.start();
    delivered.expect_all("later versions are delivered");
    assert!(delivered.agent.terminate().success());
    fs::remove_dir_all(&state).expect("it can be removed");
    fs::rename(&backup, &state).expect("the name is free");

    delivered.expect_nothing_sent_again();
}

/// An old copy of the store alone contradicts the rest.
#[test]
fn fault_42_store_rolled_back_is_quarantined() {
    let mut delivered = Delivered::new();
    let (journal, backup) = (delivered.journal(), delivered.agent.home().join("backup"));
    copy(&journal, &backup);
    delivered.source.file("later", 100);
    delivered.agent.start();
    delivered.expect_all("a later file is delivered");
    assert!(delivered.agent.terminate().success());
    fs::remove_dir_all(&journal).expect("it can be removed");
    fs::rename(&backup, &journal).expect("the name is free");

    delivered.expect_nothing_sent_again();
    assert_eq!(delivered.quarantines(), 1);
    assert_eq!(delivered.reports(), 1);
}

/// What the first start has not come to is compared by the next one, which says so, too.
#[test]
fn fault_42_journal_that_takes_two_starts_to_be_rebuilt() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    source.small_files(100, 5);
    let mut other = Tree::new(scratch.path().join("other"), 3);
    let mut agent = Agent::to(&sshd)
        .watch("in", source.root(), "destination_path = 'in'")
        .watch("other", other.root(), "destination_path = 'other'")
        .started();
    let there = sshd.root().join("in");
    agent.wait_until("the files are delivered", || tree::equal(source.root(), &there));
    assert!(agent.terminate().success());
    fs::remove_file(agent.state_dir().join("journal.seq")).expect("it is there");

    agent.ask(&["pause", "in"]).expect_code(0);
    agent.start();
    other.file("one", 100);
    agent.wait_until("the other watch delivers", || tree::equal(other.root(), &sshd.root().join("other")));
    assert!(agent.terminate().success());
    assert!(agent.log().contains("the journal could not be trusted"));

    agent.ask(&["resume", "in"]).expect_code(0);
    agent.start();
    agent.wait_until_logged("all is compared", |line| line.contains("the journal is rebuilt"));
    assert!(agent.log().contains("is not rebuilt yet"), "{}", agent.log());
    assert!(agent.terminate().success());
    let receipts = agent.receipts();
    let (sent, asked): (Vec<_>, Vec<_>) =
        receipts.iter().filter(|one| one["watch"] == "in").partition(|one| one["sent"] == true);
    assert_eq!(
        (sent.len(), asked.len()),
        (100, 100),
        "what the destination has is asked for, not sent again"
    );

    let said = agent.log().lines().count();
    agent.start();
    agent.wait_until_logged_after(said, "it is ready", |line| line.contains("ready watches"));
    assert!(!agent.log().lines().skip(said).any(|line| line.contains("rebuilt")), "{}", agent.log());
}

/// A failed sync is never retried as a success: the agent ends, says why, deletes nothing, and the next start goes on.
#[test]
fn fault_43_failed_sync_stops_the_agent() {
    if !machine::is_root("an error of a single system call") {
        return;
    }
    for call in ["fdatasync", "sync_file_range"] {
        let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
        let mut source = Tree::new(scratch.path().join("in"), 1);
        let mut agent = Agent::to(&sshd).watch("in", source.root(), "after_delivery = 'delete'");
        let log = agent.state_dir().join("journal/db");
        agent.start();
        source.file("first", 100);
        agent.wait_until("the agent works", || tree::is_empty(source.root()));
        assert!(agent.terminate().success());

        agent.set_under(inject(&format!("{call}:error=EIO"), Some(&log)));
        let kept = source.file("kept", 100);
        agent.start();
        let status = agent.wait_for_end();

        assert_eq!(status.code(), Some(1), "{call}: {status}; the log:\n{}", agent.log());
        assert!(agent.log().contains("Input/output error"), "{call}: it says why:\n{}", agent.log());
        assert!(kept.exists(), "{call}: nothing is deleted");
        agent.set_under::<&str>([]);
        agent.start();
        agent.wait_until("the next start goes on", || tree::is_empty(source.root()));
        assert_eq!(tree::count(&sshd.root()), 2);
    }
}

/// A side file of format 9 is from the future: the agent ends, and the journal stays as it is.
#[test]
fn fault_44_journal_of_a_newer_version_is_refused_untouched() {
    let delivered = Delivered::new();
    let head = [&[9][..], b"who knows"].concat();
    let newer = [&head, &blake3::hash(&head).as_bytes()[..8]].concat();
    fs::write(delivered.agent.state_dir().join("journal.seq"), &newer).expect("there is room");
    let before = fs::read(delivered.journal().join("db")).expect("it is there");

    let ended = delivered.agent.ask(&["run"]);

    ended.expect_code(1).expect_said("format 9");
    assert_eq!(fs::read(delivered.agent.state_dir().join("journal.seq")).expect("it is there"), newer);
    assert!(fs::read(delivered.journal().join("db")).expect("it is there") == before);
    assert_eq!(delivered.quarantines(), 0);
}
