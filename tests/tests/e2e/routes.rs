//! Several destinations of one watch.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use skiff_tests::{Agent, Sshd, Tree, tree, wait};
use tempfile::TempDir;

/// Two servers, and a folder for what is watched.
fn two() -> (Sshd, Sshd, TempDir) {
    (Sshd::start(), Sshd::start(), TempDir::new().expect("a temporary folder"))
}

/// While one of them is away, the other gets everything and the sources stay; they go when both have them. The agent is
/// killed meanwhile, so the journal has to know what the first has.
#[test]
fn all_get_each_file_and_the_last_one_disposes() {
    let (one, mut other, scratch) = two();
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.small_files(200, 5);
    source.file("large.bin", 3 << 20);
    let kept = Tree::new(scratch.path().join("kept"), 1);
    tree::copy(source.root(), kept.root());
    other.stop();
    let mut agent = Agent::to(&one)
        .and_destination("other", &other, "")
        .watch_by(
            "in",
            source.root(),
            "to = ['server', 'other']\nafter_delivery = 'delete'\nbatch_items = 50",
        )
        .started();

    agent.wait_until("the one that works has all", || tree::equal(kept.root(), &one.root()));
    agent.wait_for_receipts(201);
    assert_eq!(tree::count(source.root()), 201, "nothing goes before the other has it");
    agent.kill9();
    other.start_again();
    agent.start();

    agent.wait_until("the other has all", || tree::equal(kept.root(), &other.root()));
    agent.wait_until("the sources are gone", || tree::count(source.root()) == 0);
    tree::assert_equal(kept.root(), &one.root());
    let receipts = agent.receipts();
    for name in ["server", "other"] {
        let of = receipts.iter().filter(|receipt| receipt["destination"] == name && receipt["watch"] == "in");
        assert!(of.count() >= 201, "each destination has a receipt for each file");
    }
}

/// Logs that grow have a follower for each destination: one that is away holds up no other, and gets all when it is back.
#[test]
fn all_get_each_log_while_it_grows() {
    let (one, mut other, scratch) = two();
    let folder = scratch.path().join("in");
    fs::create_dir(&folder).expect("a new folder");
    let mut agent = Agent::to(&one)
        .and_destination("other", &other, "")
        .watch_by("logs", &folder, "to = ['server', 'other']\nmode = 'append'\nflush_interval = '100ms'")
        .started();
    let say = |name: &str, words: &str| {
        let mut log = OpenOptions::new().append(true).create(true).open(folder.join(name)).expect("room");
        log.write_all(words.as_bytes()).expect("room");
    };
    let has = |sshd: &Sshd, name: &str, words: &str| {
        fs::read(sshd.root().join(name)).is_ok_and(|bytes| bytes == words.as_bytes())
    };
    say("a.log", "one\n");
    agent.wait_until("both have it", || has(&one, "a.log", "one\n") && has(&other, "a.log", "one\n"));

    other.stop();
    say("a.log", "two\n");
    agent.wait_until("the first has what came", || has(&one, "a.log", "one\ntwo\n"));
    fs::rename(folder.join("a.log"), folder.join("a.log.1")).expect("it is there");
    say("a.log", "three\n");
    agent.wait_until("the first has both", || {
        has(&one, "a.log", "three\n") && has(&one, "a.log.1", "one\ntwo\n")
    });
    agent.kill9();
    other.start_again();
    agent.start();

    agent.wait_until("the other has both", || {
        has(&other, "a.log", "three\n") && has(&other, "a.log.1", "one\ntwo\n")
    });
    say("a.log", "four\n");
    agent.wait_until("both go on", || {
        has(&one, "a.log", "three\nfour\n") && has(&other, "a.log", "three\nfour\n")
    });
    fs::rename(folder.join("a.log"), folder.join("a.log.2")).expect("it is there");
    let state = agent.state_dir();
    agent.wait_until("each has its receipt of what was rotated", || {
        let receipts = skiff_tests::receipts::read(&state);
        ["server", "other"].iter().all(|name| {
            receipts
                .iter()
                .any(|one| one["destination"] == *name && one["watch"] == "logs" && one["name"] == "a.log.2")
        })
    });
    assert!(!agent.state_dir().join("losses.jsonl").exists());
}

