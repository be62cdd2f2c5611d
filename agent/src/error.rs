//! Why an agent ended that was not told to.

use crate::context::SettingsError;
use crate::control::ControlError;
use crate::dispatch::DispatchError;
use crate::journal::JournalError;
use crate::scan::ScanError;

/// Why an agent ended that was not told to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A scanner.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The dispatcher.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The receipts can't be written.
    #[error("cannot open the receipts {path}: {source}")]
    Receipts {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A thread can't be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A watch's thread panicked: its scanner, its follower, or what keeps its room.
    #[error("a thread of the watch {0} panicked")]
    Panicked(String),
    /// Nobody could ask it anything.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Settings that were checked before don't hold.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}
