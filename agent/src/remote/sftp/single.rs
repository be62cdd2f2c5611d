//! One large item: written at offsets over one channel or several, and read back while the rest is still on its way.
//!
//! What a cut left is read back first (`resume`): what agrees with the source counts as read, and the rest is sent.

use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;
use skiff_common::delivery::{Staged, Trouble};
use skiff_common::sftp::{Attributes, Open};
use skiff_common::{Digest, Item, Shipment};
use tokio::sync::{mpsc, watch};

use super::SftpRemote;
use super::channel::{Channel, done};
use super::dress::{close_and_read, finish, spoiled};
use super::folder::{Folder, below};
use super::read::{Failure, Hashing, Opened, Reading, close_after, hasher};
use super::resume::{Kept, go_on};
use super::wire::Pending;
use crate::remote::RemoteError;
use crate::ship;
use crate::source::Root;

const SENDING: &str = "sending";
const READING: &str = "reading back";

/// Writes that wait for their answer, in order; their bytes are bounded by each channel.
const UNANSWERED: usize = 1024;

/// What a single item is called in its staging.
pub(super) const PART: &[u8] = b"part";

impl SftpRemote {
    /// With `resume`, staging may hold a part of it.
    pub(super) async fn stage_single(
        &self,
        channel: &Channel,
        folder: &Folder,
        source: &Root,
        shipment: &Shipment,
        resume: bool,
    ) -> Result<Staged, RemoteError> {
        let (item, id) = (&shipment.items[0], self.connection.staging(shipment));
        let mut begun = None;
        if resume
            && folder.reads_own()
            && let Some(staging) = folder.adopt(channel, &id).await?
        {
            let part = below(&staging, PART);
            begun = go_on(channel, source, item, &part).await?.map(|(handle, kept)| (part, handle, kept));
        }
        let (part, handle, kept) = if let Some(begun) = begun {
            begun
        } else {
            let part = below(&folder.fresh(channel, &id).await?, PART);
            match self.create((channel, folder), source, item, &part).await? {
                Ok(handle) => (part, handle, Kept { length: 0, hasher: hasher() }),
                Err(status) => return spoiled(channel, folder, item, &part, &status).await,
            }
        };
        if kept.length > 0 {
            tracing::info!(path = %item.path, bytes = kept.length, "goes on where it was cut");
        }
        let spare = self.spare_channels(item.stamp.size - kept.length).await?;
        let lanes = (channel, handle, spare.as_slice());
        let staged = if folder.reads_own() {
            self.send_and_finish(lanes, source, item, &part, kept).await
        } else {
            send_then_read(lanes, source, item, &part).await
        };
        match staged {
            Ok(staged) => {
                self.give_back_all(spare);
                Ok(staged)
            }
            Err(Failure::Remote(error)) => Err(error),
            Err(Failure::No(status)) => spoiled(channel, folder, item, &part, &status).await,
        }
    }

    async fn send_and_finish(
        &self,
        (channel, handle, spare): (&Channel, Bytes, &[Channel]),
        source: &Root,
        item: &Item,
        part: &[u8],
        kept: Kept,
    ) -> Result<Staged, Failure> {
        let lanes = open_lanes(channel, handle, spare, part).await?;
        let sent = self.send(&lanes, source, item, kept).await;
        let mut lanes = lanes.into_iter();
        let first = lanes.next().expect("there is always one");
        // What is written by them may come with their end, and changes its time.
        let staged = match close_after(sent, lanes).await {
            Ok(Ok((digests, theirs))) => {
                let finished = finish(&first, item, self.connection.patience(item.stamp.size)).await;
                finished.map(|is_whole| if is_whole { Staged::Landed { digests, theirs } } else { shorter() })
            }
            Ok(Err(trouble)) => Ok(Staged::Spoiled(trouble)),
            Err(failure) => Err(failure),
        };
        close_after(staged, [first]).await
    }

    /// Channels beside the first, where the round trip is long enough for `bytes` to gain by them.
    async fn spare_channels(&self, bytes: u64) -> Result<Vec<Channel>, RemoteError> {
        if bytes < ship::LARGE {
            return Ok(Vec::new());
        }
        // At once: one after the other they would take many long round trips.
        let wanted = self.connection.traffic.channels_wanted() - 1;
        let opened = join_all((0..wanted).map(|_| self.spare_channel())).await;
        opened.into_iter().filter_map(Result::transpose).collect()
    }

