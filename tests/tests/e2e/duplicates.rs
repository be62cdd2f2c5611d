//! Content that the destination has already, under another name: it is copied there and doesn't travel.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use skiff_tests::confined::Confined;
use skiff_tests::{Agent, Sshd, Toolbox, Tree, tree, wait};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// What has been sent when so many files are delivered, by this process.
fn sent_bytes(agent: &Agent, delivered: u64) -> u64 {
    let mut sent = 0;
    let ask = |agent: &Agent| -> Value {
        serde_json::from_str(&agent.ask(&["status", "--json"]).said).unwrap_or_default()
    };
    let came_true = wait::came_true(wait::LIMIT, || {
        let totals = &ask(agent)["totals"];
        sent = totals["sent_bytes"].as_u64().unwrap_or(0);
        totals["delivered_files"] == delivered
    });
    assert!(came_true, "not {delivered} files are delivered:\n{}", agent.log());
    sent
}

fn same_file(ours: &Path, theirs: &Path) {
    assert!(tree::same_bytes(ours, theirs));
    let (ours, theirs) = (fs::metadata(ours).expect("there"), fs::metadata(theirs).expect("there"));
    assert_eq!((ours.mtime(), ours.mode() & 0o777), (theirs.mtime(), theirs.mode() & 0o777));
}

/// A file that was renamed, and one that came again beside small ones, cost no payload; also by a process that delivered
/// neither. Modes and times are those of the new file.
#[test]
fn renamed_and_copied_files_cost_no_payload() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.file("large.bin", 3 * MIB);
    for number in 0..5 {
        source.file(format!("small/{number}"), 200_000);
    }
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    agent.wait_until("all arrive", || tree::equal(source.root(), &sshd.root()));
    for path in ["large.bin", "small/0", "small/4"] {
        agent.wait_for_receipt(path);
    }
    let before = sent_bytes(&agent, 6);

    let at = |name: &str| source.root().join(name);
    fs::set_permissions(at("large.bin"), fs::Permissions::from_mode(0o640)).expect("ours");
    fs::create_dir(at("moved")).expect("a new folder");
    fs::rename(at("large.bin"), at("moved/renamed.bin")).expect("renamed");
    agent.wait_for_receipt("moved/renamed.bin");
    same_file(&at("moved/renamed.bin"), &sshd.root().join("moved/renamed.bin"));
    let after = sent_bytes(&agent, 7);
    assert!(after - before < 10_000, "{} bytes were sent for a file that is there", after - before);

    agent.terminate();
    for number in 0..5 {
        fs::copy(at(&format!("small/{number}")), at(&format!("again-{number}"))).expect("there is room");
    }
    fs::write(at("new"), "new").expect("there is room");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_717_200_000);
    File::options()
        .write(true)
        .open(at("again-3"))
        .and_then(|file| file.set_modified(long_ago))
        .expect("ours");
    agent.start();
    for name in ["again-0", "again-3", "again-4", "new"] {
        agent.wait_for_receipt(name);
    }
    for name in ["again-0", "again-3", "new"] {
        same_file(&at(name), &sshd.root().join(name));
    }
    let sent = sent_bytes(&agent, 6);
    assert!(sent < 20_000, "{sent} bytes were sent for a megabyte that is there and three that are not");
}

/// Delivers twins of what is there, and something new, in one batch.
fn deliver_twins_beside_others(mut agent: Agent, mut source: Tree, root: &Path) {
    for number in 0..3 {
        source.file(format!("old-{number}"), 200_000);
    }
    agent.start();
    agent.wait_until("all arrive", || tree::equal(source.root(), root));
    for number in 0..3 {
        agent.wait_for_receipt(&format!("old-{number}"));
    }
    agent.terminate();
    for number in 0..3 {
        let at = |name: &str| source.root().join(format!("{name}-{number}"));
        fs::copy(at("old"), at("again")).expect("there is room");
        source.file(format!("new-{number}"), 300);
    }
    agent.start();
    for number in 0..3 {
        for name in ["again", "new"] {
            agent.wait_for_receipt(&format!("{name}-{number}"));
        }
    }
    tree::assert_equal(source.root(), root);
}

/// What a confined key sends is unpacked where nobody can name it; what was copied for it is of the same batch.
#[test]
fn twins_beside_others_arrive_by_a_confined_key() {
    let (confined, scratch) = (Confined::new(), TempDir::new().expect("a temporary folder"));
    let sshd = confined.sshd("");
    let source = Tree::new(scratch.path().join("in"), 4);
    let agent = Agent::to(&sshd).configured(&confined.destination(&sshd)).watch_by(
        "in",
        source.root(),
        "to = 'confined'",
    );
    deliver_twins_beside_others(agent, source, &confined.folder());
}

