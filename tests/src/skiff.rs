//! The binary under test, and the commands that end by themselves.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::fault_proxy::FaultProxy;
use crate::process::{said, wait_for_end};
use crate::sshd::Sshd;
use crate::wait;

/// Where the built `skiff` is: `SKIFF_BIN`, else in the folder of build results that holds this test.
pub fn binary() -> PathBuf {
    if let Some(given) = env::var_os("SKIFF_BIN") {
        return PathBuf::from(given);
    }
    built("skiff")
}

/// A binary of this workspace, in the folder of build results that holds this test.
pub fn built(name: &str) -> PathBuf {
    let this_test = env::current_exe().expect("a process knows its own path");
    let built = this_test.ancestors().skip(1).map(|folder| folder.join(name)).find(|path| path.is_file());
    built.unwrap_or_else(|| panic!("there is no {name} next to the tests: run cargo build --workspace first"))
}

/// `skiff` with none of this user's keys, agent or configuration, working in `home`.
pub fn command(home: &Path) -> Command {
    command_under(&[], home)
}

/// The same as the last argument of another command; of none where there are no `words`.
pub fn command_under(words: &[OsString], home: &Path) -> Command {
    let mut command = match words.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(binary());
            command
        }
        None => Command::new(binary()),
    };
    command.current_dir(home).env("HOME", home).stdin(Stdio::null());
    for variable in ["SSH_AUTH_SOCK", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "NOTIFY_SOCKET", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Both outputs, one after the other.
    pub said: String,
}

impl Ended {
    /// Panics with all that was said unless the exit code is `code`.
    #[expect(clippy::return_self_not_must_use, reason = "the last of a chain has nothing to hand on")]
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "skiff said:\n{}", self.said);
        self
    }

    /// Panics with all that was said unless `text` is part of it, whatever its case.
    #[expect(clippy::return_self_not_must_use, reason = "the last of a chain has nothing to hand on")]
    #[track_caller]
    pub fn expect_said(self, text: &str) -> Self {
        let found = self.said.to_lowercase().contains(&text.to_lowercase());
        assert!(found, "no {text:?} in what skiff said:\n{}", self.said);
        self
    }

    /// What was told with `--json`.
    #[track_caller]
    pub fn told(&self) -> Value {
        let line = self.said.lines().find(|line| line.starts_with('{'));
        let line = line.unwrap_or_else(|| panic!("no JSON in what skiff said:\n{}", self.said));
        serde_json::from_str(line).expect("it is JSON")
    }

    /// A number of what was told with `--json`.
    #[track_caller]
    pub fn number(&self, key: &str) -> u64 {
        let told = self.told();
        told[key].as_u64().unwrap_or_else(|| panic!("no {key} in {told}"))
    }
}

/// Runs a command to its end, which has to come within the limit.
#[track_caller]
pub fn run(command: &mut Command, home: &Path) -> Ended {
    // Files, not pipes: a full pipe that nobody reads would look like a hang of skiff.
    let (stdout, stderr) = (home.join("said.out"), home.join("said.err"));
    command.stdout(File::create(&stdout).expect("the scratch folder is writable"));
    command.stderr(File::create(&stderr).expect("the scratch folder is writable"));
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let ended = wait_for_end(&mut child, wait::LIMIT);
    if ended.is_none() {
        let _gone = child.kill();
    }
    let status = child.wait().expect("a child can be waited for");
    let read = |path: &Path| std::fs::read(path).expect("what was written can be read");
    let said = said(&Output { status, stdout: read(&stdout), stderr: read(&stderr) });
    assert!(ended.is_some(), "{command:?} did not end in time; it said:\n{said}");
    Ended { code: status.code(), said }
}

/// `skiff push` to one server, with its own state folder.
pub struct Push {
    home: TempDir,
    port: u16,
    user: String,
    /// The private key to log in with.
    pub key: PathBuf,
    /// The host keys that are trusted.
    pub known_hosts: PathBuf,
    flags: Vec<String>,
    /// Whether the server shows a folder as all that there is.
    pub is_chrooted: bool,
}

impl Push {
    /// Pushes to `sshd`, with the key and the host key that are right.
    pub fn to(sshd: &Sshd) -> Self {
        Push {
            home: TempDir::new().expect("there is room for a temporary folder"),
            port: sshd.port(),
            user: sshd.user().to_owned(),
            key: sshd.key(),
            known_hosts: sshd.known_hosts(),
            flags: vec!["-q".to_owned()],
            is_chrooted: false,
        }
    }

    /// The same to a server that shows a folder as all that there is.
    #[must_use]
    pub fn in_chroot(self) -> Self {
        Push { is_chrooted: true, ..self }
    }

    /// With these flags in the place of `-q`.
    #[must_use]
    pub fn with(mut self, flags: &[&str]) -> Self {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self
    }

    /// Pushes to another server of this machine, with the key and the user of `sshd`.
    pub fn at(port: u16, known_hosts: &Path, sshd: &Sshd) -> Self {
        Push { port, known_hosts: known_hosts.to_owned(), ..Push::to(sshd) }
    }

    /// The same by way of a proxy in front of `sshd`.
    pub fn through(proxy: &FaultProxy, sshd: &Sshd) -> Self {
        let port = proxy.port();
        Push { port, known_hosts: sshd.known_hosts_at(port), ..Push::to(sshd) }
    }

    /// Where it keeps its receipts.
    pub fn state_dir(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// Pushes `source` to `destination`, to the end. A trailing slash of `source` counts.
    #[track_caller]
    pub fn run(&self, source: impl AsRef<OsStr>, destination: &Path) -> Ended {
        self.run_all(&[source], destination)
    }

    /// Pushes several sources in one run.
    #[track_caller]
    pub fn run_all<S: AsRef<OsStr>>(&self, sources: &[S], destination: &Path) -> Ended {
        let mut target = format!("{}@127.0.0.1:", self.user);
        target.push_str(destination.to_str().expect("test folders have plain names"));
        let mut command = command(self.home.path());
        command.arg("push").args(&self.flags).args(["-P", &self.port.to_string(), "-i"]).arg(&self.key);
        command.arg("--known-hosts").arg(&self.known_hosts);
        command.arg("--state-dir").arg(self.state_dir());
        command.args(sources).arg(target);
        run(&mut command, self.home.path())
    }
}

/// A path with a slash behind it, which says "what is in this folder".
pub fn contents_of(folder: &Path) -> PathBuf {
    folder.join("")
}
