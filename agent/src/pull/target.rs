//! The folder that is pulled into: every write goes through its descriptor, and never through a symlink.
//!
//! Promises that a final name is absent, what it was, or the complete new file; that what stands there is replaced only
//! where that is asked for; and that what a cut transfer left is found again. Lacks any knowledge of the server.

mod part;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use rustix::fs::{
    AtFlags, Mode, OFlags, Timespec, Timestamps, fstat, fstatvfs, futimens, mkdirat, openat, renameat,
    syncfs, unlinkat,
};
use rustix::io::Errno;
use skiff_common::digest::{Digests, Hasher};
use skiff_common::{Algorithm, RelPath, Stamp};

use crate::no_replace;
use crate::source::{Look, OWN_FOLDER, Root, SourceError};
pub(super) use part::{Part, token};

/// What could not be done here, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} {path}: {why}")]
pub struct LocalError {
    attempt: &'static str,
    path: String,
    why: String,
    /// Whether it would fail for every other file as well.
    pub(super) is_general: bool,
    /// Whether there is no space left.
    pub(super) is_full: bool,
}

impl LocalError {
    pub(super) fn new(attempt: &'static str, path: &(impl ToString + ?Sized), errno: Errno) -> Self {
        let is_full = matches!(errno, Errno::NOSPC | Errno::DQUOT);
        let why = match errno {
            Errno::LOOP => "a symlink stands in the way; it is not followed".to_owned(),
            Errno::NOTDIR => "something that is no folder stands in the way".to_owned(),
            Errno::XDEV => "another file system is mounted there; pull into it by its own path".to_owned(),
            Errno::ISDIR => "a folder stands there".to_owned(),
            Errno::NOSPC => "no space left on the device; make room and pull again".to_owned(),
            errno => io::Error::from(errno).to_string(),
        };
        let is_general = is_full || matches!(errno, Errno::ROFS | Errno::IO | Errno::MFILE | Errno::NFILE);
        Self { attempt, path: path.to_string(), why, is_general, is_full }
    }

    fn io(attempt: &'static str, path: &(impl ToString + ?Sized), error: &io::Error) -> Self {
        Self::new(attempt, path, Errno::from_io_error(error).unwrap_or(Errno::IO))
    }
}

/// What stands under a final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Nothing,
    File {
        size: u64,
    },
    /// Something that is never replaced.
    Other(&'static str),
}

/// What came of bringing a file under its final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    Done,
    /// Something stands there, and nothing was changed.
    Taken,
    /// Somebody else has been at the part since it was whole, or is.
    Lost,
}

/// A part that holds all of a file, and what that is to look like.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    pub(super) token: &'a str,
    /// The part when its last byte had been written, and nobody else could.
    pub(super) stamp: Stamp,
    pub(super) mode: u32,
    pub(super) mtime_ns: Option<i64>,
}

/// The folder.
pub(super) struct Target {
    root: Root,
    /// `None`: nothing is to be written.
    staging: Option<OwnedFd>,
    made_staging: bool,
    umask: u32,
    made: Mutex<Vec<RelPath>>,
}

impl Target {
    /// Opens `path`, which is made if it is missing; it may be a symlink, for it was named.
    pub(super) fn open(path: &Path) -> Result<Self, LocalError> {
        let shown = path.display();
        let failed = |attempt, error: &io::Error| LocalError::io(attempt, &shown, error);
        if path.exists() && !path.is_dir() {
            return Err(LocalError::new("pull into", &shown, Errno::NOTDIR));
        }
        std::fs::create_dir_all(path).map_err(|error| failed("make the folder", &error))?;
        let root = Root::open(path).map_err(|error| local("open", &shown.to_string(), &error))?;
        let staging = path.join(OWN_FOLDER);
        let made_staging = match mkdirat(root.descriptor(), OWN_FOLDER, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(LocalError::new("make", &staging.display(), errno)),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |errno| LocalError::new("use", &staging.display(), errno);
        let staging = openat(root.descriptor(), OWN_FOLDER, flags, Mode::empty()).map_err(failed)?;
        let stat = fstat(&staging).map_err(failed)?;
        // Who owns it could swap what is in it.
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
            return Err(failed(Errno::PERM));
        }
        let (staging, umask) = (Some(staging), umask());
        let target = Self { root, staging, made_staging, umask, made: Mutex::default() };
        target.sweep();
        Ok(target)
    }