/// Files go to the second while the first is away, and to the first again when it is back.
#[test]
fn failover_goes_to_the_second_and_back() {
    let (mut one, other, scratch) = two();
    let mut source = Tree::new(scratch.path().join("in"), 2);
    one.stop();
    let mut agent = Agent::to(&one)
        .and_destination("other", &other, "")
        .watch_by("in", source.root(), "failover = ['server', 'other']")
        .started();
    source.small_files(100, 3);
    agent.wait_until("the second has all", || tree::count(&other.root()) == 100);
    assert_eq!(tree::count(&one.root()), 0);

    one.start_again();
    let mut number = 0;
    agent.wait_until("new files go to the first again", || {
        source.file(format!("later/{number}"), 10);
        number += 1;
        tree::count(&one.root()) > 0
    });
    let before = tree::count(&other.root());
    agent.wait_until("all are somewhere", || {
        tree::count(&one.root()) + tree::count(&other.root()) >= 100 + number
    });
    (0..20).for_each(|n| drop(source.file(format!("last/{n}"), 10)));
    agent.wait_until("the last are at the first", || tree::count(&one.root().join("last")) == 20);
    assert!(tree::count(&other.root()) >= before);
    assert!(!other.root().join("last").exists(), "the second gets no more");
}

/// So many that they all go to one of two destinations on one machine of 32,768.
const WATCHES: usize = 16;

/// Each watch of a machine has its one of several; which one outlives a restart.
#[test]
fn spread_chooses_one_for_good() {
    let (one, other, scratch) = two();
    let mut agent = Agent::to(&one).and_destination("other", &other, "");
    let folders: Vec<_> = (0..WATCHES).map(|n| scratch.path().join(format!("in-{n}"))).collect();
    for (n, folder) in folders.iter().enumerate() {
        fs::create_dir(folder).expect("a new folder");
        let rules = format!("spread = ['server', 'other']\ndestination_path = '{n}'");
        agent = agent.watch_by(&format!("w{n}"), folder, &rules);
    }
    agent.start();
    let put =
        |name: &str| folders.iter().for_each(|folder| fs::write(folder.join(name), name).expect("room"));
    let total = |name: &str| {
        let at = |sshd: &Sshd| {
            (0..WATCHES).filter(|n| sshd.root().join(format!("{n}/{name}")).exists()).collect::<Vec<_>>()
        };
        (at(&one), at(&other))
    };
    put("a");
    agent.wait_until("each has gone somewhere", || total("a").0.len() + total("a").1.len() == WATCHES);
    agent.terminate();
    agent.start();
    put("b");
    agent.wait_until("each has gone somewhere again", || total("b").0.len() + total("b").1.len() == WATCHES);
    assert_eq!(total("a"), total("b"));
    let (here, there) = total("a");
    assert!(here.iter().all(|n| !there.contains(n)), "none goes to both");
    assert!(!here.is_empty() && !there.is_empty(), "both get some: {here:?}, {there:?}");
}

/// A destination that is away, with more waiting for it than the dispatcher takes of one watch, holds up no other.
#[test]
fn a_dead_destination_holds_up_no_other() {
    let (one, mut dead, scratch) = two();
    dead.stop();
    let mut stuck = Tree::new(scratch.path().join("stuck"), 3);
    stuck.small_files(12_000, 20);
    let mut source = Tree::new(scratch.path().join("in"), 4);
    let mut agent = Agent::to(&one).and_destination("dead", &dead, "");
    for name in ["stuck", "stuck-too"] {
        agent = agent.watch_by(name, stuck.root(), "settle = '0s'\nto = 'dead'");
    }
    agent = agent.watch("in", source.root(), "").started();
    agent.wait_until_logged("it has noticed", |line| line.contains("again_in_ms"));
    let deadline = Instant::now() + wait::LIMIT;
    while !waits_for_room(&agent) {
        assert!(Instant::now() < deadline, "never more than is taken at once");
        thread::sleep(Duration::from_millis(50));
    }
    source.small_files(50, 1);
    agent.wait_until("the other watch's files arrive", || tree::count(&one.root()) == 50);
}

/// Whether more files of the first two watches wait than the dispatcher takes.
fn waits_for_room(agent: &Agent) -> bool {
    let status: Value = serde_json::from_str(&agent.ask(&["status", "--json"]).said).unwrap_or_default();
    let watches = status["watches"].as_array();
    watches.is_some_and(|watches| watches.iter().take(2).all(|watch| watch["pending"]["more"] == true))
}

