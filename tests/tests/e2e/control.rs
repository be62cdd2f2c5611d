//! A running agent says what it does, and does what it is told.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;
use skiff_tests::{Agent, Sshd, Tree, http, machine, receipts, tree, wait};
use tempfile::TempDir;

fn asked(agent: &Agent, arguments: &[&str]) -> Value {
    let ended = agent.ask(arguments).expect_code(0);
    let json = ended.said.lines().filter(|line| !line.starts_with("skiff:")).collect::<String>();
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error} in {}", ended.said))
}

fn status(agent: &Agent) -> Value {
    asked(agent, &["status", "--json"])
}

/// Waits until the status is so. It is told twice a second.
#[track_caller]
fn wait_for_status(agent: &Agent, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let so = wait::came_true(wait::LIMIT, || {
        last = status(agent);
        is_so(&last)
    });
    assert!(so, "not so: {what}; {last:#}\n{}", agent.log());
    last
}

/// Logs that grow are no shipments: which one fails, and why, is told all the same.
#[test]
fn status_names_a_log_that_is_not_delivered_and_says_why() {
    let (mut sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let folder = scratch.path().join("in");
    fs::create_dir(&folder).expect("a new folder is writable");
    fs::write(sshd.root().join("taken.log"), "somebody else's").expect("the root is writable");
    fs::write(folder.join("taken.log"), "ours").expect("a new folder is writable");
    fs::write(folder.join("app.log"), "one\n").expect("a new folder is writable");
    let rules = "mode = 'append'\nflush_interval = '100ms'\non_conflict = 'park'";
    let mut agent = Agent::to(&sshd).watch("logs", &folder, rules).started();
    let is_told = |said: &Value, log: &str, why: &str| {
        said["problems"].as_array().is_some_and(|problems| {
            problems.iter().any(|problem| {
                problem["what"] == log
                    && problem["watch"] == "logs"
                    && problem["at_ms"].as_u64() > Some(0)
                    && problem["reason"].as_str().is_some_and(|reason| reason.contains(why))
            })
        })
    };

    let why = "another file named taken.log stands at the destination";
    let said = wait_for_status(&agent, "one is in the way", |said| is_told(said, "taken.log", why));
    assert!(!is_told(&said, "app.log", ""), "{said:#}");
    agent.ask(&["status"]).expect_code(0).expect_said("logs:taken.log, ").expect_said(why);

    let copy = sshd.root().join("app.log");
    agent.wait_until("the other is delivered", || fs::read(&copy).is_ok_and(|bytes| bytes == b"one\n"));
    sshd.stop();
    let mut log = fs::OpenOptions::new().append(true).open(folder.join("app.log")).expect("it is there");
    log.write_all(b"two\n").expect("there is room");
    wait_for_status(&agent, "the server is gone", |said| is_told(said, "app.log", "Try: "));
    agent.ask(&["status"]).expect_code(0).expect_said("logs:app.log, ").expect_said("Try: ");
}

/// So that it is seen by who watches the machine: status, figures and readiness.
#[test]
fn a_destination_that_takes_no_logs_is_in_trouble_and_what_they_grew_by_is_pending() {
    let (mut sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let (folder, port) = (scratch.path().join("in"), http::free_port());
    fs::create_dir(&folder).expect("a new folder is writable");
    fs::write(folder.join("app.log"), "one\n").expect("a new folder is writable");
    let listen = format!("[control]\nlisten = '127.0.0.1:{port}'");
    let rules = "mode = 'append'\nflush_interval = '100ms'";
    let agent = Agent::with_destination(&sshd, &listen).watch("logs", &folder, rules).started();
    let get = |path: &str| http::ask(port, &format!("GET {path}"), &[], "").expect("it answers");
    let said = wait_for_status(&agent, "one is delivered", |said| {
        said["watches"][0]["delivered_bytes"] == 4 && said["pending"]["items"] == 0
    });
    let last = said["watches"][0]["last_delivery_ms"].as_u64();
    assert!(last > Some(0) && said["totals"]["last_delivery_ms"].as_u64() == last, "{said:#}");
    assert_eq!(said["destinations"][0]["failures"], 0);
    assert_eq!(get("/readyz").status, 200);
    assert!(get("/metrics").body.contains("skiff_delivered_bytes_total{watch=\"logs\"} 4\n"));

    sshd.stop();
    let mut log = fs::OpenOptions::new().append(true).open(folder.join("app.log")).expect("it is there");
    log.write_all(b"two\n").expect("there is room");
    let said = wait_for_status(&agent, "the server is gone", |said| {
        let destination = &said["destinations"][0];
        // While a try is under way, the state says that.
        destination["failures"].as_u64() > Some(1) && destination["state"] == "waiting"
    });
    let (destination, watch) = (&said["destinations"][0], &said["watches"][0]);
    let why = destination["last_error"]["message"].as_str();
    assert!(why.is_some_and(|why| why.contains("Try: ")), "{said:#}");
    assert!(destination["retry_at_ms"].as_u64() > last, "{said:#}");
    assert_eq!((&watch["pending"]["items"], &watch["pending"]["bytes"]), (&1.into(), &4.into()));
    assert!(watch["pending"]["oldest_ms"].as_u64() >= last, "{said:#}");
    assert_eq!(said["pending"], watch["pending"]);
    let ready = get("/readyz");
    assert!(ready.status == 503 && ready.body.contains("destination server: "), "{}", ready.body);
    let metrics = get("/metrics").body;
    let figure = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.trim().parse::<f64>().expect("a number")
    };
    assert!(figure("skiff_destination_failures{destination=\"server\"}") > 0.0, "{metrics}");
    assert!(figure("skiff_backlog_items{watch=\"logs\"}") > 0.0, "{metrics}");
    assert!(figure("skiff_oldest_pending_age_seconds{watch=\"logs\"}") > 0.0, "{metrics}");
    assert!(figure("skiff_last_success_timestamp_seconds{watch=\"logs\"}") > 0.0, "{metrics}");
}

#[test]
fn status_tells_what_was_delivered_and_says_when_nobody_runs() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.small_files(20, 2);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    agent.wait_until("all arrives", || tree::equal(source.root(), &sshd.root()));

    let said = wait_for_status(&agent, "20 are delivered", |said| said["totals"]["delivered_files"] == 20);
    assert_eq!((&said["version"], &said["source"]), (&Value::from(1), &Value::from("agent")));
    assert_eq!(said["watches"][0]["delivered_files"], 20);
    assert_eq!(
        (&said["pending"]["items"], &said["totals"]["resent_bytes"]),
        (&Value::from(0), &Value::from(0))
    );
    assert_eq!(said["destinations"][0]["state"], "connected");
    assert!(said["journal_bytes"].as_u64() > Some(0));
    let mode =
        fs::metadata(agent.state_dir().join("control.sock")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    agent.ask(&["status"]).expect_code(0).expect_said("delivered  20 files").expect_said("connected");
    let items = asked(&agent, &["items", "--state", "delivered", "--limit", "5", "--json"]);
    assert_eq!(items.as_array().map(Vec::len), Some(5));
    assert!(items[0]["digest"].as_str().is_some_and(|digest| digest.contains("blake3")), "{items}");

    assert!(agent.terminate().success());
    agent.ask(&["status"]).expect_code(0).expect_said("no agent is running");
    assert_eq!(status(&agent)["source"], "journal");
    let items = asked(&agent, &["items", "--state", "delivered", "--json"]);
    assert_eq!(items.as_array().map(Vec::len), Some(20));
}

#[test]
fn what_is_quarantined_is_listed_with_its_reason_and_goes_when_it_is_retried() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    for name in ["a.csv", "b.csv"] {
        fs::write(sshd.root().join(name), "somebody else's").expect("the destination is writable");
        source.file(name, 3_000);
    }
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "on_conflict = 'park'").started();
    let said = wait_for_status(&agent, "two are quarantined", |said| said["held"]["quarantined"] == 2);
    assert_eq!(said["problems"][0]["quarantined"], true);
    let held = asked(&agent, &["items", "--state", "held", "--json"]);
    assert_eq!(held.as_array().map(Vec::len), Some(2), "{held}");
    let reason = held[0]["reason"].as_str().expect("there is a reason").to_owned();
    assert!(!reason.is_empty());
    agent.ask(&["items", "--state", "quarantined"]).expect_code(0).expect_said(&reason);
    agent.ask(&["retry", "no-such-file"]).expect_code(2).expect_said("no-such-file");

    fs::remove_file(sshd.root().join("a.csv")).expect("it is there");
    agent.ask(&["retry", "in:a.csv"]).expect_code(0).expect_said("1 item is tried now");
    agent.wait_until("the item arrives", || {
        fs::read(sshd.root().join("a.csv")).ok() == fs::read(source.root().join("a.csv")).ok()
    });
    wait_for_status(&agent, "one is quarantined", |said| said["held"]["quarantined"] == 1);

    // Nobody runs: it is known all the same, and tried at the next start.
    assert!(agent.terminate().success());
    let held = asked(&agent, &["items", "--state", "held", "--json"]);
    assert_eq!(held[0]["path"], "b.csv");
    assert!(
        held[0]["reason"].as_str().is_some_and(|reason| reason.contains("another file named b.csv")),
        "{held}"
    );
    fs::remove_file(sshd.root().join("b.csv")).expect("it is there");
    agent.ask(&["retry", "--all"]).expect_code(0).expect_said("when it is started");
    agent.start();
    agent.wait_until("the other arrives", || tree::equal(source.root(), &sshd.root()));
    wait_for_status(&agent, "none is held", |said| said["held"]["quarantined"] == 0);
}

