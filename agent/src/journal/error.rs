//! What can go wrong with the journal.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::value::{BadValue, VERSION};

/// Why the journal did not do what it was asked to. Nothing was acknowledged then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// Another skiff works with this state folder.
    #[error("the state folder {} is in use by {}", .path.display(), holder(*.holder_pid))]
    Locked {
        /// The state folder.
        path: PathBuf,
        /// The other process, where it wrote its number.
        holder_pid: Option<u32>,
    },
    /// A newer skiff wrote it. It was left as it is.
    #[error("the journal {} has format {version}; this skiff knows up to {VERSION}", .path.display())]
    Newer {
        /// The journal.
        path: PathBuf,
        /// Its format.
        version: u8,
    },
    /// The file system is full, or nearly so. The journal works again once there is space.
    #[error("no space to {attempt} {}", .path.display())]
    NoSpace {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
    },
    /// The operating system refused. Where that was a write, the journal takes nothing more until it is opened again.
    #[error("cannot {attempt} {}: {source}", .path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// The refusal.
        source: Arc<io::Error>,
    },
    /// The store isn't what it should be. It takes nothing more until it is opened again.
    #[error("cannot {attempt} {}: the journal is damaged: {reason}", .path.display())]
    Broken {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// How the damage shows.
        reason: String,
    },
    /// It took too long, and may still be at it.
    #[error("gave up to {attempt} {} after {} s", .path.display(), .after.as_secs())]
    Stalled {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// How long it was given.
        after: Duration,
    },
    /// The journal was closed before.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    pub(super) fn io(attempt: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::NoSpace { attempt, path },
            _ => Self::Io { attempt, path, source: Arc::new(source) },
        }
    }

    pub(super) fn broken(attempt: &'static str, path: &Path, reason: impl Into<String>) -> Self {
        Self::Broken { attempt, path: path.to_owned(), reason: reason.into() }
    }

    pub(super) fn bad_value(attempt: &'static str, path: &Path, bad: BadValue) -> Self {
        match bad {
            BadValue::Newer(version) => Self::Newer { path: path.to_owned(), version },
            BadValue::Damaged(reason) => Self::broken(attempt, path, reason),
        }
    }

    pub(super) fn sled(attempt: &'static str, path: &Path, error: sled::Error) -> Self {
        match error {
            sled::Error::Io(source) if blames_the_system(&source) => Self::io(attempt, path, source),
            damage => Self::broken(attempt, path, damage.to_string()),
        }
    }
}

/// Whether it is no sign of damage: a fresh journal in the same place would meet the same.
fn blames_the_system(error: &io::Error) -> bool {
    let out_of_files = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
    out_of_files
        || is_lock(error)
        || matches!(
            error.kind(),
            ErrorKind::StorageFull
                | ErrorKind::QuotaExceeded
                | ErrorKind::PermissionDenied
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::OutOfMemory
        )
}

/// Whether sled says, the only way it has, that its file is still open somewhere.
pub(super) fn is_lock(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Other && error.to_string().contains("could not acquire lock")
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
