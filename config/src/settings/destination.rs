//! Where files are delivered to.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::Environment;
use crate::read::Base;
use crate::settings::{PathTemplate, PauseWhen, Window};
use crate::value::{Choice, SSH_PORT};

/// Whether ssh-agent is asked for keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agent {
    /// It signs for the keys that are named; if none is, all of its keys are tried.
    Auto,
    /// All of its keys are tried, too, after those that are named.
    Always,
    /// It is left alone.
    Never,
    /// As `Always`, with the agent at this socket. Absolute.
    At(PathBuf),
}

/// Whether `ssh_config` files say how to reach a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshConfig {
    /// The user's and the system's do, if the user's has the host in a `Host` line, other than by `*` alone.
    Auto,
    /// None does.
    Never,
    /// This one does. Absolute.
    At(PathBuf),
}

/// A server on the way to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jump {
    /// Whom to log in as there; the user that skiff runs as, if `None`.
    pub user: Option<String>,
    /// A host name or an address, IPv6 without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// A folder on a server that is reached over SSH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// What watches call it: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Whom to log in as; the user that skiff runs as, if `None`.
    pub user: Option<String>,
    /// A host name or an address, IPv6 without brackets. Never empty, never begins with `-`.
    pub host: String,
    /// Never 0.
    pub port: u16,
    /// Whether the port was said.
    pub says_port: bool,
    /// Whether `ssh_config` files say more.
    pub ssh_config: SshConfig,
    /// The folder there: absolute, or relative to the login folder, which itself is `.`.
    pub path: PathTemplate,
    /// By which clock the dates in it are told.
    pub time_zone: TimeZone,
    /// Private keys to log in with, absolute. If there are none, what ssh would try.
    pub identity: Vec<PathBuf>,
    /// Whether ssh-agent logs in, too.
    pub agent: Agent,
    /// OpenSSH certificates for those keys, absolute. `KEY-cert.pub` beside a key need not be named.
    pub certificate: Vec<PathBuf>,
    /// The file whose first line opens encrypted keys. Absolute.
    pub passphrase_file: Option<PathBuf>,
    /// The file whose first line is the password, for servers that want one. Absolute.
    pub password_file: Option<PathBuf>,
    /// Servers to go through, the first one first.
    pub jump: Vec<Jump>,
    /// Files of host keys to trust, absolute.
    pub known_hosts: Vec<PathBuf>,
    /// The most to send, in bits a second.
    pub bandwidth: Option<u64>,
    /// What holds instead at times of the week; the first that covers a moment counts.
    pub schedule: Vec<Window>,
    /// What says that nothing is to be sent now.
    pub pause_when: PauseWhen,
    /// How often that is looked at.
    pub pause_check: Duration,
    /// How files get there.
    pub transport: Transport,
    /// Whether what is sent is packed.
    pub compression: Compression,
    /// Whether content that is there already travels again.
    pub duplicates: Duplicates,
    /// Whose files are there.
    pub owner: Owner,
    /// What is to stay free of the disk there.
    pub keep_free: KeepFree,
    /// How many shipments may be under way at once.
    pub in_flight: NonZeroUsize,
    /// How long connecting and logging in may take.
    pub connect_timeout: Duration,
    /// How long a shipment may stand still before its connection is given up.
    pub stall_timeout: Duration,
    /// How often a silent server is asked whether it is still there.
    pub keepalive: Duration,
}

impl Destination {
    /// A destination with the defaults of `default.toml`, as this process sees them (`~` is its `HOME`). Nothing is
    /// checked.
    pub fn with_defaults(name: impl Into<String>, host: impl Into<String>) -> Self {
        let base = Base::embedded(&Environment::from_process()).destination;
        Self { name: name.into(), host: host.into(), ..base }
    }

    /// Without any defaults: what `default.toml` is read into.
    pub(crate) fn blank() -> Self {
        Self {
            name: String::new(),
            user: None,
            host: String::new(),
            port: SSH_PORT,
            says_port: false,
            ssh_config: SshConfig::Never,
            path: PathTemplate::default(),
            time_zone: TimeZone::Local,
            identity: Vec::new(),
            agent: Agent::Auto,
            certificate: Vec::new(),
            passphrase_file: None,
            password_file: None,
            jump: Vec::new(),
            known_hosts: Vec::new(),
            bandwidth: None,
            schedule: Vec::new(),
            pause_when: PauseWhen::Never,
            pause_check: Duration::ZERO,
            transport: Transport::Auto,
            compression: Compression::Off,
            duplicates: Duplicates::Send,
            owner: Owner::Preserve,
            keep_free: KeepFree::Percent(1),
            in_flight: NonZeroUsize::MIN,
            connect_timeout: Duration::ZERO,
            stall_timeout: Duration::ZERO,
            keepalive: Duration::ZERO,
        }
    }
}

/// How files get to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By `scp` under a shell, where the server has both, else by SFTP.
    Auto,
    /// By `scp` under a shell.
    Scp,
    /// By SFTP.
    Sftp,
}

impl Choice for Transport {
    const NAMES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("scp", Self::Scp), ("sftp", Self::Sftp)];
}

/// Whether what is sent is packed, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Where a sample shrinks and it saves time: by zstd where the destination has it, else by gzip on slow links.
    Auto,
    /// By zstd, where a sample shrinks and the destination has it.
    Zstd,
    /// By gzip, where a sample shrinks and the destination has it.
    Gzip,
    /// The whole connection, by zlib, if the server agrees.
    Ssh,
    /// Never.
    Off,
}

impl Choice for Compression {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("zstd", Self::Zstd),
        ("gzip", Self::Gzip),
        ("ssh", Self::Ssh),
        ("off", Self::Off),
    ];
}

/// What becomes of content that was delivered already, under another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// The server copies it.
    Copy,
    /// It is sent like any other.
    Send,
}

impl Choice for Duplicates {
    const NAMES: &'static [(&'static str, Self)] = &[("copy", Self::Copy), ("send", Self::Send)];
}

/// Whose a file is at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The login user's.
    Login,
    /// Of the numbers that it has here.
    Preserve,
}

impl Choice for Owner {
    const NAMES: &'static [(&'static str, Self)] = &[("login", Self::Login), ("preserve", Self::Preserve)];
}

/// By which clock dates in paths are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeZone {
    /// Universal time.
    Utc,
    /// This machine's own.
    Local,
}

impl Choice for TimeZone {
    const NAMES: &'static [(&'static str, Self)] = &[("utc", Self::Utc), ("local", Self::Local)];
}

/// What is to stay free of a destination's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepFree {
    /// Nobody asks.
    Off,
    /// So many bytes.
    Bytes(u64),
    /// So many in a hundred of the whole.
    Percent(u8),
}

impl KeepFree {
    /// How many bytes that are of a disk of `all` bytes.
    pub fn bytes_of(self, all: u64) -> u64 {
        match self {
            Self::Off => 0,
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (all / 100).saturating_mul(u64::from(percent)),
        }
    }
}
