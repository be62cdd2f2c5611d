//! `skiff run` with a configuration, a state folder and a log of its own.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::fault_proxy::FaultProxy;
use crate::process;
use crate::receipts;
use crate::skiff::{self, Ended};
use crate::sshd::Sshd;
use crate::wait;

/// How long an orderly end may take, by fault 85.
const END_LIMIT: Duration = Duration::from_secs(10);

/// An agent that can be started, killed and started again. Killed when dropped.
pub struct Agent {
    home: TempDir,
    running: Option<Child>,
    under: Vec<OsString>,
}

impl Agent {
    /// Delivers to the folder of `sshd`. Quick settings, except that events alone, not rescans, find new files.
    pub fn to(sshd: &Sshd) -> Self {
        Agent::with_destination(sshd, "")
    }

    /// The same with further lines for the destination.
    pub fn with_destination(sshd: &Sshd, more: &str) -> Self {
        Agent::at(sshd, ("127.0.0.1", sshd.port()), &sshd.known_hosts(), more)
    }

    /// The same by way of a proxy in front of `sshd`.
    pub fn through(proxy: &FaultProxy, sshd: &Sshd, more: &str) -> Self {
        Agent::at(sshd, ("127.0.0.1", proxy.port()), &sshd.known_hosts_at(proxy.port()), more)
    }

    /// The same, where the server is looked for at `host` and `port`.
    pub fn at(sshd: &Sshd, (host, port): (&str, u16), known_hosts: &Path, more: &str) -> Self {
        let home = TempDir::new().expect("there is room for a temporary folder");
        let text = format!(
            "state_dir = '{state}'\n\
             [log]\nformat = 'human'\n\
             [defaults.watch]\nsettle = '200ms'\nretry_first = '200ms'\nretry_max = '1s'\n\
             [defaults.destination]\nconnect_timeout = '10s'\n\
             [destination.server]\n\
             address = '{user}@{host}:{port}'\n\
             path = '{root}'\n\
             identity = '{key}'\n\
             known_hosts = '{known_hosts}'\n\
             {more}\n",
            state = home.path().join("state").display(),
            user = sshd.user(),
            root = sshd.root().display(),
            key = sshd.key().display(),
            known_hosts = known_hosts.display(),
        );
        fs::write(home.path().join("skiff.toml"), text).expect("a new folder is writable");
        Agent { home, running: None, under: Vec::new() }
    }

    /// Watches `folder`, by further lines of the configuration.
    #[must_use]
    pub fn watch(self, name: &str, folder: &Path, rules: &str) -> Self {
        self.watch_by(name, folder, &format!("to = 'server'\n{rules}"))
    }

    /// The same where the lines say where to.
    #[must_use]
    pub fn watch_by(self, name: &str, folder: &Path, rules: &str) -> Self {
        self.configured(&format!("[[watch]]\nname = '{name}'\npath = '{}'\n{rules}", folder.display()))
    }

    /// Knows another destination, too.
    #[must_use]
    pub fn and_destination(self, name: &str, sshd: &Sshd, more: &str) -> Self {
        self.configured(&format!(
            "[destination.{name}]\naddress = '{}@127.0.0.1:{}'\npath = '{}'\nidentity = '{}'\nknown_hosts = '{}'\n{more}",
            sshd.user(),
            sshd.port(),
            sshd.root().display(),
            sshd.key().display(),
            sshd.known_hosts().display(),
        ))
    }

    /// With further lines at the end of its configuration.
    #[must_use]
    pub fn configured(self, lines: &str) -> Self {
        let mut text = fs::read_to_string(self.config()).expect("the configuration was written");
        writeln!(text, "{lines}").expect("a text takes more text");
        fs::write(self.config(), text).expect("the agent's folder is writable");
        self
    }

