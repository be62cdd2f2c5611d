//! The watched folder: every read and every disposal goes through its descriptor.
//!
//! Promises that nothing outside it is read, whatever symlinks somebody plants, and that no FIFO or device is waited
//! for. Lacks any idea of what is to be delivered.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat, openat2, statat,
};
use rustix::io::Errno;
use skiff_common::delivery::Trouble;
use skiff_common::growth::FileId;
use skiff_common::{RelPath, Stamp};

use crate::sys;

/// What skiff keeps for itself in a watched folder.
pub(crate) const OWN_FOLDER: &str = ".skiff";

/// Why a source can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It isn't there.
    #[error("{path} is not there")]
    Gone {
        /// What.
        path: String,
    },
    /// No right to read it.
    #[error("cannot read {path}: permission denied; let the user that skiff runs as read it")]
    Denied {
        /// What.
        path: String,
    },
    /// It is no regular file.
    #[error("{path} is a {kind}; only regular files are delivered")]
    NotRegular {
        /// What.
        path: String,
        /// Its kind.
        kind: &'static str,
    },
    /// A symlink or a mount point stands in the path.
    #[error("{path} leads through a symlink or a mount point, out of the watched folder")]
    Escapes {
        /// What.
        path: String,
    },
    /// What was mounted there no longer is.
    #[error("{path} is paused: what was mounted there no longer is; it goes on when it is mounted again")]
    Unmounted {
        /// What.
        path: String,
    },
    /// Anything else.
    #[error("cannot {attempt} {path}: {source}")]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl SourceError {
    /// What it means for a delivery.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Gone { .. } => Trouble::Gone,
            Self::Denied { .. } | Self::Unmounted { .. } | Self::Io { .. } => {
                Trouble::retryable(self.to_string())
            }
            Self::NotRegular { .. } | Self::Escapes { .. } => Trouble::permanent(self.to_string()),
        }
    }

    fn new(attempt: &'static str, path: &(impl ToString + ?Sized), errno: Errno) -> Self {
        let path = path.to_string();
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Gone { path },
            Errno::ACCESS | Errno::PERM => Self::Denied { path },
            Errno::LOOP | Errno::XDEV => Self::Escapes { path },
            errno => Self::Io { attempt, path, source: errno.into() },
        }
    }
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A regular file.
    File {
        /// Its stamp.
        stamp: Stamp,
        /// Its permission bits.
        mode: u32,
    },
    /// A folder.
    Folder,
    /// Something that isn't delivered, by its name.
    Other(&'static str),
}

/// A file that is open for reading.
#[derive(Debug)]
pub struct OpenItem {
    /// The file.
    pub file: File,
    /// Its stamp when it was opened.
    pub stamp: Stamp,
    /// Its permission bits.
    pub mode: u32,
    /// Its user and its group.
    pub owner: (u32, u32),
}

impl OpenItem {
    /// Its stamp now.
    pub fn stamp_now(&self) -> io::Result<Stamp> {
        Ok(stamp(&fstat(&self.file)?))
    }

    /// Which file it is, also when its number was another file's before.
    pub fn id(&self) -> Result<FileId, SourceError> {
        let failed = |errno| SourceError::new("look at", "an open file", errno);
        let stamp = stamp(&fstat(&self.file).map_err(failed)?);
        Ok(FileId { dev: stamp.dev, ino: stamp.ino, born_ns: born_ns(&self.file) })
    }

    /// Whether some process has it open for writing; `false` where nobody can tell.
    pub fn has_writer(&self) -> bool {
        sys::is_free_of_writers(self.file.as_fd()).is_ok_and(|free| !free)
    }
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
    /// Where files stand that are asked for by another name.
    called: Arc<HashMap<RelPath, RelPath>>,
    /// Whether a symlink to a file inside stands for that file.
    follows: bool,
}

