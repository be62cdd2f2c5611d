//! Finish: a delivered source is kept, deleted or moved.
//!
//! Promises that only what a receipt proves goes, and only the version that it is about: the file is first renamed into
//! a private folder, where nobody else finds it, then tested, then unlinked; a file that changed goes back.

mod private;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, openat, renameat_with, unlinkat};
use rustix::io::Errno;
use skiff_common::delivery::{Disposal, Receipt, Trouble};
use skiff_common::{Digest, RelPath, Stamp};

use crate::source::{OpenItem, Root, SourceError};

pub use private::restore;
pub(crate) use private::tidy;

/// What becomes of a delivered source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// It stays.
    Keep,
    /// It is deleted.
    Delete,
    /// It is moved below this folder.
    Move(PathBuf),
}

/// Does it. `marker` is the suffix of a done-file that goes with the source. Blocks.
pub fn dispose(root: &Root, receipt: &Receipt, after: &After, marker: Option<&str>) -> Disposal {
    if *after == After::Keep {
        return Disposal::Kept;
    }
    let item = receipt.item();
    let open = match root.open_item(&item.path) {
        Ok(open) if open.stamp == item.stamp => open,
        Ok(_) => return Disposal::Left(Trouble::Changed),
        // An earlier attempt came so far.
        Err(SourceError::Gone { .. }) => return Disposal::Removed,
        Err(error) => return Disposal::Left(error.trouble()),
    };
    let leave = match after {
        After::Keep => return Disposal::Kept,
        After::Delete => Leave::Deleted,
        After::Move(target) => Leave::Moved { target, digest: &receipt.digests().blake3 },
    };
    match remove(root, &item.path, &open, item.stamp, leave) {
        Ok(true) => {
            if let Some(suffix) = marker {
                remove_marker(root, &item.path, suffix);
            }
            Disposal::Removed
        }
        Ok(false) => Disposal::Left(Trouble::Changed),
        Err(error) => {
            let reason = format!("delivered, but cannot take {} out of its folder: {error}", item.path);
            Disposal::Left(Trouble::retryable(reason))
        }
    }
}

/// Deletes the version of a file that has this stamp, for good: what the journal knows as delivered, or what the
/// configuration allows to lose. `false`: it isn't that version any longer. Blocks.
pub(crate) fn expire(root: &Root, path: &RelPath, stamp: Stamp) -> io::Result<bool> {
    let open = match root.open_item(path) {
        Ok(open) if open.stamp == stamp => open,
        Ok(_) | Err(SourceError::Gone { .. }) => return Ok(false),
        Err(error) => return Err(io::Error::other(error)),
    };
    remove(root, path, &open, stamp, Leave::Deleted)
}

/// What becomes of the version of a file that has this stamp, where the journal knows it as delivered with this digest to
/// all that are to have it. `false`: it isn't that version any longer, or is to stay. Blocks.
pub(crate) fn let_go(
    root: &Root,
    path: &RelPath,
    stamp: Stamp,
    digest: &Digest,
    (after, marker): (&After, Option<&str>),
) -> io::Result<bool> {
    let leave = match after {
        After::Keep => return Ok(false),
        After::Delete => Leave::Deleted,
        After::Move(target) => Leave::Moved { target, digest },
    };
    let open = match root.open_item(path) {
        Ok(open) if open.stamp == stamp => open,
        Ok(_) | Err(SourceError::Gone { .. }) => return Ok(false),
        Err(error) => return Err(io::Error::other(error)),
    };
    let gone = remove(root, path, &open, stamp, leave)?;
    if let Some(suffix) = marker.filter(|_| gone) {
        remove_marker(root, path, suffix);
    }
    Ok(gone)
}

/// How a file leaves its folder.
#[derive(Clone, Copy)]
enum Leave<'a> {
    Deleted,
    Moved { target: &'a Path, digest: &'a Digest },
}

/// `false`: it isn't what was delivered any longer, and stands where it stood.
fn remove(
    root: &Root,
    path: &RelPath,
    open: &OpenItem,
    delivered: Stamp,
    leave: Leave<'_>,
) -> io::Result<bool> {
    let folder = root.folder_of(path).map_err(io::Error::other)?;
    let leaving = private::take_out(root, &folder, path)?;
    let gone = end_if_same(&leaving, path, open, delivered, leave);
    if !matches!(gone, Ok(true)) {
        private::put_back(root, &leaving, &folder, path)?;
    }
    gone
}

/// Whatever was taken out, it is what stands in `leaving` now; the descriptor tells whether it is what was delivered.
fn end_if_same(
    leaving: &OwnedFd,
    path: &RelPath,
    open: &OpenItem,
    delivered: Stamp,
    leave: Leave<'_>,
) -> io::Result<bool> {
    let name = OsStr::from_bytes(path.name());
    let there = rustix::fs::statat(leaving, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if !delivered.same_but_renamed(&crate::source::stamp(&there)) || open.has_writer() == Some(true) {
        return Ok(false);
    }
    match leave {
        Leave::Deleted => unlinkat(leaving, name, AtFlags::empty())?,
        Leave::Moved { target, digest } => move_to(leaving, path, open, target, digest)?,
    }
    Ok(true)
}

fn move_to(
    leaving: &OwnedFd,
    path: &RelPath,
    open: &OpenItem,
    target: &Path,
    digest: &Digest,
) -> io::Result<()> {
    let name = OsStr::from_bytes(path.name());
    let goal = target.join(OsStr::from_bytes(path.as_bytes()));
    let folder = goal.parent().expect("it is below the target");
    fs::create_dir_all(folder)?;
    let handle = File::open(folder)?;
    for number in 0..1000_u32 {
        let other = if number == 0 { path.clone() } else { path.with_suffix(&format!("~{number}")) };
        let goal = OsStr::from_bytes(other.name());
        match renameat_with(leaving, name, &handle, goal, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            Err(Errno::XDEV) => return copy_to(leaving, name, open, folder, goal, digest),
            outcome => return Ok(outcome?),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Another file system: the copy is durable and compared before the source goes.
fn copy_to(
    leaving: &OwnedFd,
    name: &OsStr,
    open: &OpenItem,
    folder: &Path,
    goal: &OsStr,
    digest: &Digest,
) -> io::Result<()> {
    let mut copy = tempfile::Builder::new().prefix(".skiff-").tempfile_in(folder)?;
    let source = openat(leaving, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    io::copy(&mut File::from(source), copy.as_file_mut())?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(copy.path())?)?;
    if hasher.finalize().as_bytes() != digest.bytes() {
        return Err(io::Error::other("the copy differs"));
    }
    let modified = open.file.metadata()?.modified()?;
    copy.as_file().set_modified(modified)?;
    copy.as_file().set_permissions(open.file.metadata()?.permissions())?;
    copy.as_file().sync_all()?;
    copy.persist_noclobber(folder.join(goal))?;
    File::open(folder)?.sync_all()?;
    Ok(unlinkat(leaving, name, AtFlags::empty())?)
}

fn remove_marker(root: &Root, path: &RelPath, suffix: &str) {
    let name = [path.name(), suffix.as_bytes()].concat();
    if let Ok(folder) = root.folder_of(path) {
        // Without it the next file of this name waits for a marker of its own; that is all it is for.
        let _ = unlinkat(folder, OsStr::from_bytes(&name), AtFlags::empty());
    }
}

#[cfg(test)]
mod tests;
