//! Faults of the process, by their numbers in `FAULTS.md`. 84 and 85 are in `e2e::restart` and in campaigns.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use skiff_tests::{Agent, Sshd, Tree, machine, skiff, tree, wait};
use tempfile::TempDir;

const DELETE: &str = "after_delivery = 'delete'";

fn start() -> (Sshd, TempDir, Tree) {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let source = Tree::new(scratch.path().join("in"), 1);
    (sshd, scratch, source)
}

/// From far too little memory upwards: however early it ends, nothing is lost or mangled, and the next start goes on.
#[test]
fn fault_86_out_of_memory_loses_nothing() {
    let (sshd, scratch, mut source) = start();
    source.small_files(300, 10);
    source.file("large.bin", 4 << 20);
    let kept = Tree::new(scratch.path().join("kept"), 1);
    tree::copy(source.root(), kept.root());
    let mut agent = Agent::to(&sshd).watch("in", source.root(), &format!("{DELETE}\nbatch_items = 50"));
    let mut ended = 0;
    for mib in [6, 10, 14, 18, 22, 28] {
        agent.set_under(["prlimit".to_owned(), format!("--data={}", mib << 20)]);
        agent.start();
        let until = Instant::now() + Duration::from_secs(4);
        let over = |agent: &mut Agent| agent.has_ended() || tree::is_empty(source.root());
        while !over(&mut agent) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        if agent.has_ended() {
            let status = agent.wait_for_end();
            assert!(!status.success(), "an agent without memory doesn't say that all is well");
            ended += 1;
        } else {
            agent.kill9();
        }
        for path in tree::files(kept.root()).expect("it can be read").into_keys() {
            let (from, to) = (source.root().join(&path), sshd.root().join(&path));
            assert!(from.exists() || tree::same_bytes(&kept.root().join(&path), &to), "{path:?} is lost");
        }
    }
    assert!(ended > 0, "there was memory enough, so this shows nothing");

    agent.set_under::<&str>([]);
    agent.start();
    agent.wait_until("the next start delivers the rest", || tree::is_empty(source.root()));
    tree::assert_equal(kept.root(), &sshd.root());
}

/// No random number can be had for a wait: that panics, in whatever task needs one. The whole agent ends.
#[test]
fn fault_87_panic_ends_the_whole_agent() {
    if !machine::is_root("a system call that fails from some moment on") {
        return;
    }
    let (sshd, scratch, mut source) = start();
    let other = Tree::new(scratch.path().join("other"), 2);
    let mut agent =
        Agent::to(&sshd).watch("in", source.root(), DELETE).watch("other", other.root(), DELETE).started();
    source.file("first", 100);
    agent.wait_until("the agent works", || tree::is_empty(source.root()));
    let pid = agent.pid().as_raw_nonzero();
    let attach = format!("--attach={pid}");
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=getrandom:error=EIO", &attach])
        .spawn()
        .expect("strace can be started");
    let status = format!("/proc/{pid}/status");
    agent.wait_until("strace is there", || {
        fs::read_to_string(&status).is_ok_and(|text| !text.contains("TracerPid:\t0\n"))
    });

    source.file("second", 100);
    let ended = agent.wait_for_end();
    strace.wait().expect("it ends with the process");

    assert!(!ended.success(), "{ended}");
    assert!(agent.log().contains("panicked"), "it says what happened:\n{}", agent.log());
    agent.start();
    agent.wait_until("the next start goes on", || tree::is_empty(source.root()));
    assert_eq!(tree::count(&sshd.root()), 2);
}

/// The binary is replaced while a batch is on its way, and the agent restarted, as a package manager does.
#[test]
fn fault_88_upgrade_in_mid_batch_goes_on() {
    let (sshd, scratch, mut source) = start();
    source.small_files(1_000, 10);
    source.file("large.bin", 24 << 20);
    let installed = scratch.path().join("skiff");
    fs::copy(skiff::binary(), &installed).expect("there is room");
    // The harness names its own binary; this runs another with the same words.
    let script = format!("shift; exec {} \"$@\"", installed.display());
    let words = ["sh", "-c", &script, "sh"];
    let slow = "bandwidth = '20 Mbit/s'";
    let mut agent = Agent::with_destination(&sshd, slow).watch("in", source.root(), "").under(words);
    let next = scratch.path().join("skiff.next");
    fs::copy(skiff::binary(), &next).expect("there is room");
    agent.start();
    agent.wait_until("the transfer is under way", || tree::staged_bytes(&sshd.root()) > 0);

    fs::rename(&next, &installed).expect("a running binary can be replaced");
    assert!(agent.terminate().success());
    assert!(!tree::equal(source.root(), &sshd.root()), "all was delivered before: this shows nothing");
    agent.start();

    agent.wait_until("the new one goes on", || tree::equal(source.root(), &sshd.root()));
    assert!(!agent.log().contains("could not be trusted"), "{}", agent.log());
}

/// After a reload of a bad configuration the old one is in force, and that is said.
#[test]
fn fault_89_bad_reload_keeps_the_old_configuration() {
    let (sshd, _scratch, mut source) = start();
    let mut agent = Agent::to(&sshd).watch("in", source.root(), DELETE).started();
    source.file("first", 100);
    agent.wait_until("the agent works", || tree::is_empty(source.root()));

    fs::write(agent.config(), "colour = 'red'\n[[watch").expect("there is room");
    let said = agent.log().lines().count();
    agent.signal(Signal::HUP);
    agent.wait_until_logged_after(said, "it is said", |line| line.contains("configuration"));
    source.file("second", 100);

    agent.wait_until("it goes on as before", || tree::is_empty(source.root()));
    assert_eq!(tree::count(&sshd.root()), 2);
    assert!(agent.terminate().success());
}

/// Asleep for longer than either side waits; awake, it finds the connection dead and makes another.
#[test]
fn fault_90_suspended_and_resumed_reconnects() {
    let (scratch, sshd) = (
        TempDir::new().expect("a temporary folder"),
        Sshd::start_with("ClientAliveInterval 1\nClientAliveCountMax 2"),
    );
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.file("large.bin", 16 << 20);
    let slow = "bandwidth = '64 Mbit/s'\nkeepalive = '1s'";
    let mut agent = Agent::with_destination(&sshd, slow).watch("in", source.root(), DELETE).started();
    agent.wait_until("the transfer is under way", || tree::staged_bytes(&sshd.root()) > 0);

    agent.signal(Signal::STOP);
    let gave_up = || sshd.log().contains("Timeout, client not responding");
    assert!(wait::came_true(wait::LIMIT, gave_up), "the server notices:\n{}", sshd.log());
    assert_eq!(tree::count(&sshd.root()), 0, "P2: a part never has the final name");
    agent.signal(Signal::CONT);

    agent.wait_until("the file is delivered", || tree::is_empty(source.root()));
    let again = source.file("again", 100);
    agent.wait_until("and the next", || !again.exists());
    assert!(agent.terminate().success());
}
