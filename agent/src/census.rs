//! Which folders are gone, so that the journal forgets what was delivered of them.
//!
//! A folder is known by its id alone, so no scanner can tell that one is gone: only that none of them has met it. A
//! round begins with all folders of the journal, whoever meets one strikes it off, and when every watch has been
//! scanned whole since then the rest is forgotten. To forget one too many costs sending its files once more.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

use skiff_common::ItemId;

use crate::journal::{Journal, JournalError};

/// The rounds of one journal.
#[derive(Debug)]
pub struct Census {
    journal: Journal,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The watches that take part, by number.
    watches: HashSet<usize>,
    round: Option<Round>,
}

#[derive(Debug)]
struct Round {
    /// Folders of the journal that nobody has met yet.
    unmet: HashSet<ItemId>,
    /// Watches that are being scanned, by a scan that began in this round.
    scanned_now: HashSet<usize>,
    /// Watches that have been scanned whole.
    done: HashSet<usize>,
}

impl Census {
    /// Of the folders that this journal knows.
    pub fn of(journal: Journal) -> Self {
        Self { journal, state: Mutex::default() }
    }

    /// From now on this watch has to be scanned, too. All that begin together join before any of them is scanned.
    pub fn join(&self, watch: usize) {
        self.state().watches.insert(watch);
    }

    /// This watch isn't scanned any more. Its successor has joined before, as nobody else meets what it will meet.
    pub fn leave(&self, watch: usize) {
        let mut state = self.state();
        state.watches.remove(&watch);
        state.round = None;
    }

    /// A scan of this watch begins that is to look into every folder; that of one that has left counts for nothing.
    /// Blocking.
    pub fn begin(&self, watch: usize) -> Result<(), JournalError> {
        let mut state = self.state();
        if !state.watches.contains(&watch) {
            return Ok(());
        }
        if state.round.is_none() {
            let unmet = self.journal.folders()?.into_iter().collect();
            state.round = Some(Round { unmet, scanned_now: HashSet::new(), done: HashSet::new() });
        }
        if let Some(round) = &mut state.round {
            round.scanned_now.insert(watch);
        }
        Ok(())
    }

    /// This folder is there.
    pub fn met(&self, folder: ItemId) {
        if let Some(round) = &mut self.state().round {
            round.unmet.remove(&folder);
        }
    }

    /// The scan is over; whether it looked into every folder. Where it was the last of a round, the journal forgets the
    /// folders that are gone. Blocking.
    pub fn end(&self, watch: usize, whole: bool) -> Result<(), JournalError> {
        let gone: Vec<ItemId> = {
            let mut state = self.state();
            let State { watches, round } = &mut *state;
            let Some(own) = round else { return Ok(()) };
            // One that was cut short ends no round, whoever is left.
            if !own.scanned_now.remove(&watch) || !whole {
                return Ok(());
            }
            own.done.insert(watch);
            if !watches.is_subset(&own.done) {
                return Ok(());
            }
            round.take().into_iter().flat_map(|round| round.unmet).collect()
        };
        if !gone.is_empty() {
            tracing::info!(folders = gone.len(), "folders that are gone are forgotten");
        }
        self.journal.forget(&gone)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

#[cfg(test)]
mod tests {
    use skiff_common::delivery::record::{Delivered, Record};
    use skiff_common::{Algorithm, Digest, Item, RelPath, Shipment, ShipmentKind, Stamp};

    use super::*;

    fn folder(number: u8) -> ItemId {
        ItemId::from_bytes([number; 16])
    }

    /// Of a journal that knows these folders.
    fn census_of(folders: &[u8]) -> (tempfile::TempDir, Census) {
        let dir = tempfile::tempdir().expect("there is room for a folder");
        let (journal, _) = Journal::open(dir.path()).expect("it opens");
        let path = RelPath::parse(b"file").expect("a path");
        let item = ItemId::of("in", &path);
        let stamp = Stamp { dev: 1, ino: 1, size: 1, mtime_ns: 1, ctime_ns: 1 };
        let items = vec![Item { path, stamp, mode: 0o644 }];
        let shipment = Shipment::new("in", "there", ShipmentKind::Batch, items).id;
        let digest = Digest::new(Algorithm::Blake3, [0; 32]);
        let delivered = folders
            .iter()
            .map(|number| Delivered { item, folder: folder(*number), stamp: 1, digest })
            .collect();
        journal.record_blocking(&[Record::Finished { shipment, delivered }]).expect("it is recorded");
        (dir, Census::of(journal))
    }

    fn known(census: &Census) -> Vec<ItemId> {
        census.journal.folders().expect("it is read")
    }

    #[test]
    fn what_no_watch_has_met_is_forgotten() {
        let (_dir, census) = census_of(&[1, 2, 3]);
        census.join(7);
        census.join(8);
        census.begin(7).expect("it is read");
        census.met(folder(1));
        census.end(7, true).expect("nothing is written");
        assert_eq!(known(&census).len(), 3, "the other may meet them");
        census.begin(8).expect("it is read");
        census.met(folder(3));
        census.end(8, true).expect("it is written");
        assert_eq!(known(&census), [folder(1), folder(3)]);
    }

    #[test]
    fn a_scan_with_gaps_forgets_nothing() {
        let (_dir, census) = census_of(&[1]);
        census.join(7);
        census.begin(7).expect("it is read");
        census.end(7, false).expect("nothing is written");
        assert_eq!(known(&census), [folder(1)]);
        census.begin(7).expect("it is read");
        census.end(7, true).expect("it is written");
        assert_eq!(known(&census), []);
    }

    #[test]
    fn a_watch_that_leaves_ends_the_round() {
        let (_dir, census) = census_of(&[1]);
        census.join(7);
        census.join(8);
        census.begin(7).expect("it is read");
        census.leave(8);
        census.end(7, true).expect("nothing is written");
        assert_eq!(known(&census), [folder(1)], "who comes after it may meet it");
    }

    #[test]
    fn a_watch_that_changes_forgets_nothing_before_its_successor_was_scanned() {
        let (_dir, census) = census_of(&[1, 2]);
        census.join(7);
        census.begin(7).expect("it is read");
        census.met(folder(1));
        census.met(folder(2));
        census.end(7, true).expect("nothing is written");
        census.begin(7).expect("it is read");
        census.join(8);
        census.leave(7);
        census.end(7, true).expect("nothing is written");
        // It was told to stop and has not heard yet.
        census.begin(7).expect("nothing is read");
        census.end(7, true).expect("nothing is written");
        assert_eq!(known(&census).len(), 2, "the other may meet them");
        census.begin(8).expect("it is read");
        census.met(folder(2));
        census.end(8, true).expect("it is written");
        assert_eq!(known(&census), [folder(2)]);
    }

    #[test]
    fn a_scan_that_the_end_of_the_last_watch_cuts_short_forgets_nothing() {
        let (_dir, census) = census_of(&[1]);
        census.join(7);
        census.join(8);
        census.leave(8);
        census.begin(7).expect("it is read");
        census.begin(8).expect("nothing is read");
        census.end(8, true).expect("nothing is written");
        census.end(7, false).expect("nothing is written");
        census.leave(7);
        census.begin(7).expect("nothing is read");
        census.end(7, false).expect("nothing is written");
        assert_eq!(known(&census), [folder(1)]);
    }
}
