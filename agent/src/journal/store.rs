//! sled, and nothing else knows it: six trees, transactions, scans and a commit that survives a power cut.
//!
//! **No value may outgrow its leaf.** sled keeps up to 16 values (19 while it merges leaves) in one leaf, writes the
//! leaf whole, and puts what exceeds 128 KiB into a file of its own, which it never syncs. So a value has 6 KB at most:
//! parts of shipments have [`VALUE_BYTES`], held items a path and a cut reason, chunks less (see `completed`).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};

use skiff_common::ItemId;
use sled::transaction::{ConflictableTransactionError, TransactionError, Transactional, TransactionalTree};

use super::deadline;
use super::error::{JournalError, is_lock};
use super::head::Head;
use super::keys::{HEAD, Kind};
use super::log::Log;
use super::moves::{Moves, Reading};
use super::value::BadValue;

/// The most bytes of a value's payload.
pub(super) const VALUE_BYTES: usize = 5_600;
/// The most operations of one transaction: 1,000 cost sled gigabytes of memory, 100 nothing.
pub(super) const TRANSACTION_OPS: usize = 64;
/// sled's own figure is 1 GiB. What is read again soon is one folder's chunks and the tip of each tree.
const CACHE_BYTES: u64 = 4 << 20;
/// See [`Store::note_read`].
const NOTED_BYTES: usize = 350;
/// sled's threads may hold its file for a moment after the handle is gone.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Bytes that the store gave out.
pub(super) type Bytes = sled::IVec;

/// Puts a value, or removes what stands there.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) kind: Kind,
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
}

impl Op {
    pub(super) fn put(kind: Kind, key: Vec<u8>, value: Vec<u8>) -> Self {
        Self { kind, key, value: Some(value) }
    }

    pub(super) fn remove(kind: Kind, key: &[u8]) -> Self {
        Self { kind, key: key.to_owned(), value: None }
    }
}

/// An open store.
pub(super) struct Store {
    dir: PathBuf,
    trees: [sled::Tree; 6],
    db: sled::Db,
    log: Log,
    /// Held to read: sled writes then, too, as it merges leaves, and puts pages on the disk that it reads back.
    reads: RwLock<()>,
    moves: Moves,
    logical_bytes: AtomicU64,
}

impl Store {
    /// Opens the store in `dir`, or makes it. Slow, and may panic where it is damaged.
    pub(super) fn open(dir: &Path) -> Result<Self, JournalError> {
        let db = open_db(dir)?;
        let trees = Kind::ALL
            .into_iter()
            .map(|kind| db.open_tree(kind.name()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| JournalError::sled("open", dir, error))?;
        let trees = trees.try_into().unwrap_or_else(|_| unreachable!("a tree for each kind"));
        let log = Log::open(dir).map_err(|error| JournalError::io("open the log of", dir, error))?;
        let (moves, logical_bytes) = (Moves::default(), AtomicU64::new(0));
        Ok(Self { dir: dir.to_owned(), trees, db, log, reads: RwLock::default(), moves, logical_bytes })
    }

    /// Its folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The bytes of all keys and values, as far as [`Store::count`] was told.
    pub(super) fn logical_bytes(&self) -> u64 {
        self.logical_bytes.load(Ordering::Relaxed)
    }

    /// From now on [`Store::logical_bytes`] goes on from here.
    pub(super) fn count(&self, logical_bytes: u64) {
        self.logical_bytes.store(logical_bytes, Ordering::Relaxed);
    }

    /// What the writer tells of the entries that it moves.
    pub(super) fn moves(&self) -> &Moves {
        &self.moves
    }

    /// From now on the entries of `folder` are read. Waits while they move.
    pub(super) fn reading(&self, folder: ItemId) -> Result<Reading<'_>, JournalError> {
        let after = deadline::COMMIT;
        let stalled = || JournalError::Stalled { attempt: "read", path: self.dir.clone(), after };
        self.moves.read(folder, after).ok_or_else(stalled)
    }

    pub(super) fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Bytes>, JournalError> {
        let _read = self.read();
        self.tree(kind).get(key).map_err(|error| JournalError::sled("read", &self.dir, error))
    }