    /// Opens `path` to look at it alone; `None` if it isn't there.
    pub(super) fn peek(path: &Path) -> Result<Option<Self>, LocalError> {
        match Root::open(path) {
            Ok(root) => {
                Ok(Some(Self { root, staging: None, made_staging: false, umask: 0, made: Mutex::default() }))
            }
            Err(SourceError::Gone { .. }) if !path.exists() => Ok(None),
            Err(error) => Err(local("open", &path.display().to_string(), &error)),
        }
    }

    fn staging(&self) -> &OwnedFd {
        self.staging.as_ref().expect("who only looks writes nothing")
    }

    pub(super) fn path(&self) -> &Path {
        self.root.path()
    }

    /// How much room there is, in bytes, where the file system tells.
    pub(super) fn free(&self) -> Option<u64> {
        let space = fstatvfs(self.root.descriptor()).ok().filter(|space| space.f_blocks > 0)?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// What stands at `path`; an error if a symlink leads there.
    pub(super) fn look(&self, path: &RelPath) -> Result<Standing, LocalError> {
        match self.root.look(path) {
            Ok(Look::File { stamp, .. }) => Ok(Standing::File { size: stamp.size }),
            Ok(Look::Folder) => Ok(Standing::Other("folder")),
            Ok(Look::Other(kind)) => Ok(Standing::Other(kind)),
            Err(SourceError::Gone { .. }) => self.obstacle(path).map_or(Ok(Standing::Nothing), Err),
            Err(error) => Err(local("write", &path.to_string(), &error)),
        }
    }

    /// A name that isn't there may be below something that is no folder.
    fn obstacle(&self, path: &RelPath) -> Option<LocalError> {
        for folder in path.folders() {
            match self.root.look(&folder) {
                Ok(Look::Folder) => {}
                Ok(Look::Other("symlink")) => return Some(LocalError::new("write", path, Errno::LOOP)),
                Ok(_) => return Some(LocalError::new("write", path, Errno::NOTDIR)),
                Err(_) => return None,
            }
        }
        None
    }

    /// The digests of what stands at `path`; `None` if that is no file, can't be read, or changes meanwhile.
    pub(super) fn digests(&self, path: &RelPath, algorithm: Algorithm) -> Option<Digests> {
        let item = self.root.open_item(path).ok()?;
        let mut hasher = Hasher::for_destination(algorithm);
        read_into(&item.file, u64::MAX, |bytes| hasher.update(bytes)).ok()?;
        Some(hasher.digests())
    }

    /// Gives a part its mode and time; setuid and the like were taken away before, and the umask holds.
    fn dress(&self, part: &Part, mode: u32, mtime_ns: Option<i64>) -> Result<(), Errno> {
        rustix::fs::fchmod(&part.file, Mode::from_raw_mode(mode & 0o777 & !self.umask))?;
        mtime_ns.map(timestamps).map_or(Ok(()), |times| futimens(&part.file, &times))
    }

    /// What was received is on the disk.
    pub(super) fn sync(&self) -> Result<(), LocalError> {
        syncfs(self.root.descriptor()).map_err(|errno| LocalError::new("sync", &self.path().display(), errno))
    }

    /// Brings a part under its final name, which it takes from nobody unless `replace` says so.
    pub(super) fn publish(
        &self,
        whole: &Whole<'_>,
        path: &RelPath,
        replace: bool,
    ) -> Result<Published, LocalError> {
        let failed = |errno| LocalError::new("write", path, errno);
        let folder = self.make_folder_of(path)?;
        let replace = replace && matches!(self.look(path)?, Standing::File { .. });
        // It is held no longer since it was whole, and another pull may have begun it anew; from here on none can.
        let Some(part) = self.hold(whole.token, OFlags::empty()).map_err(failed)? else {
            return Ok(Published::Lost);
        };
        if part.stamp().map_err(failed)? != whole.stamp {
            return Ok(Published::Lost);
        }
        let dressed = self.dress(&part, whole.mode, whole.mtime_ns);
        let published = dressed.and_then(|()| self.rename(&part, &folder, path, replace));
        if published != Ok(Published::Done) {
            // A mode that forbids its owner to write would keep the next attempt out.
            let _ = rustix::fs::fchmod(&part.file, Mode::RUSR | Mode::WUSR);
        }
        published.map_err(failed)
    }

    fn rename(
        &self,
        part: &Part,
        folder: &OwnedFd,
        path: &RelPath,
        replace: bool,
    ) -> Result<Published, Errno> {
        let (token, name) = (&*part.token, std::ffi::OsStr::from_bytes(path.name()));
        if replace {
            return renameat(self.staging(), token, folder, name).map(|()| Published::Done);
        }
        match no_replace::rename((self.staging(), std::ffi::OsStr::new(token)), (folder, name)) {
            Ok(()) => Ok(Published::Done),
            Err(Errno::EXIST) => Ok(Published::Taken),
            Err(errno) => Err(errno),
        }
    }

    /// Makes a folder and those above it.
    pub(super) fn make_folder(&self, path: &RelPath) -> Result<(), LocalError> {
        for folder in path.folders().chain([path.clone()]) {
            match self.root.look(&folder) {
                Ok(Look::Folder) => continue,
                Ok(Look::Other("symlink")) => {
                    return Err(LocalError::new("make the folder", path, Errno::LOOP));
                }
                Ok(_) => return Err(LocalError::new("make the folder", path, Errno::NOTDIR)),
                Err(SourceError::Gone { .. }) => {}
                Err(error) => return Err(local("make the folder", &path.to_string(), &error)),
            }
            let above = self
                .root
                .folder_of(&folder)
                .map_err(|error| local("make the folder", &path.to_string(), &error))?;
            match mkdirat(&above, std::ffi::OsStr::from_bytes(folder.name()), Mode::from_raw_mode(0o777)) {
                Ok(()) => self.made().push(folder),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(LocalError::new("make the folder", path, errno)),
            }
        }
        Ok(())
    }

    /// The folders that this run made, the deepest first: a folder's time changes with what is put in.
    pub(super) fn has_made(&self) -> Vec<RelPath> {
        self.made().iter().rev().cloned().collect()
    }

    fn made(&self) -> MutexGuard<'_, Vec<RelPath>> {
        self.made.lock().expect("nothing panics while it holds the lock")
    }

