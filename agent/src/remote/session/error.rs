//! Why there is no session, or no channel on it, and what to do about that.

use std::io;
use std::time::Duration;

use skiff_common::Fault;
use skiff_common::fault::Classify;

use super::algorithm::Kind;
use super::progress::{Progress, Step};
use crate::remote::host_key::KnownHostsError;
use crate::remote::key_file::KeyFileError;

/// Why a connection could not be made, or its host not be trusted, or the login failed. What a server said is escaped.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("cannot find the address of {host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nobody listens there.
    #[error("{address} refused the connection: nobody listens on that port")]
    Refused {
        /// Where.
        address: String,
    },
    /// The time for connecting ran out.
    #[error("{address}: timed out after {} s while {step}", seconds(*after))]
    TimedOut {
        /// Where; a name, if no address is known yet.
        address: String,
        /// Doing what.
        step: Step,
        /// How long was waited for all of it.
        after: Duration,
    },
    /// The network or the operating system failed.
    #[error("{address}: cannot {attempt}: {source}")]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// Where.
        address: String,
        /// The failure.
        source: io::Error,
    },
    /// It closed before it greeted as SSH servers do, or greeted otherwise.
    #[error(
        "{address} does not answer as an SSH server; {}",
        if said.is_empty() { "it closed the connection without a word".to_owned() } else { format!("it said: {said}") }
    )]
    NotSsh {
        /// Where.
        address: String,
        /// The first it said, if anything; a busy sshd may give its reason there.
        said: String,
    },
    /// The two sides share no algorithm of some kind.
    #[error(
        "{address} and skiff have no {} in common: ours are {}, the server's are {}",
        kind.words(), list(ours), list(theirs)
    )]
    NoCommonAlgorithm {
        /// Where.
        address: String,
        /// Of what kind.
        kind: Kind,
        /// What we would use.
        ours: Vec<String>,
        /// What the server would.
        theirs: Vec<String>,
    },
    /// No key is recorded for the host.
    #[error("the host key of {host} port {port} is unknown: {algorithm} {fingerprint}")]
    HostKeyUnknown {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
        /// The presented key's, as `ssh` prints it.
        fingerprint: String,
        /// The presented key's kind.
        algorithm: String,
        /// What records it.
        trust: String,
    },
    /// Other keys are recorded for the host: it was set up anew, or somebody is in between.
    #[error("the host key of {host} port {port} has changed: it is {fingerprint}, recorded is {recorded}")]
    HostKeyChanged {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
        /// The presented key's.
        fingerprint: String,
        /// The recorded ones, each with its place.
        recorded: String,
        /// What takes them out.
        forget: Box<str>,
        /// What records the new one.
        trust: Box<str>,
    },
    /// The presented key is marked as revoked.
    #[error("the host key of {host} port {port} is revoked by {at}: {fingerprint}")]
    HostKeyRevoked {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
        /// The presented key's.
        fingerprint: String,
        /// The line that says so.
        at: String,
    },
    /// The server presented a certificate that an authority recorded for it has signed, but that doesn't hold.
    #[error("the host certificate of {host} port {port} does not hold: {why}")]
    HostKeyCertificate {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
        /// What is wrong with it.
        why: String,
    },
    /// A server on the way makes no connection to the next.
    #[error("{gate} makes no connection to {address}: {reason}")]
    Jump {
        /// The server on the way.
        gate: String,
        /// The next one.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The recorded host keys can't be read.
    #[error(transparent)]
    KnownHosts(#[from] KnownHostsError),
    /// A key file can't be used.
    #[error(transparent)]
    KeyFile(Box<KeyFileError>),
    /// There is no key to log in with.
    #[error(
        "nothing to log in to {address} with; looked at: {}; the server takes: {}",
        list(tried),
        list(offered)
    )]
    NoKeys {
        /// Where.
        address: String,
        /// Where something was looked for.
        tried: Vec<String>,
        /// The methods that the server offers.
        offered: Vec<String>,
    },
    /// The server accepted none of our keys.
    #[error(
        "{address} refused the login of {user}; tried: {}; it takes: {}{}",
        tried.join(", "), list(offered), quoted(.message.as_deref().unwrap_or_default())
    )]
    LoginRefused {
        /// The user.
        user: Box<str>,
        /// Where.
        address: Box<str>,
        /// What puts a key there.
        install: Box<str>,
        /// The keys that were tried, and those that could not be.
        tried: Vec<String>,
        /// The methods by which the server would go on.
        offered: Vec<String>,
        /// What it said.
        message: Option<Box<str>>,
    },
    /// The connection ended on the way.
    #[error("lost the connection to {address} while {step}: {reason}")]
    Lost {
        /// Where.
        address: String,
        /// Doing what.
        step: Step,
        /// Why.
        reason: String,
    },
}

