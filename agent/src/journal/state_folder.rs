//! The state folder's own files, and the steps on them that have to survive a crash.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::JournalError;

/// Left free for others, and so that sled, which doesn't survive a full disk, never meets one: a commit of 64 of the
/// largest requests writes about as much.
const KEPT_FREE_BYTES: u64 = 16 << 20;
const QUARANTINE: &str = "journal.quarantine-";
/// What names in a state folder begin with.
const OURS: [&str; 9] = [
    "journal",
    "lock",
    "reserve",
    "receipts.jsonl",
    "claims.jsonl",
    "losses.jsonl",
    "control.sock",
    "paused",
    "lost+found",
];
/// The newest two show whether damage comes back; more would fill the disk.
const QUARANTINES_KEPT: usize = 2;

/// A state folder.
#[derive(Debug, Clone)]
pub(super) struct StateFolder(PathBuf);

impl StateFolder {
    /// Takes the folder, and makes it, for its owner alone, where it is missing.
    pub(super) fn make(state_dir: &Path) -> Result<Self, JournalError> {
        make_folder(state_dir).map_err(|error| JournalError::io("make the folder", state_dir, error))?;
        let place = Self(state_dir.to_owned());
        if let Err(why) = place.close() {
            tracing::warn!(path = %state_dir.display(), "the state folder is open to others: {why}");
        }
        if let Some(parent) = state_dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // The parent may be closed to us where the folder was made for us; then it isn't new either.
            let _ = sync_folder(parent);
        }
        Ok(place)
    }

    /// The folder as it is, or isn't.
    pub(super) fn at(state_dir: &Path) -> Self {
        Self(state_dir.to_owned())
    }

    /// Takes the rights of others to a folder that somebody made for us with what the umask left. One that holds other
    /// things as well may be meant to be open.
    fn close(&self) -> Result<(), String> {
        let failed = |error: io::Error| format!("cannot change that: {error}");
        let metadata = fs::metadata(&self.0).map_err(failed)?;
        let is_open = metadata.mode() & 0o077 != 0;
        if !is_open {
            return Ok(());
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(format!("it belongs to the user {}, who has to run chmod 700", metadata.uid()));
        }
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if name != "lost+found" && !is_skiffs(name.as_encoded_bytes()) {
                let name = name.display();
                return Err(format!("{name:?} in it is not skiff's; give skiff a folder of its own"));
            }
        }
        fs::set_permissions(&self.0, Permissions::from_mode(0o700)).map_err(failed)
    }

    /// sled's folder.
    pub(super) fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// See `side`.
    pub(super) fn side(&self) -> PathBuf {
        self.0.join("journal.seq")
    }

    /// See `lock`.
    pub(super) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// There while the journal is being opened: how many times that has begun and not ended.
    pub(super) fn marker(&self) -> PathBuf {
        self.0.join("journal.opening")
    }

    /// A smaller copy of the journal, perhaps unfinished.
    pub(super) fn copy(&self) -> PathBuf {
        self.0.join("journal.copy")
    }

    /// The journal that the copy replaces.
    fn old(&self) -> PathBuf {
        self.0.join("journal.old")
    }

    /// Whether there is a journal.
    pub(super) fn has_journal(&self) -> bool {
        self.journal().is_dir()
    }

    /// Makes the folder of a copy.
    pub(super) fn make_copy(&self) -> Result<PathBuf, JournalError> {
        let dir = self.copy();
        let made = DirBuilder::new().mode(0o700).create(&dir);
        made.map(|()| dir.clone()).map_err(|error| JournalError::io("make the folder", &dir, error))
    }

    /// Puts the finished copy where there is no journal yet, durably.
    pub(super) fn adopt_copy(&self) -> Result<(), JournalError> {
        let adopted = sync_folder(&self.copy())
            .and_then(|()| fs::rename(self.copy(), self.journal()))
            .and_then(|()| sync_folder(&self.0));
        adopted.map_err(|error| JournalError::io("make", &self.journal(), error))
    }

    /// Refuses when what is free is less than `needed` beyond what is kept free.
    pub(super) fn require_space(&self, attempt: &'static str, needed: u64) -> Result<(), JournalError> {
        let space = rustix::fs::statvfs(&self.0);
        let space = space.map_err(|error| JournalError::io("ask for the space of", &self.0, error.into()))?;
        if space.f_bavail.saturating_mul(space.f_frsize) < KEPT_FREE_BYTES + needed {
            return Err(JournalError::NoSpace { attempt, path: self.journal() });
        }
        Ok(())
    }

    /// Puts the finished copy in the journal's place.
    pub(super) fn swap(&self) -> Result<(), JournalError> {
        let swapped = fs::rename(self.journal(), self.old())
            .and_then(|()| fs::rename(self.copy(), self.journal()))
            .and_then(|()| sync_folder(&self.0))
            .and_then(|()| remove_folder(&self.old()));
        swapped.map_err(|error| JournalError::io("replace", &self.journal(), error))
    }

    /// Ends or undoes a swap that a crash cut.
    pub(super) fn mend_swap(&self) -> Result<(), JournalError> {
        let restored = if !self.has_journal() && self.old().is_dir() {
            fs::rename(self.old(), self.journal())
        } else {
            remove_folder(&self.old())
        };
        let mended = restored.and_then(|()| remove_folder(&self.copy())).and_then(|()| sync_folder(&self.0));
        mended.map_err(|error| JournalError::io("restore", &self.journal(), error))
    }

    /// Moves the journal out of the way and returns where to.
    pub(super) fn quarantine(&self) -> Result<PathBuf, JournalError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let earlier = self.quarantines();
        // The newest stays the newest, whatever the clock does.
        let second = earlier.last().map_or(now, |last| now.max(last + 1));
        let to = self.quarantine_of(second);
        let moved = fs::rename(self.journal(), &to).and_then(|()| sync_folder(&self.0));
        moved.map_err(|error| JournalError::io("quarantine", &self.journal(), error))?;
        for second in earlier.iter().rev().skip(QUARANTINES_KEPT - 1) {
            let path = self.quarantine_of(*second);
            if let Err(error) = remove_folder(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove an old quarantined journal");
            }
        }
        Ok(to)
    }

    fn quarantine_of(&self, second: u64) -> PathBuf {
        self.0.join(format!("{QUARANTINE}{second}"))
    }

    /// When journals were quarantined, the oldest first.
    fn quarantines(&self) -> Vec<u64> {
        let files = fs::read_dir(&self.0).into_iter().flatten();
        let second = |name: OsString| name.to_str()?.strip_prefix(QUARANTINE)?.parse().ok();
        let mut seconds: Vec<_> = files.filter_map(|file| second(file.ok()?.file_name())).collect();
        seconds.sort_unstable();
        seconds
    }

    /// Removes the unfinished snapshots that a killed sled leaves, which make each later open fail, and has what an
    /// earlier process left in the page cache on the disk before sled builds on it.
    pub(super) fn prepare_journal(&self) -> Result<(), JournalError> {
        let dir = self.journal();
        prepare(&dir).map_err(|error| JournalError::io("prepare", &dir, error))
    }
}

/// Whether skiff makes files of this name in a state folder.
pub(super) fn is_skiffs(name: &[u8]) -> bool {
    name != b"lost+found" && OURS.iter().any(|ours| name.starts_with(ours.as_bytes()))
}

/// Makes a state folder, for its owner alone, where it is missing.
pub(crate) fn make_folder(state_dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir)
}

/// What the files in `dir` and its folders take, in bytes.
pub(super) fn bytes_in(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for file in fs::read_dir(dir)? {
        let file = file?;
        let metadata = file.metadata()?;
        bytes += if metadata.is_dir() { bytes_in(&file.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

/// Makes what was made, renamed or removed in `dir` durable.
pub(super) fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes a folder and what is in it; there need be none.
pub(super) fn remove_folder(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn prepare(dir: &Path) -> io::Result<()> {
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(&path)?;
        } else if path.is_file() {
            File::open(&path)?.sync_all()?;
        }
    }
    sync_folder(dir)
}
