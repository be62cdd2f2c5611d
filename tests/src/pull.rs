//! `skiff pull` from one server.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::fault_proxy::FaultProxy;
use crate::skiff::{Ended, command_under, run};
use crate::sshd::Sshd;

/// Pulls, with the key and the host key that are right.
pub struct Pull {
    home: TempDir,
    port: u16,
    user: String,
    /// The private key to log in with.
    pub key: PathBuf,
    /// The host keys that are trusted.
    pub known_hosts: PathBuf,
    flags: Vec<String>,
    under: Vec<OsString>,
}

impl Pull {
    /// From `sshd`.
    pub fn from(sshd: &Sshd) -> Self {
        Pull::at(sshd.port(), sshd.user(), &sshd.key(), &sshd.known_hosts())
    }

    /// From any server on this machine.
    pub fn at(port: u16, user: &str, key: &Path, known_hosts: &Path) -> Self {
        Pull {
            home: TempDir::new().expect("there is room for a temporary folder"),
            port,
            user: user.to_owned(),
            key: key.to_owned(),
            known_hosts: known_hosts.to_owned(),
            flags: vec!["-q".to_owned()],
            under: Vec::new(),
        }
    }

    /// The same by way of a proxy in front of `sshd`.
    pub fn through(proxy: &FaultProxy, sshd: &Sshd) -> Self {
        let port = proxy.port();
        Pull { port, known_hosts: sshd.known_hosts_at(port), ..Pull::from(sshd) }
    }

    /// With these flags in the place of `-q`.
    #[must_use]
    pub fn with(mut self, flags: &[&str]) -> Self {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self
    }

    /// As the last argument of another command.
    #[must_use]
    pub fn under<W: Into<OsString>>(self, words: impl IntoIterator<Item = W>) -> Self {
        Pull { under: words.into_iter().map(Into::into).collect(), ..self }
    }

    /// Pulls one thing into `target`, to the end. A trailing slash of `source` counts.
    #[track_caller]
    pub fn run(&self, source: impl AsRef<OsStr>, target: &Path) -> Ended {
        self.run_all(&[source], target)
    }

    /// Pulls several things in one run.
    #[track_caller]
    pub fn run_all<S: AsRef<OsStr>>(&self, sources: &[S], target: &Path) -> Ended {
        run(&mut self.command(sources, target), self.home.path())
    }

    /// The command, to be started by somebody else.
    pub fn command<S: AsRef<OsStr>>(&self, sources: &[S], target: &Path) -> Command {
        let mut command = command_under(&self.under, self.home.path());
        command.arg("pull").args(&self.flags).args(["-P", &self.port.to_string(), "-i"]).arg(&self.key);
        command.arg("--known-hosts").arg(&self.known_hosts);
        for source in sources {
            let mut words = OsString::from(format!("{}@127.0.0.1:", self.user));
            words.push(source.as_ref());
            command.arg(words);
        }
        command.arg(target);
        command
    }
}

/// A path of any bytes.
pub fn bytes(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}
