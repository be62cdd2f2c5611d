//! Renaming that overwrites nothing, also on a file system that doesn't know of that: NFS, and many by FUSE.
//!
//! Promises that what stands under the new name stays. Lacks a look at what is renamed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, RenameFlags, linkat, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

/// Renames out of a folder in which nobody else makes files: where need be the file gets its new name by a link, and then
/// what has the old one is removed. [`Errno::OPNOTSUPP`]: there are no links either.
pub(crate) fn rename(
    (from, name): (impl AsFd, &OsStr),
    (to, goal): (impl AsFd, &OsStr),
) -> Result<(), Errno> {
    rename_or(by_link, (from.as_fd(), name), (to.as_fd(), goal))
}

/// Renames into a folder in which nobody else makes files. A link would not do: to remove the old name could hit a file
/// that has just taken it.
pub(crate) fn rename_into(
    (from, name): (impl AsFd, &OsStr),
    (to, goal): (impl AsFd, &OsStr),
) -> Result<(), Errno> {
    rename_or(by_look, (from.as_fd(), name), (to.as_fd(), goal))
}

/// What to say of it.
pub(crate) fn told(errno: Errno) -> io::Error {
    if errno == Errno::OPNOTSUPP {
        let why = "this file system can neither rename without overwriting nor link the file";
        return io::Error::new(io::ErrorKind::Unsupported, why);
    }
    errno.into()
}

/// A name in a folder.
type At<'a> = (BorrowedFd<'a>, &'a OsStr);
/// How a file gets another name.
type Way = fn(At<'_>, At<'_>) -> Result<(), Errno>;

/// Renames, by the `other` way where the file system doesn't know how to without overwriting.
fn rename_or(other: Way, (from, name): At<'_>, (to, goal): At<'_>) -> Result<(), Errno> {
    match renameat_with(from, name, to, goal, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => other((from, name), (to, goal)),
        outcome => outcome,
    }
}

fn by_link((from, name): At<'_>, (to, goal): At<'_>) -> Result<(), Errno> {
    match linkat(from, name, to, goal, AtFlags::empty()) {
        Ok(()) => {}
        // Who came so far before died between the two steps.
        Err(Errno::EXIST) if is_same((from, name), (to, goal)) => {}
        // Also of a file that somebody else owns, where the kernel protects those.
        Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => return Err(Errno::OPNOTSUPP),
        Err(errno) => return Err(errno),
    }
    unlinkat(from, name, AtFlags::empty())
}

fn by_look((from, name): At<'_>, (to, goal): At<'_>) -> Result<(), Errno> {
    match statat(to, goal, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => renameat(from, name, to, goal),
        Ok(_) => Err(Errno::EXIST),
        Err(errno) => Err(errno),
    }
}

fn is_same(one: At<'_>, other: At<'_>) -> bool {
    let file = |(at, name): At<'_>| {
        statat(at, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (stat.st_dev, stat.st_ino))
    };
    matches!((file(one), file(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    const WAYS: [Way; 4] = [|from, to| rename(from, to), |from, to| rename_into(from, to), by_link, by_look];

    #[test]
    fn what_has_the_name_stays_and_a_free_one_is_taken() {
        for way in WAYS {
            let folder = tempfile::tempdir().expect("a folder");
            let at = File::open(folder.path()).expect("it opens");
            let [old, taken, free] = ["old", "taken", "free"].map(OsStr::new);
            fs::write(folder.path().join(old), "ours").expect("written");
            fs::write(folder.path().join(taken), "theirs").expect("written");
            assert_eq!(way((at.as_fd(), old), (at.as_fd(), taken)), Err(Errno::EXIST));
            assert_eq!(fs::read(folder.path().join(taken)).expect("it is there"), b"theirs");
            assert_eq!(way((at.as_fd(), old), (at.as_fd(), free)), Ok(()));
            assert_eq!(fs::read(folder.path().join(free)).expect("it is there"), b"ours");
            assert!(!folder.path().join(old).exists());
            assert_eq!(way((at.as_fd(), old), (at.as_fd(), OsStr::new("other"))), Err(Errno::NOENT));
        }
    }

    #[test]
    fn what_died_between_link_and_removal_is_gone_on_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = File::open(folder.path()).expect("it opens");
        let (old, new) = (OsStr::new("old"), OsStr::new("new"));
        fs::write(folder.path().join(old), "content").expect("written");
        fs::hard_link(folder.path().join(old), folder.path().join(new)).expect("links work here");
        assert_eq!(by_link((at.as_fd(), old), (at.as_fd(), new)), Ok(()));
        assert!(!folder.path().join(old).exists());
        assert_eq!(fs::read(folder.path().join(new)).expect("it is there"), b"content");
    }
}
