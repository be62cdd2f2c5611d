//! What can go wrong with `known_hosts` files.

use std::io;
use std::path::{Path, PathBuf};

use russh::keys::Algorithm;

/// The largest file that is read.
pub(super) const MAX_FILE_BYTES: u64 = 16 << 20;

/// Why a `known_hosts` file could not be read or added to.
#[derive(Debug, thiserror::Error)]
pub enum KnownHostsError {
    /// The operating system refused. A file that isn't there is no error when reading.
    #[error("cannot {attempt} {}: {source}", .path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// Nobody's list of hosts is that long.
    #[error("{} is larger than {MAX_FILE_BYTES} bytes", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The host's name would be read back as something else than this one host.
    #[error("cannot record a key for the host name {host:?}")]
    HostName {
        /// The name.
        host: String,
    },
    /// The key would not be read back: a certificate, or of a kind that `known_hosts` files don't hold.
    #[error("cannot record a host key of the kind {algorithm}")]
    Key {
        /// The kind.
        algorithm: Algorithm,
    },
}

impl KnownHostsError {
    pub(super) fn io(attempt: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { attempt, path: path.to_owned(), source }
    }
}
