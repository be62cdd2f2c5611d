//! Delivered items that stay in their folder, packed: many to a value.
//!
//! They come as one small chunk a commit (`recent`); when those of a folder have [`FOLD_AT`] entries together, they
//! go into large ones (`completed`). So `recent` is newer than `completed`, and within each the higher number is.

use std::collections::HashSet;

use skiff_common::ItemId;

use super::error::JournalError;
use super::keys::{Kind, chunk_key, read_chunk_key};
use super::ledger::Ledger;
use super::store::{Bytes, Op, Store};
use super::value::{BadValue, Entry, seal_chunk, unseal_chunk};

/// The most entries of a chunk: 2 KB. sled keeps at least one leaf of up to 16 values resident for each of the 256 shards
/// of its cache, whatever its capacity, so with larger chunks most of a large journal would stay in memory.
const CHUNK_ENTRIES: usize = 36;
/// Half a chunk: an entry is then written three times at most, and a lone file costs one small record.
const FOLD_AT: usize = CHUNK_ENTRIES / 2;

/// A chunk as it stands in the store.
#[derive(PartialEq)]
pub(super) struct Chunk {
    pub(super) key: Bytes,
    pub(super) number: u64,
    pub(super) entries: Vec<Entry>,
}

/// The chunks of `folder` and `kind`, the oldest first.
pub(super) fn chunks(
    store: &Store,
    kind: Kind,
    folder: ItemId,
) -> impl DoubleEndedIterator<Item = Result<Chunk, JournalError>> {
    chunks_from(store, kind, folder, 0)
}

/// The same, from this number on.
pub(super) fn chunks_from(
    store: &Store,
    kind: Kind,
    folder: ItemId,
    number: u64,
) -> impl DoubleEndedIterator<Item = Result<Chunk, JournalError>> {
    let keys = chunk_key(folder, number)..=chunk_key(folder, u64::MAX);
    store.range(kind, keys).map(move |record| {
        let (key, value) = record?;
        let (_, number) = read_chunk_key(&key)
            .ok_or_else(|| store.bad_value(BadValue::Damaged("a chunk's key has the wrong length")))?;
        let entries = unseal_chunk(&value).map_err(|bad| store.bad_value(bad))?;
        Ok(Chunk { key, number, entries })
    })
}

/// Adds entries, newer than all that are there.
pub(super) fn append(ledger: &mut Ledger, folder: ItemId, new: Vec<Entry>) -> Result<(), JournalError> {
    let recent = chunks(ledger.store(), Kind::Recent, folder).collect::<Result<Vec<_>, _>>()?;
    let known: usize = recent.iter().map(|chunk| chunk.entries.len()).sum();
    if known + new.len() >= FOLD_AT {
        return fold(ledger, folder, &recent, &new);
    }
    let number = recent.last().map_or(0, |chunk| chunk.number + 1);
    ledger.push(Op::put(Kind::Recent, chunk_key(folder, number), seal_chunk(&latest_only(new))))
}

/// Moves the recent chunks and the new entries into large ones, the first of which is the last one if that has room.
fn fold(ledger: &mut Ledger, folder: ItemId, recent: &[Chunk], new: &[Entry]) -> Result<(), JournalError> {
    let last = chunks(ledger.store(), Kind::Completed, folder).next_back().transpose()?;
    let (mut number, mut entries) = match last {
        Some(last) if last.entries.len() < CHUNK_ENTRIES => (last.number, last.entries),
        Some(last) => (last.number + 1, Vec::new()),
        None => (0, Vec::new()),
    };
    entries.extend(recent.iter().flat_map(|chunk| &chunk.entries).chain(new));
    for entries in latest_only(entries).chunks(CHUNK_ENTRIES) {
        ledger.push(Op::put(Kind::Completed, chunk_key(folder, number), seal_chunk(entries)))?;
        number += 1;
    }
    recent.iter().try_for_each(|chunk| ledger.push(Op::remove(Kind::Recent, &chunk.key)))
}

