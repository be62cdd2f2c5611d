//! When a destination may be sent to, and how much.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use skiff_tests::{Agent, Sshd, Tree, tree, wait};
use tempfile::TempDir;

fn status(agent: &Agent) -> Value {
    let said = agent.ask(&["status", "--json"]).expect_code(0).said;
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error} in {said}"))
}

/// What is on its way when the link begins to cost is cut off, and goes on where it was; nothing goes meanwhile.
#[test]
fn a_metered_link_is_left_alone_and_nothing_is_sent_twice() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let metered = scratch.path().join("metered");
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.file("large.bin", 3 << 20);
    fs::write(&metered, "").expect("there is room");
    let more = format!("bandwidth = '8 Mbit/s'\npause_when = '{}'\npause_check = '100ms'", metered.display());
    let mut agent = Agent::with_destination(&sshd, &more).watch("in", source.root(), "").started();
    agent
        .wait_until_logged("it rests", |line| line.contains("paused: ") && line.contains("metered is there"));
    agent.wait_until_logged("it runs", |line| line.contains("ready"));
    let goes = || tree::staged_bytes(&sshd.root()) > 0;
    assert!(wait::never_came_true(Duration::from_millis(700), goes), "something goes while it costs");
    assert_eq!(status(&agent)["destinations"][0]["state"], "paused");

    fs::remove_file(&metered).expect("it is there");
    agent.wait_until("a part is there", || tree::staged_bytes(&sshd.root()) > 500_000);
    fs::write(&metered, "").expect("there is room");
    agent.wait_until_logged("it is cut off", |line| line.contains("cut off"));
    // What is in the sockets' buffers still arrives.
    let mut rest = 0;
    agent.wait_until("nothing more comes", || {
        rest = tree::staged_bytes(&sshd.root());
        wait::never_came_true(Duration::from_millis(700), || tree::staged_bytes(&sshd.root()) != rest)
    });
    assert!((500_000..3 << 20).contains(&rest), "it was not cut off in the middle, but at {rest}");

    fs::remove_file(&metered).expect("it is there");
    agent.wait_until("it arrives", || tree::equal(source.root(), &sshd.root()));
    agent.wait_until_logged("it is done", |line| line.contains("delivered and verified"));
    let sent = status(&agent)["totals"]["sent_bytes"].as_u64().expect("a number");
    assert!(sent < (3 << 20) + (1 << 20), "{sent} bytes were sent for 3 MiB");
}

/// A command says the same.
#[test]
fn a_command_pauses_while_it_ends_with_0() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    source.small_files(5, 1);
    let metered = scratch.path().join("metered");
    fs::write(&metered, "").expect("there is room");
    let more = format!("pause_when = ['/bin/test', '-e', '{}']\npause_check = '100ms'", metered.display());
    let mut agent = Agent::with_destination(&sshd, &more).watch("in", source.root(), "").started();
    agent.wait_until_logged("it rests", |line| line.contains("/bin/test says so"));
    let arrives = || tree::count(&sshd.root()) > 0;
    assert!(wait::never_came_true(Duration::from_millis(500), arrives), "something goes");
    fs::remove_file(&metered).expect("it is there");
    agent.wait_until("all arrives", || tree::equal(source.root(), &sshd.root()));
}

/// Nothing goes until it has answered, and nothing else waits for it.
#[test]
fn a_command_that_hangs_holds_up_no_start_and_no_stop() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 5);
    source.small_files(5, 1);
    let more = "pause_when = ['/bin/sleep', '100']";
    let mut agent = Agent::with_destination(&sshd, more).watch("in", source.root(), "").started();
    agent.wait_until_logged("it is ready", |line| line.contains("ready"));
    let rests = || status(&agent)["destinations"][0]["state"] == "paused";
    assert!(wait::came_true(wait::LIMIT, rests));
    assert_eq!(tree::count(&sshd.root()), 0);
    assert!(agent.terminate().success());
}

/// A window with a bandwidth holds in place of the destination's own; a changed schedule holds at once.
#[test]
fn a_window_pauses_or_slows_and_a_reload_opens_it() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 3);
    source.file("first", 300_000);
    let schedule = "schedule = ['mon-sun pause']";
    let mut agent = Agent::with_destination(&sshd, schedule).watch("in", source.root(), "").started();
    agent.wait_until_logged("it rests", |line| line.contains("paused: by its schedule"));
    let arrives = || tree::count(&sshd.root()) > 0;
    assert!(wait::never_came_true(Duration::from_millis(500), arrives), "something goes");

    let text = fs::read_to_string(agent.config()).expect("it is there");
    fs::write(agent.config(), text.replace(schedule, "schedule = ['mon-sun 800 kbit/s']"))
        .expect("there is room");
    let began = Instant::now();
    agent.ask(&["reload"]).expect_code(0);
    agent.wait_until("it arrives", || tree::equal(source.root(), &sshd.root()));
    let took = began.elapsed();
    assert!(took > Duration::from_secs(2), "300 kB at 100 kB/s took {took:?}");
}

