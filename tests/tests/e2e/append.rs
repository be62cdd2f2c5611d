//! Logs that are delivered while they grow: the copy is the beginning of its source, and nothing is sent twice.

mod rig;
mod trouble;

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;

use rustix::process::Signal;
use serde_json::Value;
use skiff_tests::fault_proxy::Fault;
use skiff_tests::sshd::sftp_only;
use skiff_tests::{Agent, FaultProxy, Sshd, Toolbox, wait};
use tempfile::TempDir;

use rig::{RULES, Rig, many, names_in, number, say};

#[test]
fn what_a_log_grew_by_is_put_behind_its_copy_while_it_is_written() {
    let mut rig = Rig::new().started();
    let mut log = rig.log("app.log");
    say(&mut log, "one\n");
    rig.wait_for("app.log", "one\n");
    let copy = number(&rig.copy("app.log"));

    say(&mut log, "two\nthree, of which the end is still to");
    rig.wait_for("app.log", "one\ntwo\nthree, of which the end is still to");
    let more = many("line");
    say(&mut log, &more);
    rig.wait_for("app.log", &format!("one\ntwo\nthree, of which the end is still to{more}"));

    assert_eq!(number(&rig.copy("app.log")), copy, "it grew where it stands");
    assert_eq!(rig.names(), ["app.log"]);
}

#[test]
fn rotation_by_rename_renames_the_copies_and_sends_nothing_again() {
    let mut rig = Rig::new().started();
    let mut log = rig.log("app.log");
    say(&mut log, "first\n");
    rig.wait_for("app.log", "first\n");
    let first = number(&rig.copy("app.log"));

    // The writer goes on in the old file for a while, as one does that is told to reopen later.
    fs::rename(rig.folder.join("app.log"), rig.folder.join("app.log.1")).expect("it is there");
    let mut next = rig.log("app.log");
    say(&mut next, "second\n");
    say(&mut log, "the end of the first\n");
    rig.wait_for("app.log.1", "first\nthe end of the first\n");
    rig.wait_for("app.log", "second\n");
    assert_eq!(number(&rig.copy("app.log.1")), first, "the copy was renamed");

    // The oldest goes: its copy stays, under a name of its own once another one needs its name.
    fs::rename(rig.folder.join("app.log.1"), rig.folder.join("app.log.2")).expect("it is there");
    fs::rename(rig.folder.join("app.log"), rig.folder.join("app.log.1")).expect("it is there");
    rig.wait_for("app.log.2", "first\nthe end of the first\n");
    rig.wait_for("app.log.1", "second\n");
    assert_eq!(number(&rig.copy("app.log.2")), first);
    // While a copy is renamed, both its names stand for a moment.
    let root = rig.sshd.root();
    rig.agent.wait_until("the old name goes", || names_in(&root) == ["app.log.1", "app.log.2"]);
    rig.agent.wait_until_logged("both are read back whole", |line| line.contains("whole copy was verified"));
    drop(log);
    fs::remove_file(rig.folder.join("app.log.2")).expect("it is there");
    rig.agent.wait_until_logged("its end is noticed", |line| line.contains("all of it was delivered"));
    fs::rename(rig.folder.join("app.log.1"), rig.folder.join("app.log.2")).expect("it is there");
    rig.wait_for("app.log.2", "second\n");
    let aside =
        rig.names().into_iter().find(|name| name.contains('~')).expect("the oldest has a name of its own");
    assert_eq!(number(&rig.copy(&aside)), first);
    assert_eq!(rig.losses(), "");
}

#[test]
fn a_log_that_was_copied_and_truncated_goes_on_in_the_copy() {
    let mut rig = Rig::new().started();
    let mut log = rig.log("app.log");
    let old = many("old");
    say(&mut log, &old);
    rig.wait_for("app.log", &old);
    let copy = number(&rig.copy("app.log"));

    rig.agent.signal(Signal::STOP);
    say(&mut log, "the last words\n");
    fs::copy(rig.folder.join("app.log"), rig.folder.join("app.log.1")).expect("there is room");
    log.set_len(0).expect("it is open for writing");
    say(&mut log, "new\n");
    rig.agent.signal(Signal::CONT);

    rig.wait_for("app.log.1", &format!("{old}the last words\n"));
    rig.wait_for("app.log", "new\n");
    assert_eq!(number(&rig.copy("app.log.1")), copy, "nothing was sent again");
    assert_eq!(rig.names(), ["app.log", "app.log.1"]);
    rig.agent.wait_until_logged("the gap is reported", |line| {
        line.contains("between its copying and its truncation")
    });
}

