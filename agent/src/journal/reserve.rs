//! Space that is kept for a full disk.
//!
//! What fills a disk are often the files that wait: to deliver and delete them, the journal and the receipts need some space
//! themselves. So some is taken while there is plenty, and let go when there is none. Where a disk is small, there is no reserve.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};

use super::error::JournalError;
use super::state_folder::{StateFolder, sync_folder};

/// What is kept free for sled, and some thousands of deliveries on top.
const BYTES: u64 = 24 << 20;
/// What has to be free besides: nobody is to miss it.
const BESIDES: u64 = 4 * BYTES;
/// How often it is tried to have one.
const AGAIN: Duration = Duration::from_secs(60);

/// The reserve of an open journal.
pub(super) struct Reserve {
    tried: Option<Instant>,
}

impl Reserve {
    pub(super) const fn new() -> Self {
        Self { tried: None }
    }

    /// Asks for space as the journal does, and lets go what is kept before it is refused.
    pub(super) fn require_space(
        &mut self,
        place: &StateFolder,
        attempt: &'static str,
    ) -> Result<(), JournalError> {
        make_room(place);
        place.require_space(attempt, 0)?;
        if self.tried.is_none_or(|tried| tried.elapsed() >= AGAIN) {
            self.tried = Some(Instant::now());
            keep(place);
        }
        Ok(())
    }
}

/// Lets go what is kept, where there is no space.
pub(super) fn make_room(place: &StateFolder) {
    let is_full = matches!(place.require_space("ask for", 0), Err(JournalError::NoSpace { .. }));
    if is_full && fs::remove_file(path(place)).is_ok() {
        tracing::warn!("the disk of the state folder is full; the space that was kept for that is used now");
        // Free at once, not at some later commit of the file system's.
        let _ = path(place).parent().map(sync_folder);
    }
}

/// Takes it, where there is plenty. Without it all works as well, as long as there is space.
fn keep(place: &StateFolder) {
    let path = path(place);
    let kept = fs::metadata(&path).map_or(0, |file| file.len());
    if kept >= BYTES || place.require_space("ask for", BYTES + BESIDES).is_err() {
        return;
    }
    // A death may have come before it was filled.
    let _ = fs::remove_file(&path);
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let taken = made.and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, BYTES)?));
    if let Err(error) = taken {
        tracing::debug!(%error, "no space is kept for a full disk");
        let _ = fs::remove_file(&path);
    }
}

fn path(place: &StateFolder) -> PathBuf {
    place.journal().with_file_name("reserve")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::not_shown::not_shown;

    #[test]
    fn a_reserve_that_a_death_left_empty_is_filled() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = StateFolder::at(folder.path());
        if place.require_space("ask for", BYTES + BESIDES).is_err() {
            return not_shown("a reserve that is filled", "there is no space");
        }
        fs::write(path(&place), "").expect("there is room");
        keep(&place);
        // Where a file system takes no space ahead, none is kept.
        let kept = fs::metadata(path(&place)).map(|file| file.len());
        assert!(kept.as_ref().is_ok_and(|kept| *kept == BYTES) || kept.is_err(), "{kept:?}");
    }
}
