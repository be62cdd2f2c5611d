//! The private folder below a watched one: files on their way out of it, and those that can neither go nor go back.
//!
//! Promises that no symlink that somebody plants is followed, neither here nor where a file goes back to, and that
//! nobody but us and who owns the watched folder can have put anything here. Lacks deciding what goes.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use skiff_common::RelPath;

use super::marker::is_over;
use crate::no_replace::{self, told};
use crate::source::{OWN_FOLDER, Root};

pub(super) const LEAVING: &str = "leaving";
/// Files that can't go back. Nothing else would ever leave under such a name if they stayed where they were.
pub(super) const SET_ASIDE: &str = "set-aside";
/// Each time, another worker has just then tidied up the folder that was about to be used.
const ROUNDS: usize = 100;
/// Versions that are set aside, each in a folder of its own.
const MOST_ASIDE: u32 = 100_000;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Takes the file at `path` out of its `folder`, where nobody else finds it; returns where it stands now, under its own name.
pub(super) fn take_out(root: &Root, folder: &OwnedFd, path: &RelPath) -> io::Result<OwnedFd> {
    let mut rounds = 0;
    loop {
        let taken = leaving(root, path).and_then(|leaving| {
            let name = OsStr::from_bytes(path.name());
            no_replace::rename_into((folder, name), (&leaving, name))?;
            Ok(leaving)
        });
        rounds += 1;
        match taken {
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && rounds < ROUNDS
                    && statat(folder, OsStr::from_bytes(path.name()), AtFlags::SYMLINK_NOFOLLOW).is_ok() => {}
            taken => return taken,
        }
    }
}

/// Puts back what was taken out of `folder`; what can't go back is set aside, and told of.
pub(super) fn put_back(root: &Root, leaving: &OwnedFd, folder: &OwnedFd, path: &RelPath) -> io::Result<()> {
    let back = match rename(leaving, folder, path.name()) {
        // Its folder, empty for a moment, was removed.
        Err(error) if error.kind() == ErrorKind::NotFound => go_back(root, leaving, path),
        back => back,
    };
    let Err(why) = back else { return Ok(()) };
    if is_gone(leaving, OsStr::from_bytes(path.name())) {
        // Who restores what is left has put it back.
        return Ok(());
    }
    set_aside(root, leaving, path, &why).map_err(|error| {
        tracing::error!(%path, %why, %error, "a file that was not to go can neither go back nor be set aside; \
            it is kept in .skiff/leaving of the watched folder, and goes back when skiff starts again");
        io::Error::other(format!("it is left in .skiff/leaving: {error}"))
    })
}

/// At start: what a crash left half-way goes back to where it stood, and is verified anew. Returns how many files. After a
/// reload, workers of before may still be at it: what they have out goes back under them, or is gone before it can.
/// `marker` is the suffix of done-files: one whose file had gone goes, too.
pub fn restore(root: &Root, marker: Option<&str>) -> io::Result<usize> {
    match existing(root, LEAVING)? {
        Some(leaving) => restore_folder(root, &leaving, None, marker),
        None => Ok(0),
    }
}

/// Removes the folders that nothing is leaving through any longer.
pub(crate) fn tidy(root: &Root) {
    // What can't be removed now is in use, or found by the next who tidies up.
    if let Ok(Some(leaving)) = existing(root, LEAVING) {
        let _ = tidy_folder(&leaving);
    }
}

/// What to say of versions that are set aside, for as long as there are any.
pub(crate) fn told_aside(root: &Root) -> Option<String> {
    let (count, first) = aside(root).ok()??;
    let versions = match count {
        1 => "1 version of a file".to_owned(),
        count => format!("{count} versions of files"),
    };
    let why = "could neither go nor go back, and may be undelivered: put back or delete";
    Some(format!("{versions} {why} {}", first.display()))
}

/// How many there are, and where one of them stands.
fn aside(root: &Root) -> io::Result<Option<(usize, PathBuf)>> {
    let Some(aside) = existing(root, SET_ASIDE)? else { return Ok(None) };
    let (mut count, mut first) = (0, None);
    for number in names(&aside)? {
        let number = number?;
        if !is_folder(&aside, &number)? {
            continue;
        }
        for name in names(&open_folder(aside.as_fd(), &number)?)? {
            let stands = Path::new(OWN_FOLDER).join(SET_ASIDE).join(&number).join(name?);
            first.get_or_insert_with(|| root.path().join(stands));
            count += 1;
        }
    }
    Ok(first.map(|first| (count, first)))
}

fn names(folder: &OwnedFd) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
    let entries = Dir::read_from(folder)?;
    Ok(entries.filter_map(|entry| match entry {
        Ok(entry) => {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            (name != "." && name != "..").then(|| Ok(name.to_owned()))
        }
        Err(errno) => Some(Err(errno.into())),
    }))
}

fn tidy_folder(folder: &OwnedFd) -> io::Result<()> {
    for name in names(folder)? {
        let name = name?;
        if is_folder(folder, &name)? {
            tidy_folder(&open_folder(folder.as_fd(), &name)?)?;
            let _ = unlinkat(folder, &*name, AtFlags::REMOVEDIR);
        }
    }
    Ok(())
}

fn restore_folder(
    root: &Root,
    from: &OwnedFd,
    folder: Option<&RelPath>,
    marker: Option<&str>,
) -> io::Result<usize> {
    let mut restored = 0;
    for name in names(from)? {
        restored += restore_entry(root, from, (folder, &name?), marker)?;
    }
    Ok(restored)
}