    /// Starts as the last argument of another command, such as `prlimit`, which has to become it.
    #[must_use]
    pub fn under<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.set_under(words);
        self
    }

    /// The same for the next start.
    pub fn set_under<W: Into<OsString>>(&mut self, words: impl IntoIterator<Item = W>) {
        self.under = words.into_iter().map(Into::into).collect();
    }

    /// The same, running.
    #[must_use]
    pub fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Starts it, the first time or again.
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "the agent runs");
        let log = OpenOptions::new().create(true).append(true).open(self.log_file());
        let log: File = log.expect("the agent's folder is writable");
        let mut command = skiff::command_under(&self.under, self.home.path());
        command.arg("run").arg("--config").arg(self.config());
        command.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        self.running = Some(command.spawn().expect("the binary can be started"));
    }

    /// Ends it at once, as a power cut would.
    pub fn kill9(&mut self) {
        let mut child = self.running.take().expect("the agent runs");
        let _gone = child.kill();
        child.wait().expect("a child can be waited for");
    }

    /// Asks it to end and waits until it has.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        let mut child = self.running.take().expect("the agent runs");
        process::signal(process::pid(&child), Signal::TERM);
        let ended = process::wait_for_end(&mut child, END_LIMIT);
        if ended.is_none() {
            let _gone = child.kill();
            child.wait().expect("a child can be waited for");
        }
        ended.unwrap_or_else(|| panic!("the agent goes on 10 s after SIGTERM; its log:\n{}", self.log()))
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut child = self.running.take().expect("the agent runs");
        let ended = process::wait_for_end(&mut child, wait::LIMIT);
        if ended.is_none() {
            let _gone = child.kill();
            child.wait().expect("a child can be waited for");
        }
        ended.unwrap_or_else(|| panic!("the agent goes on; its log:\n{}", self.log()))
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let child = self.running.as_mut().expect("the agent was started");
        child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        process::pid(self.running.as_ref().expect("the agent runs"))
    }

    /// The most memory it has had resident, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        let status = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = fs::read_to_string(status).expect("the agent runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib << 10
    }

    /// Waits for a condition. Panics with the log if it does not come true or the agent ends.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, condition: impl FnMut() -> bool) {
        self.wait_at_most(wait::LIMIT, what, condition);
    }

    /// The same for something that takes longer than usual.
    #[track_caller]
    pub fn wait_at_most(&mut self, limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
        let mut ended = None;
        let came_true = wait::came_true(limit, || {
            if condition() {
                return true;
            }
            ended = self.ended();
            ended.is_some()
        });
        assert!(ended.is_none(), "the agent ended ({ended:?}) before {what}; its log:\n{}", self.log());
        assert!(came_true, "not within {:?}: {what}; the agent's log:\n{}", limit, self.log());
    }

    /// How it ended, if it has although nobody asked it to.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.running.as_mut().and_then(|child| child.try_wait().expect("a child can be waited for"))
    }

    /// Waits until the log has a line for which `matches` holds. The line comes in small letters.
    #[track_caller]
    pub fn wait_until_logged(&mut self, what: &str, matches: impl Fn(&str) -> bool) {
        self.wait_until_logged_after(0, what, matches);
    }

    /// The same, without the first `skipped` lines.
    #[track_caller]
    pub fn wait_until_logged_after(&mut self, skipped: usize, what: &str, matches: impl Fn(&str) -> bool) {
        let file = self.log_file();
        self.wait_until(what, || {
            let log = fs::read(&file).unwrap_or_default();
            String::from_utf8_lossy(&log).to_lowercase().lines().skip(skipped).any(&matches)
        });
    }

    /// Runs another command on the same configuration, such as `check`.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str]) -> Ended {
        let mut command = skiff::command(self.home.path());
        command.args(arguments).arg("--config").arg(self.config());
        skiff::run(&mut command, self.home.path())
    }

    /// All receipts so far.
    pub fn receipts(&self) -> Vec<Value> {
        receipts::read(&self.state_dir())
    }

    /// Waits until there are so many receipts: what only stands there may still be unknown to it.
    #[track_caller]
    pub fn wait_for_receipts(&mut self, count: usize) {
        let state_dir = self.state_dir();
        self.wait_until(&format!("there are {count} receipts"), || receipts::read(&state_dir).len() == count);
    }

    /// Waits until a file has its receipt.
    #[track_caller]
    pub fn wait_for_receipt(&mut self, path: &str) {
        let state_dir = self.state_dir();
        self.wait_until(&format!("{path} has a receipt"), || {
            receipts::read(&state_dir).iter().any(|receipt| receipt["path"] == path)
        });
    }

    /// The folder in which it remembers.
    pub fn state_dir(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// The folder in which it runs.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// All it has said, over all starts.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.home.path().join("skiff.toml")
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("log")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill9();
        }
    }
}

/// Of how many files the lines of a log tell that have these words.
pub fn files_told_of(log: &Path, words: &str) -> usize {
    let text = fs::read_to_string(log).unwrap_or_default();
    let files = |line: &str| line.split_once(" files=")?.1.split(' ').next()?.parse::<usize>().ok();
    text.lines().filter(|line| line.contains(words)).filter_map(files).sum()
}
