//! Watch events, turned into wake-ups.
//!
//! A lost event, an overflow or an exhausted watch limit costs latency, never a file: then everything is scanned, more
//! often than otherwise.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{ErrorKind, Event, EventKind, RecursiveMode, Watcher as _};
use skiff_common::RelPath;

use crate::source::is_brought;
use crate::wake::Waker;

/// A live watch on a folder; dropping it ends the events.
pub struct Events {
    root: PathBuf,
    watcher: notify::RecommendedWatcher,
}

impl Events {
    /// Watches `folder` and all below it.
    pub fn on(folder: &Path, waker: &Arc<Waker>) -> Result<Self, notify::Error> {
        let (root, waker) = (folder.to_owned(), Arc::clone(waker));
        let config = notify::Config::default().with_follow_symlinks(false);
        let tell = move |event| tell(&root, &waker, event);
        let mut watcher = notify::RecommendedWatcher::new(tell, config)?;
        watcher.watch(folder, RecursiveMode::Recursive)?;
        Ok(Self { root: folder.to_owned(), watcher })
    }

    /// Returns when `folder` and all below it are watched. notify tells of a new folder before it watches it, so a look
    /// at its files before that would miss those that come between the two. A folder that is gone needs no watch.
    pub fn cover(&mut self, folder: &RelPath) -> Result<(), notify::Error> {
        let folder = self.root.join(OsStr::from_bytes(folder.as_bytes()));
        match self.watcher.watch(&folder, RecursiveMode::Recursive) {
            Err(error) if is_absence(&error) => Ok(()),
            outcome => outcome,
        }
    }
}

fn is_absence(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        }
        ErrorKind::Generic(_)
        | ErrorKind::WatchNotFound
        | ErrorKind::InvalidConfig(_)
        | ErrorKind::MaxFilesWatch => false,
    }
}

fn tell(root: &Path, waker: &Waker, event: Result<Event, notify::Error>) {
    let event = match event {
        Ok(event) if !event.need_rescan() => event,
        Ok(_) => {
            tracing::warn!(folder = %root.display(), "watch events were lost: scanning everything");
            return waker.all();
        }
        Err(error) => {
            tracing::warn!(folder = %root.display(), %error, "watching failed: scanning everything");
            return waker.all();
        }
    };
    if !matters(event.kind) {
        return;
    }
    for path in event.paths {
        wake_for(root, waker, &path);
    }
}

fn wake_for(root: &Path, waker: &Waker, path: &Path) {
    let Ok(relative) = path.strip_prefix(root) else { return };
    let bytes = relative.as_os_str().as_bytes();
    if bytes.is_empty() {
        return waker.all();
    }
    if bytes == b".skiff" || bytes.starts_with(b".skiff/") || bytes.split(|b| *b == b'/').any(is_brought) {
        return;
    }
    if let Ok(path) = RelPath::parse(bytes) {
        waker.path(path);
    }
}

fn matters(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}