/// Nothing goes to a destination that is set anew before its link is known to cost nothing.
#[test]
fn a_reload_sends_nothing_before_it_is_known_what_the_link_costs() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 6);
    source.small_files(5, 1);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "settle = '0s'").started();
    agent.wait_until("all arrives", || tree::equal(source.root(), &sshd.root()));

    let other = Tree::new(scratch.path().join("other"), 7);
    let (asked, answer) = (scratch.path().join("asked"), scratch.path().join("answer"));
    fs::write(other.root().join("second"), "two").expect("there is room");
    let script =
        format!("touch {}; until test -e {}; do sleep 0.05; done; exit 1", asked.display(), answer.display());
    let text = fs::read_to_string(agent.config()).expect("it is there");
    let pausing = format!("[destination.server]\npause_when = ['/bin/sh', '-c', '{script}']");
    fs::write(agent.config(), text.replace("[destination.server]", &pausing)).expect("there is room");
    let mut agent = agent.watch("other", other.root(), "settle = '0s'");
    agent.ask(&["reload"]).expect_code(0);
    agent.wait_until("somebody is asked", || asked.exists());
    assert!(!sshd.root().join("second").exists(), "it was sent before there was an answer");
    let log = agent.log();
    let at = |words: &str| log.find(words).unwrap_or_else(|| panic!("no {words:?} in:\n{log}"));
    assert!(at("it is not known yet") < at("configuration read again"), "it rests too late:\n{log}");

    fs::write(&answer, "").expect("there is room");
    agent.wait_until("it arrives", || sshd.root().join("second").exists());
}

/// The limit of all holds for two destinations together.
#[test]
fn the_limit_of_all_is_shared() {
    let (one, other, scratch) = (Sshd::start(), Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 4);
    source.file("first", 300_000);
    let mut agent = Agent::to(&one).and_destination("other", &other, "").watch_by(
        "in",
        source.root(),
        "to = ['server', 'other']",
    );
    let text = fs::read_to_string(agent.config()).expect("it is there");
    fs::write(agent.config(), format!("bandwidth = '2 Mbit/s'\n{text}")).expect("there is room");
    let began = Instant::now();
    agent.start();
    agent.wait_until("both have it", || {
        tree::equal(source.root(), &one.root()) && tree::equal(source.root(), &other.root())
    });
    let took = began.elapsed();
    assert!(took > Duration::from_secs(2), "600 kB at 250 kB/s took {took:?}");
}

/// A time zone, as `TZ` has it, in which it is noon so long from now.
fn zone_with_noon_in(wait: Duration) -> String {
    let noon = SystemTime::now() + wait;
    let noon = noon.duration_since(SystemTime::UNIX_EPOCH).expect("the clock is right").as_secs();
    let utc = noon % (24 * 3600);
    let (sign, ahead) = if utc <= 12 * 3600 { ("-", 12 * 3600 - utc) } else { ("", utc - 12 * 3600) };
    format!("TZ=NOON{sign}{}:{:02}:{:02}", ahead / 3600, ahead / 60 % 60, ahead % 60)
}

/// A window ends by the clock of this machine, whatever else happens.
#[test]
fn a_window_ends_by_itself() {
    const UNTIL_NOON: Duration = Duration::from_secs(25);
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 5);
    source.file("first", 1_000);
    let schedule = "schedule = ['mon-sun 00:00-12:00 pause']";
    let mut agent = Agent::with_destination(&sshd, schedule).watch("in", source.root(), "");
    let began = Instant::now();
    agent.set_under(["env".to_owned(), zone_with_noon_in(UNTIL_NOON)]);
    agent.start();
    agent.wait_until_logged("it rests", |line| line.contains("paused: by its schedule"));
    agent.wait_until("it arrives", || tree::equal(source.root(), &sshd.root()));
    let took = began.elapsed();
    assert!(
        took + Duration::from_secs(1) > UNTIL_NOON,
        "it was sent after {took:?}, before the window ended"
    );
}
