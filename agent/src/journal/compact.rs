//! A smaller copy of the store: sled's file grows with what passes through it and never shrinks.

use super::error::JournalError;
use super::keys::{HEAD, Kind};
use super::state_folder::{StateFolder, bytes_in, remove_folder, sync_folder};
use super::store::{Bytes, Store, TRANSACTION_OPS};

/// Smaller stores aren't worth it.
const SMALL_BYTES: u64 = 64 << 20;
/// How many times what it holds a store may take. A fresh copy takes about 1.5 times that.
const BLOAT: u64 = 3;

/// What may be copied while commits wait: a few seconds' work for a poor card, whatever the size of the file, which nobody
/// reads as a whole.
const QUICK_BYTES: u64 = 8 << 20;

/// Whether a copy would save much.
fn is_bloated(store: &Store, logical_bytes: u64) -> bool {
    bytes_in(store.dir()).is_ok_and(|bytes| bytes > SMALL_BYTES.max(BLOAT * logical_bytes))
}

/// Whether a copy would save much, be made soon, and have room.
pub(super) fn is_worth_a_break(store: &Store, place: &StateFolder) -> bool {
    let bytes = store.logical_bytes();
    bytes <= QUICK_BYTES && is_bloated(store, bytes) && require_space(place, bytes).is_ok()
}

fn require_space(place: &StateFolder, logical_bytes: u64) -> Result<(), JournalError> {
    place.require_space("make a smaller copy of", BLOAT * logical_bytes)
}

/// Makes the copy where it would save much. `false`: go on with the store as it is.
pub(super) fn copy_if_bloated(store: &Store, logical_bytes: u64, place: &StateFolder) -> bool {
    is_bloated(store, logical_bytes) && try_copy(store, logical_bytes, place)
}

/// Makes the copy. `false`: go on with the store as it is.
pub(super) fn try_copy(store: &Store, logical_bytes: u64, place: &StateFolder) -> bool {
    match copy(store, logical_bytes, place) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, logical_bytes, "cannot make the journal smaller");
            // Where that fails too, the next start does it.
            let _ = remove_folder(&place.copy());
            false
        }
    }
}

fn is_head(record: &Result<(Bytes, Bytes), JournalError>) -> bool {
    record.as_ref().is_ok_and(|(key, _)| key == HEAD)
}

/// Copies in key order, which fills sled's leaves. The head, which accounts for all, comes last.
pub(super) fn copy(store: &Store, logical_bytes: u64, place: &StateFolder) -> Result<(), JournalError> {
    require_space(place, logical_bytes)?;
    let dir = place.copy();
    let copy = Store::open(&dir)?;
    for kind in Kind::ALL {
        let mut records = store.scan(kind, &[]).filter(|record| !is_head(record));
        loop {
            let some = records.by_ref().take(TRANSACTION_OPS).collect::<Result<Vec<_>, _>>()?;
            if some.is_empty() {
                break;
            }
            copy.load_unaccounted(kind, some)?;
        }
    }
    let head = store.get(Kind::Meta, HEAD)?;
    copy.load_unaccounted(Kind::Meta, head.into_iter().map(|head| (HEAD.into(), head)).collect())?;
    copy.sync()?;
    drop(copy);
    sync_folder(&dir).map_err(|error| JournalError::io("sync", &dir, error))
}
