//! Deaths of the agent and of the server cost time, never a file, a second name or a second delivery.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use skiff::journal::Journal;
use skiff_tests::sshd::sftp_only;
use skiff_tests::toolbox::Toolbox;
use skiff_tests::{Agent, Between, Sshd, Tree, machine, tree};
use tempfile::TempDir;

/// Slow enough that a transfer of [`LARGE_BYTES`] is caught on its way, on any machine.
const SLOW: &str = "bandwidth = '64 Mbit/s'";
const LARGE_BYTES: u64 = 24 << 20;

/// P3, fault 84: killed in the middle, the second start finishes, and the third finds nothing to do.
#[test]
fn killed_agent_finishes_after_a_restart_and_then_resends_nothing() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.small_files(2_000, 20);
    source.file("large.bin", 64 << 20);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "batch_items = 100").started();
    agent.wait_until("the first files arrive", || tree::count(&sshd.root()) > 0);
    agent.kill9();
    let arrived = tree::count(&sshd.root());
    assert!(arrived < 2_001, "all was delivered before the kill: this run shows nothing");

    agent.start();
    agent.wait_until("the second start delivers the rest", || tree::equal(source.root(), &sshd.root()));
    stop(&mut agent);
    let (receipts, writings) = (agent.receipts().len(), tree::writings(&sshd.root()));

    // Once a file that sorts last has arrived, the scan that found it has seen all others too.
    source.file("zz-last", 10);
    agent.start();
    agent.wait_until("the new file arrives", || tree::equal(source.root(), &sshd.root()));
    stop(&mut agent);

    assert_eq!(agent.receipts().len(), receipts + 1, "only the new file has a new receipt");
    let mut after = tree::writings(&sshd.root());
    after.remove(Path::new("zz-last"));
    assert!(after == writings, "a delivered file was written again");
    assert!(agent.state_dir().join("journal").exists(), "the journal stays");
    assert!(!quarantined(&agent), "a kill never costs the journal");
}

/// What was delivered of a folder that is gone is forgotten, so that the journal doesn't grow for ever.
#[test]
fn folders_that_are_gone_leave_the_journal() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 5);
    source.file("stays/file", 10);
    source.file("goes/file", 10);
    let rules = "rescan = '1s'\nsettle = '0s'";
    let mut agent = Agent::to(&sshd).watch("in", source.root(), rules).started();
    agent.wait_until("both are delivered", || tree::equal(source.root(), &sshd.root()));
    stop(&mut agent);
    assert_eq!(folders(&agent), 2);

    fs::remove_dir_all(source.root().join("goes")).expect("it is there");
    agent.start();
    agent.wait_until_logged("a scan is over", |line| line.contains("forgotten"));
    stop(&mut agent);
    assert_eq!(folders(&agent), 1);
}

/// Of which the journal knows something.
fn folders(agent: &Agent) -> usize {
    let (journal, _) = Journal::open(&agent.state_dir()).expect("nobody else has it open");
    let folders = journal.folders().expect("it can be read").len();
    journal.close_blocking().expect("it closes");
    folders
}

/// Fault 46: the server dies with all its sessions in mid-transfer and comes back.
#[test]
fn server_that_comes_back_gets_the_rest() {
    let (mut sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    source.file("large.bin", LARGE_BYTES);
    let mut agent = Agent::with_destination(&sshd, SLOW).watch("in", source.root(), "").started();
    agent.wait_until("the transfer is under way", || tree::staged_bytes(&sshd.root()) > 0);

    sshd.stop();
    assert_eq!(tree::count(&sshd.root()), 0, "P2: a part never has the final name");
    let said_before = agent.log().lines().count();
    agent.wait_until_logged_after(said_before, "the agent notices", |_| true);
    sshd.start_again();

    agent.wait_until("the file is delivered", || tree::equal(source.root(), &sshd.root()));
}

/// Fault 54: the server's session process is killed; the server itself goes on.
#[test]
fn killed_session_is_followed_by_another() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 3);
    source.file("large.bin", LARGE_BYTES);
    let mut agent = Agent::with_destination(&sshd, SLOW).watch("in", source.root(), "").started();
    agent.wait_until("the transfer is under way", || tree::staged_bytes(&sshd.root()) > 0);

    assert!(sshd.kill_sessions() > 0, "there is a session to kill");
    assert_eq!(tree::count(&sshd.root()), 0, "P2: a part never has the final name");

    agent.wait_until("the file is delivered", || tree::equal(source.root(), &sshd.root()));
}

