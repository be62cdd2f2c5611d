//! One large item: written at offsets over one channel or several, and read back while the rest is still on its way.
//!
//! What a cut left is read back first, and compared with the source: what agrees counts as read, and the rest is sent.

use std::time::Instant;

use bytes::Bytes;
use skiff_common::delivery::{Staged, Trouble};
use skiff_common::digest::Hasher;
use skiff_common::sftp::{Attributes, FileKind, Open, Request, Status};
use skiff_common::{Digest, Item, Shipment};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};

use super::SftpRemote;
use super::channel::{Channel, done};
use super::folder::{Folder, below, why};
use super::read::{Failure, Hashing, Opened, Reading, hasher, read_back};
use super::wire::Pending;
use crate::remote::RemoteError;
use crate::ship::{self, SEGMENT};
use crate::source::Root;

const SENDING: &str = "sending";
const READING: &str = "reading back";

/// Smaller items don't gain enough to pay for another channel.
const LARGE: u64 = 16 * SEGMENT as u64;
/// Writes that wait for their answer, in order; their bytes are bounded by each channel.
const UNANSWERED: usize = 1024;

/// What a single item is called in its staging.
pub(super) const PART: &[u8] = b"part";

/// What lies in staging already and is as the source.
struct Kept {
    length: u64,
    hasher: Hasher,
}

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
            match create(channel, &part, item).await? {
                Ok(handle) => (part, handle, Kept { length: 0, hasher: hasher() }),
                Err(status) => return Err(refusal(channel, folder, None, &status).await?),
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
            Err(Failure::No(status)) => Err(refusal(channel, folder, Some(&part), &status).await?),
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
        let mut lanes = open_lanes(channel, handle, spare, part).await?;
        let sent = self.send(&lanes, source, item, kept).await?;
        for lane in lanes.drain(1..) {
            lane.close().await?;
        }
        let (digests, theirs) = match sent {
            Ok(sent) => sent,
            Err(trouble) => return Ok(Staged::Spoiled(trouble)),
        };
        let patience = self.connection.patience(item.stamp.size);
        Ok(if finish(&lanes[0], item, patience).await? {
            Staged::Landed { digests, theirs }
        } else {
            Staged::Spoiled(Trouble::retryable("it has another size at the destination than was sent"))
        })
    }

    /// Channels beside the first, where the round trip is long enough for `bytes` to gain by them.
    async fn spare_channels(&self, bytes: u64) -> Result<Vec<Channel>, RemoteError> {
        let mut spare = Vec::new();
        if bytes >= LARGE {
            for _ in 1..self.connection.traffic.channels_wanted() {
                match self.spare_channel().await? {
                    Some(channel) => spare.push(channel),
                    None => break,
                }
            }
        }
        Ok(spare)
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
        let (pieces, reader) = read_source(source, item, length);
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
        let ours = reader.await.expect("readers don't panic and aren't aborted");
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
    let (pieces, reader) = read_source(source, item, 0);
    let (asked, answered) = mpsc::channel(UNANSWERED);
    let (landed, _landing) = watch::channel(0);
    let outcome = tokio::try_join!(write_all(&lanes, pieces, 0, asked), hear_all(answered, landed));
    let ours = reader.await.expect("readers don't panic and aren't aborted");
    outcome?;
    let digests = match ours {
        Ok(digests) => digests,
        Err(trouble) => return Ok(Staged::Spoiled(trouble)),
    };
    let theirs = close_and_read(channel, part, &lanes[0].handle, item).await?;
    Ok(theirs.map_or_else(Staged::Spoiled, |theirs| Staged::Landed { digests, theirs }))
}

/// Ends what was written, then reads it back.
pub(super) async fn close_and_read(
    channel: &Channel,
    path: &[u8],
    handle: &[u8],
    item: &Item,
) -> Result<Result<Digest, Trouble>, Failure> {
    let finishing = begin_finish(channel, handle, item, Attributes::default()).await?;
    end(finishing, std::time::Duration::ZERO).await?;
    // Such servers write the last of it now.
    channel.done(Request::Close(handle), SENDING).await??;
    let read = read_back(channel, path, false, READING).await?;
    let read = read.filter(|read| read.attributes.size.is_none_or(|size| size == item.stamp.size));
    Ok(read.map(|read| read.digest).ok_or_else(|| Trouble::retryable("it did not arrive at the destination")))
}

/// Reads the source from `skip` on, in a thread.
fn read_source(
    source: &Root,
    item: &Item,
    skip: u64,
) -> (mpsc::Receiver<Vec<u8>>, JoinHandle<ship::Outcome>) {
    let (mut body, pieces) = ship::body();
    let (root, item, hashed) = (source.clone(), item.clone(), ship::hashed_for(None));
    let reader = spawn_blocking(move || {
        let outcome = ship::send_single(&root, &item, hashed, skip, &mut body);
        outcome.and_then(|digests| {
            body.finish().map(|()| digests).map_err(|_| Trouble::retryable("the transfer ended"))
        })
    });
    (pieces, reader)
}

