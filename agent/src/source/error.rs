//! Why a source can't be used, and what that means for its delivery.

use std::io;

use rustix::io::Errno;
use skiff_common::delivery::Trouble;

/// Why a source can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It isn't there.
    #[error("{path} is not there")]
    Gone {
        /// What.
        path: String,
    },
    /// No right to read it.
    #[error("cannot read {path}: permission denied; let the user that skiff runs as read it")]
    Denied {
        /// What.
        path: String,
    },
    /// It is no regular file.
    #[error("{path} is a {kind}; only regular files are delivered")]
    NotRegular {
        /// What.
        path: String,
        /// Its kind.
        kind: &'static str,
    },
    /// A symlink or a mount point stands in the path.
    #[error("{path} leads through a symlink or a mount point, out of the watched folder")]
    Escapes {
        /// What.
        path: String,
    },
    /// What was mounted there no longer is.
    #[error(
        "{path} is paused: what was mounted there no longer is; it goes on when it is mounted again; if it is gone for \
         good, give the watch another path or name"
    )]
    Unmounted {
        /// What.
        path: String,
    },
    /// What a folder's rules leave out isn't known, so anything in it may be.
    #[error("{0}; until these rules can be read, nothing of their folder is taken")]
    Rules(Box<SourceError>),
    /// Anything else.
    #[error("cannot {attempt} {path}: {source}")]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl SourceError {
    /// What it means for a delivery.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Gone { .. } => Trouble::Gone,
            Self::Denied { .. } | Self::Unmounted { .. } | Self::Rules(_) | Self::Io { .. } => {
                Trouble::retryable(self.to_string())
            }
            Self::NotRegular { .. } | Self::Escapes { .. } => Trouble::permanent(self.to_string()),
        }
    }

    pub(super) fn new(attempt: &'static str, path: &(impl ToString + ?Sized), errno: Errno) -> Self {
        let path = path.to_string();
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Gone { path },
            Errno::ACCESS | Errno::PERM => Self::Denied { path },
            Errno::LOOP | Errno::XDEV => Self::Escapes { path },
            errno => Self::Io { attempt, path, source: errno.into() },
        }
    }
}
