//! What comes is hashed and written by a thread of its own, in one pass.
//!
//! Promises that the digest is of the bytes that were written, and that a file of the wrong size is told from a whole
//! one. Lacks any say in where a file goes: it writes parts.

use std::io::Write as _;
use std::sync::Arc;

use skiff_common::digest::{Digests, Hasher};
use skiff_common::{Algorithm, Stamp};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::target::{LocalError, Part, Target};

/// Pieces on their way to the disk; each is at most a packet of 32 KiB, or a body's rest.
const WAITING_PIECES: usize = 64;

/// What the thread is told.
pub(super) enum Order {
    Open(Box<Opening>),
    Data(Vec<u8>),
    /// The file that was opened last is over.
    Close,
}

/// A file that begins.
pub(super) struct Opening {
    pub(super) file: usize,
    /// Under which name it is written; `None`: it is only hashed.
    pub(super) token: Option<String>,
    pub(super) size: u64,
    /// How much of it is there already.
    pub(super) skip: u64,
    /// The part when that was read; `None`: nothing was.
    pub(super) left: Option<Stamp>,
    /// Of what is there.
    pub(super) hasher: Hasher,
}

/// What came of a file.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) file: usize,
    pub(super) outcome: Landing,
}

/// Whether a file is here.
#[derive(Debug)]
pub(super) enum Landing {
    /// All its bytes are; this is what they were written to, if they were.
    Whole { digests: Digests, stamp: Option<Stamp> },
    /// It ended early.
    Short,
    /// Another skiff fetches it.
    Busy,
    /// It can't be written; others can.
    Failed(String),
}

/// The thread.
pub(super) struct Receiver {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) thread: JoinHandle<Result<(), LocalError>>,
}

impl Receiver {
    /// Starts one that tells `landed` about each file. It ends when nobody can give it orders, or at an error that
    /// concerns every file.
    pub(super) fn start(target: Arc<Target>, landed: mpsc::Sender<Landed>) -> Self {
        let (orders, mut waiting) = mpsc::channel(WAITING_PIECES);
        let thread = tokio::task::spawn_blocking(move || {
            let mut open = None;
            while let Some(order) = waiting.blocking_recv() {
                match order {
                    Order::Open(opening) => open = Some(File::begin(&target, opening)?),
                    Order::Data(bytes) => {
                        if let Some(file) = &mut open {
                            file.write(&target, &bytes)?;
                        }
                    }
                    Order::Close => {
                        let Some(file) = open.take() else { continue };
                        let file = Landed { file: file.opening.file, outcome: file.end(&target)? };
                        if landed.blocking_send(file).is_err() {
                            return Ok(());
                        }
                    }
                }
            }
            Ok(())
        });
        Self { orders, thread }
    }
}

struct File {
    opening: Box<Opening>,
    part: Option<Part>,
    written: u64,
    trouble: Option<Landing>,
}

impl File {
    fn begin(target: &Target, opening: Box<Opening>) -> Result<Self, LocalError> {
        let mut file = Self { written: opening.skip, opening, part: None, trouble: None };
        let Some(token) = &file.opening.token else { return Ok(file) };
        match target.part(token, file.opening.skip == 0) {
            // Another pull has begun it anew meanwhile: what was read is no longer there.
            Ok(Some(part)) if file.opening.left.is_some_and(|left| part.stamp() != Ok(left)) => {
                file.trouble = Some(Landing::Busy);
            }
            Ok(Some(part)) => {
                let skip = file.opening.skip;
                let placed = part.file.set_len(skip).and_then(|()| {
                    std::io::Seek::seek(&mut &part.file, std::io::SeekFrom::Start(skip)).map(drop)
                });
                file.part = Some(part);
                placed.or_else(|error| file.failed(target, &error))?;
            }
            Ok(None) => file.trouble = Some(Landing::Busy),
            Err(error) if error.is_general => return Err(error),
            Err(error) => file.trouble = Some(Landing::Failed(error.to_string())),
        }
        Ok(file)
    }

    fn write(&mut self, target: &Target, bytes: &[u8]) -> Result<(), LocalError> {
        self.opening.hasher.update(bytes);
        self.written += bytes.len() as u64;
        if self.trouble.is_some() {
            return Ok(());
        }
        let written = self.part.as_ref().map_or(Ok(()), |part| (&part.file).write_all(bytes));
        written.or_else(|error| self.failed(target, &error))
    }

    fn end(mut self, target: &Target) -> Result<Landing, LocalError> {
        if let Some(trouble) = self.trouble.take() {
            return Ok(trouble);
        }
        if self.written != self.opening.size {
            return Ok(Landing::Short);
        }
        let failed =
            |errno| LocalError::new("look at what was written into", &target.path().display(), errno);
        let stamp = self.part.as_ref().map(Part::stamp).transpose().map_err(failed)?;
        Ok(Landing::Whole { digests: self.opening.hasher.digests(), stamp })
    }

    /// What fills the disk goes; what else is the matter may be this file's alone.
    fn failed(&mut self, target: &Target, error: &std::io::Error) -> Result<(), LocalError> {
        let errno = rustix::io::Errno::from_io_error(error).unwrap_or(rustix::io::Errno::IO);
        let error = LocalError::new("write into", &target.path().display(), errno);
        if error.is_full
            && let Some(part) = self.part.take()
        {
            target.remove(&part);
        }
        if error.is_general {
            return Err(error);
        }
        self.trouble = Some(Landing::Failed(error.to_string()));
        Ok(())
    }
}

/// A hasher for what a server with this digest tool computes, or without one.
pub(super) fn hasher(theirs: Option<Algorithm>) -> Hasher {
    Hasher::for_destination(theirs.unwrap_or(Algorithm::Blake3))
}

#[cfg(test)]
mod tests;