impl Root {
    /// Opens `path`, which may be a symlink: it is configured.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = open(path, flags, Mode::empty())
            .map_err(|errno| SourceError::new("open the watched folder", &path.display(), errno))?;
        Ok(Self { folder: Arc::new(folder), path: path.to_owned(), called: Arc::default(), follows: false })
    }

    /// The same folder, where a symlink to a regular file counts as that file if the way there never leaves the folder, not
    /// even for a moment: the kernel sees to that (`RESOLVE_BENEATH`), and where it can't, no symlink counts.
    #[must_use]
    pub fn following(self, follows: bool) -> Self {
        Self { follows, ..self }
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

    /// The same folder, where these names stand for other files of it.
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

    /// What stands at `path`.
    pub fn look(&self, path: &RelPath) -> Result<Look, SourceError> {
        let failed = |errno| SourceError::new("look at", path, errno);
        let folder = self.folder_of(path)?;
        let name = std::ffi::OsStr::from_bytes(path.name());
        let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        Ok(self.through(path, look(&stat)))
    }

    /// Opens a regular file for reading; never waits for a FIFO.
    pub fn open_item(&self, path: &RelPath) -> Result<OpenItem, SourceError> {
        let path = self.called.get(path).unwrap_or(path);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = if self.follows { self.inside(path, flags)? } else { self.beneath(path, flags)? };
        let stat = fstat(&file).map_err(|errno| SourceError::new("look at", path, errno))?;
        match look(&stat) {
            Look::File { stamp, mode } => {
                Ok(OpenItem { file: file.into(), stamp, mode, owner: (stat.st_uid, stat.st_gid) })
            }
            Look::Folder => Err(SourceError::NotRegular { path: path.to_string(), kind: "folder" }),
            Look::Other(kind) => Err(SourceError::NotRegular { path: path.to_string(), kind }),
        }
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
        let name = std::ffi::OsStr::from_bytes(path.as_bytes());
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
            at = openat(
                &at,
                std::ffi::OsStr::from_bytes(folder.name()),
                FOLDER | OFlags::NOFOLLOW,
                Mode::empty(),
            )?;
            if fstat(&at)?.st_dev != device {
                return Err(Errno::XDEV);
            }
        }
        openat(&at, std::ffi::OsStr::from_bytes(path.name()), flags | OFlags::NOFOLLOW, Mode::empty())
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// One entry of a folder.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is.
    pub look: Look,
}

/// A folder's entries, in no order. What vanishes meanwhile is left out, and so is skiff's own folder at the top.
pub struct Listing {
    handle: OwnedFd,
    entries: Dir,
    shown: String,
    is_top: bool,
}

impl Iterator for Listing {
    type Item = Result<Entry, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.entries.read()? {
                Ok(entry) => entry,
                Err(errno) => return Some(Err(SourceError::new("list", &self.shown, errno))),
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." || (self.is_top && name == OWN_FOLDER.as_bytes()) {
                continue;
            }
            match statat(&self.handle, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => return Some(Ok(Entry { name: name.to_vec(), look: look(&stat) })),
                Err(Errno::NOENT) => {}
                Err(errno) => return Some(Err(SourceError::new("look into", &self.shown, errno))),
            }
        }
    }
}

/// When a file was made, in nanoseconds since 1970; 0 where the file system doesn't tell.
#[cfg(target_os = "linux")]
fn born_ns(file: &File) -> i64 {
    use rustix::fs::{StatxFlags, statx};
    match statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME) {
        Ok(statx) if StatxFlags::from_bits_retain(statx.stx_mask).contains(StatxFlags::BTIME) => {
            let born = statx.stx_btime;
            born.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(born.tv_nsec))
        }
        _ => 0,
    }
}

#[cfg(not(target_os = "linux"))]
fn born_ns(_: &File) -> i64 {
    0
}

fn look(stat: &Stat) -> Look {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Look::File { stamp: stamp(stat), mode: stat.st_mode & 0o777 },
        FileType::Directory => Look::Folder,
        FileType::Symlink => Look::Other("symlink"),
        FileType::Fifo => Look::Other("FIFO"),
        FileType::Socket => Look::Other("socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Look::Other("device"),
        FileType::Unknown => Look::Other("thing of unknown kind"),
    }
}

