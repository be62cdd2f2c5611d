//! Many small items: each a file of its own in staging, all under way together.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use skiff_common::delivery::{Staged, Trouble};
use skiff_common::digest::Digests;
use skiff_common::sftp::{Attributes, Request};
use skiff_common::{Digest, Item, RelPath, Shipment};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};

use super::SftpRemote;
use super::channel::{Channel, done};
use super::dress::{begin_finish, close_and_read, end, keeps_its_first_mode, spoiled};
use super::folder::{Folder, below, member};
use super::read::{Failure, Opened, Reading, close_after, hasher, read_back};
use crate::remote::RemoteError;
use crate::ship;
use crate::source::Root;

const SENDING: &str = "sending";
const READING: &str = "reading back";

/// Bytes of members in memory, in KiB: with those that come back, twice that for each shipment.
const LOADED_KIB: u32 = 2 << 10;
/// Members that are read and wait to be sent; their bytes are bounded by themselves.
const READY: usize = 64;

/// A member that was read.
struct Loaded {
    number: usize,
    content: Result<(Vec<u8>, Digests), Trouble>,
    _room: OwnedSemaphorePermit,
}

impl SftpRemote {
    /// Stages these of the shipment's items, each by its number there. One entry for each.
    pub(super) async fn stage_batch(
        &self,
        channel: &Channel,
        folder: &Folder,
        source: &Root,
        shipment: &Shipment,
        numbers: &[usize],
    ) -> Result<Vec<Staged>, RemoteError> {
        let staging = folder.fresh(channel, &self.connection.staging(shipment)).await?;
        let items: Vec<(usize, Item)> = numbers.iter().map(|at| (*at, shipment.items[*at].clone())).collect();
        let (mut loaded, reader) = load_all(source, items);
        let staging = &staging;
        let putting = stream::poll_fn(|context| loaded.poll_recv(context)).map(|loaded| async move {
            let number = loaded.number;
            let item = &shipment.items[number];
            let path = below(staging, member(&item.path).as_bytes());
            let staged = match loaded.content {
                Ok(content) => self.put((channel, folder), source, item, &path, content).await,
                Err(trouble) => Ok(Staged::Spoiled(trouble)),
            };
            match staged {
                Ok(staged) => Ok((number, staged)),
                Err(Failure::Remote(error)) => Err(error),
                Err(Failure::No(status)) => {
                    spoiled(channel, folder, item, &path, &status).await.map(|staged| (number, staged))
                }
            }
        });
        let mut staged: HashMap<usize, Staged> =
            putting.buffer_unordered(channel.handles()).try_collect().await?;
        ship::joined(reader).await;
        Ok(numbers.iter().map(|at| staged.remove(at).expect("each was put")).collect())
    }

    async fn put(
        &self,
        (channel, folder): (&Channel, &Folder),
        source: &Root,
        item: &Item,
        path: &[u8],
        (bytes, digests): (Vec<u8>, Digests),
    ) -> Result<Staged, Failure> {
        let handle = self.create((channel, folder), source, item, path).await??;
        let lanes = [Opened { channel, handle }];
        if folder.reads_own() {
            let filled = fill(&lanes, item, bytes).await;
            let theirs = close_after(filled, lanes).await?;
            return Ok(Staged::Landed { digests, theirs });
        }
        let written = write(&lanes[0], bytes).await;
        let [opened] = lanes;
        let read = close_and_read(written, opened, path, item).await?;
        Ok(read.map_or_else(Staged::Spoiled, |theirs| Staged::Landed { digests, theirs }))
    }

    /// Which of the items' content stands under the final name already; one entry for each.
    pub(super) async fn survey(
        &self,
        channel: &Channel,
        folder: &Folder,
        source: &Root,
        shipment: &Shipment,
    ) -> Result<Vec<Option<Staged>>, RemoteError> {
        let items = &shipment.items;
        let looking = stream::iter(0..items.len()).map(|at| stands(channel, folder, source, &items[at]));
        let standing: Vec<_> = looking.buffered(channel.handles()).try_collect().await?;
        let found: Vec<&RelPath> = shipment
            .items
            .iter()
            .zip(&standing)
            .filter(|(_, one)| matches!(one, Some(Staged::Stands { .. })))
            .map(|(item, _)| &item.path)
            .collect();
        folder.sync_folders(channel, found.into_iter()).await?;
        Ok(standing)
    }
}