/// Refilled beyond its old length between two looks.
#[test]
fn a_log_that_was_truncated_without_a_copy_keeps_what_was_delivered() {
    let mut rig = Rig::new().started();
    let mut log = rig.log("app.log");
    say(&mut log, "what it said before\n");
    rig.wait_for("app.log", "what it said before\n");

    rig.agent.signal(Signal::STOP);
    log.set_len(0).expect("it is open for writing");
    say(&mut log, "what it says now is longer than that\n");
    rig.agent.signal(Signal::CONT);

    rig.wait_for("app.log", "what it says now is longer than that\n");
    let aside =
        rig.names().into_iter().find(|name| name.contains('~')).expect("the old one has a name of its own");
    rig.wait_for(&aside, "what it said before\n");
    let losses = rig.agent.state_dir().join("losses.jsonl");
    rig.agent.wait_until("it is written down", || {
        fs::read_to_string(&losses).is_ok_and(|text| text.contains("truncated"))
    });
}

/// The end of a log is read from the open file though it was packed and deleted meanwhile.
#[test]
fn compressing_rotation_loses_no_end() {
    let mut rig = Rig::new().started();
    let mut log = rig.log("app.log");
    say(&mut log, "begin\n");
    rig.wait_for("app.log", "begin\n");

    rig.agent.signal(Signal::STOP);
    say(&mut log, "end\n");
    drop(log);
    fs::rename(rig.folder.join("app.log"), rig.folder.join("app.log.1")).expect("it is there");
    say(&mut rig.log("app.log.1.gz"), "packed");
    fs::remove_file(rig.folder.join("app.log.1")).expect("it is there");
    say(&mut rig.log("app.log"), "next\n");
    rig.agent.signal(Signal::CONT);

    rig.wait_for("app.log", "next\n");
    let names = rig.names();
    let aside =
        names.iter().find(|name| name.contains('~')).expect("the old one has a name of its own").clone();
    rig.wait_for(&aside, "begin\nend\n");
    assert_eq!(names.len(), 2, "what is packed is excluded: {names:?}");
    assert_eq!(rig.losses(), "");
}

#[test]
fn a_restart_goes_on_where_it_was_through_a_rotation() {
    let mut rig = Rig::new().started();
    let mut log = rig.log("app.log");
    say(&mut log, "one\n");
    rig.wait_for("app.log", "one\n");
    say(&mut log, "two\n");
    rig.wait_for("app.log", "one\ntwo\n");
    let copy = number(&rig.copy("app.log"));
    rig.agent.kill9();

    say(&mut log, "three\n");
    fs::rename(rig.folder.join("app.log"), rig.folder.join("app.log.1")).expect("it is there");
    say(&mut rig.log("app.log"), "four\n");
    rig.agent.start();

    rig.wait_for("app.log.1", "one\ntwo\nthree\n");
    rig.wait_for("app.log", "four\n");
    assert_eq!(number(&rig.copy("app.log.1")), copy);
    assert_eq!(rig.names(), ["app.log", "app.log.1"]);
}

/// P7: the state is gone; what stands at the destination says how far it came.
#[test]
fn a_lost_state_costs_looking_and_nothing_else() {
    let mut rig = Rig::new().started();
    let mut log = rig.log("app.log");
    say(&mut log, "one\n");
    rig.wait_for("app.log", "one\n");
    let copy = number(&rig.copy("app.log"));
    rig.agent.kill9();
    fs::remove_dir_all(rig.agent.state_dir()).expect("it is there");

    say(&mut log, "two\n");
    rig.agent.start();

    rig.wait_for("app.log", "one\ntwo\n");
    assert_eq!(number(&rig.copy("app.log")), copy);
    assert_eq!(rig.names(), ["app.log"]);
}

