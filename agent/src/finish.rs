//! Finish: a delivered source is kept, deleted or moved.
//!
//! Promises that only what a receipt proves goes, and only the version that it is about: the file is first renamed into
//! a private folder, where nobody else finds it, then tested, then unlinked; a file that changed goes back.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, mkdirat, openat, renameat_with, unlinkat};
use rustix::io::Errno;
use skiff_common::delivery::{Disposal, Receipt, Trouble};
use skiff_common::{Digest, RelPath, Stamp};

use crate::source::{OWN_FOLDER, OpenItem, Root, SourceError};

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

const LEAVING: &str = "leaving";
/// Below the private folder: files that can't go back, for their names are taken again. Nothing else would ever leave
/// under such a name if they stayed.
const SET_ASIDE: &str = "set-aside";

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
    match take_away(root, &item.path, &open, item.stamp, leave) {
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
    take_away(root, path, &open, stamp, Leave::Deleted)
}

/// How a file leaves its folder.
#[derive(Clone, Copy)]
enum Leave<'a> {
    Deleted,
    Moved { target: &'a Path, digest: &'a Digest },
}

/// `false`: it isn't what was delivered any longer, and stands where it stood.
fn take_away(
    root: &Root,
    path: &RelPath,
    open: &OpenItem,
    delivered: Stamp,
    leave: Leave<'_>,
) -> io::Result<bool> {
    let folder = root.folder_of(path).map_err(io::Error::other)?;
    let leaving = leaving(root, path)?;
    let name = OsStr::from_bytes(path.name());
    renameat_with(&folder, name, &leaving, name, RenameFlags::NOREPLACE)?;
    // Whatever was renamed, it is what stands here now; the descriptor tells whether it is what was delivered.
    let back = || match renameat_with(&leaving, name, &folder, name, RenameFlags::NOREPLACE) {
        // Somebody took the name meanwhile: to them this file was overwritten.
        Err(Errno::EXIST) => set_aside(root, path),
        outcome => Ok(outcome?),
    };
    let there = rustix::fs::statat(&leaving, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let same = delivered.same_but_renamed(&crate::source::stamp(&there)) && !open.has_writer();
    if !same {
        back()?;
        return Ok(false);
    }
    let gone = match leave {
        Leave::Deleted => unlinkat(&leaving, name, AtFlags::empty()).map_err(io::Error::from),
        Leave::Moved { target, digest } => move_to(&leaving, path, open, target, digest),
    };
    if let Err(error) = gone {
        back()?;
        return Err(error);
    }
    Ok(true)
}

/// The private folder for what is leaving, with the source's own folders in it, so that a crash loses no name.
fn leaving(root: &Root, path: &RelPath) -> io::Result<OwnedFd> {
    let mut at = make_folder(root.descriptor(), OsStr::new(OWN_FOLDER))?;
    at = make_folder(at.as_fd(), OsStr::new(LEAVING))?;
    for folder in path.folders() {
        at = make_folder(at.as_fd(), OsStr::from_bytes(folder.name()))?;
    }
    Ok(at)
}

/// Moves what is leaving, and can't go back, to where it stands in nobody's way.
fn set_aside(root: &Root, path: &RelPath) -> io::Result<()> {
    let own = root.path().join(OWN_FOLDER);
    let from = own.join(LEAVING).join(OsStr::from_bytes(path.as_bytes()));
    let folder = own.join(SET_ASIDE);
    fs::create_dir_all(&folder)?;
    let name = OsStr::from_bytes(path.name());
    for number in 0..1000_u32 {
        let goal = folder.join(number.to_string());
        fs::create_dir_all(&goal)?;
        let goal = goal.join(name);
        match renameat_with(rustix::fs::CWD, &from, rustix::fs::CWD, &goal, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            Ok(()) => {
                tracing::warn!(%path, set_aside = %goal.display(),
                    "this version was on its way out when its name was taken again; it is kept here");
                return Ok(());
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn make_folder(at: std::os::fd::BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    match mkdirat(at, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(openat(at, name, flags, Mode::empty())?)
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

/// At start: what a crash left half-way goes back to where it stood, and is verified anew. Returns how many files.
pub fn restore(root: &Root) -> io::Result<usize> {
    let private = root.path().join(OWN_FOLDER).join(LEAVING);
    if !private.exists() {
        return Ok(0);
    }
    restore_folder(root, &private, None)
}

fn restore_folder(root: &Root, from: &Path, folder: Option<&RelPath>) -> io::Result<usize> {
    let mut restored = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let path = RelPath::in_folder(folder, entry.file_name().as_bytes()).map_err(io::Error::other)?;
        let goal = root.path().join(OsStr::from_bytes(path.as_bytes()));
        if entry.file_type()?.is_dir() {
            restored += restore_folder(root, &entry.path(), Some(&path))?;
            // Fails where something stays in it.
            let _ = fs::remove_dir(entry.path());
            continue;
        }
        fs::create_dir_all(goal.parent().expect("it is below the root"))?;
        match renameat_with(rustix::fs::CWD, entry.path(), rustix::fs::CWD, &goal, RenameFlags::NOREPLACE) {
            Ok(()) => restored += 1,
            Err(Errno::EXIST) => set_aside(root, &path)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(restored)
}

#[cfg(test)]
mod tests;