/// Fault 54: a session that is killed right behind the publishing, before anybody has heard of it or while the staging is
/// cleared, is noticed at once, though nothing may move for a minute; its tool holds on to the shell's output meanwhile.
#[test]
fn session_killed_right_after_publishing_is_noticed_at_once() {
    for (tool, files) in [("ln", 1), ("ln", 20), ("rm", 1), ("rm", 20)] {
        let script = "\"$REAL\" \"$@\"; code=$?\n\
            if [ ! -e \"$HOME/killed\" ]; then\n\
            : >\"$HOME/killed\"; read -r _ _ _ session _ </proc/$PPID/stat; kill -9 \"$session\"; sleep 3\n\
            fi\nexit $code";
        let toolbox = Toolbox::usual().and(&["sleep"]).with(tool, script);
        let sshd = Sshd::start_with(&toolbox.lines());
        let scratch = TempDir::new().expect("a temporary folder");
        let mut source = Tree::new(scratch.path().join("in"), 6);
        source.small_files(files, 1);
        let began = Instant::now();
        let mut agent = Agent::to(&sshd).watch("in", source.root(), "after_delivery = 'delete'").started();
        agent.wait_until("all is delivered", || tree::is_empty(source.root()));
        assert!(toolbox.note("killed").exists(), "no session was killed");
        assert_eq!(tree::count(&sshd.root()) as u64, files);
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "{tool}: it took {:?}:\n{}",
            began.elapsed(),
            agent.log()
        );
    }
}

/// A transfer that is cut at nine tenths goes on there: little is sent twice.
#[test]
fn transfer_cut_at_nine_tenths_resends_little() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 5);
    source.file("large.bin", LARGE_BYTES);
    let mut agent =
        Agent::with_destination(&sshd, "bandwidth = '32 Mbit/s'").watch("in", source.root(), "").started();
    agent.wait_until("nine tenths are there", || tree::staged_bytes(&sshd.root()) >= LARGE_BYTES / 10 * 9);

    assert!(sshd.kill_sessions() > 0, "there is a session to kill");
    assert_eq!(tree::count(&sshd.root()), 0, "P2: a part never has the final name");

    agent.wait_until("the file is delivered", || tree::equal(source.root(), &sshd.root()));
    stop(&mut agent);
    let sent_bytes = sent_bytes(&agent);
    assert!(sent_bytes >= LARGE_BYTES / 10 * 9, "{sent_bytes} bytes can't have been all");
    assert!(sent_bytes <= LARGE_BYTES / 100 * 115, "{sent_bytes} of {LARGE_BYTES} bytes were sent");
}

/// Somebody clears skiff's own folder at the destination between two files.
#[test]
fn staging_folder_that_was_cleared_is_made_again() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 7);
    source.file("first.csv", 100);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    agent.wait_until("the first is delivered", || tree::equal(source.root(), &sshd.root()));

    fs::remove_dir_all(sshd.root().join(tree::STAGING)).expect("it is there");
    source.file("second.csv", 100);
    source.file("third.bin", 2 << 20);

    agent.wait_until("the others are delivered", || tree::equal(source.root(), &sshd.root()));
}