/// What a power cut left behind what was synced is cut off again.
#[test]
fn a_damaged_tail_is_cut_back_to_what_is_right() {
    let mut rig = Rig::new().started();
    let mut log = rig.log("app.log");
    say(&mut log, "one\n");
    rig.wait_for("app.log", "one\n");
    rig.agent.terminate();
    let mut copy = OpenOptions::new().append(true).open(rig.copy("app.log")).expect("it is there");
    copy.write_all(&[0; 4096]).expect("there is room");

    say(&mut log, &"two\n".repeat(2_000));
    rig.agent.start();

    rig.wait_for("app.log", &format!("one\n{}", "two\n".repeat(2_000)));
    assert_eq!(rig.names(), ["app.log"]);
}

/// P6: somebody else's file keeps its name and its content, also an empty one, and also after a restart.
#[test]
fn a_foreign_file_is_never_appended_to() {
    let mut rig = Rig::new();
    fs::write(rig.copy("app.log"), "somebody else's").expect("the destination is writable");
    fs::write(rig.copy("empty.log"), "").expect("the destination is writable");
    let (mut log, mut other) = (rig.log("app.log"), rig.log("empty.log"));
    say(&mut log, "ours\n");
    say(&mut other, "ours too\n");
    rig = rig.started();
    let beside =
        |rig: &Rig, stem: &str| rig.names().into_iter().find(|name| name.starts_with(&format!("{stem}~")));
    let root = rig.sshd.root();
    rig.agent.wait_until("both come beside", || {
        let names: Vec<_> = fs::read_dir(&root).expect("it can be listed").flatten().collect();
        names.iter().filter(|entry| entry.file_name().to_string_lossy().contains('~')).count() == 2
    });
    let (ours, too) =
        (beside(&rig, "app").expect("it is there"), beside(&rig, "empty").expect("it is there"));
    rig.wait_for(&ours, "ours\n");
    rig.wait_for(&too, "ours too\n");
    rig.agent.kill9();
    say(&mut log, "more\n");
    rig.agent.start();

    rig.wait_for(&ours, "ours\nmore\n");
    rig.wait_for("app.log", "somebody else's");
    rig.wait_for("empty.log", "");
    assert_eq!(rig.names().len(), 4);
}

/// A symlink in the place of a copy is never written through.
#[test]
fn a_symlink_at_the_destination_is_not_followed() {
    let mut rig = Rig::new().started();
    let mut log = rig.log("app.log");
    say(&mut log, "one\n");
    rig.wait_for("app.log", "one\n");
    let victim = rig.folder.with_file_name("victim");
    fs::write(&victim, "one\n").expect("there is room");
    fs::remove_file(rig.copy("app.log")).expect("it is there");
    symlink(&victim, rig.copy("app.log")).expect("the destination is writable");

    say(&mut log, "two\n");
    let root = rig.sshd.root();
    rig.agent.wait_until("it begins anew beside", || {
        let names = fs::read_dir(&root).expect("it can be listed").flatten();
        names.into_iter().any(|entry| {
            entry.file_name().to_string_lossy().starts_with("app~")
                && fs::read(entry.path()).is_ok_and(|bytes| bytes == b"one\ntwo\n")
        })
    });
    assert_eq!(fs::read(&victim).expect("it is there"), b"one\n");
}

/// A log that came and went while nobody was there to read its end is reported, and its number may be another file's.
#[test]
fn a_log_that_vanished_is_reported_and_not_taken_for_the_next_one() {
    let mut rig = Rig::new().started();
    let mut log = rig.log("app.log");
    say(&mut log, "# log, version 1\n");
    rig.wait_for("app.log", "# log, version 1\n");
    // Else, by a limit that is known, the copy could be taken for the next one's.
    let is_known = || rig.items()[0]["delivered_bytes"] == 17;
    assert!(wait::came_true(wait::LIMIT, is_known), "its copy is not known: {}", rig.items());
    rig.agent.kill9();
    say(&mut log, "never seen\n");
    drop(log);
    fs::remove_file(rig.folder.join("app.log")).expect("it is there");
    say(&mut rig.log("app.log"), "# log, version 1\nnext\n");
    rig.agent.start();

    rig.wait_for("app.log", "# log, version 1\nnext\n");
    let aside =
        rig.names().into_iter().find(|name| name.contains('~')).expect("the old one has a name of its own");
    rig.wait_for(&aside, "# log, version 1\n");
    let losses = rig.agent.state_dir().join("losses.jsonl");
    rig.agent.wait_until("it is written down", || {
        fs::read_to_string(&losses).is_ok_and(|text| text.contains("vanished_undelivered"))
    });
}

