//! Reading sources: one pass reads, hashes and hands on.
//!
//! Promises that the digests it gives are of the bytes that it handed on, and that a source that changed meanwhile is
//! told from one that didn't. Blocks: runs in a thread of its own. Lacks the network.

mod body;
mod hashing;
mod pack;
mod segment;
mod tar_batch;

use std::io::Read;

use bytes::Bytes;
use skiff_common::delivery::Trouble;
use skiff_common::digest::{Digests, Hasher};
use skiff_common::{Algorithm, Item};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

pub(crate) use body::BodySender;
pub(crate) use hashing::{also_sha256, hashed_for};
pub(crate) use pack::Codec;
pub(crate) use segment::{LARGE, Segment, send_segments};
pub(crate) use tar_batch::{batch_bytes, send_batch};

use crate::source::Root;

/// Bytes that are read, hashed and sent at a time: russh is fastest with pieces of 64 KiB and more.
const PIECE: usize = 128 << 10;
/// Pieces between the reader and the network: enough to overlap, at most 512 KiB of memory a worker.
const PIECES_AHEAD: usize = 4;

/// What became of a source that was read.
pub(crate) type Outcome = Result<Digests, Trouble>;

/// A queue for a body.
pub(crate) fn body() -> (BodySender, mpsc::Receiver<Vec<u8>>) {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    (BodySender::new(sender, PIECE), receiver)
}

/// A body that is in memory already.
pub(crate) fn whole(bytes: Vec<u8>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(1);
    sender.try_send(bytes).expect("there is room for one");
    receiver
}

/// What a reader's thread found.
pub(crate) async fn joined<T>(reader: JoinHandle<T>) -> T {
    reader.await.expect("readers don't panic and aren't aborted")
}

/// Reads `item` whole; hands on what comes after its first `skip` bytes.
pub(crate) fn send_single(
    root: &Root,
    item: &Item,
    algorithm: Algorithm,
    skip: u64,
    body: &mut BodySender,
) -> Outcome {
    let mut left_out = skip;
    read(root, item, algorithm, |piece| {
        let out = usize::try_from(left_out).unwrap_or(usize::MAX).min(piece.len());
        left_out -= out as u64;
        body.send(&piece[out..])
    })
}

/// The same in a thread of its own, which ends when nobody takes what it hands on.
pub(crate) fn start_single(
    root: &Root,
    item: &Item,
    algorithm: Algorithm,
    skip: u64,
) -> (mpsc::Receiver<Vec<u8>>, JoinHandle<Outcome>) {
    let (mut body, pieces) = body();
    let (root, item) = (root.clone(), item.clone());
    let reader = spawn_blocking(move || {
        let outcome = send_single(&root, &item, algorithm, skip, &mut body);
        outcome.and_then(|digests| {
            body.finish().map(|()| digests).map_err(|_| Trouble::retryable("the transfer ended"))
        })
    });
    (pieces, reader)
}

/// Reads `item` whole for its digests.
pub(crate) fn digest(root: &Root, item: &Item, algorithm: Algorithm) -> Outcome {
    read(root, item, algorithm, |_| Ok(()))
}

/// Reads the first `length` bytes of `item` for their digests.
pub(crate) fn digest_prefix(root: &Root, item: &Item, algorithm: Algorithm, length: u64) -> Outcome {
    let file = root.open_item(&item.path).map_err(|error| error.trouble())?.file;
    let mut hasher = Hasher::for_destination(algorithm);
    pieces(file.take(length), |piece| {
        hasher.update(piece);
        Ok(())
    })
    .map_err(|error| unreadable(item, &error))?;
    Ok(hasher.digests())
}

/// Compares what comes with the beginning of `item`, piece by piece, until one differs. How many bytes agree, and their
/// hash.
pub(crate) fn matching(root: &Root, item: &Item, mut theirs: mpsc::Receiver<Bytes>) -> (u64, Hasher) {
    let (mut length, mut hasher) = (0, Hasher::for_destination(Algorithm::Blake3));
    let Ok(open) = root.open_item(&item.path) else { return (0, hasher) };
    let mut ours = Vec::new();
    while let Some(theirs) = theirs.blocking_recv() {
        ours.resize(theirs.len(), 0);
        if (&open.file).read_exact(&mut ours).is_err() || ours != theirs {
            break;
        }
        hasher.update(&theirs);
        length += theirs.len() as u64;
    }
    (length, hasher)
}

/// An item in memory, with its digests.
pub(crate) fn load(root: &Root, item: &Item, hashed: Algorithm) -> Result<(Vec<u8>, Digests), Trouble> {
    let mut bytes = Vec::with_capacity(usize::try_from(item.stamp.size).unwrap_or(0));
    let digests = read(root, item, hashed, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok((bytes, digests))
}

fn read(
    root: &Root,
    item: &Item,
    algorithm: Algorithm,
    mut each: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Outcome {
    let open = root.open_item(&item.path).map_err(|error| error.trouble())?;
    if open.stamp != item.stamp {
        return Err(Trouble::Changed);
    }
    let mut hasher = Hasher::for_destination(algorithm);
    let length = pieces((&open.file).take(item.stamp.size), |piece| {
        hasher.update(piece);
        each(piece)
    })
    .map_err(|error| unreadable(item, &error))?;
    let now = open.stamp_now().map_err(|error| unreadable(item, &error))?;
    if length != item.stamp.size || now != item.stamp {
        return Err(Trouble::Changed);
    }
    Ok(hasher.digests())
}

fn pieces(mut from: impl Read, mut each: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<u64> {
    let mut buffer = vec![0; PIECE];
    let mut length = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(bytes) => {
                each(&buffer[..bytes])?;
                length += bytes as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn unreadable(item: &Item, error: &std::io::Error) -> Trouble {
    Trouble::retryable(format!("cannot read {}: {error}", item.path))
}