/// Reads the items one after the other, in a thread.
fn load_all(source: &Root, items: Vec<(usize, Item)>) -> (mpsc::Receiver<Loaded>, JoinHandle<()>) {
    let (queue, loaded) = mpsc::channel(READY);
    let room = Arc::new(Semaphore::new(LOADED_KIB as usize));
    let (source, runtime) = (source.clone(), tokio::runtime::Handle::current());
    // What is wanted is known to this task, not to the thread.
    let hashed = ship::hashed_for(None);
    let reader = spawn_blocking(move || {
        for (number, item) in items {
            // One that is larger than all the room has all of it.
            let kib =
                u32::try_from(item.stamp.size.div_ceil(1024)).unwrap_or(LOADED_KIB).clamp(1, LOADED_KIB);
            let room = runtime.block_on(Arc::clone(&room).acquire_many_owned(kib));
            let room = room.expect("nobody closes it");
            let content = ship::load(&source, &item, hashed);
            if queue.blocking_send(Loaded { number, content, _room: room }).is_err() {
                return;
            }
        }
    });
    (loaded, reader)
}

/// Writes one member and reads it back by the same handle.
async fn fill(lanes: &[Opened<'_>], item: &Item, bytes: Vec<u8>) -> Result<Digest, Failure> {
    let Opened { channel, handle } = &lanes[0];
    write(&lanes[0], bytes).await?;
    // Nobody else writes to a new file: what was written is as long as it is.
    let now = if keeps_its_first_mode(item) {
        Attributes::default()
    } else {
        channel.look(Request::Fstat(handle), SENDING).await??
    };
    let finishing = begin_finish(channel, handle, item, now).await?;
    let mut reading = Reading::new(lanes, 0, READING);
    reading.until(item.stamp.size);
    let mut theirs = hasher();
    while let Some(piece) = reading.next().await? {
        theirs.update(&piece);
    }
    end(finishing, std::time::Duration::ZERO).await?;
    Ok(theirs.digests().blake3)
}

async fn write(Opened { channel, handle }: &Opened<'_>, bytes: Vec<u8>) -> Result<(), Failure> {
    let (mut body, mut offset) = (Bytes::from(bytes), 0);
    let mut writing = Vec::new();
    while !body.is_empty() {
        let piece = body.split_to(body.len().min(channel.write_bytes() as usize));
        let end = offset + piece.len() as u64;
        writing.push(channel.begin_write(handle, offset, piece, SENDING).await?);
        offset = end;
    }
    for one in writing {
        done(one, SENDING).await??;
    }
    Ok(())
}

/// Whether the item's content stands under its final name. What has another size is not read.
async fn stands(
    channel: &Channel,
    folder: &Folder,
    source: &Root,
    item: &Item,
) -> Result<Option<Staged>, RemoteError> {
    const ATTEMPT: &str = "asking what is there";
    let path = folder.at(item.path.as_bytes());
    let Ok(Some(there)) = channel.standing(&path, ATTEMPT).await? else { return Ok(None) };
    if there.size.is_some_and(|size| size != item.stamp.size) {
        return Ok(None);
    }
    let theirs = match read_back(channel, &path, true, ATTEMPT).await {
        Ok(Some(read)) => read.digest,
        Ok(None) | Err(Failure::No(_)) => return Ok(None),
        Err(Failure::Remote(error)) => return Err(error),
    };
    let (source, own, hashed) = (source.clone(), item.clone(), ship::hashed_for(None));
    let ours = spawn_blocking(move || ship::digest(&source, &own, hashed));
    Ok(match ship::joined(ours).await {
        Ok(digests) if digests.agree_with(&theirs) => {
            Some(Staged::Stands { digests, theirs, name: item.path.clone() })
        }
        Ok(_) => None,
        Err(trouble) => Some(Staged::Spoiled(trouble)),
    })
}