#[test]
fn a_quarantined_file_that_is_deleted_is_forgotten() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    fs::write(sshd.root().join("a.csv"), "somebody else's").expect("the destination is writable");
    let mut source = Tree::new(scratch.path().join("in"), 3);
    source.file("a.csv", 3_000);
    let agent = Agent::to(&sshd).watch("in", source.root(), "on_conflict = 'park'").started();
    wait_for_status(&agent, "it is quarantined", |said| said["held"]["quarantined"] == 1);
    fs::remove_file(source.root().join("a.csv")).expect("it is there");
    let held = asked(&agent, &["items", "--state", "held", "--json"]);
    assert_eq!(held, Value::Array(Vec::new()));
    wait_for_status(&agent, "none is held", |said| said["held"]["quarantined"] == 0);
}

#[test]
fn a_paused_watch_rests_over_a_restart_and_then_goes_on() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut rests = Tree::new(scratch.path().join("rests"), 4);
    let mut works = Tree::new(scratch.path().join("works"), 5);
    let mut agent = Agent::to(&sshd)
        .watch("rests", rests.root(), "destination_path = 'rests'")
        .watch("works", works.root(), "destination_path = 'works'")
        .started();
    agent.wait_until_logged("it is ready", |line| line.contains("ready"));
    agent.ask(&["pause", "rest"]).expect_code(2).expect_said("there are rests, works");
    agent.ask(&["pause", "rests"]).expect_code(0).expect_said("paused: rests");
    for start in 0..2 {
        rests.file(format!("{start}.csv"), 2_000);
        works.file(format!("{start}.csv"), 2_000);
        agent.wait_until("the other goes on", || tree::equal(works.root(), &sshd.root().join("works")));
        assert!(tree::files_if_there(&sshd.root().join("rests")).is_empty());
        assert_eq!(
            wait_for_status(&agent, "it is paused", |said| said["watches"][0]["paused"] == true)["watches"]
                [1]["paused"],
            false
        );
        if start == 0 {
            assert!(agent.terminate().success());
            agent.start();
            agent.wait_until_logged_after(2, "it is ready", |line| line.contains("ready"));
        }
    }
    agent.ask(&["resume"]).expect_code(0).expect_said("goes on: rests, works");
    agent.wait_until("it goes on", || tree::equal(rests.root(), &sshd.root().join("rests")));
}

