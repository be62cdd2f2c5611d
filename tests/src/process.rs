//! Processes that this run started, and what they started in turn.

use std::fs;
use std::process::{Child, Command, ExitStatus, Output};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// The process id of a child.
pub fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Sends a signal; that the process is gone already is fine.
pub fn signal(pid: Pid, signal: Signal) {
    let _gone = kill_process(pid, signal);
}

/// All processes below `ancestor`, by what the kernel says about parents.
pub fn descendants(ancestor: Pid) -> Vec<Pid> {
    let pairs: Vec<(Pid, Pid)> = fs::read_dir("/proc")
        .expect("/proc is mounted")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|number: i32| {
            let own = Pid::from_raw(number)?;
            Some((own, parent(number)?))
        })
        .collect();
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(&above) = found.get(next) {
        found.extend(pairs.iter().filter(|(_, parent)| *parent == above).map(|(own, _)| *own));
        next += 1;
    }
    found.split_off(1)
}

fn parent(number: i32) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name stands in parentheses and may hold anything; the state and the parent follow it.
    let after_name = stat.rsplit_once(')')?.1;
    Pid::from_raw(after_name.split_whitespace().nth(1)?.parse().ok()?)
}

/// Waits until no thread of a process that was sent SIGSTOP does anything any longer: each stops by itself.
pub fn wait_for_rest(pid: Pid) {
    let threads = format!("/proc/{}/task", pid.as_raw_nonzero());
    let rest = || {
        let Ok(threads) = fs::read_dir(&threads) else { return true };
        threads.flatten().all(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['T', 'Z', 'X']))
        })
    };
    assert!(wait::came_true(wait::LIMIT, rest), "process {pid:?} does not stop");
}

/// Waits until the child has ended. `None`: it has not within `limit`.
pub fn wait_for_end(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let mut status = None;
    wait::came_true(limit, || {
        status = child.try_wait().expect("a child can be waited for");
        status.is_some()
    });
    status
}

/// Runs a command that has to succeed and returns what it said on its standard output, trimmed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?} failed: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Both outputs of a process, as text.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
