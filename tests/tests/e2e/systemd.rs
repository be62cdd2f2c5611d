//! What systemd hears of an agent.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use skiff_tests::{Agent, Sshd, Tree, machine, process, tree, wait};
use tempfile::TempDir;

/// What the service manager allows between two signs of life.
const LIMIT: Duration = Duration::from_secs(3);

/// A service manager that listens.
struct Manager {
    socket: UnixDatagram,
    _folder: TempDir,
    environment: Vec<String>,
}

impl Manager {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a new path");
        let environment = vec![
            "env".to_owned(),
            format!("NOTIFY_SOCKET={}", path.display()),
            format!("WATCHDOG_USEC={}", LIMIT.as_micros()),
        ];
        Self { socket, _folder: folder, environment }
    }

    /// Waits for a message for which `wanted` holds.
    #[track_caller]
    fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + wait::LIMIT;
        while Instant::now() < deadline {
            if self.heard(deadline - Instant::now()).is_some_and(|message| wanted(&message)) {
                return;
            }
        }
        panic!("not heard: {what}");
    }

    /// Whether it hears no sign of life for longer than it allows, within the time that any condition is given.
    fn would_restart(&self) -> bool {
        let deadline = Instant::now() + wait::LIMIT;
        let mut last = Instant::now();
        while Instant::now() < deadline {
            if self.heard(LIMIT).is_some_and(|message| message.contains("WATCHDOG=1")) {
                last = Instant::now();
            } else if last.elapsed() >= LIMIT {
                return true;
            }
        }
        false
    }

    fn heard(&self, at_most: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(at_most.max(Duration::from_millis(1)))).expect("a time");
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).ok()?;
        Some(String::from_utf8_lossy(&message[..length]).into_owned())
    }
}

#[test]
fn it_says_that_it_is_ready_and_what_it_does_and_lives_while_idle() {
    let (sshd, scratch, manager) =
        (Sshd::start(), TempDir::new().expect("a temporary folder"), Manager::new());
    let mut source = Tree::new(scratch.path().join("in"), 1);
    let mut agent =
        Agent::to(&sshd).watch("in", source.root(), "").under(manager.environment.clone()).started();
    manager.wait_for("time to open its journal", |message| message.contains("EXTEND_TIMEOUT_USEC="));
    manager.wait_for("it is ready", |message| message.contains("READY=1"));
    source.file("a.csv", 1_000);
    manager.wait_for("what it does", |message| message.contains("STATUS=1 file delivered"));
    // With nothing to do for longer than is allowed it gives signs of life all the same.
    for _ in 0..6 {
        manager.wait_for("a sign of life", |message| message.contains("WATCHDOG=1"));
    }
    agent.signal(rustix::process::Signal::HUP);
    manager.wait_for("it reloads", |message| {
        message.contains("RELOADING=1") && message.contains("MONOTONIC_USEC=")
    });
    manager.wait_for("it is ready again", |message| message.contains("READY=1"));
    assert!(agent.terminate().success());
    manager.wait_for("it stops", |message| message.contains("STOPPING=1"));
}

/// Fault 91: a dispatcher that hangs, here in a journal whose disk does not answer, gives no sign of life, though
/// everything else in the process goes on. So systemd restarts it.
#[test]
fn fault_91_no_sign_of_life_from_a_dispatcher_that_hangs() {
    if !machine::is_root("a disk that hangs from some moment on") {
        return;
    }
    let (sshd, scratch, manager) =
        (Sshd::start(), TempDir::new().expect("a temporary folder"), Manager::new());
    let mut source = Tree::new(scratch.path().join("in"), 2);
    let mut agent =
        Agent::to(&sshd).watch("in", source.root(), "").under(manager.environment.clone()).started();
    manager.wait_for("a sign of life", |message| message.contains("WATCHDOG=1"));
    let pid = agent.pid().as_raw_nonzero().to_string();
    let mut disk = Command::new("strace")
        .args([
            "-qqq",
            "-f",
            "-o",
            "/dev/null",
            "--trace=fdatasync",
            "--inject=fdatasync:delay_enter=30s",
            "-p",
            &pid,
        ])
        .stdin(Stdio::null())
        .spawn()
        .expect("strace is installed");
    let traced = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
    };
    agent.wait_until("strace is attached", traced);
    source.file("a.csv", 1_000);
    assert!(manager.would_restart(), "signs of life came although the dispatcher hangs:\n{}", agent.log());
    process::signal(process::pid(&disk), rustix::process::Signal::TERM);
    disk.wait().expect("a child can be waited for");
    agent.wait_until("it goes on with the disk", || tree::equal(source.root(), &sshd.root()));
    manager.wait_for("a sign of life", |message| message.contains("WATCHDOG=1"));
}