/// What somebody has put to rest is the watch, whatever destinations it has then or later.
#[test]
fn a_paused_watch_rests_over_a_change_of_its_destinations() {
    let (one, other, scratch) = (Sshd::start(), Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut rests = Tree::new(scratch.path().join("rests"), 14);
    let mut works = Tree::new(scratch.path().join("works"), 15);
    let mut agent = Agent::to(&one)
        .and_destination("other", &other, "")
        .watch("rests", rests.root(), "destination_path = 'rests'")
        .watch_by("works", works.root(), "to = ['server', 'other']\ndestination_path = 'works'")
        .started();
    agent.wait_until_logged("it is ready", |line| line.contains("ready"));
    agent.ask(&["pause", "rests"]).expect_code(0).expect_said("paused: rests");
    let text = fs::read_to_string(agent.config()).expect("it is there");
    let legs = text.replacen("to = 'server'", "to = ['server', 'other']", 1);
    let nothing_came = |sshd: &Sshd| !sshd.root().join("rests").exists();
    // To legs, back to one destination, and to legs again.
    for (round, text) in [&legs, &text, &legs].into_iter().enumerate() {
        fs::write(agent.config(), text).expect("writable");
        agent.ask(&["reload"]).expect_code(0);
        rests.file(format!("{round}.csv"), 2_000);
        works.file(format!("{round}.csv"), 2_000);
        for sshd in [&one, &other] {
            let all = sshd.root().join("works");
            agent.wait_until("another goes on", || tree::equal(works.root(), &all));
        }
        wait_for_status(&agent, "all of it is paused", |said| {
            let watches = said["watches"].as_array().expect("a list").iter();
            let mut of_it =
                watches.filter(|watch| watch["name"].as_str().is_some_and(|it| it.starts_with("rests")));
            of_it.all(|watch| watch["paused"] == true)
        });
        assert!(nothing_came(&one) && nothing_came(&other), "round {round}");
    }
    agent.ask(&["resume", "rests"]).expect_code(0).expect_said("goes on: rests");
    for sshd in [&one, &other] {
        let all = sshd.root().join("rests");
        agent.wait_until("it goes on", || tree::equal(rests.root(), &all));
    }
    // Nothing of the pause is left with a leg that comes back.
    for text in [&text, &legs] {
        fs::write(agent.config(), text).expect("writable");
        agent.ask(&["reload"]).expect_code(0);
    }
    rests.file("last.csv", 2_000);
    let all = other.root().join("rests");
    agent.wait_until("the leg works", || tree::equal(rests.root(), &all));
}

/// Fault 89: a bad configuration is refused with all its problems, and the old one stays.
#[test]
fn fault_89_bad_configuration_is_refused_and_the_old_one_stays() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 6);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    agent.wait_until_logged("it is ready", |line| line.contains("ready"));
    let good = fs::read_to_string(agent.config()).expect("it is there");
    fs::write(agent.config(), format!("{good}settle = 'soon'\nsmall_file = '1 parsec'\n")).expect("writable");
    let state_dir = agent.state_dir();
    let state_dir = state_dir.to_str().expect("a plain name");
    let refused = agent.ask(&["reload", "--state-dir", state_dir]).expect_code(2);
    refused.expect_said("soon").expect_said("parsec");
    agent.signal(rustix::process::Signal::HUP);
    agent.wait_until_logged("the signal is refused too", |line| {
        line.contains("refused") && line.contains("soon") && line.contains("parsec")
    });
    source.small_files(5, 1);
    agent.wait_until("the old one goes on", || tree::equal(source.root(), &sshd.root()));
    fs::write(agent.config(), good.replace("state'", "elsewhere'")).expect("writable");
    agent.ask(&["reload", "--state-dir", state_dir]).expect_code(2).expect_said("restart");
}

