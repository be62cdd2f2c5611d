//! The watched folder: every read and every disposal goes through its descriptor.
//!
//! Promises that nothing outside it is read, whatever symlinks somebody plants, but for files that somebody has
//! [named](Named) by one, and that no FIFO or device is waited for. Lacks any idea of what is to be delivered.

mod error;
mod item;
mod listing;
mod named;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags, fstat, fstatfs, open, openat, openat2, statat};
use rustix::io::Errno;
use skiff_common::RelPath;
use skiff_common::growth::FileId;

pub use error::SourceError;
use item::look;
pub(crate) use item::stamp;
pub use item::{Look, OpenItem};
pub use listing::{Entry, Listing};
pub use named::Named;
use named::pinned;

/// What skiff keeps for itself in a watched folder.
pub(crate) const OWN_FOLDER: &str = ".skiff";

/// By what the kernel knows FAT and exFAT.
const FAT: [i128; 2] = [0x4d44, 0x2011_bab0];

/// Whether this is what a folder is called in which another skiff has what it brings to a file system here, until it is whole.
pub(crate) fn is_brought(name: &[u8]) -> bool {
    let digits = name.strip_prefix(b".skiff-").unwrap_or_default();
    digits.len() == 24 && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// Which folder it is, however it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderId {
    dev: u64,
    ino: u64,
}

/// A watched folder. To be dropped soon: while it is open its file system can't be unmounted, and nobody is told that
/// it was deleted.
#[derive(Debug, Clone)]
pub struct Root {
    folder: Arc<OwnedFd>,
    path: PathBuf,
    /// Where files stand that are read by another name.
    called: Arc<HashMap<RelPath, RelPath>>,
    /// Whether a symlink to a file inside stands for that file.
    follows: bool,
    /// Files elsewhere that were named by symlinks in it.
    linked: Arc<HashMap<RelPath, PathBuf>>,
}

