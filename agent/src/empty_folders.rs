//! The empty folders of a watch, which wait to be made at the destination, where that is asked for.
//!
//! They hold no content, so nothing is recorded: to make one again changes nothing. What a scanner meets waits here, bounded,
//! for a task of its watch (`folder_maker`).

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard};

use skiff_common::RelPath;
use tokio::sync::Notify;

/// Folders that wait, and that are known to be made; what is beyond is met again by a later scan. Each about 1 MiB.
const MOST: usize = 8 << 10;
/// Folders that are made at once: a command of at most a few hundred KiB.
const AT_ONCE: usize = 200;

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

    /// Some of those that wait.
    pub(crate) fn some(&self) -> Vec<RelPath> {
        self.state().waiting.iter().take(AT_ONCE).cloned().collect()
    }

    /// These wait no longer.
    pub(crate) fn made(&self, folders: Vec<RelPath>) {
        let mut state = self.state();
        for folder in folders {
            state.waiting.remove(&folder);
            if state.made.len() < MOST {
                state.made.insert(folder);
            }
        }
    }

    /// At least one of these was refused: they wait no longer, and are asked for again when a scanner meets them again.
    pub(crate) fn refused(&self, folders: &[RelPath]) {
        let mut state = self.state();
        state.waiting.retain(|folder| !folders.contains(folder));
    }

    /// Returns when a scanner has met another one.
    pub(crate) async fn came(&self) {
        self.came.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
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
        folders.refused(&[path(0)]);
        folders.made((1..MOST).map(path).collect());
        (0..2).for_each(|nth| folders.met(&path(nth)));
        assert_eq!(folders.some(), [path(0)]);
    }
}