    /// Gives a folder its mode and time; its owner can always use it.
    pub(super) fn dress_folder(&self, path: &RelPath, mode: u32, mtime_ns: Option<i64>) {
        // Cosmetic: that it fails is no reason to call what is in it lost.
        let Ok(above) = self.root.folder_of(path) else { return };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = std::ffi::OsStr::from_bytes(path.name());
        let Ok(folder) = openat(&above, name, flags, Mode::empty()) else { return };
        let _ = rustix::fs::fchmod(&folder, Mode::from_raw_mode((mode & 0o777 & !self.umask) | 0o700));
        if let Some(times) = mtime_ns.map(timestamps) {
            let _ = futimens(&folder, &times);
        }
    }

    /// Leaves nothing behind that is not needed to go on.
    pub(super) fn close(&self) {
        if self.made_staging {
            // Fails where parts are left, as it should.
            let _ = unlinkat(self.root.descriptor(), OWN_FOLDER, AtFlags::REMOVEDIR);
        }
    }

    fn make_folder_of(&self, path: &RelPath) -> Result<OwnedFd, LocalError> {
        let shown = path.to_string();
        match self.root.folder_of(path) {
            Ok(folder) => return Ok(folder),
            Err(SourceError::Gone { .. }) => {}
            Err(error) => return Err(local("write", &shown, &error)),
        }
        if let Some(folder) = path.folder() {
            self.make_folder(&folder)?;
        }
        self.root.folder_of(path).map_err(|error| local("write", &shown, &error))
    }
}

/// Reads up to `most` bytes from where the file stands; returns how many there were.
pub(super) fn read_into(mut file: &File, most: u64, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
    use io::Read as _;
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    while total < most {
        let room = usize::try_from(most - total).unwrap_or(usize::MAX).min(buffer.len());
        match file.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(count) => {
                each(&buffer[..count]);
                total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

fn local(attempt: &'static str, path: &str, error: &SourceError) -> LocalError {
    let errno = match error {
        SourceError::Gone { .. } => Errno::NOENT,
        SourceError::Denied { .. } => Errno::ACCESS,
        SourceError::NotRegular { .. } => Errno::NOTDIR,
        SourceError::Escapes { .. } => Errno::LOOP,
        SourceError::Unmounted { .. } => Errno::NODEV,
        SourceError::Rules(why) => return local(attempt, path, why),
        SourceError::Io { source, .. } => Errno::from_io_error(source).unwrap_or(Errno::IO),
    };
    LocalError::new(attempt, path, errno)
}

fn timestamps(mtime_ns: i64) -> Timestamps {
    let time =
        Timespec { tv_sec: mtime_ns.div_euclid(1_000_000_000), tv_nsec: mtime_ns.rem_euclid(1_000_000_000) };
    Timestamps { last_access: time, last_modification: time }
}

/// The process's umask, which can only be read by setting it; nothing else of this process makes files meanwhile.
fn umask() -> u32 {
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    mask.as_raw_mode()
}

#[cfg(test)]
mod tests;
