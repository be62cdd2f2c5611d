//! How a staged file begins and ends: made for its owner, given its mode and time, brought to the disk.

use std::time::Duration;

use bytes::Bytes;
use skiff_common::delivery::{Staged, Trouble};
use skiff_common::sftp::{Attributes, Code, Open, Request, Status};
use skiff_common::{Digest, Item};

use super::channel::{Channel, done};
use super::folder::{Folder, parent, why};
use super::read::{Failure, Opened, close_after, read_back};
use super::wire::Pending;
use crate::remote::{Reason, RemoteError};

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
    let now = opened.channel.look(Request::Fstat(&opened.handle), SENDING).await??;
    finish_as(opened, item, now, patience).await?;
    Ok(now.size.is_none_or(|size| size == item.stamp.size))
}

async fn finish_as(
    Opened { channel, handle }: &Opened<'_>,
    item: &Item,
    now: Attributes,
    patience: Duration,
) -> Result<(), Failure> {
    let pending = begin_finish(channel, handle, item, now).await?;
    end(pending, patience).await
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

/// Ends what was written and closes it, then reads it back. Where the writing failed, it is only closed.
pub(super) async fn close_and_read(
    written: Result<(), Failure>,
    opened: Opened<'_>,
    path: &[u8],
    item: &Item,
) -> Result<Result<Digest, Trouble>, Failure> {
    let finished = match written {
        Ok(()) => finish_as(&opened, item, Attributes::default(), Duration::ZERO).await,
        failed => failed,
    };
    if let Err(failure) = finished {
        return close_after(Err(failure), [opened]).await;
    }
    let Opened { channel, handle } = opened;
    // Such servers write the last of it now.
    channel.done(Request::Close(&handle), SENDING).await??;
    let read = read_back(channel, path, false, READING).await?;
    let read = read.filter(|read| read.attributes.size.is_none_or(|size| size == item.stamp.size));
    Ok(read.map(|read| read.digest).ok_or_else(|| Trouble::retryable("it did not arrive at the destination")))
}

/// What the server refuses of one item alone spoils no other; a full disk is everybody's. What may have filled it goes,
/// or it would stay full.
pub(super) async fn spoiled(
    channel: &Channel,
    folder: &Folder,
    item: &Item,
    part: &[u8],
    status: &Status,
) -> Result<Staged, RemoteError> {
    if status.code == Code::NoSuchFile && !folder.holds(channel, parent(part)).await? {
        return Err(folder.lost());
    }
    let why = why(channel, folder.path(), status).await?;
    let reason = Reason::of(&why);
    let is_everybodys = matches!(reason, Some(Reason::NoSpace | Reason::Quota | Reason::ReadOnly));
    // OpenSSH says no more than that of a quota.
    if is_everybodys || status.code == Code::Failure {
        let _ = channel.done(Request::Remove(part), SENDING).await?;
    }
    if is_everybodys {
        return Err(RemoteError::Refused { attempt: SENDING, why });
    }
    Ok(Staged::Spoiled(Trouble::retryable(format!("cannot send {}: {why}", item.path))))
}
