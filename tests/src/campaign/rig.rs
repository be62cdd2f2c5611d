//! What a campaign is run on: a server, a watched folder and an agent that is killed and started again.
//!
//! Unlike [`crate::Agent`] nothing here panics because an agent ended: that it ends is what campaigns are for.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use super::Expected;
use super::chance::Chance;
use super::verdict::is_beside;
use super::writer::Writer;
use crate::sshd::Sshd;
use crate::{process, skiff, tree, wait};

/// How long an orderly end may take.
const END_LIMIT: Duration = Duration::from_secs(15);

/// What becomes of delivered sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// They stay.
    Keep,
    /// They are deleted.
    Delete,
    /// They are moved to [`Rig::sent`].
    Move,
}

/// A server, a watched folder and an agent.
pub struct Rig {
    /// The server.
    pub sshd: Sshd,
    /// What the agent does with delivered files.
    pub after: After,
    /// The watched folder.
    pub source: PathBuf,
    /// The agent's memory.
    pub state: PathBuf,
    /// The folder at the server.
    pub destination: PathBuf,
    home: TempDir,
    running: Option<Child>,
}

impl Rig {
    /// All in temporary folders.
    pub fn new(after: After) -> Self {
        Rig::with_server(after, Sshd::start())
    }

    /// The same with a server that was set up otherwise.
    pub fn with_server(after: After, sshd: Sshd) -> Self {
        let home = TempDir::new().expect("there is room for a temporary folder");
        let (source, state) = (home.path().join("in"), home.path().join("state"));
        let rig = Rig { after, source, state, destination: sshd.root(), sshd, home, running: None };
        rig.prepare();
        rig
    }

    /// What the agent has in memory and in the watched folder is on this disk.
    #[must_use]
    pub fn client_on(mut self, disk: &Path) -> Self {
        (self.source, self.state) = (disk.join("in"), disk.join("state"));
        self.prepare();
        self
    }

    /// What the server receives is on this disk.
    #[must_use]
    pub fn server_on(mut self, disk: &Path) -> Self {
        self.destination = disk.join("root");
        self.prepare();
        self
    }

    /// Where delivered files go with [`After::Move`].
    pub fn sent(&self) -> PathBuf {
        self.home.path().join("sent")
    }

