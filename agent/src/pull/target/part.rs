//! Parts: files that are being received, each under a name that follows from where it comes from and goes to.
//!
//! Promises that a part is one pull's alone while it holds it. Lacks final names.

use std::fs::File;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, flock, fstat, openat, statat, unlinkat,
};
use rustix::io::Errno;
use skiff_common::{RelPath, Stamp};

use super::{LocalError, Target};
use crate::source::{OWN_FOLDER, stamp};

/// What a cut transfer left, and nobody asked for again, is removed after so long.
const OLD: Duration = Duration::from_secs(7 * 24 * 3600);
/// What names of parts begin with.
const PART: &str = "pull-";

/// A file that is being received.
pub(in crate::pull) struct Part {
    pub(in crate::pull) file: File,
    pub(in crate::pull) token: String,
}

impl Part {
    /// What it looks like now.
    pub(in crate::pull) fn stamp(&self) -> Result<Stamp, Errno> {
        Ok(stamp(&fstat(&self.file)?))
    }
}

impl Target {
    /// Opens the part `token`, as it was left if `fresh` isn't set. `None`: somebody else is at it.
    pub(in crate::pull) fn part(&self, token: &str, fresh: bool) -> Result<Option<Part>, LocalError> {
        let shown = self.path().join(OWN_FOLDER);
        let failed = |errno| LocalError::new("write", &shown.display(), errno);
        let part = self.hold(token, OFlags::CREATE).map_err(failed)?;
        if let (Some(part), true) = (&part, fresh) {
            part.file.set_len(0).map_err(|error| LocalError::io("write", &shown.display(), &error))?;
        }
        Ok(part)
    }

    /// Opens a part that nobody else can be at as long as it is held. `None`: somebody is, or it isn't there.
    pub(super) fn hold(&self, token: &str, made: OFlags) -> Result<Option<Part>, Errno> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | made;
        let mut was_closed = false;
        loop {
            let file = match openat(self.staging(), token, flags, Mode::RUSR | Mode::WUSR) {
                Err(Errno::NOENT) if !made.contains(OFlags::CREATE) => return Ok(None),
                Err(Errno::ACCESS) if !was_closed => {
                    if !self.reopen(token)? {
                        return Ok(None);
                    }
                    was_closed = true;
                    continue;
                }
                file => file?,
            };
            let stat = fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink > 1 {
                // A crash between link and unlink left it under its final name too; that one is not to be written.
                unlinkat(self.staging(), token, AtFlags::empty())?;
                continue;
            }
            // A file system without locks has few users at once.
            if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
                return Ok(None);
            }
            // Its former user may have published or dropped it meanwhile.
            let named = statat(self.staging(), token, AtFlags::SYMLINK_NOFOLLOW);
            if named.is_ok_and(|named| named.st_ino == stat.st_ino) {
                return Ok(Some(Part { file: File::from(file), token: token.to_owned() }));
            }
        }
    }

    /// Makes our own part writable, which a pull that died had dressed for its final name as one that nobody may write to.
    /// `false`: whoever dressed it is at it.
    fn reopen(&self, token: &str) -> Result<bool, Errno> {
        let stat = match statat(self.staging(), token, AtFlags::SYMLINK_NOFOLLOW) {
            // It has been published meanwhile.
            Err(Errno::NOENT) => return Ok(true),
            stat => stat?,
        };
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(Errno::ACCESS);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(self.staging(), token, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(true),
            // It can't be locked. Who is about to publish it after all finds that it is gone, and says so.
            Err(Errno::ACCESS) => {
                unlinkat(self.staging(), token, AtFlags::empty())?;
                return Ok(true);
            }
            file => file?,
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Ok(false);
        }
        // What has its final name by now keeps its mode.
        let named = statat(self.staging(), token, AtFlags::SYMLINK_NOFOLLOW);
        if named.is_ok_and(|named| named.st_ino == stat.st_ino) && fstat(&file)?.st_ino == stat.st_ino {
            rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR)?;
        }
        Ok(true)
    }

    /// What an earlier attempt left under `token`, to be read.
    pub(in crate::pull) fn left(&self, token: &str) -> Option<(File, Stamp)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(self.staging(), token, flags, Mode::empty()).ok()?;
        let mut stat = fstat(&file).ok()?;
        if !Mode::from_raw_mode(stat.st_mode).contains(Mode::WUSR) && self.reopen(token) == Ok(true) {
            // By this stamp it is known again.
            stat = fstat(&file).ok()?;
        }
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        is_file.then(|| (File::from(file), stamp(&stat)))
    }

    /// Removes the part `token`, unless somebody else is at it.
    pub(in crate::pull) fn drop_part(&self, token: &str) {
        if let Ok(Some(part)) = self.hold(token, OFlags::empty()) {
            self.remove(&part);
        }
    }

    /// Removes a part.
    pub(in crate::pull) fn remove(&self, part: &Part) {
        // What stays is swept one day.
        let _ = unlinkat(self.staging(), &*part.token, AtFlags::empty());
    }

    /// Removes parts that nobody asked for again.
    pub(super) fn sweep(&self) {
        let Ok(entries) = Dir::read_from(self.staging()) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if !name.to_bytes().starts_with(PART.as_bytes()) {
                continue;
            }
            let Ok(stat) = statat(self.staging(), name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let changed = u64::try_from(stat.st_ctime).unwrap_or(0);
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            if now.saturating_sub(Duration::from_secs(changed)) > OLD {
                let _ = unlinkat(self.staging(), name, AtFlags::empty());
            }
        }
    }
}

/// What a part is called: the same for every attempt at the same source, so that it is found again.
pub(in crate::pull) fn token(server: &str, from: &[u8], to: &RelPath) -> String {
    let mut hasher = blake3::Hasher::new();
    for word in [server.as_bytes(), from, to.as_bytes()] {
        hasher.update(&(word.len() as u64).to_le_bytes()).update(word);
    }
    format!("{PART}{}", &hasher.finalize().to_hex()[..24])
}
