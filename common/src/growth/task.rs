//! What is to be done for a log, and what may come of it.

use super::{FileId, Log, LogId};
use crate::digest::Digests;
use crate::path::RelPath;

/// Why the end of a log is not at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing is known to be missing.
    None,
    /// It was truncated where it stood; of what it held then so many bytes had not been shipped. What was written between
    /// its copying and its truncation is lost in any case, and nobody can tell how much that is.
    Truncated {
        /// Bytes that were seen and not shipped.
        unshipped: u64,
    },
    /// It vanished while nobody held it open, so that nobody knows how long it was.
    Vanished {
        /// Bytes that were seen and not shipped, if it was ever seen.
        unshipped: Option<u64>,
    },
    /// Its copy is not what was shipped.
    Differs,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Whether `file` begins with all that was shipped of a log whose own file is gone or was truncated.
    Match {
        /// The file that was not there before.
        file: FileId,
        /// The log.
        log: LogId,
        /// How much of it was shipped.
        length: u64,
        /// The digests of that.
        digests: Digests,
    },
    /// Whether the copy of a log that was truncated begins with all that `file` holds: one that was made of the log just
    /// before, and is a little shorter.
    Inside {
        /// The file that was not there before.
        file: FileId,
        /// The log.
        log: LogId,
        /// Its copy.
        name: RelPath,
    },
    /// Whether `file` looks like a copy of the file of `log`, as far as both go.
    Twin {
        /// The file that was not there before.
        file: FileId,
        /// The other one.
        with: FileId,
        /// The log.
        log: LogId,
    },
    /// Give the copy another name.
    Rename {
        /// The log.
        log: LogId,
        /// The name that it has.
        from: RelPath,
        /// The name that it is to have.
        to: RelPath,
    },
    /// Put a finished copy of ours aside, which has the name that this log is to have.
    Evict {
        /// The log.
        log: LogId,
        /// The name.
        name: RelPath,
    },
    /// Read what the copy is, and compare.
    Measure {
        /// The log.
        log: LogId,
        /// Where the copy should stand.
        name: RelPath,
    },
    /// Bring the beginning under a name that nothing has.
    Create {
        /// The log.
        log: LogId,
        /// The name.
        name: RelPath,
    },
    /// Bring more of it.
    Append(LogId),
    /// Cut what follows `length` off the copy: it is not what the source holds there.
    CutBack {
        /// The log.
        log: LogId,
        /// What is known to be right.
        length: u64,
    },
    /// Read the whole copy back and compare.
    Verify(LogId),
    /// It is over: nothing more can come.
    Finish {
        /// The log.
        log: LogId,
        /// What is missing.
        loss: Loss,
    },
}

impl Task {
    /// The log that it is about.
    pub const fn log(&self) -> LogId {
        match self {
            Self::Match { log, .. }
            | Self::Inside { log, .. }
            | Self::Twin { log, .. }
            | Self::Rename { log, .. }
            | Self::Evict { log, .. }
            | Self::Measure { log, .. }
            | Self::Create { log, .. }
            | Self::CutBack { log, .. }
            | Self::Finish { log, .. }
            | Self::Append(log)
            | Self::Verify(log) => *log,
        }
    }
}

/// A task, and what has to be durable before it is begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Recorded first.
    pub record: Option<Log>,
    /// Done then.
    pub task: Task,
}

/// What came of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// `Match`, `Twin`, and `Inside` where it doesn't: whether it does.
    Same(bool),
    /// `Rename`, `Evict`: done.
    Moved,
    /// `Rename`: neither name is there any more. `Measure`: nothing stands there.
    Absent,
    /// `Rename`, `Create`: something else stands there.
    Taken {
        /// Whether our receipts know it.
        ours: bool,
    },
    /// `Measure`: a file stands there.
    Standing {
        /// Its length.
        size: u64,
        /// The digests of our own first `size` bytes, where they are the same.
        same: Option<Digests>,
        /// Whether at least what is recorded as shipped is the same.
        recorded_is_same: bool,
    },
    /// `Create`, `Append`, `CutBack`: the copy holds so many bytes now, with these digests. `Inside`, `Measure`: it holds
    /// all that the file does, which is that, and more.
    Shipped {
        /// Its length.
        length: u64,
        /// Its digests.
        digests: Digests,
    },
    /// `Append`, `CutBack`: the copy is not as it was left; of `Append`, also where it isn't there.
    Changed,
    /// `Measure`, `Append`: the file doesn't begin any more with what was shipped.
    Truncated,
    /// `Verify`: whether the copy is what was shipped.
    Verified(bool),
    /// `Finish`: noted.
    Finished,
    /// This log can't go on before the next look, others can.
    Refused,
    /// The destination refused just this; a copy that was to get another name has the one that it had.
    Denied,
    /// Nobody knows whether it was done.
    Failed,
}

/// What is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// At once.
    Keep(Log),
    /// Before long: what is lost of it is found again at the destination.
    Soon(Log),
    /// No longer needed.
    Forget(LogId),
}
