//! The campaigns' judge: one that lets a loss, a part or a second name pass would prove nothing.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use skiff_tests::campaign::rig::{After, Rig};
use skiff_tests::campaign::{Expected, Tally, Verdict};
use skiff_tests::{Sshd, Tree, process, wait};
use tempfile::TempDir;

/// A source that was delivered whole, what is expected of it, and a change to either side.
fn judged(change: impl FnOnce(&Path, &Path)) -> Verdict {
    let scratch = TempDir::new().expect("a temporary folder");
    let (source, destination) = (scratch.path().join("in"), scratch.path().join("out"));
    for root in [&source, &destination] {
        let mut tree = Tree::new(root, 1);
        tree.file("one", 5000);
        tree.file("folder/two", 100);
    }
    let expected = Expected::of(&source).expect("it can be read");
    change(&source, &destination);
    expected.judge(&source, &destination)
}

#[test]
fn whole_delivery_is_complete() {
    assert!(judged(|_, _| ()).is_complete());
    assert!(judged(|source, _| fs::remove_dir_all(source).expect("removed")).is_complete());
}

#[test]
fn part_is_corrupt() {
    let verdict = judged(|_, destination| {
        let file = fs::File::options().write(true).open(destination.join("one")).expect("it is there");
        file.set_len(4999).expect("it can be cut");
    });
    assert_eq!(verdict.corrupt, [Path::new("one")]);
    assert!(!verdict.is_sound());
}

#[test]
fn missing_file_is_lost_unless_the_source_has_it() {
    let gone = |destination: &Path| fs::remove_file(destination.join("folder/two")).expect("removed");
    let waiting = judged(|_, destination| gone(destination));
    assert!(waiting.is_sound() && !waiting.is_complete());
    let lost = judged(|source, destination| {
        gone(destination);
        gone(source);
    });
    assert_eq!(lost.lost, [Path::new("folder/two")]);
    assert!(!lost.is_sound());
}

#[test]
fn file_that_is_leaving_its_folder_is_not_lost() {
    let verdict = judged(|source, destination| {
        fs::remove_file(destination.join("one")).expect("removed");
        fs::create_dir_all(source.join(".skiff/leaving")).expect("made");
        fs::rename(source.join("one"), source.join(".skiff/leaving/one")).expect("renamed");
    });
    assert!(verdict.is_sound() && !verdict.is_complete());
}

#[test]
fn second_name_is_extra() {
    let verdict = judged(|_, destination| {
        fs::copy(destination.join("one"), destination.join("one~1")).expect("copied");
    });
    assert_eq!(verdict.extra, [Path::new("one~1")]);
    assert!(!verdict.is_sound());
}

#[test]
fn older_version_is_lost_once_the_newer_source_is_gone() {
    let scratch = TempDir::new().expect("a temporary folder");
    let (source, destination) = (scratch.path().join("in"), scratch.path().join("out"));
    let mut expected = Expected::default();
    for (root, text) in [(&source, "newer"), (&destination, "older")] {
        fs::create_dir(root).expect("made");
        fs::write(root.join("a"), text).expect("written");
    }
    expected.version("a", b"older");
    expected.version("a", b"newer");
    assert!(expected.judge(&source, &destination).is_sound());
    fs::remove_file(source.join("a")).expect("removed");
    assert_eq!(expected.judge(&source, &destination).lost, [Path::new("a")]);
}

#[test]
#[should_panic(expected = "shows nothing")]
fn tally_without_a_fault_is_no_pass() {
    let mut tally = Tally::default();
    tally.add(false, None);
    tally.expect_clean();
}

#[test]
fn only_runs_that_met_their_fault_and_did_well_are_clean() {
    let of = |met, failure| {
        let mut tally = Tally::default();
        tally.add(met, failure);
        tally.is_clean()
    };
    assert!(of(true, None));
    assert!(!of(false, None) && !of(true, Some("lost".to_owned())) && !Tally::default().is_clean());
    assert!(!Tally::skipped("no root".to_owned()).is_clean());
}

/// Whatever it has delivered: an agent that has to be killed in the end has failed.
#[test]
fn agent_that_does_not_end_is_a_failure() {
    let mut rig = Rig::new(After::Keep);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' TERM; : >deaf; exec sleep 1000"]).current_dir(rig.home());
    rig.start_stand_in(command);
    assert!(wait::came_true(wait::LIMIT, || rig.home().join("deaf").exists()), "it runs");

    let wrong = rig.conclude(&Expected::default(), Duration::ZERO);

    assert!(wrong.is_some_and(|wrong| wrong.contains("15 s of SIGTERM")), "it was let off");
    assert!(!rig.is_running(), "it is left behind");
}

/// What everybody does without skiff: straight to the final name.
#[test]
fn plain_scp_that_is_killed_leaves_a_part() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    let file = source.file("large.bin", 64 << 20);
    let expected = Expected::of(source.root()).expect("it can be read");
    let target = format!("{}@127.0.0.1:{}/large.bin", sshd.user(), sshd.root().display());
    let mut scp = Command::new("scp")
        .args(["-q", "-O", "-F", "none", "-l", "80000", "-P", &sshd.port().to_string(), "-i"])
        .arg(sshd.key())
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", sshd.known_hosts().display()))
        .arg(file)
        .arg(target)
        .stdin(Stdio::null())
        .spawn()
        .expect("scp can be started");
    let arrived = sshd.root().join("large.bin");
    let began = wait::came_true(wait::LIMIT, || arrived.metadata().is_ok_and(|found| found.len() > 0));
    for pid in process::descendants(process::pid(&scp)) {
        process::signal(pid, Signal::KILL);
    }
    let _gone = scp.kill();
    scp.wait().expect("a child can be waited for");
    assert!(began, "the transfer never began");

    let verdict = expected.judge(source.root(), &sshd.root());

    assert_eq!(verdict.corrupt, [Path::new("large.bin")], "{verdict}");
}
