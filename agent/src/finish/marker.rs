//! The done-file of a file that goes: it leaves first, and comes back if the file stays.
//!
//! Promises that none outlives its file, whenever we die, for with it the next file of that name would count as complete
//! from its first byte; and that none goes that was written for a file that stands there.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, statat, unlinkat};
use rustix::io::Errno;
use skiff_common::RelPath;

use super::private;
use crate::source::{Root, SourceError};

/// A done-file that was taken out of its folder.
pub(super) struct Marker<'a> {
    root: &'a Root,
    folder: &'a OwnedFd,
    leaving: OwnedFd,
    of: &'a RelPath,
    path: RelPath,
}

impl<'a> Marker<'a> {
    /// Takes the one of the file at `of` out of their `folder`, where it stands there.
    pub(super) fn take_out(
        root: &'a Root,
        folder: &'a OwnedFd,
        of: &'a RelPath,
        suffix: &str,
    ) -> io::Result<Option<Self>> {
        let Some(path) = name_for(of, suffix) else { return Ok(None) };
        Self::taken(root, folder, of, path)
    }

    fn taken(
        root: &'a Root,
        folder: &'a OwnedFd,
        of: &'a RelPath,
        path: RelPath,
    ) -> io::Result<Option<Self>> {
        match private::take_out(root, folder, &path) {
            Ok(leaving) => Ok(Some(Self { root, folder, leaving, of, path })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Its file has gone.
    pub(super) fn end(self) {
        match unlinkat(&self.leaving, self.name(), AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT) => self.end_again(),
            // Whatever it is, it can't go.
            Err(_) => self.put_back(),
        }
    }

    /// Its file stays.
    pub(super) fn put_back(self) {
        let is_there = statat(self.folder, self.name(), AtFlags::SYMLINK_NOFOLLOW).is_ok();
        // The producer has written another meanwhile, which says the same.
        if is_there && unlinkat(&self.leaving, self.name(), AtFlags::empty()).is_ok() {
            return;
        }
        if let Err(error) = private::put_back(self.root, &self.leaving, self.folder, &self.path) {
            tracing::warn!(path = %self.path, %error, "the done-file is not back where it stood");
        }
    }

    /// After a reload, who restores what is left has put it back.
    fn end_again(self) {
        let Ok(Some(back)) = Self::taken(self.root, self.folder, self.of, self.path) else { return };
        // It may be the one of a new file.
        let file_is_back =
            statat(back.folder, OsStr::from_bytes(back.of.name()), AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if file_is_back || unlinkat(&back.leaving, back.name(), AtFlags::empty()).is_err() {
            back.put_back();
        }
    }

    fn name(&self) -> &OsStr {
        OsStr::from_bytes(self.path.name())
    }
}

/// Whether what a crash left of `path` in `leaving` is a done-file whose file had gone.
pub(super) fn is_over(root: &Root, leaving: &OwnedFd, path: &RelPath, suffix: Option<&str>) -> bool {
    let Some(of) = suffix.and_then(|suffix| of(path, suffix)) else { return false };
    let stands = || !matches!(root.look(&of), Err(SourceError::Gone { .. }));
    let is_left = || !private::is_gone(leaving, OsStr::from_bytes(of.name()));
    // Once more: a worker may just have put it back.
    !stands() && !is_left() && !stands()
}

/// What the done-file of the file at `of` is called; what is too long a name is none.
pub(crate) fn name_for(of: &RelPath, suffix: &str) -> Option<RelPath> {
    RelPath::parse(&[of.as_bytes(), suffix.as_bytes()].concat()).ok()
}

/// The path of the file that a done-file at `path` is of, if that is its name.
pub(crate) fn of(path: &RelPath, suffix: &str) -> Option<RelPath> {
    let of = path.as_bytes().strip_suffix(suffix.as_bytes())?;
    // A name that is nothing but the suffix is no file's.
    RelPath::parse(of).ok()
}