/// A copy that was verified and then goes is not there, and not left either: it doesn't count as delivered.
#[test]
fn a_copy_that_goes_before_it_is_published_comes_all_the_same() {
    let goes = "for to; do :; done
if [ -e \"$to/again-1\" ] && [ ! -e \"$HOME/gone\" ]; then rm \"$to/again-1\"; : >\"$HOME/gone\"; fi
exec \"$REAL\" \"$@\"";
    let toolbox = Toolbox::usual().with("tar", goes);
    let (sshd, scratch) = (Sshd::start_with(&toolbox.lines()), TempDir::new().expect("a temporary folder"));
    let source = Tree::new(scratch.path().join("in"), 5);
    let agent = Agent::to(&sshd).watch("in", source.root(), "");
    deliver_twins_beside_others(agent, source, &sshd.root());
    assert!(toolbox.note("gone").exists(), "it did not go");
}

/// What stands there by now may be anything: the copy is verified like all that is sent, and what others put there stays.
#[test]
fn a_twin_that_has_changed_there_is_no_twin() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    source.file("a.bin", 2 * MIB);
    source.file("b.bin", MIB + 1);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    agent.wait_until("they arrive", || tree::equal(source.root(), &sshd.root()));
    for path in ["a.bin", "b.bin"] {
        agent.wait_for_receipt(path);
    }
    fs::write(sshd.root().join("a.bin"), vec![7; 2 << 20]).expect("it is writable");
    fs::remove_file(sshd.root().join("b.bin")).expect("it is there");
    fs::write(sshd.root().join("taken.bin"), "somebody else's").expect("it is writable");
    for (from, to) in [("a.bin", "c.bin"), ("b.bin", "d.bin"), ("b.bin", "taken.bin")] {
        fs::copy(source.root().join(from), source.root().join(to)).expect("there is room");
        agent.wait_for_receipt(to);
    }
    for name in ["c.bin", "d.bin"] {
        same_file(&source.root().join(name), &sshd.root().join(name));
    }
    assert_eq!(fs::read(sshd.root().join("taken.bin")).expect("there"), b"somebody else's");
    assert_eq!(tree::count(&sshd.root()), 5, "a, c, d, the foreign one and ours beside it");
}

/// A part of a file that lies at the destination is of use when its twin has gone there; also to an agent that begins anew and
/// remembers the twin.
#[test]
fn a_twin_that_has_gone_costs_nothing_of_what_was_sent() {
    for anew in [false, true] {
        let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
        let mut source = Tree::new(scratch.path().join("in"), 6);
        source.file("first", 24 * MIB);
        let slow = "bandwidth = '32 Mbit/s'";
        let mut agent = Agent::with_destination(&sshd, slow).watch("in", source.root(), "").started();
        agent.wait_for_receipt("first");
        let mut before = sent_bytes(&agent, 1);
        fs::remove_file(sshd.root().join("first")).expect("it is there");
        fs::copy(source.root().join("first"), source.root().join("again")).expect("there is room");
        agent.wait_until("nine tenths are there", || tree::staged_bytes(&sshd.root()) >= 24 * MIB / 10 * 9);
        if anew {
            agent.kill9();
            agent.start();
            before = 0;
        } else {
            assert!(sshd.kill_sessions() > 0, "there is a session to kill");
        }
        agent.wait_for_receipt("again");

        same_file(&source.root().join("again"), &sshd.root().join("again"));
        let sent = sent_bytes(&agent, if anew { 1 } else { 2 }) - before;
        let most = 24 * MIB / 100 * if anew { 15 } else { 115 };
        assert!(sent <= most, "{sent} bytes were sent, where {most} will do; anew: {anew}");
    }
}

/// Where that is not wanted everything travels.
#[test]
fn duplicates_travel_where_they_are_to() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 3);
    let first = source.file("first", MIB + 1);
    let more = "duplicates = 'send'\ncompression = 'off'";
    let mut agent = Agent::with_destination(&sshd, more).watch("in", source.root(), "").started();
    agent.wait_for_receipt("first");
    fs::copy(first, source.root().join("second")).expect("there is room");
    agent.wait_for_receipt("second");
    assert!(sent_bytes(&agent, 2) > 2 * MIB);
}