/// A destination that is added gets what lies in the folder; the one that was there is asked what it has, and sent nothing
/// again. The same when it is taken away.
#[test]
fn an_added_destination_costs_the_first_one_nothing() {
    let (one, other, scratch) = two();
    let mut source = Tree::new(scratch.path().join("in"), 5);
    source.small_files(50, 5);
    source.file("large.bin", 3 << 20);
    let mut agent =
        Agent::to(&one).and_destination("other", &other, "").watch("in", source.root(), "").started();
    agent.wait_until("all arrive", || tree::equal(source.root(), &one.root()));
    let routed = |agent: &mut Agent, from: &str, to: &str| {
        agent.terminate();
        let text = fs::read_to_string(agent.config()).expect("it is there");
        fs::write(agent.config(), text.replace(from, to)).expect("there is room");
        agent.start();
    };
    let sent = |agent: &Agent, name: &str| {
        let receipts = agent.receipts();
        let of = receipts.iter().filter(|receipt| receipt["destination"] == name);
        let (sent, stood): (Vec<_>, Vec<_>) = of.partition(|receipt| receipt["sent"] == true);
        (sent.len(), stood.len())
    };
    agent.wait_for_receipts(51);
    routed(&mut agent, "to = 'server'", "to = ['server', 'other']");
    agent.wait_for_receipts(153);
    tree::assert_equal(source.root(), &other.root());
    assert_eq!((sent(&agent, "server"), sent(&agent, "other")), ((51, 51), (51, 0)));

    routed(&mut agent, "to = ['server', 'other']", "to = 'server'");
    source.file("last", 10);
    agent.wait_for_receipt("last");
    agent.terminate();
    assert_eq!(sent(&agent, "server").0, 52, "what it has by whatever route is not sent again");
}

/// Who would have been the last is taken away: what the others have goes, and nobody is sent anything again, though they
/// have fetched it away meanwhile.
#[test]
fn what_a_removed_destination_has_kept_here_goes() {
    for reload in [true, false] {
        let ((one, other, scratch), mut dead) = (two(), Sshd::start());
        dead.stop();
        let at = |name: &str| scratch.path().join(name);
        let (mut goes, mut moves) = (Tree::new(at("goes"), 6), Tree::new(at("moves"), 7));
        let rules = |name: &str, after: &str| {
            format!("to = ['server', 'other', 'dead']\ndestination_path = '{name}'\nafter_delivery = {after}")
        };
        let mut agent = Agent::to(&one)
            .and_destination("other", &other, "")
            .and_destination("dead", &dead, "")
            .watch_by("goes", goes.root(), &rules("goes", "'delete'"))
            .watch_by(
                "moves",
                moves.root(),
                &rules("moves", &format!("{{ move = '{}' }}", at("sent").display())),
            )
            .started();
        goes.small_files(30, 3);
        goes.file("large.bin", 1 << 20);
        moves.small_files(30, 3);
        let receipts = agent.state_dir().join("receipts.jsonl");
        let count = || fs::read_to_string(&receipts).map_or(0, |text| text.lines().count());
        agent.wait_until("both that work have all", || count() == 2 * 61);
        for (tree, name) in [(&goes, "goes"), (&moves, "moves")] {
            for sshd in [&one, &other] {
                tree::assert_equal(tree.root(), &sshd.root().join(name));
                fs::remove_dir_all(sshd.root().join(name)).expect("it is there");
            }
        }
        let kept = Tree::new(at("kept"), 1);
        tree::copy(moves.root(), kept.root());

        change(&mut agent, reload, "['server', 'other', 'dead']", "['server', 'other']");
        agent.wait_until("what both have is gone", || {
            tree::is_empty(goes.root())
                && tree::is_empty(moves.root())
                && tree::equal(kept.root(), &at("sent"))
        });
        goes.file("later", 10);
        agent.wait_until("both go on", || {
            [&one, &other].iter().all(|sshd| sshd.root().join("goes/later").exists())
                && tree::is_empty(goes.root())
        });
        assert!(agent.terminate().success());
        assert_eq!(count(), 2 * 62, "nothing was delivered again");
    }
}

/// It was to be kept when it was delivered.
#[test]
fn what_was_kept_stays_when_a_destination_is_removed() {
    let ((one, other, scratch), third) = (two(), Sshd::start());
    let mut source = Tree::new(scratch.path().join("in"), 8);
    let mut agent = Agent::to(&one)
        .and_destination("other", &other, "")
        .and_destination("third", &third, "")
        .watch_by("in", source.root(), "to = ['server', 'other', 'third']\nafter_delivery = 'keep'")
        .started();
    let kept = source.file("kept", 10);
    let receipts = agent.state_dir().join("receipts.jsonl");
    let count = || fs::read_to_string(&receipts).map_or(0, |text| text.lines().count());
    agent.wait_until("all have it", || count() == 3);
    let (from, to) = (", 'third']\nafter_delivery = 'keep'", "]\nafter_delivery = 'delete'");
    change(&mut agent, true, from, to);
    let later = source.file("later", 20);
    agent.wait_until("what is new goes", || !later.exists());
    assert!(kept.exists());
}

/// Takes up a change of the configuration.
fn change(agent: &mut Agent, reload: bool, from: &str, to: &str) {
    let text = fs::read_to_string(agent.config()).expect("it is there");
    fs::write(agent.config(), text.replace(from, to)).expect("there is room");
    if reload {
        agent.ask(&["reload"]).expect_code(0);
    } else {
        assert!(agent.terminate().success());
        agent.start();
    }
}