/// By SFTP too it is seen how far a shipment is.
#[test]
fn what_is_sent_by_sftp_is_counted_as_it_goes() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 7);
    let agent = Agent::with_destination(&sshd, "transport = 'sftp'\nbandwidth = '8 Mbit/s'")
        .watch("in", source.root(), "")
        .started();
    source.file("large.bin", 4 << 20);
    wait_for_status(&agent, "some of it is sent", |said| {
        said["on_its_way"].as_array().is_some_and(|list| {
            list.iter().any(|one| {
                one["sent_bytes"].as_u64() > Some(1 << 18) && one["sent_bytes"].as_u64() < Some(4 << 20)
            })
        })
    });
    let said = wait_for_status(&agent, "it is delivered", |said| said["totals"]["delivered_files"] == 1);
    assert_eq!(said["totals"]["resent_bytes"], 0, "{said:#}");
}

/// Just what has changed begins again; a transfer that is under way goes on to its end.
#[test]
fn reload_changes_watches_and_keeps_what_is_on_its_way() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let at = |name: &str| scratch.path().join(name);
    let (mut slow, mut changes) = (Tree::new(at("slow"), 7), Tree::new(at("changes"), 8));
    let (mut goes, mut comes) = (Tree::new(at("goes"), 9), Tree::new(at("comes"), 10));
    let mut agent = Agent::with_destination(&sshd, "bandwidth = '8 Mbit/s'")
        .watch("slow", slow.root(), "destination_path = 'slow'")
        .watch("changes", changes.root(), "destination_path = 'before'")
        .watch("goes", goes.root(), "destination_path = 'goes'")
        .started();
    slow.file("large.bin", 12 << 20);
    wait_for_status(&agent, "the transfer has begun", |said| {
        said["on_its_way"]
            .as_array()
            .is_some_and(|list| list.iter().any(|one| one["sent_bytes"].as_u64() > Some(1 << 18)))
    });
    changes.file("1.csv", 1_000);
    agent.wait_until("the first arrives", || tree::equal(changes.root(), &sshd.root().join("before")));

    let text = fs::read_to_string(agent.config()).expect("it is there");
    let text = text.replace("'before'", "'after'").replace("name = 'goes'", "name = 'comes'");
    let text = text.replace(goes.root().to_str().expect("plain"), comes.root().to_str().expect("plain"));
    let text = text.replace("destination_path = 'goes'", "destination_path = 'comes'");
    fs::write(agent.config(), text).expect("writable");
    agent.ask(&["reload"]).expect_code(0).expect_said("new: comes; changed: changes; gone: goes");
    assert!(!tree::equal(slow.root(), &sshd.root().join("slow")), "it is still on its way");

    for tree in [&mut changes, &mut goes, &mut comes] {
        tree.file("2.csv", 1_000);
    }
    agent.wait_until("the changed watch delivers elsewhere", || sshd.root().join("after/2.csv").exists());
    agent.wait_until("the new watch delivers", || tree::equal(comes.root(), &sshd.root().join("comes")));
    agent.wait_until("the large one arrives", || tree::equal(slow.root(), &sshd.root().join("slow")));
    assert!(!sshd.root().join("goes").exists());
    let said = wait_for_status(&agent, "nothing is pending", |said| said["pending"]["items"] == 0);
    assert_eq!(said["totals"]["resent_bytes"], 0, "{said:#}");
    assert_eq!(receipts::naming(&agent.receipts(), "large.bin"), 1);
    let names: Vec<_> =
        said["watches"].as_array().expect("a list").iter().map(|watch| watch["name"].clone()).collect();
    assert_eq!(names, ["slow", "changes", "comes"]);
}