    /// Keys and values whose key starts with `prefix`, in order.
    pub(super) fn scan(
        &self,
        kind: Kind,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes), JournalError>> + use<'_> {
        Records { store: self, kind, iter: self.tree(kind).scan_prefix(prefix) }
    }

    /// Keys and values from one key to another, both included, in order.
    pub(super) fn range(
        &self,
        kind: Kind,
        keys: std::ops::RangeInclusive<Vec<u8>>,
    ) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes), JournalError>> + use<'_> {
        Records { store: self, kind, iter: self.tree(kind).range(keys) }
    }

    /// The first key from `start` on.
    pub(super) fn first_key(&self, kind: Kind, start: &[u8]) -> Result<Option<Bytes>, JournalError> {
        let _read = self.read();
        let first = self.tree(kind).range(start..).keys().next();
        first.transpose().map_err(|error| JournalError::sled("read", &self.dir, error))
    }

    /// The store's account of itself.
    pub(super) fn head(&self) -> Result<Head, JournalError> {
        let value = self.get(Kind::Meta, HEAD)?;
        value.map_or(Ok(Head::default()), |value| Head::unseal(&value)).map_err(|bad| self.bad_value(bad))
    }

    /// Does `ops`, all or none of them, and returns the new head. Durable only after [`Store::sync`].
    pub(super) fn apply(&self, ops: &[Op]) -> Result<Head, JournalError> {
        debug_assert!(ops.len() <= TRANSACTION_OPS, "{} operations in a transaction", ops.len());
        let applied = self.trees[..].transaction(|trees| apply_to(trees, ops));
        let Applied { head, added, removed } = applied.map_err(|error| match error {
            TransactionError::Abort(bad) => self.bad_value(bad),
            TransactionError::Storage(error) => JournalError::sled("write to", &self.dir, error),
        })?;
        self.count((self.logical_bytes() + added).saturating_sub(removed));
        Ok(head)
    }

    /// Puts values as they are, past the head: for a copy of a whole store, whose head comes last.
    pub(super) fn load_unaccounted(
        &self,
        kind: Kind,
        records: Vec<(Bytes, Bytes)>,
    ) -> Result<(), JournalError> {
        let mut batch = sled::Batch::default();
        for (key, value) in records {
            batch.insert(key, value);
        }
        self.tree(kind).apply_batch(batch).map_err(|error| JournalError::sled("write to", &self.dir, error))
    }

    /// Makes all that was applied durable. After an error nobody knows what is: it must not be tried again.
    pub(super) fn sync(&self) -> Result<(), JournalError> {
        self.sync_while(|| {})
    }

    /// The same, while somebody does something `meanwhile`, if zeros are written ahead.
    fn sync_while(&self, meanwhile: impl FnOnce()) -> Result<(), JournalError> {
        let failed = |error| JournalError::io("sync", &self.dir, error);
        self.flush()?;
        if self.log.has_grown_little().map_err(failed)? {
            let _no_read = self.reads.write().unwrap_or_else(PoisonError::into_inner);
            // What was read since may have left something to write.
            self.flush()?;
            // Where the disk has no room for zeros, it may have some for records.
            let _ = self.log.write_ahead(meanwhile);
        }
        // sled's flush is sync_file_range, which a power cut undoes: it neither waits for the device's cache nor
        // writes the file's length.
        self.log.sync().map_err(failed)
    }

    fn flush(&self) -> Result<(), JournalError> {
        self.db.flush().map(drop).map_err(|error| JournalError::sled("flush", &self.dir, error))
    }

    /// Held for one call of sled's, so that the writer never waits for long.
    fn read(&self) -> RwLockReadGuard<'_, ()> {
        self.reads.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error for a value that can't be read.
    pub(super) fn bad_value(&self, bad: BadValue) -> JournalError {
        JournalError::bad_value("read", &self.dir, bad)
    }

    /// sled notes in blocks of 64 which pages are used, for each of 256 shards, and evicts only when a block is full.
    /// A scan uses a leaf once, so a store of a few thousand leaves would stay in memory whole. One use for each
    /// [`NOTED_BYTES`] bounds what isn't noted to 64 * 256 * 350 B = 5.7 MB.
    fn note_read(&self, kind: Kind, key: &[u8], bytes: usize) -> sled::Result<()> {
        (0..bytes / NOTED_BYTES).try_for_each(|_| self.tree(kind).contains_key(key).map(drop))
    }

    fn tree(&self, kind: Kind) -> &sled::Tree {
        &self.trees[kind.index()]
    }
}

