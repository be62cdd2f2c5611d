//! The number of the last transaction, in a small file beside the store.
//!
//! Written after the commit it tells of is durable, so a crash between the two leaves it behind the store, which is
//! no alarm; a store behind it has lost what was acknowledged, which is one. (Written before, each crash between the
//! two would be a false alarm.) For the same reason it needs no sync of its own: should a power cut undo it, it is
//! only older. That saves each commit half its cost; it is synced when the journal is opened and closed.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::error::JournalError;
use super::value::{seal_numbers, unseal_numbers};

/// The open side file.
pub(super) struct Side {
    path: PathBuf,
    file: File,
}

impl Side {
    /// The number in the file at `path`; `None` where there is no file.
    pub(super) fn read(path: &Path) -> Result<Option<u64>, JournalError> {
        let mut value = Vec::new();
        match File::open(path).and_then(|mut file| file.read_to_end(&mut value)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(JournalError::io("read", path, error)),
        }
        let [seq] = unseal_numbers(&value).map_err(|bad| JournalError::bad_value("read", path, bad))?;
        Ok(Some(seq))
    }

    /// Opens the file, makes it where it is missing, and has `seq` in it, durably.
    pub(super) fn create(path: &Path, seq: u64) -> Result<Self, JournalError> {
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = opened.map_err(|error| JournalError::io("open", path, error))?;
        let side = Self { path: path.to_owned(), file };
        side.write(seq)?;
        side.sync()?;
        Ok(side)
    }

    /// Overwrites the number in place: fewer bytes than a sector, which no crash cuts.
    pub(super) fn write(&self, seq: u64) -> Result<(), JournalError> {
        let written = self.file.write_all_at(&seal_numbers(&[seq]), 0);
        written.map_err(|error| JournalError::io("write", &self.path, error))
    }

    pub(super) fn sync(&self) -> Result<(), JournalError> {
        self.file.sync_all().map_err(|error| JournalError::io("sync", &self.path, error))
    }
}