#[expect(
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::useless_conversion,
    reason = "the fields' types differ between platforms; times fit until the year 2262"
)]
pub(crate) fn stamp(stat: &Stat) -> Stamp {
    let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    Stamp {
        dev: u64::from(stat.st_dev),
        ino: u64::from(stat.st_ino),
        size: stat.st_size as u64,
        mtime_ns: nanoseconds(i64::from(stat.st_mtime), stat.st_mtime_nsec as i64),
        ctime_ns: nanoseconds(i64::from(stat.st_ctime), stat.st_ctime_nsec as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).expect("a path")
    }

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::open(folder.path()).expect("it opens");
        (folder, root)
    }

    #[test]
    fn a_planted_symlink_leads_nowhere() {
        let (folder, root) = root();
        symlink("/etc", folder.path().join("sub")).expect("planted");
        symlink("/etc/passwd", folder.path().join("file")).expect("planted");
        assert!(matches!(root.open_item(&path("sub/passwd")), Err(SourceError::Escapes { .. })));
        assert!(matches!(root.open_item(&path("file")), Err(SourceError::Escapes { .. })));
        assert!(matches!(
            root.list(Some(&path("sub"))),
            Err(SourceError::Escapes { .. } | SourceError::Gone { .. })
        ));
        assert!(matches!(root.look(&path("file")), Ok(Look::Other("symlink"))));
        assert!(root.walk(&path("sub/passwd"), OFlags::RDONLY).is_err());
    }

    #[test]
    fn a_symlink_that_is_followed_stays_inside() {
        let (folder, root) = root();
        let root = root.following(true);
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("sub")).expect("made");
        fs::write(at("sub/f"), "inside").expect("written");
        for (name, target) in [
            ("good", "sub/f"),
            ("sub/up", "../sub/f"),
            ("out", "../../etc/passwd"),
            ("back", "../$/sub/f"),
            ("absolute", "/etc/passwd"),
            ("proc", "/proc/self/root/etc/passwd"),
            ("folder", "sub"),
            ("loop", "loop"),
            ("nowhere", "missing"),
        ] {
            // Out and in again: that it ends inside is not enough.
            let own = folder.path().file_name().expect("it has a name").to_string_lossy().into_owned();
            symlink(target.replace('$', &own), at(name)).expect("planted");
        }
        symlink(at("sub/f"), at("whole")).expect("planted");
        for name in ["good", "sub/up"] {
            let open = root.open_item(&path(name)).expect("it leads to a file inside");
            assert_eq!(io::read_to_string(&open.file).expect("it reads"), "inside");
            assert_eq!(root.look(&path(name)).ok(), root.look(&path("sub/f")).ok(), "{name}");
        }
        for name in ["out", "back", "absolute", "proc", "folder", "loop", "nowhere", "whole"] {
            assert!(root.open_item(&path(name)).is_err(), "{name}");
            assert!(matches!(root.look(&path(name)), Ok(Look::Other("symlink"))), "{name}");
        }
        assert!(root.list(Some(&path("folder"))).is_err(), "folders are not gone into by symlinks");
    }

    #[test]
    fn a_fifo_is_refused_and_not_waited_for() {
        let (folder, root) = root();
        rustix::fs::mknodat(rustix::fs::CWD, folder.path().join("pipe"), FileType::Fifo, Mode::RWXU, 0)
            .expect("made");
        assert!(matches!(root.open_item(&path("pipe")), Err(SourceError::NotRegular { kind: "FIFO", .. })));
    }

    #[test]
    fn an_open_writer_is_seen_until_it_closes() {
        let (folder, root) = root();
        let writer = File::create(folder.path().join("a")).expect("created");
        assert!(root.open_item(&path("a")).expect("it opens").has_writer());
        drop(writer);
        assert!(!root.open_item(&path("a")).expect("it opens").has_writer());
    }

    #[test]
    fn another_folder_of_the_same_name_is_another() {
        let (folder, _) = root();
        let watched = folder.path().join("w");
        let id = || Root::open(&watched).and_then(|root| root.id());
        fs::create_dir(&watched).expect("made");
        let before = id().expect("it opens");
        fs::rename(&watched, folder.path().join("elsewhere")).expect("renamed");
        assert!(matches!(id(), Err(SourceError::Gone { .. })));
        fs::create_dir(&watched).expect("made again");
        assert_ne!(id().expect("it opens"), before);
    }

    #[test]
    fn mounts_are_told_from_folders() {
        let is_mounted = |path| Root::open(Path::new(path)).expect("it opens").is_mounted();
        assert!(is_mounted("/proc"));
        assert!(!is_mounted("/proc/self") && !is_mounted("/"));
    }

    #[test]
    fn flipping_a_folder_and_a_symlink_never_shows_the_outside() {
        for follows in [false, true] {
            flip(follows);
        }
    }

    fn flip(follows: bool) {
        let (folder, root) = root();
        let root = root.following(follows);
        let outside = tempfile::tempdir().expect("a folder");
        fs::write(outside.path().join("f"), "canary").expect("written");
        fs::create_dir(folder.path().join("real")).expect("made");
        fs::write(folder.path().join("real/f"), "inside").expect("written");
        symlink(outside.path(), folder.path().join("link")).expect("planted");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let at = |name: &str| folder.path().join(name);
                while !stop.load(Ordering::Relaxed) {
                    for name in ["real", "link"] {
                        fs::rename(at(name), at("sub")).expect("put there");
                        fs::rename(at("sub"), at(name)).expect("taken away");
                    }
                }
            });
            let (mut inside, mut tries, began) = (0, 0, std::time::Instant::now());
            // On a busy machine the other thread may begin late.
            while tries < 20_000 || (inside == 0 && began.elapsed().as_secs() < 60) {
                tries += 1;
                if let Ok(open) = root.open_item(&path("sub/f")) {
                    assert_eq!(io::read_to_string(open.file).expect("it reads"), "inside");
                    inside += 1;
                }
            }
            stop.store(true, Ordering::Relaxed);
            assert!(inside > 0, "the race never let the reader in, so it shows nothing");
        });
    }
}
