//! How a staged file begins and ends: made for its owner, given its mode and time, brought to the disk.

use std::time::Duration;

use bytes::Bytes;
use skiff_common::delivery::Trouble;
use skiff_common::sftp::{Attributes, Open, Request, Status};
use skiff_common::{Digest, Item};

use super::channel::{Channel, done};
use super::folder::{Folder, why};
use super::read::{Failure, Opened, read_back};
use super::wire::Pending;
use crate::remote::RemoteError;

const SENDING: &str = "sending";
const READING: &str = "reading back";

/// Makes the file, with the item's mode, but for its owner, who has to write and read it.
pub(super) async fn create(
    channel: &Channel,
    path: &[u8],
    item: &Item,
) -> Result<Result<Bytes, Status>, RemoteError> {
    channel.open(path, Open::New, Attributes::mode(item.mode | 0o600), SENDING).await
}

/// Mode and time, then to the disk. Whether it is as long as it should be.
pub(super) async fn finish(opened: &Opened<'_>, item: &Item, patience: Duration) -> Result<bool, Failure> {
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
pub(super) async fn end(finishing: Finishing, patience: Duration) -> Result<(), Failure> {
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

/// Ends what was written, then reads it back.
pub(super) async fn close_and_read(
    channel: &Channel,
    path: &[u8],
    handle: &[u8],
    item: &Item,
) -> Result<Result<Digest, Trouble>, Failure> {
    let finishing = begin_finish(channel, handle, item, Attributes::default()).await?;
    end(finishing, Duration::ZERO).await?;
    // Such servers write the last of it now.
    channel.done(Request::Close(handle), SENDING).await??;
    let read = read_back(channel, path, false, READING).await?;
    let read = read.filter(|read| read.attributes.size.is_none_or(|size| size == item.stamp.size));
    Ok(read.map(|read| read.digest).ok_or_else(|| Trouble::retryable("it did not arrive at the destination")))
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
