//! What a scanner is to look at next, gathered from watch events, retries and timers.
//!
//! Bounded: when more paths come than it holds, it asks for a whole scan instead. Events wake; scans decide.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use skiff_common::RelPath;
use tokio::sync::Notify;

/// Paths that are kept apart; beyond this a whole scan is no dearer.
const MOST_PATHS: usize = 4096;

/// What woke a scanner.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// Paths to look at.
    pub paths: Vec<RelPath>,
    /// Whether to look at everything.
    pub all: bool,
}

/// Wakes one scanner.
#[derive(Debug, Default)]
pub struct Waker {
    state: Mutex<State>,
    changed: Condvar,
    /// Who waits for scanners to be idle, if anybody does.
    idle: OnceLock<Arc<Notify>>,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for and answered by somebody else")]
struct State {
    paths: HashSet<RelPath>,
    all: bool,
    stop: bool,
    paused: bool,
    full: bool,
    asked: u64,
    answered: Option<u64>,
}

impl Waker {
    /// Look at this path.
    pub fn path(&self, path: RelPath) {
        self.ask(|state| {
            if state.paths.len() < MOST_PATHS {
                state.paths.insert(path);
            } else {
                state.all = true;
            }
        });
    }

    /// Look at everything: events were lost, or can't be trusted.
    pub fn all(&self) {
        self.ask(|state| state.all = true);
    }

    /// Rest, or go on: then everything is looked at.
    pub fn pause(&self, paused: bool) {
        self.ask(|state| {
            state.all |= state.paused && !paused;
            state.paused = paused;
        });
    }

    /// Whether the scanner is to rest.
    pub fn is_paused(&self) -> bool {
        self.state().paused
    }

    /// Whether the dispatcher has as much of this watch as it takes.
    pub fn fill(&self, full: bool) {
        self.state().full = full;
        self.changed.notify_all();
    }

    /// Waits until the dispatcher takes more of this watch, or the scanner is to end or to rest. Blocks.
    pub fn wait_for_room(&self) {
        let no_room = |state: &mut State| state.full && !state.stop && !state.paused;
        drop(self.changed.wait_while(self.state(), no_room).expect("nothing panics while it holds the lock"));
    }

    /// Waits so long, or until the watch is to end. Blocks.
    pub fn wait_for_stop(&self, at_most: Duration) {
        let goes_on = |state: &mut State| !state.stop;
        let waited = self.changed.wait_timeout_while(self.state(), at_most, goes_on);
        drop(waited.expect("nothing panics while it holds the lock"));
    }

    /// End.
    pub fn stop(&self) {
        self.ask(|state| state.stop = true);
    }

    /// Whether the scanner has dealt with all that it was asked and waits for nothing.
    pub fn is_idle(&self) -> bool {
        let state = self.state();
        state.answered == Some(state.asked)
    }

    /// From now on `idle` is told whenever the scanner is idle; the first to ask is the one who is told.
    pub fn tell_idle(&self, idle: &Arc<Notify>) {
        self.idle.get_or_init(|| Arc::clone(idle));
    }

    /// The scanner has nothing left to do of what it took before `ticket`.
    pub fn answer(&self, ticket: u64) {
        self.state().answered = Some(ticket);
        if let Some(idle) = self.idle.get() {
            idle.notify_one();
        }
    }

    /// Waits for something to do, at most so long. The ticket is for [`answer`](Self::answer).
    pub fn wait(&self, at_most: Duration) -> (Wake, u64) {
        let state = self.state();
        let quiet = |state: &mut State| {
            let nothing_asked = state.paths.is_empty() && !state.all;
            (nothing_asked || state.paused) && !state.stop
        };
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, at_most, quiet)
            .expect("nothing panics while it holds the lock");
        if state.paused {
            return (Wake::default(), state.asked);
        }
        let wake = Wake { paths: state.paths.drain().collect(), all: std::mem::take(&mut state.all) };
        (wake, state.asked)
    }

    /// Whether it is to end.
    pub fn is_stopped(&self) -> bool {
        self.state().stop
    }

    fn ask(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        state.asked += 1;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).expect("a path")
    }

    #[test]
    fn paths_are_gathered_and_told_once() {
        let waker = Waker::default();
        waker.path(path("a"));
        waker.path(path("a"));
        let (wake, ticket) = waker.wait(Duration::ZERO);
        assert_eq!(wake, Wake { paths: vec![path("a")], all: false });
        assert!(!waker.is_idle());
        waker.answer(ticket);
        assert!(waker.is_idle());
        assert_eq!(waker.wait(Duration::ZERO).0, Wake::default());
    }

    #[test]
    fn what_is_asked_of_one_who_rests_is_done_afterwards() {
        let waker = Waker::default();
        waker.pause(true);
        waker.path(path("a"));
        assert_eq!(waker.wait(Duration::ZERO).0, Wake::default());
        waker.pause(false);
        let (wake, _) = waker.wait(Duration::ZERO);
        assert_eq!(wake, Wake { paths: vec![path("a")], all: true });
    }

    #[test]
    fn too_many_paths_become_a_whole_scan() {
        let waker = Waker::default();
        (0..=MOST_PATHS).for_each(|n| waker.path(path(&n.to_string())));
        let (wake, _) = waker.wait(Duration::ZERO);
        assert_eq!((wake.paths.len(), wake.all), (MOST_PATHS, true));
    }
}