    /// Sends what comes after what is kept, and reads back all of it.
    async fn send(
        &self,
        lanes: &[Opened<'_>],
        source: &Root,
        item: &Item,
        kept: Kept,
    ) -> Result<Result<(skiff_common::digest::Digests, Digest), Trouble>, Failure> {
        let Kept { length, hasher } = kept;
        let (pieces, reader) = ship::start_single(source, item, ship::hashed_for(None), length);
        let (asked, answered) = mpsc::channel(UNANSWERED);
        let (landed, landing) = watch::channel(length);
        let hashing = Hashing::start(hasher);
        let began = Instant::now();
        let outcome = tokio::try_join!(
            write_all(lanes, pieces, length, asked),
            hear_all(answered, landed),
            follow(lanes, length, landing, &hashing),
        );
        let theirs = hashing.finish().await;
        // A failure has ended the queue's receiver, and so the reader.
        let ours = ship::joined(reader).await;
        let ((), (), (read, waited)) = outcome?;
        self.connection.traffic.carried(item.stamp.size - length, began.elapsed());
        self.connection.traffic.read_back(waited);
        Ok(ours.and_then(|digests| {
            if read == item.stamp.size {
                Ok((digests, theirs))
            } else {
                Err(Trouble::retryable("it did not arrive at the destination"))
            }
        }))
    }
}

/// Sends all of it to a server that lets nobody read what is being written, and reads it back afterwards.
async fn send_then_read(
    (channel, handle, _spare): (&Channel, Bytes, &[Channel]),
    source: &Root,
    item: &Item,
    part: &[u8],
) -> Result<Staged, Failure> {
    let lanes = [Opened { channel, handle }];
    let (pieces, reader) = ship::start_single(source, item, ship::hashed_for(None), 0);
    let (asked, answered) = mpsc::channel(UNANSWERED);
    let (landed, _landing) = watch::channel(0);
    let outcome = tokio::try_join!(write_all(&lanes, pieces, 0, asked), hear_all(answered, landed));
    let ours = ship::joined(reader).await;
    let [opened] = lanes;
    match outcome.map(|_| ours) {
        Ok(Ok(digests)) => {
            let theirs = close_and_read(Ok(()), opened, part, item).await?;
            Ok(theirs.map_or_else(Staged::Spoiled, |theirs| Staged::Landed { digests, theirs }))
        }
        Ok(Err(trouble)) => close_after(Ok(Staged::Spoiled(trouble)), [opened]).await,
        Err(failure) => close_after(Err(failure), [opened]).await,
    }
}

fn shorter() -> Staged {
    Staged::Spoiled(Trouble::retryable("it has another size at the destination than was sent"))
}

async fn open_lanes<'a>(
    channel: &'a Channel,
    handle: Bytes,
    spare: &'a [Channel],
    part: &[u8],
) -> Result<Vec<Opened<'a>>, RemoteError> {
    let opening = spare.iter().map(|channel| async move {
        let opened = channel.open(part, Open::Update, Attributes::default(), SENDING).await;
        opened.map(|opened| opened.map(|handle| Opened { channel, handle }))
    });
    let mut lanes = vec![Opened { channel, handle }];
    for opened in join_all(opening).await {
        // One will do, if slowly.
        lanes.extend(opened?);
    }
    Ok(lanes)
}

/// Writes what comes, the channels in turn.
async fn write_all(
    lanes: &[Opened<'_>],
    mut pieces: mpsc::Receiver<Vec<u8>>,
    mut offset: u64,
    asked: mpsc::Sender<(u64, Pending)>,
) -> Result<(), Failure> {
    let mut turn = lanes.iter().cycle();
    while let Some(piece) = pieces.recv().await {
        let mut piece = Bytes::from(piece);
        while !piece.is_empty() {
            let Opened { channel, handle } = turn.next().expect("there is always one");
            let body = piece.split_to(piece.len().min(channel.write_bytes() as usize));
            let end = offset + body.len() as u64;
            let pending = channel.begin_write(handle, offset, body, SENDING).await?;
            offset = end;
            // Who hears the answers has ended with an error of its own.
            if asked.send((end, pending)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Tells how far all has been written, from the front.
async fn hear_all(
    mut answered: mpsc::Receiver<(u64, Pending)>,
    landed: watch::Sender<u64>,
) -> Result<(), Failure> {
    while let Some((end, pending)) = answered.recv().await {
        done(pending, SENDING).await??;
        landed.send_replace(end);
    }
    Ok(())
}

/// Reads back what has landed. Returns how far it came, and how long it took after all had landed.
async fn follow(
    lanes: &[Opened<'_>],
    start: u64,
    mut landing: watch::Receiver<u64>,
    hashing: &Hashing,
) -> Result<(u64, std::time::Duration), Failure> {
    let mut reading = Reading::new(lanes, start, READING);
    let mut read = start;
    let mut all_landed = None;
    loop {
        reading.until(*landing.borrow_and_update());
        if reading.is_idle() {
            if all_landed.is_some() {
                break;
            }
            if landing.changed().await.is_err() {
                all_landed = Some(Instant::now());
            }
            continue;
        }
        if all_landed.is_none() && landing.has_changed().is_err() {
            all_landed = Some(Instant::now());
        }
        match reading.next().await? {
            Some(piece) => {
                read += piece.len() as u64;
                hashing.take(piece).await;
            }
            // It is shorter than what was written.
            None => break,
        }
    }
    Ok((read, all_landed.map(|at| at.elapsed()).unwrap_or_default()))
}
