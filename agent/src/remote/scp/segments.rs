//! A large item over several channels, in segments that are put together there.
//!
//! One channel carries what OpenSSH's window holds in a round trip, so that a long one needs several; and a segment can be
//! packed in memory, which gives the length that SCP wants to know first.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{try_join, try_join_all};
use skiff_common::delivery::Trouble;
use skiff_common::{Item, RemotePath, Shipment};
use tokio::sync::{Mutex, mpsc};
use tokio::task::spawn_blocking;

use super::answer::number;
use super::hand::Hand;
use super::modes::OWNERS;
use super::transfer::{Sent, Transfer};
use super::{RemoteError, ScpRemote};
pub(super) use crate::ship::LARGE;
use crate::ship::{self, Codec, Segment};
use crate::source::Root;

/// How to send an item in segments.
pub(super) struct Lanes {
    codec: Option<Codec>,
    most: usize,
    first: Hand,
}

/// An item on its way.
pub(super) struct Cargo<'a> {
    pub(super) root: &'a RemotePath,
    pub(super) source: &'a Root,
    pub(super) shipment: &'a Shipment,
    pub(super) item: &'a Item,
    /// What lies there already, in bytes.
    pub(super) skip: u64,
}

impl ScpRemote {
    /// Whether `cargo` travels in segments, and by what; `None`: one channel will do, or there is no other.
    pub(super) async fn lanes(&self, hand: &Hand, cargo: &Cargo<'_>) -> Result<Option<Lanes>, RemoteError> {
        if cargo.item.stamp.size - cargo.skip < LARGE {
            return Ok(None);
        }
        let traffic = hand.traffic();
        let mut codec = traffic.codec(|codec| hand.facts().unpacks(codec));
        if let Some(by) = codec {
            let (source, item) = (cargo.source.clone(), cargo.item.clone());
            codec = ship::joined(spawn_blocking(move || by.pays(&source, &[item]).then_some(by))).await;
        }
        // Packing the next overlaps with sending the last.
        let most = traffic.channels_wanted().max(if codec.is_some() { 2 } else { 1 });
        if most == 1 {
            return Ok(None);
        }
        let first = self.spare_hand(cargo.root).await?;
        Ok(first.map(|first| Lanes { codec, most, first }))
    }

    /// Sends what comes after `skip`; what has landed is put together meanwhile by `hand`, which holds the staging.
    pub(super) async fn send_in_segments(
        &self,
        hand: &mut Hand,
        cargo: &Cargo<'_>,
        lanes: Lanes,
    ) -> Result<ship::Outcome, RemoteError> {
        let Cargo { source, shipment, item, skip, .. } = *cargo;
        if skip == 0 {
            // Empty: it has the mode, and the segments follow.
            let mut nothing = ship::whole(Vec::new());
            let mode = item.mode | OWNERS;
            let part = Sent { name: "part", mode, size: 0, mtime_ns: item.stamp.mtime_ns, then: None };
            hand.send_file(&part, &mut nothing).await?;
        }
        let algorithm = ship::hashed_for(hand.facts().digest);
        // One is waiting while each channel sends one.
        let (queue, segments) = mpsc::channel(1);
        let reader = {
            let (root, item) = (source.clone(), item.clone());
            spawn_blocking(move || ship::send_segments(&root, &item, algorithm, skip, &queue))
        };
        let (landed, landings) = mpsc::channel(1);
        let work = Work {
            segments: Arc::new(Mutex::new(segments)),
            landed,
            staging: self.staging(shipment),
            nonce: hand.nonce().to_owned(),
            codec: lanes.codec,
            mtime_ns: item.stamp.mtime_ns,
        };
        tracing::debug!(path = %item.path, channels = lanes.most, codec = ?lanes.codec, "travels in segments");
        let mut first = Some(lanes.first);
        let sending: Vec<_> = (0..lanes.most).map(|_| self.lane(cargo, work.clone(), first.take())).collect();
        drop(work);
        let whole = try_join(self.put_together(hand, landings, item), try_join_all(sending)).await;
        // A failure has ended the queue's receivers, and so the reader.
        let outcome = ship::joined(reader).await;
        let (length, _) = whole?;
        match outcome {
            Ok(_) if length != item.stamp.size => {
                Ok(Err(Trouble::retryable("its segments did not come together at the destination")))
            }
            outcome => Ok(outcome),
        }
    }

    async fn lane(&self, cargo: &Cargo<'_>, work: Work, hand: Option<Hand>) -> Result<(), RemoteError> {
        let hand = match hand {
            Some(hand) => Some(hand),
            None => self.spare_hand(cargo.root).await?,
        };
        let Some(mut hand) = hand else { return Ok(()) };
        hand.first(&["enter", &work.staging, &work.nonce], "finding the staging");
        work.send_all(&mut hand).await?;
        // Where there was nothing to send, what was to be said first is still unsaid.
        if hand.is_silent() {
            self.give_back(cargo.root, hand);
        }
        Ok(())
    }

    async fn put_together(
        &self,
        hand: &mut Hand,
        mut landings: mpsc::Receiver<()>,
        item: &Item,
    ) -> Result<u64, RemoteError> {
        let mut length = 0;
        while landings.recv().await.is_some() {
            let answer = hand.must(&["join"], self.patience(item.stamp.size), "joining").await?;
            length = number(&answer.words).unwrap_or(0);
        }
        Ok(length)
    }
}

#[derive(Clone)]
struct Work {
    segments: Arc<Mutex<mpsc::Receiver<Segment>>>,
    landed: mpsc::Sender<()>,
    staging: String,
    nonce: String,
    codec: Option<Codec>,
    mtime_ns: i64,
}

impl Work {
    /// Sends segments as long as there are any. Each is announced while the one before it ends, so that the channel's
    /// window is always full.
    async fn send_all(&self, hand: &mut Hand) -> Result<(), RemoteError> {
        let mut under_way = self.announce(hand).await?;
        while let Some((mut transfer, bytes)) = under_way {
            hand.send(&mut transfer, &mut ship::whole(bytes)).await?;
            under_way = self.announce(hand).await?;
            hand.complete(transfer).await?;
            // One notice that waits tells of this one, too.
            let _ = self.landed.try_send(());
        }
        Ok(())
    }

    async fn announce(&self, hand: &mut Hand) -> Result<Option<(Transfer, Vec<u8>)>, RemoteError> {
        let segment = self.segments.lock().await.recv().await;
        let Some(Segment { offset, bytes }) = segment else { return Ok(None) };
        let (bytes, ending) = match self.codec.filter(|_| hand.traffic().packing_pays(false)) {
            None => (bytes, ""),
            Some(codec) => {
                let (raw, began) = (bytes.len() as u64, Instant::now());
                let packed = ship::joined(spawn_blocking(move || codec.pack(&bytes))).await;
                let packed = packed.map_err(|_| RemoteError::SourceEnded)?;
                hand.traffic().packed(raw, packed.len() as u64, began.elapsed());
                (packed, codec.ending())
            }
        };
        let name = format!("in.{offset}{ending}");
        let size = bytes.len() as u64;
        let file = Sent { name: &name, mode: 0o600, size, mtime_ns: self.mtime_ns, then: None };
        Ok(Some((hand.begin(&file)?, bytes)))
    }
}
