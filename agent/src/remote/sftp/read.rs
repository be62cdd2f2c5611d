//! Reading back: many requests in flight, and their bytes in order.

use std::collections::VecDeque;

use bytes::Bytes;
use skiff_common::digest::Hasher;
use skiff_common::sftp::{Attributes, FileKind, Open, Request, Status};
use skiff_common::{Algorithm, Digest};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::channel::{Channel, data, done};
use super::wire::Pending;
use crate::remote::RemoteError;

/// Bytes asked for ahead over one channel: what its window of 2 MiB carries in a round trip, and the next.
const AHEAD: u64 = 5 << 19;
/// Pieces on their way to the thread that hashes them, each at most 255 KiB.
const PIECES: usize = 8;

/// Why something at the server ended.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server said no.
    No(Status),
    /// Nothing more can be asked.
    Remote(RemoteError),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::No(status)
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

/// An open file, over the channel that opened it.
pub(crate) struct Opened<'a> {
    pub(crate) channel: &'a Channel,
    pub(crate) handle: Bytes,
}

impl Opened<'_> {
    /// Closes it; nothing waits for that.
    pub(crate) async fn close(self) -> Result<(), RemoteError> {
        self.channel.close(&self.handle).await
    }
}

/// Closes these however `work` on them ended: what is open takes its room there, also when its name has gone. Where nothing
/// more can be asked, they end with their channel.
pub(crate) async fn close_after<'a, T>(
    work: Result<T, Failure>,
    opened: impl IntoIterator<Item = Opened<'a>>,
) -> Result<T, Failure> {
    if !matches!(work, Err(Failure::Remote(_))) {
        for one in opened {
            one.close().await?;
        }
    }
    work
}

/// A file that is read from front to back.
pub(crate) struct Reading<'a> {
    lanes: &'a [Opened<'a>],
    turn: usize,
    next: u64,
    end: u64,
    under_way: VecDeque<(u64, u32, Pending)>,
    attempt: &'static str,
}

impl<'a> Reading<'a> {
    /// Of the bytes from `start` on, until [`until`](Self::until) says where to.
    pub(crate) const fn new(lanes: &'a [Opened<'a>], start: u64, attempt: &'static str) -> Self {
        Self { lanes, turn: 0, next: start, end: start, under_way: VecDeque::new(), attempt }
    }

    /// It may go on to `end`.
    pub(crate) fn until(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    /// Whether all that it may has been read.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.next >= self.end
    }

    /// The next bytes; `None` where it may not go on, or the file ends.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        self.ask_ahead().await?;
        let Some((offset, length, pending)) = self.under_way.pop_front() else { return Ok(None) };
        let Some(bytes) = data(pending, length, self.attempt).await?? else {
            self.end = offset;
            self.next = offset;
            self.under_way.clear();
            return Ok(None);
        };
        let came = u32::try_from(bytes.len()).expect("no more than was asked for");
        if came < length {
            // The rest comes before all else.
            let (offset, length) = (offset + u64::from(came), length - came);
            let Opened { channel, handle } = &self.lanes[self.turn % self.lanes.len()];
            let pending = channel.begin_read(handle, offset, length, self.attempt).await?;
            self.under_way.push_front((offset, length, pending));
        }
        Ok(Some(bytes))
    }

    async fn ask_ahead(&mut self) -> Result<(), RemoteError> {
        let most = AHEAD * self.lanes.len() as u64;
        while self.next < self.end
            && self.under_way.front().is_none_or(|(first, ..)| self.next - first < most)
        {
            let Opened { channel, handle } = &self.lanes[self.turn % self.lanes.len()];
            self.turn += 1;
            let length = u32::try_from(self.end - self.next).unwrap_or(u32::MAX).min(channel.read_bytes());
            let pending = channel.begin_read(handle, self.next, length, self.attempt).await?;
            self.under_way.push_back((self.next, length, pending));
            self.next += u64::from(length);
        }
        Ok(())
    }
}

/// Hashes what it is given, in a thread of its own.
pub(crate) struct Hashing {
    pieces: mpsc::Sender<Bytes>,
    thread: tokio::task::JoinHandle<Hasher>,
}

impl Hashing {
    /// Goes on with `hasher`.
    pub(crate) fn start(mut hasher: Hasher) -> Self {
        let (pieces, mut queue) = mpsc::channel::<Bytes>(PIECES);
        let thread = spawn_blocking(move || {
            while let Some(piece) = queue.blocking_recv() {
                hasher.update(&piece);
            }
            hasher
        });
        Self { pieces, thread }
    }

    pub(crate) async fn take(&self, piece: Bytes) {
        self.pieces.send(piece).await.expect("it listens until this is gone");
    }

    pub(crate) async fn finish(self) -> Digest {
        drop(self.pieces);
        let hasher = self.thread.await.expect("hashing doesn't panic and isn't aborted");
        hasher.digests().blake3
    }
}

/// A hasher for what is read back.
pub(crate) fn hasher() -> Hasher {
    Hasher::for_destination(Algorithm::Blake3)
}

/// A regular file that stands at the server.
pub(crate) struct Read {
    /// Of all its bytes.
    pub(crate) digest: Digest,
    /// As they were when it was opened.
    pub(crate) attributes: Attributes,
}

/// Reads what stands under `path`, if it is a regular file; with `sync`, it is on the disk then, as far as the server
/// can do that.
pub(crate) async fn read_back(
    channel: &Channel,
    path: &[u8],
    sync: bool,
    attempt: &'static str,
) -> Result<Option<Read>, Failure> {
    // A FIFO would wait for its writer.
    let standing = channel.standing(path, attempt).await??;
    if !standing.is_some_and(|found| matches!(found.kind(), FileKind::File | FileKind::Unknown)) {
        return Ok(None);
    }
    let handle = channel.open(path, Open::Read, Attributes::default(), attempt).await??;
    let lanes = [Opened { channel, handle }];
    let read = read_open(&lanes, sync, attempt).await;
    close_after(read, lanes).await.map(Some)
}

async fn read_open(lanes: &[Opened<'_>], sync: bool, attempt: &'static str) -> Result<Read, Failure> {
    let Opened { channel, handle } = &lanes[0];
    let attributes = channel.look(Request::Fstat(handle), attempt).await??;
    let syncing = if sync && channel.offered().fsync {
        Some(channel.begin(Request::Fsync(handle), attempt).await?)
    } else {
        None
    };
    // Where the size isn't told, to the end.
    let size = attributes.size.unwrap_or(u64::MAX);
    let mut reading = Reading::new(lanes, 0, attempt);
    reading.until(size);
    let mut hasher = hasher();
    let digest = if size <= u64::from(channel.read_bytes()) {
        while let Some(piece) = reading.next().await? {
            hasher.update(&piece);
        }
        hasher.digests().blake3
    } else {
        let hashing = Hashing::start(hasher);
        while let Some(piece) = reading.next().await? {
            hashing.take(piece).await;
        }
        hashing.finish().await
    };
    if let Some(syncing) = syncing {
        done(syncing, attempt).await??;
    }
    Ok(Read { digest, attributes })
}