impl Root {
    /// Opens `path`, which may be a symlink: it is configured.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = open(path, flags, Mode::empty())
            .map_err(|errno| SourceError::new("open the watched folder", &path.display(), errno))?;
        let (folder, path) = (Arc::new(folder), path.to_owned());
        Ok(Self { folder, path, called: Arc::default(), follows: false, linked: Arc::default() })
    }

    /// The same folder, where a symlink to a regular file counts as that file if the way there never leaves the folder, not
    /// even for a moment: the kernel sees to that (`RESOLVE_BENEATH`), and where it can't, no symlink counts.
    #[must_use]
    pub fn following(self, follows: bool) -> Self {
        Self { follows, ..self }
    }

    /// The same folder, where symlinks that somebody named stand for the files that they led to then.
    #[must_use]
    pub fn linking(self, linked: &Arc<HashMap<RelPath, PathBuf>>) -> Self {
        Self { linked: Arc::clone(linked), ..self }
    }

    /// What `look` is of, where a symlink at `path` stands for a file.
    pub fn through(&self, path: &RelPath, look: Look) -> Look {
        if !self.follows || look != Look::Other("symlink") {
            return look;
        }
        match self.open_item(path) {
            Ok(OpenItem { stamp, mode, .. }) => Look::File { stamp, mode },
            Err(_) => look,
        }
    }

    /// The same folder for who sends its files under other names: where [`open_item`](Self::open_item) alone, by which they are
    /// read, takes these names for those of other files.
    #[must_use]
    pub fn called(&self, names: HashMap<RelPath, RelPath>) -> Self {
        Self { called: Arc::new(names), ..self.clone() }
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which folder this is.
    pub fn id(&self) -> Result<FolderId, SourceError> {
        let stat =
            fstat(&*self.folder).map_err(|errno| SourceError::new("look at", &self.path.display(), errno))?;
        let stamp = stamp(&stat);
        Ok(FolderId { dev: stamp.dev, ino: stamp.ino })
    }

    /// Whether a file system is mounted here; `false` where nobody can tell.
    pub fn is_mounted(&self) -> bool {
        let parent = openat(&*self.folder, "..", FOLDER, Mode::empty()).and_then(fstat);
        matches!((fstat(&*self.folder), parent), (Ok(here), Ok(parent)) if here.st_dev != parent.st_dev)
    }

    /// Whether it is FAT or exFAT, which number their files anew with each mount, and tell times to two seconds only.
    pub fn is_fat(&self) -> bool {
        fstatfs(&*self.folder).is_ok_and(|of| FAT.iter().any(|magic| i128::from(of.f_type) == *magic))
    }

    /// What stands at `path`.
    pub fn look(&self, path: &RelPath) -> Result<Look, SourceError> {
        let failed = |errno| SourceError::new("look at", path, errno);
        if let Some(file) = self.linked.get(path) {
            let file = pinned(file, OFlags::PATH | OFlags::CLOEXEC).and_then(fstat);
            return file.map(|stat| look(&stat)).map_err(failed);
        }
        let folder = self.folder_of(path)?;
        let name = OsStr::from_bytes(path.name());
        let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        Ok(self.through(path, look(&stat)))
    }

    /// Opens a regular file for reading; never waits for a FIFO.
    pub fn open_item(&self, path: &RelPath) -> Result<OpenItem, SourceError> {
        let path = self.called.get(path).unwrap_or(path);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match self.linked.get(path) {
            Some(file) => pinned(file, flags).map_err(|errno| SourceError::new("open", path, errno))?,
            None if self.follows => self.inside(path, flags)?,
            None => self.beneath(path, flags)?,
        };
        let stat = fstat(&file).map_err(|errno| SourceError::new("look at", path, errno))?;
        match look(&stat) {
            Look::File { stamp, mode } => {
                Ok(OpenItem { file: file.into(), stamp, mode, owner: (stat.st_uid, stat.st_gid) })
            }
            Look::Folder => Err(SourceError::NotRegular { path: path.to_string(), kind: "folder" }),
            Look::Other(kind) => Err(SourceError::NotRegular { path: path.to_string(), kind }),
        }
    }

    /// Which file stands at `path`, also where it may not be read.
    pub fn id_of(&self, path: &RelPath) -> Result<FileId, SourceError> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = if self.follows { self.inside(path, flags)? } else { self.beneath(path, flags)? };
        item::id(&file).map_err(|errno| SourceError::new("look at", path, errno))
    }

    /// What is in a folder, `None` being the top; entry by entry.
    pub fn list(&self, folder: Option<&RelPath>) -> Result<Listing, SourceError> {
        let shown = folder.map_or_else(|| self.path.display().to_string(), ToString::to_string);
        let failed = |errno| SourceError::new("list", &shown, errno);
        let handle = match folder {
            // A descriptor of its own: the position in the listing belongs to it.
            None => openat(&*self.folder, ".", FOLDER, Mode::empty()).map_err(failed)?,
            Some(folder) => self.beneath(folder, FOLDER)?,
        };
        let entries = Dir::read_from(&handle).map_err(failed)?;
        Ok(Listing { handle, entries, shown, is_top: folder.is_none() })
    }

    /// The folder that holds `path`.
    pub(crate) fn folder_of(&self, path: &RelPath) -> Result<OwnedFd, SourceError> {
        match path.folder() {
            Some(folder) => self.beneath(&folder, FOLDER),
            None => openat(&*self.folder, ".", FOLDER, Mode::empty())
                .map_err(|errno| SourceError::new("open", &self.path.display(), errno)),
        }
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    fn beneath(&self, path: &RelPath, flags: OFlags) -> Result<OwnedFd, SourceError> {
        self.resolved(path, flags, ResolveFlags::NO_SYMLINKS)
    }

    /// As `beneath`, through symlinks that don't lead outside.
    fn inside(&self, path: &RelPath, flags: OFlags) -> Result<OwnedFd, SourceError> {
        self.resolved(path, flags, ResolveFlags::NO_MAGICLINKS)
    }

    fn resolved(&self, path: &RelPath, flags: OFlags, links: ResolveFlags) -> Result<OwnedFd, SourceError> {
        let failed = |errno| SourceError::new("open", path, errno);
        let name = OsStr::from_bytes(path.as_bytes());
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | links;
        loop {
            match openat2(&*self.folder, name, flags, Mode::empty(), resolve) {
                // A rename somewhere made the kernel unsure; it asks to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::NOSYS) => return self.walk(path, flags).map_err(failed),
                outcome => return outcome.map_err(failed),
            }
        }
    }

    /// For kernels before 5.6: component by component, no symlink followed.
    fn walk(&self, path: &RelPath, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut at = openat(&*self.folder, ".", FOLDER, Mode::empty())?;
        let device = fstat(&at)?.st_dev;
        for folder in path.folders() {
            at = openat(&at, OsStr::from_bytes(folder.name()), FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
            if fstat(&at)?.st_dev != device {
                return Err(Errno::XDEV);
            }
        }
        openat(&at, OsStr::from_bytes(path.name()), flags | OFlags::NOFOLLOW, Mode::empty())
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