/// A destination that moves takes its watches along; what waited for the old one goes to the new one.
#[test]
fn reload_moves_what_waits_to_where_the_destination_is_now() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 11);
    source.small_files(20, 2);
    let nobody = http::free_port();
    let mut agent = Agent::at(&sshd, ("127.0.0.1", nobody), &sshd.known_hosts(), "")
        .watch("in", source.root(), "retry_first = '1h'\nretry_max = '1h'")
        .started();
    let said = wait_for_status(&agent, "nobody is there", |said| {
        said["destinations"][0]["state"] == "waiting" && said["pending"]["items"] == 20
    });
    assert_eq!(said["destinations"][0]["last_error"]["code"], "connection-refused");
    agent.ask(&["status"]).expect_said("connection-refused, again in");
    let text = fs::read_to_string(agent.config()).expect("it is there");
    fs::write(agent.config(), text.replace(&format!(":{nobody}'"), &format!(":{}'", sshd.port())))
        .expect("writable");
    agent.ask(&["reload"]).expect_code(0).expect_said("destinations changed: server");
    agent.wait_until("all arrives", || tree::equal(source.root(), &sshd.root()));
}

#[test]
fn figures_and_health_are_served_to_those_with_the_token() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 12);
    source.small_files(10, 1);
    let (port, token) = (http::free_port(), scratch.path().join("token"));
    fs::write(&token, "0123456789abcdef\n").expect("writable");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("ours");
    let control = format!("[control]\nlisten = '127.0.0.1:{port}'\ntoken_file = '{}'", token.display());
    let mut agent = Agent::with_destination(&sshd, &control).watch("in", source.root(), "").started();
    agent.wait_until("all arrives", || tree::equal(source.root(), &sshd.root()));

    let get = |path: &str, headers: &[&str]| {
        http::ask(port, &format!("GET {path}"), headers, "").expect("it answers")
    };
    assert_eq!(get("/healthz", &[]).status, 200);
    assert_eq!(get("/readyz", &[]).status, 200);
    assert_eq!(get("/metrics", &[]).status, 401);
    assert_eq!(get("/metrics", &["Authorization: Bearer 0123456789abcdeX"]).status, 401);
    let with = ["Authorization: Bearer 0123456789abcdef"];
    wait_for_status(&agent, "10 are delivered", |said| said["totals"]["delivered_files"] == 10);
    let metrics = get("/metrics", &with);
    assert_eq!(metrics.status, 200);
    assert!(metrics.body.contains("skiff_delivered_files_total{watch=\"in\"} 10\n"), "{}", metrics.body);
    assert_eq!(get("/v1/nothing", &with).status, 404);
    // Why it isn't ready names folders, users and hosts.
    fs::rename(source.root(), scratch.path().join("away")).expect("ours");
    agent.wait_until("it isn't ready", || get("/readyz", &[]).status == 503);
    assert_eq!(get("/readyz", &[]).body.trim_ascii(), "not ready");
    assert_eq!(get("/readyz", &with).status, 503);
    assert!(get("/readyz", &with).body.contains(source.root().to_str().expect("plain")));
    // A page elsewhere could post, but not with this header.
    let pause =
        |headers: &[&str]| http::ask(port, "POST /v1/pause", headers, "{}").expect("it answers").status;
    assert_eq!(pause(&with), 403);
    assert_eq!(pause(&[with[0], "X-Skiff: 1"]), 200);
    accepted_by_promtool(&metrics.body);
}

