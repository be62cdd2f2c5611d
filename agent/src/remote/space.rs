//! Whether what is to be sent fits at the destination, asked before it is sent.
//!
//! The server is asked at most every few seconds; what is on its way meanwhile is counted as if it were there. Lacks the last
//! word: `df` knows of no quota, and others write there too. A disk that fills all the same is told by the server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use skiff_common::RemotePath;
use skiff_config::KeepFree;

use super::RemoteError;

/// An answer is good for this long: `df` is a process there, and a round trip.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// What lies there beside the content, for a while: lists, a shell's errors, and blocks that are not full.
const BESIDE: u64 = 64 << 10;

/// The space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What is free.
    pub free: u64,
    /// What there is.
    pub all: u64,
}

/// The room at a destination, by its folders: they may lie on several disks.
pub(super) struct Space {
    keep: KeepFree,
    folders: Mutex<HashMap<RemotePath, Folder>>,
}

#[derive(Default)]
struct Folder {
    seen: Option<(Instant, Room)>,
    on_its_way: u64,
}

/// Room that is taken until this is dropped.
pub(super) struct Reserved {
    of: Arc<Space>,
    root: RemotePath,
    bytes: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut folders = self.of.folders();
        if let Some(folder) = folders.get_mut(&self.root) {
            folder.on_its_way = folder.on_its_way.saturating_sub(self.bytes);
            // It lies there now, or was there when the server was asked, which is asked again before anything is refused.
            if let Some((_, disk)) = &mut folder.seen {
                disk.free = disk.free.saturating_sub(self.bytes);
            }
        }
    }
}

impl Space {
    pub(super) fn new(keep: KeepFree) -> Arc<Self> {
        Arc::new(Self { keep, folders: Mutex::default() })
    }

    /// Takes room for `bytes` in the folder `root`, of which `asking` tells the room.
    pub(super) async fn reserve(
        self: &Arc<Self>,
        asking: impl Future<Output = Result<Option<Room>, RemoteError>>,
        root: &RemotePath,
        bytes: u64,
    ) -> Result<Option<Reserved>, RemoteError> {
        if self.keep == KeepFree::Off {
            return Ok(None);
        }
        let (needed, bytes) = (bytes, bytes.saturating_add(BESIDE));
        let seen = self.folders().get(root).and_then(|folder| folder.seen);
        let known = seen.filter(|(at, _)| at.elapsed() < GOOD_FOR).map(|(_, disk)| disk);
        if let Some(reserved) = known.and_then(|disk| self.take(root, disk, bytes)) {
            return Ok(Some(reserved));
        }
        let Some(disk) = asking.await? else { return Ok(None) };
        self.folders().entry(root.clone()).or_default().seen = Some((Instant::now(), disk));
        self.take(root, disk, bytes).map(Some).ok_or(RemoteError::Full {
            free: disk.free,
            needed,
            keep: self.keep.bytes_of(disk.all),
        })
    }

    fn take(self: &Arc<Self>, root: &RemotePath, disk: Room, bytes: u64) -> Option<Reserved> {
        let mut folders = self.folders();
        let folder = folders.entry(root.clone()).or_default();
        let taken = folder.on_its_way.saturating_add(bytes);
        let fits = disk.free.checked_sub(taken).is_some_and(|left| left >= self.keep.bytes_of(disk.all));
        fits.then(|| {
            folder.on_its_way = taken;
            Reserved { of: Arc::clone(self), root: root.clone(), bytes }
        })
    }

    fn folders(&self) -> MutexGuard<'_, HashMap<RemotePath, Folder>> {
        self.folders.lock().expect("nothing panics while it holds the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_counts_until_it_has_ended() {
        let space = Space::new(KeepFree::Percent(10));
        let root = RemotePath::parse(b"in").expect("a path");
        let disk = Room { free: 500, all: 1000 };
        let first = space.take(&root, disk, 300).expect("200 are left, and 100 are to be");
        assert!(space.take(&root, disk, 101).is_none());
        let second = space.take(&root, disk, 100);
        assert!(second.is_some());
        drop((first, second));
        assert!(space.take(&root, disk, 400).is_some() && space.take(&root, disk, 401).is_none());
        assert!(Space::new(KeepFree::Bytes(0)).take(&root, disk, 500).is_some());
    }
}
