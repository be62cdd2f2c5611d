//! Whose the files of a state folder are, when root worked in the folder of another user.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Dir, FileType, Gid, Mode, OFlags, Stat, Uid, fchown, fstat, open, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::state_folder::is_skiffs;

/// Gives what is ours in the folder, and below it, to the folder's owner. What has no name of skiff's stays root's.
pub(super) fn hand_over(state_dir: &Path) -> io::Result<()> {
    let folder = open(state_dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let owner = fstat(&folder)?;
    if owner.st_uid == geteuid().as_raw() {
        return Ok(());
    }
    Ok(give_those(&folder, &owner, |name| is_skiffs(name.to_bytes()))?)
}

fn give_those(folder: &OwnedFd, owner: &Stat, which: impl Fn(&CStr) -> bool) -> Result<(), Errno> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if ![c".", c".."].contains(&name) && which(name) {
            give(folder, name, owner)?;
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
    if kind == FileType::Directory { give_those(&file, owner, |_| true) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, chown, symlink};

    use super::*;
    use crate::not_shown::not_shown;

    #[test]
    fn what_root_made_becomes_the_owners_and_nothing_else_does() {
        let (home, elsewhere) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let nobody = 65534;
        if chown(home.path(), Some(nobody), Some(nobody)).is_err() {
            return not_shown("whose the files of the journal are", "only root can make it happen");
        }
        let at = |name: &str| home.path().join(name);
        fs::create_dir(at("journal")).expect("a new name");
        fs::write(at("journal/db"), "").expect("there is room");
        let other = elsewhere.path().join("other");
        fs::write(&other, "").expect("there is room");
        symlink(&other, at("journal.copy")).expect("a new name");
        let linked = fs::hard_link(&other, at("receipts.jsonl")).is_ok();
        fs::create_dir(at("lost+found")).expect("a new name");
        fs::write(at("lost+found/12"), "").expect("there is room");
        fs::write(at("elses"), "").expect("there is room");
        hand_over(home.path()).expect("we may");
        let owner = |path: &Path| fs::metadata(path).expect("it is there").uid();
        assert_eq!((owner(&at("journal")), owner(&at("journal/db"))), (nobody, nobody));
        assert_eq!(owner(&other), 0, "a second name: {linked}");
        let others = ["lost+found", "lost+found/12", "elses"].map(|name| owner(&at(name)));
        assert_eq!(others, [0; 3]);
    }
}
