//! What a cut left of a large item: read back, and compared with the source.

use bytes::Bytes;
use skiff_common::Item;
use skiff_common::digest::Hasher;
use skiff_common::sftp::{Attributes, FileKind, Open};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::channel::Channel;
use super::read::{Failure, Opened, Reading};
use crate::remote::RemoteError;
use crate::ship;
use crate::source::Root;

const READING: &str = "reading back";

/// What lies in staging already and is as the source.
pub(super) struct Kept {
    pub(super) length: u64,
    pub(super) hasher: Hasher,
}

/// Opens what lies in staging, if it can be gone on with.
pub(super) async fn go_on(
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