/// Opens what lies in staging, if it can be gone on with.
async fn go_on(
    channel: &Channel,
    source: &Root,
    item: &Item,
    part: &[u8],
) -> Result<Option<(Bytes, Kept)>, RemoteError> {
    let Ok(Some(there)) = channel.standing(part, READING).await? else { return Ok(None) };
    let Some(size) = there.size.filter(|size| (1..=item.stamp.size).contains(size)) else { return Ok(None) };
    if there.kind() != FileKind::File {
        return Ok(None);
    }
    let Ok(handle) = channel.open(part, Open::Update, Attributes::default(), READING).await? else {
        return Ok(None);
    };
    let lanes = [Opened { channel, handle }];
    let kept = compare(&lanes, source, item, size).await;
    let [Opened { handle, .. }] = lanes;
    match kept {
        Ok(kept) if kept.length > 0 => Ok(Some((handle, kept))),
        Err(Failure::Remote(error)) => Err(error),
        Ok(_) | Err(Failure::No(_)) => {
            tracing::warn!(
                bytes = size,
                "what lies in staging does not begin as the source does: it is sent again"
            );
            channel.close(&handle).await?;
            Ok(None)
        }
    }
}

/// How much of the first `size` bytes there is as here.
async fn compare(lanes: &[Opened<'_>], source: &Root, item: &Item, size: u64) -> Result<Kept, Failure> {
    // As many as wait to be hashed elsewhere.
    let (queue, pieces) = mpsc::channel::<Bytes>(8);
    let comparing = {
        let (root, item) = (source.clone(), item.clone());
        spawn_blocking(move || ship::matching(&root, &item, pieces))
    };
    let mut reading = Reading::new(lanes, 0, READING);
    reading.until(size);
    let mut outcome = Ok(());
    loop {
        match reading.next().await {
            Ok(Some(piece)) => {
                if queue.send(piece).await.is_err() {
                    // One that differs has ended it.
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    drop(queue);
    let (length, hasher) = comparing.await.expect("comparing doesn't panic and isn't aborted");
    outcome.map(|()| Kept { length, hasher })
}

/// Makes the file, with the item's mode, but for its owner, who has to write and read it.
pub(super) async fn create(
    channel: &Channel,
    path: &[u8],
    item: &Item,
) -> Result<Result<Bytes, Status>, RemoteError> {
    channel.open(path, Open::New, Attributes::mode(item.mode | 0o600), SENDING).await
}

async fn open_lanes<'a>(
    channel: &'a Channel,
    handle: Bytes,
    spare: &'a [Channel],
    part: &[u8],
) -> Result<Vec<Opened<'a>>, RemoteError> {
    let mut lanes = vec![Opened { channel, handle }];
    for channel in spare {
        // One will do, if slowly.
        if let Ok(handle) = channel.open(part, Open::Update, Attributes::default(), SENDING).await? {
            lanes.push(Opened { channel, handle });
        }
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

/// Mode and time, then to the disk. Whether it is as long as it should be.
pub(super) async fn finish(
    opened: &Opened<'_>,
    item: &Item,
    patience: std::time::Duration,
) -> Result<bool, Failure> {
    let Opened { channel, handle } = opened;
    let now = channel.look(Request::Fstat(handle), SENDING).await??;
    let pending = begin_finish(channel, handle, item, now).await?;
    end(pending, patience).await?;
    channel.close(handle).await?;
    Ok(now.size.is_none_or(|size| size == item.stamp.size))
}

/// Whether the mode that the file was made with can stay.
pub(super) const fn keeps_its_first_mode(item: &Item) -> bool {
    item.mode & 0o600 == 0o600
}

/// Begins to give a file its mode and time, and to bring it to the disk.
pub(super) async fn begin_finish(
    channel: &Channel,
    handle: &[u8],
    item: &Item,
    now: Attributes,
) -> Result<Finishing, RemoteError> {
    let seconds = u32::try_from(item.stamp.mtime_ns.div_euclid(1_000_000_000)).unwrap_or(0);
    let mut dress = Attributes { times: Some((seconds, seconds)), ..Attributes::default() };
    if !keeps_its_first_mode(item) {
        // What the owner had to have for the moment goes, as the server's umask left the rest.
        dress.permissions = now.permissions.map(|made| made & item.mode & 0o777);
    }
    let dressing = channel.begin(Request::Fsetstat(handle, dress), SENDING).await?;
    let syncing = if channel.offered().fsync {
        Some(channel.begin(Request::Fsync(handle), SENDING).await?)
    } else {
        None
    };
    Ok(Finishing { dressing, syncing })
}

/// What is under way for a file that is written.
pub(super) struct Finishing {
    dressing: Pending,
    syncing: Option<Pending>,
}

/// Waits for it; syncing may take `patience` longer than nothing at all may come.
pub(super) async fn end(finishing: Finishing, patience: std::time::Duration) -> Result<(), Failure> {
    let Finishing { dressing, syncing } = finishing;
    // Not every server knows modes and times.
    if let Err(status) = done(dressing, SENDING).await? {
        tracing::debug!(%status, "a file keeps the mode and the time that the server gave it");
    }
    if let Some(syncing) = syncing {
        done(syncing.at_least(patience), SENDING).await??;
    }
    Ok(())
}

/// Why the server would not. What has filled its disk goes, or it would stay full.
pub(super) async fn refusal(
    channel: &Channel,
    folder: &Folder,
    part: Option<&[u8]>,
    status: &Status,
) -> Result<RemoteError, RemoteError> {
    let why = why(channel, folder.path(), status).await?;
    if let Some(part) = part.filter(|_| why.contains("space") || why.contains("quota")) {
        let _ = channel.done(Request::Remove(part), SENDING).await?;
    }
    Ok(RemoteError::Refused { attempt: SENDING, why })
}