pub(super) fn restore_entry(
    root: &Root,
    from: &OwnedFd,
    (folder, name): (Option<&RelPath>, &OsStr),
    marker: Option<&str>,
) -> io::Result<usize> {
    let path = RelPath::in_folder(folder, name.as_bytes()).map_err(io::Error::other)?;
    let restored = is_folder(from, name).and_then(|is_folder| {
        if is_folder {
            let restored = restore_folder(root, &open_folder(from.as_fd(), name)?, Some(&path), marker)?;
            // Fails where something stays in it.
            let _ = unlinkat(from, name, AtFlags::REMOVEDIR);
            return Ok(restored);
        }
        if is_over(root, from, &path, marker) {
            return Ok(unlinkat(from, name, AtFlags::empty()).map(|()| 0)?);
        }
        match go_back(root, from, &path) {
            Ok(()) => Ok(1),
            Err(why) if is_gone(from, name) => Err(why),
            Err(why) => set_aside(root, from, &path, &why).map(|()| 0),
        }
    });
    // What is gone has left for good, or stands where it stood.
    restored.or_else(|error| if is_gone(from, name) { Ok(0) } else { Err(error) })
}

/// To where it stood, in folders that are made again where they are gone.
fn go_back(root: &Root, leaving: &OwnedFd, path: &RelPath) -> io::Result<()> {
    let mut at = root.descriptor().try_clone_to_owned()?;
    for folder in path.folders() {
        at = make_folder(at.as_fd(), OsStr::from_bytes(folder.name()), Mode::from_raw_mode(0o777))?;
    }
    rename(leaving, &at, path.name())
}

/// Moves what is leaving, and can't go back, to where it stands in nobody's way.
fn set_aside(root: &Root, leaving: &OwnedFd, path: &RelPath, why: &io::Error) -> io::Result<()> {
    let aside = make_folder(own(root)?.as_fd(), OsStr::new(SET_ASIDE), Mode::RWXU)?;
    let name = OsStr::from_bytes(path.name());
    for number in 0..MOST_ASIDE {
        let number = number.to_string();
        match mkdirat(&aside, &*number, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => continue,
            Err(errno) => return Err(errno.into()),
        }
        // Nothing stands in a folder that is new, so nothing is overwritten there.
        let goal = open_folder(aside.as_fd(), OsStr::new(&number));
        if let Err(errno) = goal.and_then(|goal| renameat(leaving, name, &goal, name)) {
            let _ = unlinkat(&aside, &*number, AtFlags::REMOVEDIR);
            return Err(errno.into());
        }
        let goal = root.path().join(OWN_FOLDER).join(SET_ASIDE).join(number).join(name);
        tracing::warn!(%path, %why, set_aside = %goal.display(),
            "this version was on its way out, is not to go, and cannot go back; it is kept here");
        return Ok(());
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// The folder for what is leaving, with the source's own folders in it, so that a crash loses no name.
fn leaving(root: &Root, path: &RelPath) -> io::Result<OwnedFd> {
    let mut at = make_folder(own(root)?.as_fd(), OsStr::new(LEAVING), Mode::RWXU)?;
    for folder in path.folders() {
        at = make_folder(at.as_fd(), OsStr::from_bytes(folder.name()), Mode::RWXU)?;
    }
    Ok(at)
}

/// A folder of ours for what is leaving or set aside, if there is one.
fn existing(root: &Root, name: &str) -> io::Result<Option<OwnedFd>> {
    let own = match open_folder(root.descriptor(), OsStr::new(OWN_FOLDER)) {
        Ok(own) => own,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    require_ours(root, &own)?;
    match open_folder(own.as_fd(), OsStr::new(name)) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn own(root: &Root) -> io::Result<OwnedFd> {
    let own = make_folder(root.descriptor(), OsStr::new(OWN_FOLDER), Mode::RWXU)?;
    require_ours(root, &own)?;
    Ok(own)
}

/// Who may write to it could swap what is in it. Who owns the watched folder could do that anyway; and where a file
/// system knows no owners, all is that one's, and writable as that is.
fn require_ours(root: &Root, own: &OwnedFd) -> io::Result<()> {
    let (own, watched) = (fstat(own)?, fstat(root.descriptor())?);
    let is_ours = [rustix::process::geteuid().as_raw(), watched.st_uid].contains(&own.st_uid);
    let is_sticky = watched.st_mode & Mode::SVTX.as_raw_mode() != 0;
    let as_watched = if is_sticky { 0 } else { watched.st_mode };
    let others_may = own.st_mode & 0o022 & !as_watched != 0;
    if is_ours && !others_may {
        return Ok(());
    }
    let why = format!("{OWN_FOLDER} in it is another user's, or others may write to it; remove it");
    Err(io::Error::new(ErrorKind::PermissionDenied, why))
}

fn is_folder(at: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    let stat = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

pub(super) fn is_gone(at: &OwnedFd, name: &OsStr) -> bool {
    matches!(statat(at, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
}

fn rename(from: &OwnedFd, to: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let name = OsStr::from_bytes(name);
    no_replace::rename((from, name), (to, name)).map_err(told)
}

fn make_folder(at: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> io::Result<OwnedFd> {
    match mkdirat(at, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(open_folder(at, name)?)
}

fn open_folder(at: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    openat(at, name, FOLDER, Mode::empty())
}
