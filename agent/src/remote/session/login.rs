//! What has to be known to connect.

use std::path::{Path, PathBuf};
use std::time::Duration;

use russh::cipher;

use super::credentials::Credentials;
use super::progress;
use crate::remote::key_file;

/// Where to log in, and how patiently.
#[derive(Debug, Clone)]
pub struct Login {
    /// The host's name or address, as its key is recorded.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user there.
    pub user: String,
    /// With what.
    pub credentials: Credentials,
    /// The files of recorded host keys.
    pub known_hosts: Vec<PathBuf>,
    /// The name under which the host's key is recorded, if it is not its own.
    pub known_as: Option<String>,
    /// What to do about a host without a recorded key.
    pub new_hosts: NewHosts,
    /// The ciphers to use, the best one first; none: those that are fast here.
    pub ciphers: Vec<cipher::Name>,
    /// Whether to compress.
    pub compression: bool,
    /// Servers to go through, the first one first. Their own `jumps` count for nothing.
    pub jumps: Vec<Login>,
    /// For everything until the login is done, jumps included.
    pub connect_timeout: Duration,
    /// Between signs of life; zero for none. Three without an answer end the session.
    pub keepalive: Duration,
    /// How long sent bytes may stay unacknowledged; zero for the system's default.
    pub stall_timeout: Duration,
}

/// What to do about a host without a recorded key. A changed key is refused in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewHosts {
    /// Nothing is said to it.
    #[default]
    Refuse,
    /// Its key is recorded in the first of the files.
    Record,
}

impl Login {
    /// To `user` at a host, with everything as it most often is: the usual keys, and no recorded host.
    pub fn to(user: impl Into<String>, host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            user: user.into(),
            credentials: Credentials::default(),
            known_hosts: Vec::new(),
            known_as: None,
            new_hosts: NewHosts::Refuse,
            ciphers: Vec::new(),
            compression: false,
            jumps: Vec::new(),
            connect_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(60),
        }
    }

    /// The command that records its key, where it is reached through `hops`.
    pub(super) fn trust_command(&self, hops: &[Self]) -> String {
        let file = self.known_hosts.first().filter(|file| !is_usual(file));
        let file = file.map(|file| format!(" --known-hosts {}", key_file::quoted(file)));
        let hops: Vec<_> =
            hops.iter().map(|hop| format!("{}@{}", hop.user, place(&hop.host, hop.port))).collect();
        let through = if hops.is_empty() { String::new() } else { format!(" -J {}", hops.join(",")) };
        let alias = self.known_as.as_ref().map(|name| format!(" -o HostKeyAlias={name}"));
        let (file, alias) = (file.unwrap_or_default(), alias.unwrap_or_default());
        format!("skiff trust{file}{through}{alias} {}", place(&self.host, self.port))
    }

    /// The command that puts the public key where the server looks for it.
    pub(in crate::remote) fn install_command(&self) -> String {
        let key = self.credentials.identities.first();
        let key = key.map(|key| format!(" -i {}.pub", key_file::quoted(key))).unwrap_or_default();
        let port = if self.port == 22 { String::new() } else { format!(" -p {}", self.port) };
        format!("ssh-copy-id{key}{port} {}@{}", self.user, self.host)
    }

    /// The name and port under which its key is recorded. As for `ssh`, another name stands for itself, without a port.
    pub fn recorded_as(&self) -> (&str, u16) {
        match &self.known_as {
            Some(name) => (name, 22),
            None => (&self.host, self.port),
        }
    }
}

/// Whether `skiff trust` records there by itself.
fn is_usual(file: &Path) -> bool {
    std::env::home_dir().is_some_and(|home| file == home.join(".ssh/known_hosts"))
}

/// As `skiff trust` takes it.
fn place(host: &str, port: u16) -> String {
    if port == 22 { host.to_owned() } else { progress::place(host, port) }
}
