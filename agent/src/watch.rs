//! Watch events, turned into wake-ups.
//!
//! A lost event, an overflow or an exhausted watch limit costs latency, never a file: then everything is scanned, more
//! often than otherwise.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecursiveMode, Watcher as _};
use skiff_common::RelPath;

use crate::wake::Waker;

/// A live watch on a folder; dropping it ends the events.
pub struct Watch(#[expect(dead_code, reason = "held for its drop")] notify::RecommendedWatcher);

/// Watches `folder` and all below it.
pub fn watch(folder: &Path, waker: &Arc<Waker>) -> Result<Watch, notify::Error> {
    let (root, waker) = (folder.to_owned(), Arc::clone(waker));
    let mut watcher = notify::recommended_watcher(move |event| tell(&root, &waker, event))?;
    watcher.watch(folder, RecursiveMode::Recursive)?;
    Ok(Watch(watcher))
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
    if bytes == b".skiff" || bytes.starts_with(b".skiff/") {
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