/// Prometheus' own parser and linter, where it is installed.
fn accepted_by_promtool(metrics: &str) {
    let scratch = TempDir::new().expect("a temporary folder");
    let file = scratch.path().join("metrics");
    fs::write(&file, metrics).expect("writable");
    let input = fs::File::open(&file).expect("just written");
    match Command::new("promtool").args(["check", "metrics"]).stdin(input).output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{}\n{metrics}", String::from_utf8_lossy(&said));
        }
        Err(error) => machine::not_shown(
            "/metrics by Prometheus' linter",
            &format!("promtool (package prometheus) cannot be started: {error}"),
        ),
    }
}

#[test]
fn without_a_token_only_names_of_this_machine_are_answered() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let source = Tree::new(scratch.path().join("in"), 13);
    let port = http::free_port();
    let mut agent = Agent::with_destination(&sshd, &format!("[control]\nlisten = '127.0.0.1:{port}'"))
        .watch("in", source.root(), "")
        .started();
    agent.wait_until_logged("it is ready", |line| line.contains("ready"));
    let get = |headers: &[&str]| http::ask(port, "GET /v1/status", headers, "").expect("it answers").status;
    assert_eq!(get(&[]), 200);
    assert_eq!(get(&["Host: evil.example"]), 403);
    // A page that came from elsewhere, whatever name it asks by.
    let own = format!("127.0.0.1:{port}");
    let from = |origin: &str| get(&[&format!("Host: {own}"), &format!("Origin: {origin}")]);
    assert_eq!(from(&format!("http://{own}")), 200);
    for elsewhere in ["http://evil.example", "http://127.0.0.1:1", "null"] {
        assert_eq!(from(elsewhere), 403, "{elsewhere}");
    }
}
