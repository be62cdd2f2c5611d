//! What is delivered of one folder, as a scanner asks for it.

use std::fmt;
use std::sync::Arc;

use skiff_common::{Digest, ItemId};

use super::completed::{chunks, chunks_from, last_number, latest};
use super::error::JournalError;
use super::keys::{Kind, chunk_key};
use super::slot::Slot;
use super::store::Store;
use super::value::{BadValue, Entry, unseal_chunk};

/// The delivered items of one folder, as they were when it was read: 28 bytes each. Digests stay in the journal.
pub struct DeliveredFolder {
    slot: Arc<Slot>,
    folder: ItemId,
    /// By item.
    known: Vec<Known>,
    /// Where the chunks stood that the items came from.
    chunks: Vec<(Kind, u64)>,
    /// Versions that a later one replaced; by item.
    replaced: Vec<(ItemId, u64)>,
}

/// Bytes, because they have no padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Known {
    item: ItemId,
    /// Big-endian, so that the later chunk sorts later.
    chunk: [u8; 4],
    stamp: [u8; 8],
}

impl DeliveredFolder {
    pub(super) fn read(slot: &Arc<Slot>, folder: ItemId) -> Result<Self, JournalError> {
        Self::read_while(slot, folder, |_| {})
    }

    /// Reads it while somebody does something `meanwhile`, as the writer may, after so many large chunks were read.
    pub(super) fn read_while(
        slot: &Arc<Slot>,
        folder: ItemId,
        mut meanwhile: impl FnMut(usize),
    ) -> Result<Self, JournalError> {
        let store = slot.store()?;
        loop {
            let reading = store.reading(folder)?;
            let mut read =
                Self { slot: slot.clone(), folder, known: vec![], chunks: vec![], replaced: vec![] };
            read.all_chunks(&store, &mut meanwhile)?;
            if reading.is_whole() {
                read.keep_latest();
                return Ok(read);
            }
        }
    }

    /// Reads them, while the writer may add some.
    fn all_chunks(&mut self, store: &Store, meanwhile: &mut impl FnMut(usize)) -> Result<(), JournalError> {
        let folder = self.folder;
        let recent = || chunks(store, Kind::Recent, folder).collect::<Result<Vec<_>, _>>();
        // The recent chunks are read first: what the writer moves meanwhile is then seen twice, not never.
        let mut before = recent()?;
        let mut from = 0;
        loop {
            let last = last_number(store, folder)?;
            meanwhile(0);
            for (nth, chunk) in (1..).zip(chunks_from(store, Kind::Completed, folder, from)) {
                let chunk = chunk?;
                self.add(Kind::Completed, chunk.number, &chunk.entries);
                meanwhile(nth);
            }
            let now = recent()?;
            if before.iter().all(|chunk| now.contains(chunk)) {
                for chunk in now {
                    self.add(Kind::Recent, chunk.number, &chunk.entries);
                }
                return Ok(());
            }
            // What was moved may be newer than what was read, or older: that end is read again.
            self.drop_from(last);
            (before, from) = (now, last);
        }
    }

    /// The folder's id.
    pub fn folder(&self) -> ItemId {
        self.folder
    }

    /// How many items are delivered.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether the version of `item` that was delivered last has this [fingerprint](skiff_common::Stamp::fingerprint).
    pub fn has(&self, item: ItemId, stamp: u64) -> bool {
        self.find(item).is_some_and(|known| known.stamp() == stamp)
    }

    /// The BLAKE3 digest of the version of `item` that was delivered last. Blocking: reads the journal.
    pub fn digest_of(&self, item: ItemId) -> Result<Option<Digest>, JournalError> {
        let Some(known) = self.find(item) else { return Ok(None) };
        let store = self.slot.store()?;
        let entry = match self.entry_of(known, &store)? {
            Some(entry) => Some(entry),
            // The writer has moved it since.
            None => latest(&store, self.folder, item)?,
        };
        Ok(entry.map(|entry| entry.digest))
    }

    /// The versions of which the journal needs to know nothing any more if only items that `keep` names are left:
    /// none while what could be saved is little.
    pub(super) fn useless(&self, keep: impl Fn(ItemId) -> bool) -> Vec<(ItemId, u64)> {
        let gone = self.known.iter().filter(|known| !keep(known.item));
        let mut useless: Vec<_> = gone.map(|known| (known.item, known.stamp())).collect();
        if !useless.is_empty() || self.replaced.len() > self.known.len() {
            useless.extend(&self.replaced);
            useless.sort_unstable();
        }
        useless
    }

    fn add(&mut self, kind: Kind, number: u64, entries: &[Entry]) {
        let chunk = u32::try_from(self.chunks.len()).expect("fewer chunks than items").to_be_bytes();
        self.chunks.push((kind, number));
        let known = |entry: &Entry| Known { item: entry.item, chunk, stamp: entry.stamp.to_be_bytes() };
        self.known.extend(entries.iter().map(known));
    }

    /// Forgets what was read from these chunks on.
    fn drop_from(&mut self, number: u64) {
        let kept = self.chunks.partition_point(|(_, of)| *of < number);
        let known = self.known.partition_point(|known| known.chunk() < kept);
        self.chunks.truncate(kept);
        self.known.truncate(known);
    }

    fn keep_latest(&mut self) {
        self.known.sort_unstable();
        let replaced = &mut self.replaced;
        // Seen backwards, the first of an item is its latest.
        self.known.reverse();
        self.known.dedup_by(|older, latest| {
            let same = older.item == latest.item;
            if same && older.stamp != latest.stamp {
                replaced.push((older.item, older.stamp()));
            }
            same
        });
        self.known.reverse();
    }

    fn find(&self, item: ItemId) -> Option<Known> {
        let at = self.known.binary_search_by_key(&item, |known| known.item).ok()?;
        Some(self.known[at])
    }

    fn entry_of(&self, known: Known, store: &Store) -> Result<Option<Entry>, JournalError> {
        let (kind, number) = self.chunks[known.chunk()];
        let Some(value) = store.get(kind, &chunk_key(self.folder, number))? else { return Ok(None) };
        let entries = unseal_chunk(&value).map_err(|bad: BadValue| store.bad_value(bad))?;
        Ok(entries.into_iter().find(|entry| entry.item == known.item && entry.stamp == known.stamp()))
    }
}

impl Known {
    fn stamp(self) -> u64 {
        u64::from_be_bytes(self.stamp)
    }

    fn chunk(self) -> usize {
        u32::from_be_bytes(self.chunk) as usize
    }
}

impl fmt::Debug for DeliveredFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveredFolder")
            .field("folder", &self.folder)
            .field("items", &self.len())
            .finish_non_exhaustive()
    }
}
