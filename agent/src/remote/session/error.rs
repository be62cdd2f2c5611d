//! Why there is no session, or no channel on it, and what to do about that.

use std::io;
use std::time::Duration;

use skiff_common::Fault;
use skiff_common::fault::Classify;

use super::progress::Step;
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
    #[error("{address} refused the connection")]
    Refused {
        /// Where.
        address: String,
    },
    /// The time for connecting ran out.
    #[error("{address}: timed out while {step}")]
    TimedOut {
        /// Where; a name, if no address is known yet.
        address: String,
        /// Doing what.
        step: Step,
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
    #[error("{address} does not answer as an SSH server{}", quoted(.said))]
    NotSsh {
        /// Where.
        address: String,
        /// The first it said, if anything; a busy sshd may give its reason there.
        said: String,
    },
    /// The two sides share no algorithm of some kind.
    #[error("no common {kind} algorithm with {address}: ours {}, theirs {}", ours.join(","), theirs.join(","))]
    NoCommonAlgorithm {
        /// Where.
        address: String,
        /// Of what kind.
        kind: String,
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
    #[error("nothing to log in with; looked at: {}; the server offers: {}", tried.join(", "), list(offered))]
    NoKeys {
        /// Where something was looked for.
        tried: Vec<String>,
        /// The methods that the server offers.
        offered: Vec<String>,
    },
    /// The server accepted none of our keys.
    #[error(
        "{host} refused the login of {user}; tried: {}; it offers: {}{}",
        tried.join(", "), list(offered), quoted(.message.as_deref().unwrap_or_default())
    )]
    LoginRefused {
        /// The user.
        user: String,
        /// The host.
        host: String,
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
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "host-not-found",
            Self::Refused { .. } => "connection-refused",
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
            Self::KeyFile(_) => "key-file",
            Self::NoKeys { .. } => "no-keys",
            Self::LoginRefused { .. } => "login-refused",
            Self::Lost { .. } => "connection-lost",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Resolve { host, .. } => {
                format!("check the name {host}, and that this machine's resolver works")
            }
            Self::Refused { address } => {
                format!("check the port, and that an SSH server runs and listens on {address}")
            }
            Self::TimedOut { .. } | Self::Io { .. } | Self::Lost { .. } => {
                "check the network and firewalls on the way, and the server's log; a later try may work"
                    .to_owned()
            }
            Self::NotSsh { .. } => {
                "check the port; an sshd that is too busy (MaxStartups) also looks like this".to_owned()
            }
            Self::NoCommonAlgorithm { kind, .. } => {
                format!("update the server, or allow one of ours for {kind} there")
            }
            Self::HostKeyUnknown { host, port, .. } => {
                format!("compare the fingerprint with the server's, then: skiff trust {}", place(host, *port))
            }
            Self::HostKeyChanged { host, port, recorded, .. } => format!(
                "somebody may be in between; if the server was set up anew, remove the recorded key ({recorded}), \
                 then: skiff trust {}",
                place(host, *port)
            ),
            Self::HostKeyRevoked { at, .. } => {
                format!("do not connect; the server needs another host key, or {at} is wrong")
            }
            Self::HostKeyCertificate { host, .. } => format!(
                "have the certificate of {host} renewed (ssh-keygen -s CA -h -n {host} …), and look at this machine's clock"
            ),
            Self::Jump { gate, address, .. } => format!(
                "see that {gate} can reach {address}, and that its sshd allows it (AllowTcpForwarding, PermitOpen)"
            ),
            Self::KnownHosts(_) => "make the file readable, or name another one".to_owned(),
            Self::KeyFile(error) => key_file_hint(error),
            Self::NoKeys { offered, .. }
                if offered.iter().all(|method| method != "publickey") && !offered.is_empty() =>
            {
                "the server takes no key: name the file that holds the password in `password_file`".to_owned()
            }
            Self::NoKeys { .. } => {
                "make a key with: skiff keygen, or name one with -i, or in `identity` of the destination"
                    .to_owned()
            }
            Self::LoginRefused { user, host, offered, .. }
                if offered.iter().any(|method| method == "publickey") =>
            {
                format!("check the user name, and put the public key there with: ssh-copy-id {user}@{host}")
            }
            Self::LoginRefused { user, .. } => {
                format!("check that the server allows {user} to log in by public key, and see its log")
            }
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

    /// Whether the host's identity is the trouble.
    pub fn is_host_key(&self) -> bool {
        matches!(
            self,
            Self::HostKeyUnknown { .. }
                | Self::HostKeyChanged { .. }
                | Self::HostKeyRevoked { .. }
                | Self::HostKeyCertificate { .. }
        )
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
    #[error("the server opened no channel within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The connection is gone.
    #[error("the connection is lost: {reason}")]
    Lost {
        /// Why.
        reason: String,
    },
}

impl ChannelError {
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

fn place(host: &str, port: u16) -> String {
    if port == 22 { host.to_owned() } else { format!("{host}:{port}") }
}

fn key_file_hint(error: &KeyFileError) -> String {
    match error {
        KeyFileError::TooOpen { command, .. } => command.clone(),
        KeyFileError::Encrypted { .. } => {
            "name the file that holds the passphrase in `passphrase_file`, or add the key to ssh-agent"
                .to_owned()
        }
        KeyFileError::Io { path, .. } => format!("check that {} is there and readable", path.display()),
        KeyFileError::NotRegular { .. }
        | KeyFileError::ForeignOwner { .. }
        | KeyFileError::TooLarge { .. }
        | KeyFileError::Passphrase { .. }
        | KeyFileError::NoSecret { .. }
        | KeyFileError::Certificate { .. }
        | KeyFileError::Malformed { .. } => "run what the message says, or name another key".to_owned(),
    }
}

fn list(methods: &[String]) -> String {
    if methods.is_empty() { "nothing".to_owned() } else { methods.join(", ") }
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("; it said: {said}") }
}
