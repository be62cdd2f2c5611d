//! What can go wrong at the destination.

use std::time::Duration;

use skiff_common::fault::Classify;
use skiff_common::scp::ScpError;
use skiff_common::{Fault, RemotePath};

use super::reason::Reason;
use super::session::{ChannelError, ConnectError};

/// A step at the destination failed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// No connection, or no login.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection gave no channel.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The channel ended in the middle.
    #[error("the server ended the channel while {attempt}{}", said(.words))]
    Ended {
        /// What was being done.
        attempt: &'static str,
        /// The server's last words on standard error.
        words: String,
    },
    /// Nothing moved for too long.
    #[error("nothing came from the server for {} s while {attempt}", after.as_secs())]
    Stalled {
        /// What was being done.
        attempt: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The server's answer makes no sense.
    #[error("the server answered {words:?} while {attempt}")]
    Nonsense {
        /// What was being done.
        attempt: &'static str,
        /// What it said.
        words: String,
    },
    /// The destination's folder can't be used.
    #[error("cannot use the folder {path} at the destination: {why}")]
    Root {
        /// The folder.
        path: String,
        /// The server's reason.
        why: String,
    },
    /// The destination's folder is another one than that which was entered.
    #[error(
        "the folder {path} at the destination is another one than before: it was cleared or replaced, or something is mounted there now"
    )]
    Moved {
        /// The folder.
        path: String,
    },
    /// The account runs no shell.
    #[error("the account runs no shell: {words}")]
    NoShell {
        /// What the server said instead.
        words: String,
    },
    /// There is SFTP alone, where a shell is needed.
    #[error("the destination serves SFTP alone, and logs that grow (mode = \"append\") need a shell there")]
    SftpAlone,
    /// The server has no SFTP.
    #[error("the server gives no SFTP: {words}")]
    NoSftp {
        /// What it said instead.
        words: String,
    },
    /// A tool that is needed is missing there.
    #[error("the destination has no `{tool}`")]
    NoTool {
        /// The tool.
        tool: &'static str,
    },
    /// A step was refused.
    #[error("{attempt} failed at the server: {why}")]
    Refused {
        /// What was being done.
        attempt: &'static str,
        /// The server's reason.
        why: String,
    },
    /// What was staged of one shipment is no longer there; others are none the worse for it.
    #[error("{attempt} failed at the server: what was staged has gone")]
    Gone {
        /// What was being done.
        attempt: &'static str,
    },
    /// Just this was refused, about one file: others may be done.
    #[error("{attempt} failed at the server: {why}")]
    Denied {
        /// What was being done.
        attempt: &'static str,
        /// The server's reason.
        why: String,
    },
    /// There is too little room.
    #[error("{} MiB are free at the destination, too little for {} MiB more where {} MiB are to stay free",
        free >> 20, needed.div_ceil(1 << 20), keep.div_ceil(1 << 20))]
    Full {
        /// What is free there, in bytes.
        free: u64,
        /// What is to be sent.
        needed: u64,
        /// What is to stay free.
        keep: u64,
    },
    /// The transfer itself failed.
    #[error("sending by scp failed: {0}")]
    Scp(#[from] ScpError),
    /// A source could not be read to its end.
    #[error("reading the sources ended early")]
    SourceEnded,
}