#[test]
fn a_cut_connection_costs_no_byte() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let (folder, proxy) = (scratch.path().join("in"), FaultProxy::to(sshd.port()));
    fs::create_dir(&folder).expect("a new folder is writable");
    let mut agent = Agent::through(&proxy, &sshd, "").watch("logs", &folder, RULES).started();
    let mut log = File::create(folder.join("app.log")).expect("there is room");
    let mut said = String::new();
    for round in 0..6 {
        let more = many(&format!("round {round}"));
        say(&mut log, &more);
        said.push_str(&more);
        let copy = sshd.root().join("app.log");
        let part = said.len() as u64 - more.len() as u64 / 2;
        agent.wait_until("half of it is there", || copy.metadata().is_ok_and(|meta| meta.len() > part));
        proxy.break_all(Fault::Reset);
    }
    let copy = sshd.root().join("app.log");
    agent.wait_until("all of it is there", || fs::read(&copy).is_ok_and(|bytes| bytes == said.as_bytes()));
}

/// A step of the old settings hangs at the destination when new ones come: the next follower begins after it was given up.
#[test]
fn a_reload_ends_a_follower_before_the_next_one_begins() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let (folder, proxy) = (scratch.path().join("in"), FaultProxy::to(sshd.port()));
    fs::create_dir(&folder).expect("a new folder is writable");
    let mut agent = Agent::through(&proxy, &sshd, "").watch("logs", &folder, RULES);
    let text = fs::read_to_string(agent.config()).expect("it is there");
    let text = text.replace("[log]\n", "[log]\nlevel = 'trace'\n");
    fs::write(agent.config(), &text).expect("writable");
    agent.start();
    let mut log = File::create(folder.join("app.log")).expect("there is room");
    let copy = sshd.root().join("app.log");
    say(&mut log, "one\n");
    agent.wait_until_logged("the first line is there", |line| line.contains("delivered and verified"));
    let number = number(&copy);

    let said = agent.log().lines().count();
    proxy.set_up(false);
    say(&mut log, "two\n");
    agent.wait_until_logged_after(said, "a step is under way", |line| {
        line.contains("to do") && line.contains("append(")
    });
    fs::write(agent.config(), text.replace("'100ms'", "'150ms'")).expect("writable");
    agent.ask(&["reload"]).expect_code(0).expect_said("changed: logs");
    let lines = |agent: &Agent, words: &str| {
        let log = agent.log();
        log.lines()
            .enumerate()
            .filter(|(_, line)| line.contains(words))
            .map(|(nth, _)| nth)
            .collect::<Vec<_>>()
    };
    agent.wait_until_logged("the old one ends", |line| line.contains("its follower has ended"));
    agent.wait_until_logged_after(said, "the new one begins", |line| line.contains("its follower begins"));
    let (begins, ends) = (lines(&agent, "its follower begins"), lines(&agent, "its follower has ended"));
    assert!(
        begins.len() == 2 && ends.len() == 1 && ends[0] < begins[1],
        "{begins:?} {ends:?}\n{}",
        agent.log()
    );

    proxy.set_up(true);
    say(&mut log, "three\n");
    agent.wait_until("all is there", || fs::read(&copy).is_ok_and(|bytes| bytes == b"one\ntwo\nthree\n"));
    assert_eq!(self::number(&copy), number, "it grew where it stands");
    assert_eq!(names_in(&sshd.root()), ["app.log"]);
}

