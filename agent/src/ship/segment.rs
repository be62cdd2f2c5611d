//! A large item in segments, which travel side by side.

use skiff_common::{Algorithm, Item};
use tokio::sync::mpsc;

use super::{Outcome, read, unreadable};
use crate::source::Root;

/// A segment's bytes: what OpenSSH lets through a channel in a round trip. Each channel keeps two of them in memory, so
/// six channels 24 MiB.
const SEGMENT: usize = 2 << 20;

/// Items smaller than this don't gain enough by a further channel to pay for it.
pub(crate) const LARGE: u64 = 16 * SEGMENT as u64;

/// A piece of an item.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Where it begins in the item, in bytes.
    pub(crate) offset: u64,
    /// What it holds; never nothing.
    pub(crate) bytes: Vec<u8>,
}

/// Reads `item` whole; hands on what comes after its first `skip` bytes, segment by segment.
pub(crate) fn send_segments(
    root: &Root,
    item: &Item,
    algorithm: Algorithm,
    skip: u64,
    queue: &mpsc::Sender<Segment>,
) -> Outcome {
    let mut gathered = Gathered { queue, offset: skip, bytes: Vec::with_capacity(SEGMENT) };
    let mut left_out = skip;
    let outcome = read(root, item, algorithm, |piece| {
        let out = usize::try_from(left_out).unwrap_or(usize::MAX).min(piece.len());
        left_out -= out as u64;
        gathered.take(&piece[out..])
    })?;
    gathered.hand_on().map_err(|error| unreadable(item, &error))?;
    Ok(outcome)
}

struct Gathered<'a> {
    queue: &'a mpsc::Sender<Segment>,
    offset: u64,
    bytes: Vec<u8>,
}

impl Gathered<'_> {
    fn take(&mut self, mut piece: &[u8]) -> std::io::Result<()> {
        while !piece.is_empty() {
            let (now, rest) = piece.split_at(piece.len().min(SEGMENT - self.bytes.len()));
            self.bytes.extend_from_slice(now);
            piece = rest;
            if self.bytes.len() == SEGMENT {
                self.hand_on()?;
            }
        }
        Ok(())
    }

    fn hand_on(&mut self) -> std::io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(SEGMENT));
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        let sent = self.queue.blocking_send(Segment { offset, bytes });
        sent.map_err(|_| std::io::Error::other("the transfer has ended"))
    }
}