    /// A folder for whatever else a campaign needs.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    fn prepare(&self) {
        for folder in [&self.source, &self.destination, &self.sent()] {
            fs::create_dir_all(folder).expect("the rig's folders are writable");
        }
        let after = match self.after {
            After::Keep => "'keep'".to_owned(),
            After::Delete => "'delete'".to_owned(),
            After::Move => format!("{{ move = '{}' }}", self.sent().display()),
        };
        let text = format!(
            "state_dir = '{state}'\n\
             [log]\nformat = 'human'\nlevel = 'debug'\n\
             [destination.server]\n\
             address = '{user}@127.0.0.1:{port}'\n\
             path = '{root}'\n\
             identity = '{key}'\n\
             known_hosts = '{known_hosts}'\n\
             connect_timeout = '10s'\n\
             [[watch]]\nname = 'in'\npath = '{source}'\nto = 'server'\n\
             settle = '30ms'\nbatch_wait = '10ms'\nbatch_items = 10\nsmall_file = '64 KiB'\n\
             retry_first = '100ms'\nretry_max = '300ms'\nafter_delivery = {after}\n",
            state = self.state.display(),
            user = self.sshd.user(),
            port = self.sshd.port(),
            root = self.destination.display(),
            key = self.sshd.key().display(),
            known_hosts = self.sshd.known_hosts().display(),
            source = self.source.display(),
        );
        fs::write(self.config(), text).expect("the rig's folder is writable");
    }

    /// As it was at first: nothing is in memory, in the watched folder or at the destination.
    pub fn clear(&mut self) {
        self.kill();
        for folder in [&self.source, &self.destination, &self.state, &self.sent()] {
            let _missing = fs::remove_dir_all(folder);
        }
        let _missing = fs::remove_file(self.log_file());
        self.prepare();
    }

    /// Cleared, with one delivery of `seed` to make.
    pub fn fresh_delivery(&mut self, seed: u64) -> Writer {
        self.clear();
        let mut writer = Writer::new(&self.source);
        writer.one_delivery(&mut Chance::new(seed));
        writer
    }

    /// Starts the agent.
    pub fn start(&mut self) {
        let command = self.command();
        self.spawn(command);
    }

    /// Starts it below `strace` with these arguments.
    pub fn start_traced(&mut self, arguments: &[String]) {
        let skiff = self.command();
        let mut command = Command::new("strace");
        command.args(arguments).arg("--").arg(skiff.get_program()).args(skiff.get_args());
        command.current_dir(self.home.path());
        for (name, value) in skiff.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.spawn(command);
    }

    /// Starts something else in its place: who judges agents is tried on those that do what none should.
    pub fn start_stand_in(&mut self, command: Command) {
        self.spawn(command);
    }

    fn command(&self) -> Command {
        let mut command = skiff::command(self.home.path());
        command.arg("run").arg("--config").arg(self.config());
        command
    }

    fn spawn(&mut self, mut command: Command) {
        assert!(self.running.is_none(), "the agent runs");
        let log = OpenOptions::new().create(true).append(true).open(self.log_file());
        let log: File = log.expect("the rig's folder is writable");
        command.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        self.running = Some(child);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.running
            .as_mut()
            .is_some_and(|child| child.try_wait().expect("a child can be waited for").is_none())
    }

    /// Ends it at once, as a power cut would. Whether it ran until then.
    pub fn kill(&mut self) -> bool {
        let ran = self.is_running();
        if ran {
            self.signal(Signal::KILL);
        }
        if let Some(mut child) = self.running.take() {
            child.wait().expect("a child can be waited for");
        }
        ran
    }

    /// It does nothing more, but is still there.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        if let Some(child) = &self.running {
            process::wait_for_rest(process::pid(child));
        }
    }

    /// Asks it to end and waits until it has. `Err`: it did not, and had to be killed, which is a failure whatever it was
    /// asked to end for.
    pub fn terminate(&mut self) -> Result<ExitStatus, String> {
        if self.is_running() {
            self.signal(Signal::TERM);
        }
        self.ended(END_LIMIT).ok_or_else(|| {
            self.kill();
            format!(
                "it did not end within {} s of SIGTERM; the log ends:\n{}",
                END_LIMIT.as_secs(),
                self.end_of_log()
            )
        })
    }

    /// How it ended, if it does within `limit`.
    pub fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        let ended = process::wait_for_end(self.running.as_mut()?, limit);
        if ended.is_some() {
            self.running = None;
        }
        ended
    }

    /// To the agent itself; strace stands above it.
    fn signal(&self, signal: Signal) {
        let Some(child) = &self.running else { return };
        let own = process::pid(child);
        let below: Vec<Pid> = process::descendants(own);
        if below.is_empty() {
            return process::signal(own, signal);
        }
        for pid in below {
            process::signal(pid, signal);
        }
    }

    /// Whether all is delivered, has a receipt, and was disposed of.
    pub fn is_done(&self, expected: &Expected) -> bool {
        expected.judge(&self.source, &self.destination).is_complete()
            && (self.after == After::Keep || tree::is_empty(&self.source))
            && self.unproven(expected).is_empty()
    }

    /// Waits until [`Rig::is_done`], while the agent runs. `Err` says what is missing.
    pub fn wait_until_done(&mut self, expected: &Expected, limit: Duration) -> Result<(), String> {
        let mut ended = false;
        let done = wait::came_true(limit, || {
            ended = !self.is_running();
            ended || self.is_done(expected)
        });
        // What was done before it ended counts.
        if (done && !ended) || self.is_done(expected) {
            return Ok(());
        }
        let verdict = expected.judge(&self.source, &self.destination);
        let why = if ended { "the agent ended" } else { "time is over" };
        let left = tree::count(&self.source);
        let unproven = self.unproven(expected);
        Err(format!(
            "{why}: {verdict}; {left} files in the source; without a receipt {unproven:?}; the log ends:\n{}",
            self.end_of_log()
        ))
    }

    /// Waits until [`Rig::is_done`] and ends the agent. What is wrong in the end.
    pub fn conclude(&mut self, expected: &Expected, limit: Duration) -> Option<String> {
        let done = self.wait_until_done(expected, limit);
        let ended = self.terminate();
        done.err().or(ended.err()).or_else(|| self.wrong(expected)).or_else(|| self.left_beside())
    }

    fn left_beside(&self) -> Option<String> {
        let left: Vec<_> =
            tree::files_if_there(&self.destination).into_keys().filter(|path| is_beside(path)).collect();
        (!left.is_empty())
            .then(|| format!("left beside final names: {left:?}; the log ends:\n{}", self.end_of_log()))
    }

    /// What is wrong now, at whatever moment: a verdict that isn't sound, a source that went without a receipt, a
    /// receipt for what never was, or a journal that a crash has cost.
    pub fn wrong(&self, expected: &Expected) -> Option<String> {
        self.wrong_but_journal(expected).or_else(|| self.lost_journal())
    }

    /// The same where the journal may be lost: its disk fails.
    pub fn wrong_but_journal(&self, expected: &Expected) -> Option<String> {
        let verdict = expected.judge(&self.source, &self.destination);
        let mut wrong = Vec::new();
        if !verdict.is_sound() {
            wrong.push(verdict.to_string());
        }
        let gone = expected.gone_from(&self.source);
        let unproven: Vec<_> =
            self.unproven(expected).into_iter().filter(|path| gone.contains(path)).collect();
        if !unproven.is_empty() {
            wrong.push(format!("gone from the source without a receipt {unproven:?}"));
        }
        let forged: Vec<_> =
            self.receipts().into_iter().filter(|(path, hex)| !expected.knows(Path::new(path), hex)).collect();
        if !forged.is_empty() {
            wrong.push(format!("receipts for what never was {forged:?}"));
        }
        // sled panics in `open` where its disk fails; the journal knows, and stops for it.
        let panicked = |line: &str| line.contains("panicked at") && !line.contains("thread 'journal open'");
        if self.log().lines().any(panicked) {
            wrong.push("a panic".to_owned());
        }
        (!wrong.is_empty()).then(|| format!("{}; the log ends:\n{}", wrong.join("; "), self.end_of_log()))
    }

    /// A journal that was set aside, but for openings that were killed one after the other: those look like sled's own
    /// deaths, and cost no more than comparing.
    fn lost_journal(&self) -> Option<String> {
        let log = self.log();
        let is_lost =
            |line: &&str| line.contains("can't be trusted; starting") && !line.contains("while opening it");
        log.lines().find(is_lost).map(str::to_owned)
    }

    /// Files without a receipt for their last version.
    fn unproven(&self, expected: &Expected) -> Vec<PathBuf> {
        let receipts: HashSet<(String, String)> = self.receipts().into_iter().collect();
        let proven =
            |path: &Path, hex: &str| receipts.contains(&(path.display().to_string(), hex.to_owned()));
        expected.last().filter(|(path, hex)| !proven(path, hex)).map(|(path, _)| path.to_owned()).collect()
    }

    /// Paths and digests of all receipts. What was torn is none.
    fn receipts(&self) -> Vec<(String, String)> {
        self.receipt_lines().iter().filter_map(proof).collect()
    }

    /// Bytes of files that were sent, verified and receipted more than once.
    pub fn resent_bytes(&self) -> u64 {
        let mut seen = HashSet::new();
        let lines = self.receipt_lines();
        let again = lines.iter().filter(|line| line["sent"] == true && !seen.insert(proof(line)));
        again.filter_map(|line| line["size"].as_u64()).sum()
    }

    fn receipt_lines(&self) -> Vec<Value> {
        let text = fs::read(self.state.join("receipts.jsonl")).unwrap_or_default();
        text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// All that the agent has said since the rig was cleared.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// The last lines of it.
    pub fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("skiff.toml")
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("log")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill();
    }
}

fn proof(receipt: &Value) -> Option<(String, String)> {
    let digest = receipt["digest"].as_str()?;
    let hex = digest.rsplit_once(':').map_or(digest, |(_, hex)| hex);
    Some((receipt["path"].as_str()?.to_owned(), hex.to_owned()))
}
