//! Whose entries are moved to lower keys, and who reads them meanwhile: where the reading is over with a key, it misses
//! what comes there.
//!
//! Promises that such a reading is told of it. Lacks a lock that the writer and the readers would wait for each other at: the
//! writer waits for nobody, and who begins to read waits no longer than one change takes.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skiff_common::ItemId;

/// The moves in a store.
#[derive(Default)]
pub(super) struct Moves {
    state: Mutex<State>,
    over: Condvar,
}

#[derive(Default)]
struct State {
    /// The folder whose entries move now.
    moving: Option<ItemId>,
    /// The folders that are being read.
    readings: HashMap<ItemId, Readings>,
}

#[derive(Default)]
struct Readings {
    count: usize,
    /// How often entries have begun to move since the first of them.
    moves: u64,
}

/// A folder is being read.
pub(super) struct Reading<'a> {
    moves: &'a Moves,
    folder: ItemId,
    before: u64,
}

/// A folder's entries are being moved.
pub(super) struct Moving<'a>(&'a Moves);

impl Moves {
    /// From now on entries of `folder` move, until what is returned is dropped.
    pub(super) fn begin(&self, folder: ItemId) -> Moving<'_> {
        let mut state = self.state();
        state.moving = Some(folder);
        if let Some(readings) = state.readings.get_mut(&folder) {
            readings.moves += 1;
        }
        Moving(self)
    }

    /// From now on `folder` is read. `None`: its entries have moved for as long as one may wait.
    pub(super) fn read(&self, folder: ItemId, wait: Duration) -> Option<Reading<'_>> {
        let waited = self.over.wait_timeout_while(self.state(), wait, |state| state.moving == Some(folder));
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        let readings = state.readings.entry(folder).or_default();
        readings.count += 1;
        Some(Reading { moves: self, folder, before: readings.moves })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading<'_> {
    /// Whether nothing has moved since it began.
    pub(super) fn is_whole(&self) -> bool {
        self.moves.state().readings[&self.folder].moves == self.before
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut state = self.moves.state();
        let readings = state.readings.get_mut(&self.folder).expect("this one is among them");
        readings.count -= 1;
        if readings.count == 0 {
            state.readings.remove(&self.folder);
        }
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.0.state().moving = None;
        self.0.over.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn a_reading_is_told_of_moves_in_its_own_folder_alone() {
        let (moves, folder, other) =
            (Moves::default(), ItemId::from_bytes([1; 16]), ItemId::from_bytes([2; 16]));
        let (first, elsewhere) = (moves.read(folder, SOON), moves.read(other, SOON));
        drop(moves.begin(folder));
        let second = moves.read(folder, SOON);
        assert!(!first.as_ref().is_some_and(Reading::is_whole));
        assert!(second.as_ref().is_some_and(Reading::is_whole));
        assert!(elsewhere.as_ref().is_some_and(Reading::is_whole));
        drop((first, second, elsewhere));
        assert!(moves.state().readings.is_empty());
    }

    #[test]
    fn who_begins_to_read_waits_for_the_end_of_a_move() {
        let (moves, folder) = (Moves::default(), ItemId::from_bytes([1; 16]));
        let moving = moves.begin(folder);
        assert!(moves.read(folder, Duration::ZERO).is_none());
        assert!(moves.read(ItemId::from_bytes([2; 16]), Duration::ZERO).is_some());
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| moves.read(folder, SOON).is_some_and(|reading| reading.is_whole()));
            drop(moving);
            assert!(reader.join().expect("it reads"));
        });
    }
}
