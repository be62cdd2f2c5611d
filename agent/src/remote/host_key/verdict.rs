//! What the recorded keys say about a key that a server presents.

use std::fmt;
use std::path::PathBuf;

use russh::keys::Algorithm;

/// A line of a `known_hosts` file. Shown as `file:line`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineAt {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for LineAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A key that stands in a `known_hosts` file for the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Where.
    pub at: LineAt,
    /// Its kind.
    pub algorithm: Algorithm,
    /// Its fingerprint, as `ssh` prints it.
    pub fingerprint: String,
}

/// What to think of the key that a server presented. Only [`Verdict::Trusted`] is a reason to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The key is recorded for the host.
    Trusted {
        /// The first line that says so.
        at: LineAt,
    },
    /// No key is recorded for the host: a person may be asked, and the key recorded.
    Unknown,
    /// No key is recorded for the host, but authorities are: a certificate by one of them is needed, which is judged
    /// elsewhere. To a person who is asked it is as [`Verdict::Unknown`].
    NeedsCertificate {
        /// The authorities' keys; never empty.
        authorities: Vec<Recorded>,
    },
    /// Keys are recorded for the host, but none of the presented one's kind. OpenSSH calls this changed as well, and
    /// never asks: someone in between could choose a kind that isn't recorded.
    OtherKind {
        /// All keys of the host; never empty.
        recorded: Vec<Recorded>,
    },
    /// Another key of the same kind is recorded for the host.
    Changed {
        /// The keys of that kind, any of which would have been right; never empty.
        recorded: Vec<Recorded>,
    },
    /// The key is revoked for the host, whatever else is recorded.
    Revoked {
        /// The first line that says so.
        at: LineAt,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |keys: &[Recorded]| keys.iter().map(|key| key.at.to_string()).collect::<Vec<_>>().join(", ");
        match self {
            Self::Trusted { at } => write!(f, "the key matches {at}"),
            Self::Unknown => f.write_str("no line"),
            Self::NeedsCertificate { authorities } => {
                write!(f, "no key, but authorities: {}", at(authorities))
            }
            Self::OtherKind { recorded } => write!(f, "only keys of other kinds: {}", at(recorded)),
            Self::Changed { recorded } => write!(f, "another key: {}", at(recorded)),
            Self::Revoked { at } => write!(f, "revoked by {at}"),
        }
    }
}

impl Verdict {
    /// Whether the key itself is neither recorded nor contradicted.
    pub(in crate::remote) fn is_open(&self) -> bool {
        match self {
            Self::Unknown | Self::NeedsCertificate { .. } => true,
            Self::Trusted { .. } | Self::OtherKind { .. } | Self::Changed { .. } | Self::Revoked { .. } => {
                false
            }
        }
    }

    /// Whether a line names this very key.
    pub(super) fn names_the_key(&self) -> bool {
        match self {
            Self::Trusted { .. } | Self::Revoked { .. } => true,
            Self::Unknown | Self::NeedsCertificate { .. } | Self::OtherKind { .. } | Self::Changed { .. } => {
                false
            }
        }
    }
}