impl ConnectError {
    /// It ended where `progress` stands.
    pub(super) fn lost(progress: &Progress, reason: String) -> Self {
        Self::Lost { address: progress.address(), step: progress.step(), reason }
    }

    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "host-not-found",
            Self::Refused { .. } => "connection-refused",
            Self::TimedOut { step: Step::Greeting, .. } => "no-greeting",
            Self::TimedOut { .. } => "connect-timed-out",
            Self::Io { .. } => "network-error",
            Self::NotSsh { .. } => "not-ssh",
            Self::NoCommonAlgorithm { .. } => "no-common-algorithm",
            Self::HostKeyUnknown { .. } => "host-key-unknown",
            Self::HostKeyChanged { .. } => "host-key-changed",
            Self::HostKeyRevoked { .. } => "host-key-revoked",
            Self::HostKeyCertificate { .. } => "host-key-certificate",
            Self::Jump { .. } => "jump-failed",
            Self::KnownHosts(_) => "known-hosts",
            Self::KeyFile(error) => error.code(),
            Self::NoKeys { .. } => "no-keys",
            Self::LoginRefused { .. } => "login-refused",
            Self::Lost { .. } => "connection-lost",
        }
    }

    /// What kind of trouble it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Resolve { .. }
            | Self::Refused { .. }
            | Self::TimedOut { .. }
            | Self::Io { .. }
            | Self::NotSsh { .. }
            | Self::Jump { .. }
            | Self::Lost { .. } => Fault::Retryable,
            Self::NoCommonAlgorithm { .. }
            | Self::HostKeyUnknown { .. }
            | Self::HostKeyChanged { .. }
            | Self::HostKeyRevoked { .. }
            | Self::HostKeyCertificate { .. }
            | Self::KnownHosts(_)
            | Self::KeyFile(_)
            | Self::NoKeys { .. }
            | Self::LoginRefused { .. } => Fault::Fatal,
        }
    }
}

impl Classify for ConnectError {
    fn fault(&self) -> Fault {
        self.fault()
    }
}

/// Why a command could not be run on a session.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The server opens no more channels; `MaxSessions`, most often.
    #[error("the server opens no channel: {reason}")]
    Denied {
        /// Why, as far as it said.
        reason: String,
    },
    /// It opened a channel, but runs no command on it.
    #[error("the server refused to run a command")]
    ExecRefused,
    /// It didn't answer.
    #[error("the server opened no channel within {} s", seconds(*.0))]
    TimedOut(Duration),
    /// The connection is gone.
    #[error("the connection is lost: {reason}")]
    Lost {
        /// Why.
        reason: String,
    },
}

impl ChannelError {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Denied { .. } | Self::TimedOut(_) => "channel",
            Self::ExecRefused => "no-shell",
            Self::Lost { .. } => "connection-lost",
        }
    }

    /// What kind of trouble it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Denied { .. } | Self::TimedOut(_) | Self::Lost { .. } => Fault::Retryable,
            Self::ExecRefused => Fault::Permanent,
        }
    }
}

impl Classify for ChannelError {
    fn fault(&self) -> Fault {
        self.fault()
    }
}

/// To a tenth.
fn seconds(time: Duration) -> f32 {
    (time.as_secs_f32() * 10.0).round() / 10.0
}

fn list(words: &[String]) -> String {
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("; it said: {said}") }
}