/// By SFTP: somebody moves the whole folder away and makes a new one. What comes then goes there, by the same connection.
#[test]
fn folder_that_was_moved_away_is_entered_again_by_sftp() {
    let (sshd, scratch) = sftp_only(|| (Sshd::start(), TempDir::new().expect("a temporary folder")));
    let mut source = Tree::new(scratch.path().join("in"), 8);
    source.file("first.csv", 100);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "after_delivery = 'delete'").started();
    agent.wait_until("the first is delivered", || tree::is_empty(source.root()));

    let (root, moved) = (sshd.root(), sshd.root().with_extension("1"));
    fs::rename(&root, &moved).and_then(|()| fs::create_dir(&root)).expect("it is ours");
    source.file("second.csv", 100);
    source.file("third.bin", 2 << 20);

    agent.wait_until("the others are delivered", || tree::is_empty(source.root()));
    assert_eq!((tree::count(&moved), tree::count(&root)), (1, 2));
}

/// By SFTP: the folder is moved away right behind the file's getting its name, before it is synced. What was synced then is
/// another folder, so the file counts as delivered only when it stands in that one, too.
#[test]
fn folder_that_is_moved_away_while_it_is_published_into_gets_the_file_again_by_sftp() {
    const MOVES: &str = "
def after(words, status):
    if words[0] == b'hardlink@openssh.com' and status == 0 and b'/.skiff/' not in words[2]:
        root = os.path.dirname(words[2])
        if not os.path.exists(root + b'.1'):
            os.rename(root, root + b'.1')
            os.mkdir(root)
";
    let Some(between) = Between::start(MOVES) else {
        return machine::not_shown(
            "a folder that is moved while it is published into",
            "there is no python3",
        );
    };
    let (sshd, scratch) = (&between.sshd, TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 9);
    source.file("first.csv", 100);
    let by_sftp = "transport = 'sftp'";
    let mut agent = Agent::with_destination(sshd, by_sftp)
        .watch("in", source.root(), "after_delivery = 'delete'")
        .started();

    agent.wait_until("it is delivered", || tree::is_empty(source.root()));

    let (root, moved) = (sshd.root(), sshd.root().with_extension("1"));
    assert_eq!((tree::count(&moved), tree::count(&root)), (1, 1), "it went along, and came again");
}

/// Fault 85: SIGTERM in mid-transfer ends the agent within 10 s, in good order; the next start finishes.
#[test]
fn terminated_agent_ends_soon_and_finishes_later() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 4);
    source.file("large.bin", 4 * LARGE_BYTES);
    let mut agent = Agent::with_destination(&sshd, SLOW).watch("in", source.root(), "").started();
    agent.wait_until("the transfer is under way", || tree::staged_bytes(&sshd.root()) > 0);

    stop(&mut agent);
    assert_eq!(tree::count(&sshd.root()), 0, "P2: a part never has the final name");
    agent.start();

    agent.wait_until("the file is delivered", || tree::equal(source.root(), &sshd.root()));
}

fn stop(agent: &mut Agent) {
    let status = agent.terminate();
    assert!(status.success(), "SIGTERM is an orderly end, not {status}; the log:\n{}", agent.log());
}

/// What the agent says when it stops.
fn sent_bytes(agent: &Agent) -> u64 {
    let log = agent.log();
    let (_, count) = log.rsplit_once("sent_bytes=").expect("it says what it sent");
    count.split_whitespace().next().and_then(|count| count.parse().ok()).expect("that is a number")
}

fn quarantined(agent: &Agent) -> bool {
    let entries = fs::read_dir(agent.state_dir()).expect("the state folder can be read");
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("quarantine"))
}

skiff_tests::by_sftp_too! {
    killed_agent_finishes_after_a_restart_and_then_resends_nothing,
    server_that_comes_back_gets_the_rest,
    killed_session_is_followed_by_another,
    transfer_cut_at_nine_tenths_resends_little,
    staging_folder_that_was_cleared_is_made_again,
    terminated_agent_ends_soon_and_finishes_later,
}
