//! sled's log file, as we sync it.
//!
//! A commit that makes a file longer costs a commit of the file system as well: on ext4, 17 KiB of disk for a record of
//! 180 bytes, against 4 KiB within the file. So zeros are written ahead of small commits, as sled itself leaves them
//! behind its last message whenever it opens. Large commits would pay twice for them, and save little.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// sled's segments, which begin at multiples of this; no zeros are written beyond the one that is being filled.
const SEGMENT_BYTES: u64 = 512 << 10;
/// What is written ahead: the records of some 200 lone files.
const AHEAD_BYTES: usize = 64 << 10;
/// A commit that is larger is none of a lone file.
const SMALL_BYTES: u64 = 8 << 10;

/// The log of an open store.
pub(super) struct Log {
    file: File,
    /// How long it was when it was synced last.
    length: AtomicU64,
}

impl Log {
    /// Opens the log of the store in `dir`, which sled has made.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(dir.join("db"))?;
        let length = AtomicU64::new(file.metadata()?.len());
        Ok(Self { file, length })
    }

    /// Whether it has grown, since it was synced last, by what is worth writing zeros ahead.
    pub(super) fn has_grown_little(&self) -> io::Result<bool> {
        let grown = self.end()?.saturating_sub(self.length.load(Ordering::Relaxed));
        Ok((1..=SMALL_BYTES).contains(&grown))
    }

    /// Writes zeros at its end. Where sled writes there must be none, so nobody may use the store meanwhile, not even to
    /// read, and all that sled has to write must be written. `meanwhile` is when it would do harm.
    pub(super) fn write_ahead(&self, meanwhile: impl FnOnce()) -> io::Result<()> {
        let end = self.end()?;
        meanwhile();
        let room = usize::try_from(end.next_multiple_of(SEGMENT_BYTES) - end).unwrap_or(usize::MAX);
        self.file.write_all_at(&vec![0; room.min(AHEAD_BYTES)], end)
    }

    /// Makes what sled has flushed durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.length.store(self.end()?, Ordering::Relaxed);
        self.file.sync_data()
    }

    fn end(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
