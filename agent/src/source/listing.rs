//! A folder's entries, one by one, so that memory is bounded whatever lies in it.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, statat};
use rustix::io::Errno;

use super::item::{Look, look};
use super::{OWN_FOLDER, SourceError, is_brought};

/// One entry of a folder.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is.
    pub look: Look,
}

/// A folder's entries, in no order. What vanishes meanwhile is left out, and so is skiff's own folder at the top,
/// and what another skiff has on its way.
pub struct Listing {
    pub(super) handle: OwnedFd,
    pub(super) entries: Dir,
    pub(super) shown: String,
    pub(super) is_top: bool,
}

impl Iterator for Listing {
    type Item = Result<Entry, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.entries.read()? {
                Ok(entry) => entry,
                Err(errno) => return Some(Err(SourceError::new("list", &self.shown, errno))),
            };
            let name = entry.file_name().to_bytes();
            let is_own = (self.is_top && name == OWN_FOLDER.as_bytes()) || is_brought(name);
            if name == b"." || name == b".." || is_own {
                continue;
            }
            match statat(&self.handle, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => return Some(Ok(Entry { name: name.to_vec(), look: look(&stat) })),
                Err(Errno::NOENT) => {}
                Err(errno) => return Some(Err(SourceError::new("look into", &self.shown, errno))),
            }
        }
    }
}
