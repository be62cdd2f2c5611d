//! One command, timed: wall time, processor time with all its children, most memory resident.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};

use crate::process::pid;

/// How often the memory is looked at. Its peak only grows, so the last look before the end misses little.
const GLANCE: Duration = Duration::from_millis(20);
/// The kernel counts processor time for us in hundredths of a second, on every architecture.
const TICK_SECONDS: f64 = 0.01;

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// From start to end, in seconds.
    pub wall_s: f64,
    /// Processor time of the command and its children, in seconds.
    pub client_cpu_s: f64,
    /// Processor time of the server's sessions, in seconds.
    pub server_cpu_s: f64,
    /// The most memory that the command itself had resident.
    pub peak_bytes: u64,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// By itself, and said that all is well.
    Done(Usage),
    /// Not within the limit.
    TooLong(Duration),
    /// With a failure, or with a wrong result.
    Failed(String),
}

/// Runs a command to its end or its limit. What it says goes to the file `said`.
pub(super) fn time(command: &mut Command, limit: Duration, said: &Path) -> Outcome {
    let out = File::create(said).expect("the scratch folder is writable");
    command.stdin(Stdio::null()).stderr(out.try_clone().expect("a file can be shared")).stdout(out);
    // A group of its own, so that with its limit all of a pipeline ends.
    command.process_group(0);
    let begin = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let Some(peak_bytes) = watch(&child, begin + limit) else {
        let _gone = kill_process_group(pid(&child), Signal::KILL);
        child.wait().expect("a child can be waited for");
        return Outcome::TooLong(limit);
    };
    let wall_s = begin.elapsed().as_secs_f64();
    let client_cpu_s = own_and_children_s(pid(&child));
    let status = child.wait().expect("a child can be waited for");
    if !status.success() {
        let said = fs::read(said).unwrap_or_default();
        return Outcome::Failed(format!("{status}: {}", String::from_utf8_lossy(&said).trim()));
    }
    Outcome::Done(Usage { wall_s, client_cpu_s, server_cpu_s: 0.0, peak_bytes })
}

/// Until the child has ended, without taking it off the list: the kernel still knows then what it used. Returns its peak.
fn watch(child: &Child, deadline: Instant) -> Option<u64> {
    let pid = pid(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("a child is there until it is waited for");
    let glance = Timespec::try_from(GLANCE).expect("short");
    let mut peak = 0;
    loop {
        let _ready = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&glance));
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let ended = waitid(WaitId::PidFd(pidfd.as_fd()), options).expect("a child can be waited for");
        if ended.is_some() {
            return Some(peak);
        }
        peak = peak.max(status_bytes(pid, "VmHWM:").unwrap_or(0));
        if Instant::now() >= deadline {
            return None;
        }
    }
}

/// A figure of `/proc/PID/status` that the kernel gives in kB. `None`: the process is gone.
pub(super) fn status_bytes(pid: Pid, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib << 10)
}

/// Processor time of a process, with that of its threads that have ended.
pub(super) fn own_s(pid: Pid) -> f64 {
    ticks(pid, &[11, 12])
}

/// Processor time of a process and of all its children that have ended and were waited for.
pub(super) fn own_and_children_s(pid: Pid) -> f64 {
    ticks(pid, &[11, 12, 13, 14])
}

/// Processor time of the children alone.
pub(super) fn children_s(pid: Pid) -> f64 {
    ticks(pid, &[13, 14])
}

fn ticks(pid: Pid, fields: &[usize]) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // The name stands in parentheses and may hold anything; the fields are counted behind it.
    let after_name: Vec<&str> =
        stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let of = |field: &usize| after_name.get(*field).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    fields.iter().map(of).sum::<f64>() * TICK_SECONDS
}
