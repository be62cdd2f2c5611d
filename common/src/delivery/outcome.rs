//! What became of each member of a shipment, step by step.

use super::record::Delivered;
use crate::digest::{Digest, Digests};
use crate::fault::Fault;
use crate::path::RelPath;
use crate::stamp::Stamp;

/// Why a member leaves its shipment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The source is no longer what was planned: it is tried again when it has settled.
    Changed,
    /// The source has gone: there is nothing left to do.
    Gone,
    /// Something failed for this member alone.
    Failed {
        /// Whether trying again may help.
        fault: Fault,
        /// What failed and why, fit to be shown.
        reason: String,
    },
}

impl Trouble {
    /// A failure that may pass.
    pub fn retryable(reason: impl Into<String>) -> Self {
        Self::Failed { fault: Fault::Retryable, reason: reason.into() }
    }

    /// A failure that won't pass by itself.
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self::Failed { fault: Fault::Permanent, reason: reason.into() }
    }
}

/// What became of a member when its shipment was staged and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Staged {
    /// It was sent, and the destination read back `theirs` from what was written.
    Landed {
        /// Of the bytes that were sent.
        digests: Digests,
        /// Read at the destination.
        theirs: Digest,
    },
    /// The same content stands, synced, under its final name already: nothing was sent.
    Stands {
        /// Of the source.
        digests: Digests,
        /// Read at the destination.
        theirs: Digest,
        /// The final name.
        name: RelPath,
    },
    /// It could not be read as it was planned, or did not land.
    Spoiled(Trouble),
}

/// What became of a member when it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// The file that was verified stands, synced, under this name.
    At(RelPath),
    /// It does not.
    Refused(Trouble),
}

/// What became of a delivered source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposal {
    /// It stays, as configured.
    Kept,
    /// It was deleted or moved, as configured.
    Removed,
    /// It was to go and stays, for this reason.
    Left(Trouble),
    /// The same, but it was out of its folder and is back, which moved the time of its last change.
    PutBack {
        /// Its stamp now; the version is the one that was delivered.
        stamp: Stamp,
        /// What others that deliver from this folder have delivered is this version.
        others: Vec<Delivered>,
        /// Why it stays.
        trouble: Trouble,
    },
}