/// Keys and values of a tree.
struct Records<'a> {
    store: &'a Store,
    kind: Kind,
    iter: sled::Iter,
}

impl Records<'_> {
    fn noted(
        &mut self,
        next: impl FnOnce(&mut sled::Iter) -> Option<sled::Result<(Bytes, Bytes)>>,
    ) -> Option<Result<(Bytes, Bytes), JournalError>> {
        let Self { store, kind, iter } = self;
        let _read = store.read();
        let noted = next(iter)?.and_then(|(key, value)| {
            store.note_read(*kind, &key, value.len())?;
            Ok((key, value))
        });
        Some(noted.map_err(|error| JournalError::sled("read", &store.dir, error)))
    }
}

impl Iterator for Records<'_> {
    type Item = Result<(Bytes, Bytes), JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.noted(Iterator::next)
    }
}

impl DoubleEndedIterator for Records<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.noted(DoubleEndedIterator::next_back)
    }
}

/// What a transaction did: to the head, and in bytes of keys and values.
struct Applied {
    head: Head,
    added: u64,
    removed: u64,
}

/// May run again after a conflict, so it changes nothing but the trees.
fn apply_to(
    trees: &[TransactionalTree],
    ops: &[Op],
) -> Result<Applied, ConflictableTransactionError<BadValue>> {
    let meta = &trees[Kind::Meta.index()];
    let head = meta.get(HEAD)?.map_or(Ok(Head::default()), |value| Head::unseal(&value));
    let mut head = head.map_err(ConflictableTransactionError::Abort)?;
    let (mut added, mut removed) = (0, 0);
    for Op { kind, key, value } in ops {
        let tree = &trees[kind.index()];
        let old = match value {
            Some(value) => tree.insert(&key[..], &value[..])?,
            None => tree.remove(&key[..])?,
        };
        // What is no record the head gives no account of: to lose it costs comparing again.
        if *kind == Kind::Meta {
            continue;
        }
        if let Some(old) = old {
            head.take_away(*kind, key, &old);
            removed += (key.len() + old.len()) as u64;
        }
        if let Some(value) = value {
            head.add(*kind, key, value);
            added += (key.len() + value.len()) as u64;
        }
    }
    head.seq += 1;
    meta.insert(HEAD, head.seal())?;
    Ok(Applied { head, added, removed })
}

fn open_db(dir: &Path) -> Result<sled::Db, JournalError> {
    let started = Instant::now();
    loop {
        // sled's own flusher swallows errors and can hang; we flush ourselves.
        match sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None).open() {
            Err(sled::Error::Io(error)) if is_lock(&error) && started.elapsed() < LOCK_WAIT => {
                thread::sleep(Duration::from_millis(20));
            }
            opened => return opened.map_err(|error| JournalError::sled("open", dir, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// What sled writes as it reads is, for the test, what it writes at any time.
    #[test]
    fn no_zeros_are_written_over_what_a_read_writes() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("a store");
        let mut written = Vec::new();
        thread::scope(|scope| {
            let store = &store;
            let put = move |n: u8| {
                store.apply(&[Op::put(Kind::Growing, vec![n], vec![n; 100])]).expect("it is written");
                store.flush().expect("it is flushed");
            };
            for n in (0..100).step_by(2) {
                put(n);
                written.push(n);
                let somebody_reads = || {
                    written.push(n + 1);
                    let (tell, told) = mpsc::sync_channel(2);
                    scope.spawn(move || {
                        let free = store.reads.try_read().ok();
                        if free.is_none() {
                            tell.send("it waits").expect("the writer is to hear it");
                        }
                        let _read = free.unwrap_or_else(|| store.read());
                        put(n + 1);
                        let _ = tell.send("it has written");
                    });
                    told.recv().expect("it tells");
                };
                store.sync_while(somebody_reads).expect("it is synced");
            }
        });
        assert!(written.len() > 50, "zeros were written ahead");
        store.sync().expect("it is synced");
        drop(store);
        let store = Store::open(dir.path()).expect("a store");
        written.retain(|n| store.get(Kind::Growing, &[*n]).expect("it is read").is_none());
        assert!(written.is_empty(), "they are gone: {written:?}");
    }
}