/// Copies grow by means of a shell: a server that has none is told by `check`, and the logs wait with their reason.
#[test]
fn a_server_without_a_shell_is_told_and_gets_nothing() {
    let mut rig = sftp_only(Rig::new);
    say(&mut rig.log("app.log"), "one\n");
    let why = "serves SFTP alone, and logs that grow (mode = \"append\") need a shell there";
    let remedy = "or deliver the logs when they are whole: mode = \"whole\"";
    let checked = rig.agent.ask(&["check"]).expect_code(3);
    checked.expect_said(&format!("FAIL  watch logs at server: the destination {why}")).expect_said(remedy);

    rig.agent.start();
    rig.agent.wait_until_logged("the log says why", |line| {
        line.contains(&why.to_lowercase()) && line.contains(remedy)
    });
    let mut items = Value::Null;
    let told = wait::came_true(wait::LIMIT, || {
        items = rig.items();
        items[0]["reason"].as_str().is_some_and(|reason| reason.contains(why) && reason.contains(remedy))
    });
    assert!(told, "{items:#}");
    assert_eq!((&items[0]["path"], &items[0]["delivered_bytes"]), (&"app.log".into(), &0.into()));
    let mut said = String::new();
    let counted = wait::came_true(wait::LIMIT, || {
        said = rig.agent.ask(&["status", "--json"]).expect_code(0).said;
        said.contains("\"no-shell\"")
    });
    assert!(counted, "{said}");
    assert_eq!(rig.names(), [""; 0]);
}

/// One moment in which the server can start no shell looks as if it had none: it is looked for again, over the same connection.
#[test]
fn a_shell_that_failed_once_is_looked_for_again() {
    let script = "[ -e \"$HOME/failed\" ] || { : >\"$HOME/failed\"; exit 1; }; exec \"$REAL\" \"$@\"";
    let toolbox = Toolbox::usual().and(&["dd", "stat"]).with("sh", script);
    // With one session the channel that served meanwhile has to make room.
    for sessions in ["", "MaxSessions 1"] {
        let _first = fs::remove_file(toolbox.note("failed"));
        let sshd = Sshd::start_with(&format!("{}\n{sessions}", toolbox.lines()));
        let scratch = TempDir::new().expect("a temporary folder");
        let folder = scratch.path().join("in");
        fs::create_dir(&folder).expect("a new folder is writable");
        fs::write(folder.join("app.log"), "one\n").expect("the folder is writable");
        let mut agent = Agent::to(&sshd).watch("logs", &folder, RULES).started();

        let copy = sshd.root().join("app.log");
        agent.wait_until("it is delivered", || fs::read(&copy).is_ok_and(|bytes| bytes == b"one\n"));

        assert!(toolbox.note("failed").exists(), "no shell failed");
        assert!(agent.log().contains("by SFTP"), "this shows nothing:\n{}", agent.log());
    }
}

#[test]
fn items_tell_how_far_each_log_is_delivered() {
    let mut rig = Rig::new().started();
    let (mut log, mut other) = (rig.log("app.log"), rig.log("other.log"));
    say(&mut log, "one\n");
    say(&mut other, "whole\n");
    rig.wait_for("app.log", "one\n");
    rig.wait_for("other.log", "whole\n");
    let mut items = Value::Null;
    let told = wait::came_true(wait::LIMIT, || {
        items = rig.items();
        [0, 1].iter().all(|nth| items[nth]["delivered_bytes"].as_u64() > Some(0))
    });
    assert!(told, "{items:#}\n{}", rig.agent.log());
    rig.sshd.stop();
    say(&mut log, "two\n");

    let told = wait::came_true(wait::LIMIT, || {
        items = rig.items();
        items[0]["attempts"].as_u64() > Some(0)
    });
    assert!(told, "{items:#}\n{}", rig.agent.log());
    let far = |item: &Value| {
        ["watch", "path", "state", "bytes", "delivered_bytes"].map(|key| item[key].to_string()).join(" ")
    };
    let list: Vec<_> = items.as_array().expect("a list").iter().map(far).collect();
    assert_eq!(list, [r#""logs" "app.log" "growing" 8 4"#, r#""logs" "other.log" "growing" 6 6"#]);
    assert_eq!((&items[1]["attempts"], &items[1]["reason"]), (&0.into(), &Value::Null), "it is delivered");
    let growing = rig.agent.ask(&["items", "--state", "growing", "--match", "app"]).expect_code(0);
    growing.expect_said("growing").expect_said("4 B of 8 B");
    rig.agent.ask(&["items", "--state", "held"]).expect_code(0).expect_said("nothing");

    assert!(rig.agent.terminate().success());
    let items = rig.items();
    let list: Vec<_> = items.as_array().expect("a list").iter().map(far).collect();
    assert_eq!(list, [r#""logs" "app.log" "growing" null 4"#, r#""logs" "other.log" "growing" null 6"#]);
}
