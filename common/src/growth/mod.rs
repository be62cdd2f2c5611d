//! Files that grow: which file is which, what its copy is called, and what is to be done next.
//!
//! A log is followed by what it is (device, inode, birth), never by its name; when it is renamed, its copy is renamed.
//! Promises that a step is recorded before it is taken where a crash would leave a riddle (a name that is claimed), and
//! that each step is safe to repeat. Owns neither files nor the destination: what is seen and what came of a step come
//! in, tasks and records come out.

mod came;
mod ledger;
mod names;
mod newcomer;
mod step;
mod task;
#[cfg(test)]
mod tests;
mod tracked;

use serde::{Deserialize, Serialize};

use crate::digest::Digests;
use crate::path::RelPath;

pub use ledger::Ledger;
pub use task::{Loss, Note, Outcome, Step, Task};

/// Which file it is, however it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// The device that holds it.
    pub dev: u64,
    /// Its number there, which another file may get when it is gone.
    pub ino: u64,
    /// When it was made, in nanoseconds since 1970; 0 where the file system doesn't tell.
    pub born_ns: i64,
}

impl FileId {
    /// Whether it can be the file `other`, if the device's number is another one.
    pub const fn is_on_another_device(self, other: Self) -> bool {
        self.dev != other.dev && self.ino == other.ino && self.born_ns == other.born_ns
    }
}

/// Names a log for good: also when its content goes on in another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId([u8; 16]);

impl LogId {
    /// The id of the content that `file` holds for the `round`th time, after it was truncated so often.
    pub fn of(file: FileId, round: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&file.dev.to_le_bytes()).update(&file.ino.to_le_bytes());
        hasher.update(&file.born_ns.to_le_bytes()).update(&round.to_le_bytes());
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }

    /// The id that `bytes` are.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// What has to be known of a log after a restart. Lengths may be older than the copy: then the copy is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Its name for good.
    pub id: LogId,
    /// The file that holds it.
    pub file: FileId,
    /// How often that file had been truncated when this content began.
    pub round: u32,
    /// Where it was seen last.
    pub path: RelPath,
    /// What its copy is called.
    pub name: Option<RelPath>,
    /// What its copy is about to be called: this name is claimed.
    pub moving: Option<RelPath>,
    /// So many of its first bytes are at the destination, at least.
    pub shipped: u64,
    /// Their digests.
    pub digests: Digests,
    /// Up to here the whole copy was read back at once.
    pub verified: u64,
    /// It was renamed since, so that the whole copy is to be read back.
    pub renamed: bool,
    /// It was found to go on in this file by what is recorded of it; its copy may hold more, and that is still to be compared.
    pub unproven: bool,
    /// Its file holds other content now.
    pub ended: bool,
}

/// What is seen of a file at a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Which file it is.
    pub file: FileId,
    /// What it is called; `None`: it is held open, and has no name in the folder any more.
    pub path: Option<RelPath>,
    /// Its length in bytes.
    pub size: u64,
    /// Whether somebody may still write to it, of one without a name.
    pub written: bool,
}