/// The number of the chunk that the next fold writes to first, unless it begins another.
pub(super) fn last_number(store: &Store, folder: ItemId) -> Result<u64, JournalError> {
    let last = chunks(store, Kind::Completed, folder).next_back().transpose()?;
    Ok(last.map_or(0, |chunk| chunk.number))
}

/// Removes these (sorted) versions of items, and joins chunks that fit into one then, at the key of the first: who reads
/// forward meanwhile has to be told (see `moves`).
pub(super) fn drop_versions(
    ledger: &mut Ledger,
    folder: ItemId,
    versions: &[(ItemId, u64)],
) -> Result<(), JournalError> {
    for kind in [Kind::Recent, Kind::Completed] {
        let mut group = Group::of(kind);
        for chunk in chunks(ledger.store(), kind, folder) {
            let mut chunk = chunk?;
            let before = chunk.entries.len();
            chunk.entries.retain(|entry| versions.binary_search(&(entry.item, entry.stamp)).is_err());
            if !group.has_room_for(&chunk) {
                std::mem::replace(&mut group, Group::of(kind)).write(ledger)?;
            }
            group.changed |= chunk.entries.len() < before;
            group.take(chunk);
        }
        group.write(ledger)?;
    }
    Ok(())
}

/// Neighbours that become one chunk.
struct Group {
    kind: Kind,
    keys: Vec<Bytes>,
    entries: Vec<Entry>,
    changed: bool,
}

impl Group {
    fn of(kind: Kind) -> Self {
        Self { kind, keys: Vec::new(), entries: Vec::new(), changed: false }
    }

    fn has_room_for(&self, chunk: &Chunk) -> bool {
        self.entries.len() + chunk.entries.len() <= CHUNK_ENTRIES
    }

    fn take(&mut self, chunk: Chunk) {
        self.changed |= !self.keys.is_empty();
        self.keys.push(chunk.key);
        self.entries.extend(chunk.entries);
    }

    fn write(self, ledger: &mut Ledger) -> Result<(), JournalError> {
        if !self.changed {
            return Ok(());
        }
        let mut keys = self.keys.iter();
        if !self.entries.is_empty() {
            let key = keys.next().expect("entries came from a chunk");
            ledger.push(Op::put(self.kind, key.to_vec(), seal_chunk(&latest_only(self.entries))))?;
        }
        keys.try_for_each(|key| ledger.push(Op::remove(self.kind, key)))
    }
}

/// The entries without those that a later one of the same item replaces.
fn latest_only(entries: Vec<Entry>) -> Vec<Entry> {
    let mut seen = HashSet::new();
    let mut kept: Vec<_> = entries.into_iter().rev().filter(|entry| seen.insert(entry.item)).collect();
    kept.reverse();
    kept
}

/// The digest of an item's latest version, looked for in all chunks of its folder.
pub(super) fn latest(store: &Store, folder: ItemId, item: ItemId) -> Result<Option<Entry>, JournalError> {
    for kind in [Kind::Recent, Kind::Completed] {
        for chunk in chunks(store, kind, folder).rev() {
            if let Some(entry) = chunk?.entries.into_iter().rfind(|entry| entry.item == item) {
                return Ok(Some(entry));
            }
        }
    }
    Ok(None)
}

/// The folders that have entries, each once.
pub(super) fn folders(store: &Store) -> Result<Vec<ItemId>, JournalError> {
    let mut folders = Vec::new();
    for kind in [Kind::Recent, Kind::Completed] {
        let mut start = Some([0; 16]);
        while let Some(from) = start {
            let Some(key) = store.first_key(kind, &from)? else { break };
            let (folder, _) = read_chunk_key(&key).expect("keys were verified when the store was opened");
            folders.push(folder);
            start = super::keys::after_folder(folder);
        }
    }
    folders.sort_unstable();
    folders.dedup();
    Ok(folders)
}
