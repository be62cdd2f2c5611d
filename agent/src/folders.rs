//! Empty folders are made at the destination, where that is asked for.
//!
//! They hold no content, so nothing is recorded: to make one again changes nothing. What a scanner meets waits here, bounded,
//! for a task of its watch. Lacks removal: a folder that goes here stays there, as files do.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use skiff_common::RelPath;
use skiff_common::retry::Retry;
use skiff_config::EmptyFolders;
use tokio::sync::Notify;

use crate::clock;
use crate::context::WatchContext;

/// Folders that wait, and that are known to be made; what is beyond is met again by a later scan. Each about 1 MiB.
const MOST: usize = 8 << 10;
/// Folders that are made at once: a command of at most a few hundred KiB.
const AT_ONCE: usize = 200;
/// How often to look whether the watch has ended.
const LOOK: Duration = Duration::from_secs(2);

/// The empty folders of one watch.
#[derive(Debug, Default)]
pub struct Folders {
    state: Mutex<State>,
    came: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<RelPath>,
    made: HashSet<RelPath>,
}

impl Folders {
    /// A scanner has met this one.
    pub(crate) fn met(&self, folder: &RelPath) {
        let mut state = self.state();
        if state.waiting.len() < MOST && !state.made.contains(folder) {
            state.waiting.insert(folder.clone());
            self.came.notify_one();
        }
    }

    fn some(&self) -> Vec<RelPath> {
        self.state().waiting.iter().take(AT_ONCE).cloned().collect()
    }

    fn made(&self, folders: Vec<RelPath>) {
        let mut state = self.state();
        for folder in folders {
            state.waiting.remove(&folder);
            if state.made.len() < MOST {
                state.made.insert(folder);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

/// Whether the watch needs such a task.
pub(crate) fn are_wanted(context: &WatchContext) -> bool {
    context.settings.empty_folders == EmptyFolders::Deliver && !context.once
}

/// Has them made until the watch ends: at its destination, and of several at the first.
pub(crate) async fn serve(context: Arc<WatchContext>) {
    let settings = &context.settings;
    let retry = Retry { first: settings.retry_first, max: settings.retry_max, attempts: None };
    let place = context.places.first().expect("each watch delivers to somewhere");
    let mut failures = 0;
    while !context.waker.is_stopped() {
        let some = context.folders.some();
        if some.is_empty() || context.waker.is_paused() || place.remote.rests() {
            // Either way it is looked again.
            let _ = tokio::time::timeout(LOOK, context.folders.came.notified()).await;
            continue;
        }
        match place.remote.make_folders(&place.root, &some).await {
            Ok(refused) => {
                failures = 0;
                for why in refused {
                    tracing::warn!(watch = %settings.name, "cannot make an empty folder at the destination: {why}");
                }
                tracing::debug!(watch = %settings.name, folders = some.len(), "empty folders are made");
                context.folders.made(some);
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(watch = %settings.name, "cannot make empty folders at the destination: {error}");
                tokio::time::sleep(retry.wait(failures, clock::chance())).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_not_made_again_and_what_waits_is_bounded() {
        let folders = Folders::default();
        let path = |nth: usize| RelPath::parse(nth.to_string().as_bytes()).expect("a path");
        (0..2 * MOST).for_each(|nth| folders.met(&path(nth)));
        assert_eq!(folders.state().waiting.len(), MOST);
        assert_eq!(folders.some().len(), AT_ONCE);
        folders.made((0..MOST).map(path).collect());
        folders.met(&path(0));
        assert!(folders.some().is_empty());
    }
}