impl RemoteError {
    /// Whether the destination as a whole is in trouble, so that its other shipments would fail too.
    pub const fn is_destination(&self) -> bool {
        match self {
            Self::Connect(_)
            | Self::Channel(_)
            | Self::Ended { .. }
            | Self::Stalled { .. }
            | Self::NoShell { .. }
            | Self::SftpAlone
            | Self::NoSftp { .. }
            | Self::NoTool { .. }
            | Self::Refused { .. }
            | Self::Full { .. }
            | Self::Scp(_) => true,
            // Another watch may deliver into another folder there.
            Self::Root { .. }
            | Self::Moved { .. }
            | Self::Nonsense { .. }
            | Self::Gone { .. }
            | Self::Denied { .. }
            | Self::SourceEnded => false,
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        if let Some(reason) = self.reason() {
            return reason.code();
        }
        match self {
            Self::Connect(error) => error.code(),
            Self::Channel(error) => error.code(),
            Self::Ended { .. } => "connection-lost",
            Self::Stalled { .. } => "stalled",
            Self::Nonsense { .. } => "bad-answer",
            Self::Root { .. } => "destination-folder",
            Self::Moved { .. } => "destination-moved",
            Self::NoShell { .. } | Self::SftpAlone => "no-shell",
            Self::NoSftp { .. } => "no-sftp",
            Self::NoTool { .. } => "tool-missing",
            Self::Refused { .. } | Self::Denied { .. } | Self::Gone { .. } => "refused",
            Self::Full { .. } => "low-space",
            Self::Scp(_) => "scp",
            Self::SourceEnded => "source",
        }
    }

    /// What to do about it, where nobody knows in which folder.
    pub fn hint(&self) -> String {
        self.hint_at(".")
    }

    /// What to do about it in the destination's folder `root`.
    pub fn hint_in(&self, root: &RemotePath) -> String {
        self.hint_at(&root.to_string())
    }

    fn hint_at(&self, folder: &str) -> String {
        if let Some(reason) = self.reason() {
            return reason.hint(self.folder().unwrap_or(folder));
        }
        match self {
            Self::Connect(error) => error.hint(),
            Self::Root { path, .. } => {
                format!(
                    "make {path} at the destination and let the login user write to it, or correct `path`"
                )
            }
            Self::Moved { path } => format!(
                "nothing: it is entered anew with the next try; but if a disk was mounted at {path} after skiff had delivered \
                 there, look below the mount for what came before, and let the server start sshd after the mount"
            ),
            Self::NoShell { .. } => {
                "give the account a login shell there (`chsh -s /bin/sh USER`) and no ForceCommand, or SFTP (`ForceCommand \
                 internal-sftp`), or log in as another"
                    .to_owned()
            }
            Self::SftpAlone => {
                "give the account a login shell there (`chsh -s /bin/sh USER`) and no ForceCommand, or deliver the logs when \
                 they are whole: mode = \"whole\""
                    .to_owned()
            }
            Self::NoSftp { .. } => {
                "let the server offer SFTP by itself (`Subsystem sftp internal-sftp` in sshd_config), so that no shell and no \
                 start-up file of one (~/.bashrc, ~/.zshenv, ~/.cshrc) has a word in it, or set transport = \"scp\""
                    .to_owned()
            }
            Self::NoTool { tool: "scp" } => {
                "install scp at the destination (Debian, Alpine: openssh-client; Fedora: openssh-clients), in the PATH of a \
                 session without a terminal: `ssh HOST command -v scp`"
                    .to_owned()
            }
            Self::NoTool { tool } => format!("install {tool} at the destination"),
            Self::Full { .. } => "make room there, or change keep_free; it is tried again".to_owned(),
            Self::Refused { .. } | Self::Denied { .. } | Self::Scp(_) => {
                "look at the free space and the rights at the destination".to_owned()
            }
            Self::Channel(error) => error.hint(),
            Self::Ended { .. } => {
                "see in the server's log what ended it (`journalctl -u ssh`); it goes on where it was with the next try"
                    .to_owned()
            }
            Self::Stalled { .. } => {
                "see whether the disk there hangs (`dmesg | tail`, `uptime`), or a firewall or too large an MTU on the way \
                 swallows packets (`ping -M do -s 1400 HOST`); it goes on where it was with the next try, and where the \
                 server just needs longer, raise `stall_timeout`"
                    .to_owned()
            }
            Self::Nonsense { .. } => {
                "the login shell has to run `sh`; see what it says: `ssh HOST true`".to_owned()
            }
            Self::Gone { .. } => "it is sent again; see what clears .skiff there, if it happens often".to_owned(),
            Self::SourceEnded => "it is tried again".to_owned(),
        }
    }

    /// What lies behind a refusal, if the words tell.
    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Root { why, .. } | Self::Refused { why, .. } | Self::Denied { why, .. } => Reason::of(why),
            Self::Scp(ScpError::Refused { text, .. } | ScpError::SenderFailed { text }) => Reason::of(text),
            Self::Connect(_)
            | Self::Channel(_)
            | Self::Ended { .. }
            | Self::Stalled { .. }
            | Self::Nonsense { .. }
            | Self::Moved { .. }
            | Self::NoShell { .. }
            | Self::SftpAlone
            | Self::NoSftp { .. }
            | Self::NoTool { .. }
            | Self::Gone { .. }
            | Self::Full { .. }
            | Self::Scp(_)
            | Self::SourceEnded => None,
        }
    }

    /// The folder at the destination, where it is known.
    fn folder(&self) -> Option<&str> {
        if let Self::Root { path, .. } | Self::Moved { path } = self { Some(path) } else { None }
    }
}

impl Classify for RemoteError {
    fn fault(&self) -> Fault {
        match self {
            Self::Connect(error) => error.fault(),
            Self::NoShell { .. } | Self::SftpAlone | Self::NoSftp { .. } | Self::NoTool { .. } => {
                Fault::Fatal
            }
            Self::Channel(_)
            | Self::Ended { .. }
            | Self::Stalled { .. }
            | Self::Nonsense { .. }
            | Self::Root { .. }
            | Self::Moved { .. }
            | Self::Refused { .. }
            | Self::Gone { .. }
            | Self::Denied { .. }
            | Self::Full { .. }
            | Self::Scp(_)
            | Self::SourceEnded => Fault::Retryable,
        }
    }
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(", saying: {words}") }
}
