//! Whose the files of a state folder are, when root worked in the folder of another user.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Dir, FileType, Gid, Mode, OFlags, Stat, Uid, fchown, fstat, open, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

/// Gives what is ours in the folder, and below it, to the folder's owner.
pub(super) fn hand_over(state_dir: &Path) -> io::Result<()> {
    let folder = open(state_dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let owner = fstat(&folder)?;
    if owner.st_uid == geteuid().as_raw() {
        return Ok(());
    }
    Ok(give_below(&folder, &owner)?)
}

fn give_below(folder: &OwnedFd, owner: &Stat) -> Result<(), Errno> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            give(folder, entry.file_name(), owner)?;
        }
    }
    Ok(())
}

/// The folder is its owner's, who may have put names of other files there: no symlink is followed, and no file is given
/// away that has a second name.
fn give(folder: &OwnedFd, name: &CStr, owner: &Stat) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(folder, name, flags, Mode::empty()) {
        Ok(file) => file,
        // Gone meanwhile, a symlink, a socket.
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(()),
        Err(error) => return Err(error),
    };
    let stat = fstat(&file)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let is_ours = stat.st_uid == geteuid().as_raw();
    if is_ours && (kind == FileType::Directory || (kind == FileType::RegularFile && stat.st_nlink == 1)) {
        fchown(&file, Some(Uid::from_raw(owner.st_uid)), Some(Gid::from_raw(owner.st_gid)))?;
    }
    if kind == FileType::Directory { give_below(&file, owner) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, chown, symlink};

    use super::*;

    #[test]
    fn what_root_made_becomes_the_owners_and_nothing_else_does() {
        let (home, elsewhere) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let nobody = 65534;
        if chown(home.path(), Some(nobody), Some(nobody)).is_err() {
            return eprintln!("SKIPPED: needs root");
        }
        let at = |name: &str| home.path().join(name);
        fs::create_dir(at("journal")).expect("a new name");
        fs::write(at("journal/db"), "").expect("there is room");
        let other = elsewhere.path().join("other");
        fs::write(&other, "").expect("there is room");
        symlink(&other, at("link")).expect("a new name");
        let linked = fs::hard_link(&other, at("second")).is_ok();
        hand_over(home.path()).expect("we may");
        let owner = |path: &Path| fs::metadata(path).expect("it is there").uid();
        assert_eq!((owner(&at("journal")), owner(&at("journal/db"))), (nobody, nobody));
        assert_eq!(owner(&other), 0, "a second name: {linked}");
    }
}
