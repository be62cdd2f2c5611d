//! Finish: a delivered source is kept, deleted or moved.
//!
//! Promises that only what a receipt proves goes, and only the version that it is about: the file is first renamed into
//! a private folder, where nobody else finds it, then tested, then unlinked; a file that changed goes back.

mod marker;
mod moving;
mod private;

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::{AtFlags, statat, unlinkat};
use rustix::io::Errno;
use skiff_common::delivery::{Disposal, Receipt, Trouble};
use skiff_common::{Digest, RelPath, Stamp};

use self::marker::Marker;
use self::moving::Target;
use crate::source::{OpenItem, Root, SourceError};

pub(crate) use marker::{name_for as done_file_of, of as marked_by};
pub use private::restore;
pub(crate) use private::{tidy, told_aside};

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
        After::Delete => Ok(Leave::Deleted),
        After::Move(folder) => Target::open(folder, &item.path)
            .map(|target| Leave::Moved { target, digest: &receipt.digests().blake3 }),
    };
    let gone = leave.map_err(Stays::from);
    match gone.and_then(|mut leave| remove(root, &item.path, &open, &mut leave, marker)) {
        Ok(()) => Disposal::Removed,
        Err(Stays { why: Why::Changed, .. }) => Disposal::Left(Trouble::Changed),
        Err(Stays { why: Why::Failed(error), stamp }) => {
            let reason = format!("delivered, but cannot take {} out of its folder: {error}", item.path);
            let trouble = Trouble::retryable(reason);
            match stamp {
                Some(stamp) => Disposal::PutBack { stamp, others: Vec::new(), trouble },
                None => Disposal::Left(trouble),
            }
        }
    }
}

/// Deletes the version of a file that has this stamp, for good, and its done-file if `marker` is the suffix of such: what
/// the journal knows as delivered, or what the configuration allows to lose. `false`: it isn't that version any longer.
/// Blocks.
pub(crate) fn expire(root: &Root, path: &RelPath, stamp: Stamp, marker: Option<&str>) -> io::Result<bool> {
    remove_version(root, path, stamp, &mut Leave::Deleted, marker)
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
    let mut leave = match after {
        After::Keep => return Ok(false),
        After::Delete => Leave::Deleted,
        After::Move(folder) => Leave::Moved { target: Target::open(folder, path)?, digest },
    };
    remove_version(root, path, stamp, &mut leave, marker)
}

fn remove_version(
    root: &Root,
    path: &RelPath,
    stamp: Stamp,
    leave: &mut Leave<'_>,
    marker: Option<&str>,
) -> io::Result<bool> {
    let open = match root.open_item(path) {
        Ok(open) if open.stamp == stamp => open,
        Ok(_) | Err(SourceError::Gone { .. }) => return Ok(false),
        Err(error) => return Err(io::Error::other(error)),
    };
    match remove(root, path, &open, leave, marker) {
        Ok(()) => Ok(true),
        Err(Stays { why: Why::Changed, .. }) => Ok(false),
        Err(Stays { why: Why::Failed(error), .. }) => Err(error),
    }
}

/// How a file leaves its folder.
enum Leave<'a> {
    Deleted,
    Moved { target: Target, digest: &'a Digest },
}

/// A file that was to go stays.
#[derive(Debug)]
struct Stays {
    why: Why,
    /// Its stamp now, where it was out of its folder and is back, and that alone has happened to it.
    stamp: Option<Stamp>,
}

#[derive(Debug)]
enum Why {
    /// It isn't what was delivered any longer, or is about to be something else.
    Changed,
    Failed(io::Error),
}

impl From<io::Error> for Stays {
    fn from(error: io::Error) -> Self {
        Self { why: Why::Failed(error), stamp: None }
    }
}

impl From<Errno> for Stays {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

impl Stays {
    const CHANGED: Self = Self { why: Why::Changed, stamp: None };

    /// Whether it could only not be renamed to where it was to go.
    fn needs_copy(&self) -> bool {
        matches!(&self.why, Why::Failed(error) if error.kind() == io::ErrorKind::CrossesDevices)
    }
}

/// Removes the version that was opened. All that can fail before comes before it is touched: each time that a file leaves
/// its folder and comes back it looks like a new version.
fn remove(
    root: &Root,
    path: &RelPath,
    open: &OpenItem,
    leave: &mut Leave<'_>,
    marker: Option<&str>,
) -> Result<(), Stays> {
    let folder = root.folder_of(path).map_err(io::Error::other)?;
    if let Leave::Moved { target, digest } = leave
        && target.is_elsewhere(&folder)?
    {
        target.copy(open, digest)?;
    }
    // A copy takes its time.
    if open.stamp_now()? != open.stamp || open.has_writer() == Some(true) {
        return Err(Stays::CHANGED);
    }
    let marker = marker.map(|suffix| Marker::take_out(root, &folder, path, suffix)).transpose()?.flatten();
    let mut gone = go(root, &folder, path, open, leave);
    let back = gone.as_ref().err().filter(|stays| stays.needs_copy()).and_then(|stays| stays.stamp);
    // That it can't be renamed to there is known when it was tried.
    if let (Leave::Moved { target, digest }, Some(back)) = (&mut *leave, back)
        && !target.has_copy()
    {
        let copied = target.copy(open, digest);
        gone = match copied.and_then(|()| open.stamp_now()) {
            Ok(now) if now == back => go(root, &folder, path, open, leave),
            Ok(_) => Err(Stays::CHANGED),
            Err(error) => Err(Stays { why: Why::Failed(error), stamp: Some(back) }),
        };
    }
    match (marker, &gone) {
        (Some(marker), Ok(())) => marker.end(),
        (Some(marker), Err(_)) => marker.put_back(),
        (None, _) => {}
    }
    gone
}

/// By way of the private folder, where nobody else finds it.
fn go(
    root: &Root,
    folder: &OwnedFd,
    path: &RelPath,
    open: &OpenItem,
    leave: &Leave<'_>,
) -> Result<(), Stays> {
    let leaving = private::take_out(root, folder, path)?;
    let Err(stays) = end_if_same(&leaving, path, open, leave) else { return Ok(()) };
    private::put_back(root, &leaving, folder, path)?;
    let back = statat(folder, OsStr::from_bytes(path.name()), AtFlags::SYMLINK_NOFOLLOW);
    let back = back.ok().map(|stat| crate::source::stamp(&stat));
    Err(Stays { stamp: back.filter(|back| open.stamp.same_but_renamed(back)), ..stays })
}

/// Whatever was taken out, it is what stands in `leaving` now; the descriptor tells whether it is what was delivered.
fn end_if_same(leaving: &OwnedFd, path: &RelPath, open: &OpenItem, leave: &Leave<'_>) -> Result<(), Stays> {
    let name = OsStr::from_bytes(path.name());
    let there = statat(leaving, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if !open.stamp.same_but_renamed(&crate::source::stamp(&there)) || open.has_writer() == Some(true) {
        return Err(Stays::CHANGED);
    }
    match leave {
        Leave::Deleted => Ok(unlinkat(leaving, name, AtFlags::empty())?),
        Leave::Moved { target, .. } => Ok(target.take(leaving, path)?),
    }
}

#[cfg(test)]
mod tests;
