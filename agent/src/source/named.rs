//! Files that somebody named one by one. One that is a symlink stands for the file that it led to then: that file is read,
//! under the link's name, and nothing else that the link, or anything on the way there, leads to later.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use skiff_common::RelPath;

use super::FOLDER;

/// Such files of one folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Their names.
    pub paths: Vec<RelPath>,
    /// Of those that are symlinks, the whole path of the file that each led to, without a symlink in it.
    pub linked: HashMap<RelPath, PathBuf>,
}

impl From<Vec<RelPath>> for Named {
    fn from(paths: Vec<RelPath>) -> Self {
        Self { paths, linked: HashMap::new() }
    }
}

/// Opens what is at this whole path, if no symlink leads there.
pub(super) fn pinned(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(CWD, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::NOSYS) => return walk(path, flags),
            outcome => return outcome,
        }
    }
}

/// For kernels before 5.6: component by component.
fn walk(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let names = path.as_os_str().as_bytes().split(|b| *b == b'/').filter(|name| !name.is_empty());
    let mut names: Vec<_> = names.map(OsStr::from_bytes).collect();
    let last = names.pop().ok_or(Errno::ISDIR)?;
    let mut at = openat(CWD, "/", FOLDER, Mode::empty())?;
    for name in names {
        at = openat(&at, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    }
    openat(&at, last, flags | OFlags::NOFOLLOW, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_pinned_is_reached_by_no_symlink() {
        let home = tempfile::tempdir().expect("a folder");
        let home = home.path().canonicalize().expect("it is there");
        fs::create_dir(home.join("folder")).expect("made");
        fs::write(home.join("folder/file"), "a").expect("room");
        symlink("folder", home.join("link")).expect("linked");
        symlink("file", home.join("folder/other")).expect("linked");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        for open in [pinned, walk] {
            assert!(open(&home.join("folder/file"), flags).is_ok());
            assert_eq!(open(&home.join("folder/missing"), flags).err(), Some(Errno::NOENT));
            assert!(open(&home.join("link/file"), flags).is_err());
            assert!(open(&home.join("folder/other"), flags).is_err());
        }
    }
}
