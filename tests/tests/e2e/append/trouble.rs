//! What is done to the copies meanwhile, what the destination refuses about one of them, and more than it takes at once.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;

use skiff_tests::wait;
use tempfile::TempDir;

use super::rig::{Rig, many, number, say};

/// Such as by a collector that rotates what it gets by copying and truncating, also after a restart.
#[test]
fn a_copy_that_was_emptied_is_filled_again() {
    let mut rig = Rig::new().started();
    let mut log = rig.log("app.log");
    say(&mut log, "one\n");
    rig.wait_for("app.log", "one\n");
    let copy = number(&rig.copy("app.log"));
    let empty = |rig: &Rig| {
        let copy = OpenOptions::new().write(true).truncate(true).open(rig.copy("app.log"));
        drop(copy.expect("it is there"));
    };

    empty(&rig);
    say(&mut log, "two\n");
    rig.wait_for("app.log", "one\ntwo\n");
    rig.agent.wait_until_logged("it is told", |line| line.contains("has 0 of 4 bytes at the destination"));

    assert!(rig.agent.terminate().success());
    empty(&rig);
    say(&mut log, "three\n");
    rig.agent.start();
    rig.wait_for("app.log", "one\ntwo\nthree\n");
    assert_eq!(number(&rig.copy("app.log")), copy, "it is filled where it stands");
    assert_eq!(rig.names(), ["app.log"]);
    assert_eq!(rig.losses(), "");
}

/// The folder that it is rotated into is a symlink at the server. Its name is free for the log that follows, and it goes on itself.
#[test]
fn a_copy_that_cannot_be_renamed_holds_up_no_other() {
    let mut rig = Rig::new();
    let elsewhere = TempDir::new().expect("a temporary folder");
    symlink(elsewhere.path(), rig.copy("archive")).expect("the destination is writable");
    rig = rig.started();
    let (mut log, mut other) = (rig.log("app.log"), rig.log("other.log"));
    say(&mut log, "one\n");
    say(&mut other, "a\n");
    rig.wait_for("app.log", "one\n");
    rig.wait_for("other.log", "a\n");
    let copy = number(&rig.copy("app.log"));

    fs::create_dir(rig.folder.join("archive")).expect("there is room");
    fs::rename(rig.folder.join("app.log"), rig.folder.join("archive/app.log.1")).expect("it is there");
    say(&mut rig.log("app.log"), "two\n");
    say(&mut log, "its end\n");
    say(&mut other, "b\n");
    rig.wait_for("app.log", "two\n");
    rig.wait_for("other.log", "a\nb\n");
    let aside = rig.names().into_iter().find(|name| name.contains('~')).expect("it has made room");
    rig.wait_for(&aside, "one\nits end\n");
    let why = "renaming a copy failed at the server: ./archive is a symlink";
    let mut said = String::new();
    let told = wait::came_true(wait::LIMIT, || {
        said = rig.agent.ask(&["status"]).expect_code(0).said;
        said.contains("logs:archive/app.log.1, ") && said.contains(why)
    });
    assert!(told, "{said}");
    assert_eq!(fs::read_dir(elsewhere.path()).expect("it is there").count(), 0, "nothing goes through it");
    rig.agent.kill9();
    say(&mut other, "c\n");
    rig.agent.start();
    rig.wait_for("other.log", "a\nb\nc\n");

    fs::remove_file(rig.copy("archive")).expect("it is there");
    rig.wait_for("archive/app.log.1", "one\nits end\n");
    assert_eq!(number(&rig.copy("archive/app.log.1")), copy, "nothing was sent again");
    assert_eq!(rig.losses(), "");
}

/// A log is met, read to its end and rotated while one that takes minutes is on its way.
#[test]
fn compressing_rotation_loses_no_end_while_a_backlog_is_sent() {
    let mut rig = Rig::with("bandwidth = '1 Mbit/s'");
    let large = many("large");
    say(&mut rig.log("large.log"), &large);
    rig = rig.started();
    let copy = rig.copy("large.log");
    rig.agent.wait_until("the large one is on its way", || copy.exists());

    let mut log = rig.log("app.log");
    say(&mut log, "begin\n");
    rig.wait_for("app.log", "begin\n");
    say(&mut log, "end\n");
    drop(log);
    fs::rename(rig.folder.join("app.log"), rig.folder.join("app.log.1")).expect("it is there");
    say(&mut rig.log("app.log.1.gz"), "packed");
    fs::remove_file(rig.folder.join("app.log.1")).expect("it is there");
    say(&mut rig.log("app.log"), "next\n");
    rig.wait_for("app.log", "next\n");
    let aside = rig.names().into_iter().find(|name| name.contains('~')).expect("the old one made room");
    rig.wait_for(&aside, "begin\nend\n");

    let sent = fs::metadata(&copy).expect("it is there").len();
    assert!(sent < large.len() as u64, "the large one was over before");
    assert_eq!(rig.losses(), "");
}
