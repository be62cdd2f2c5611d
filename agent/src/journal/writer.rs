//! The one thread that writes: takes what is queued, applies it, syncs once, answers all.
//!
//! After an error nothing is answered with success until the store was opened again. A full disk is the one error it
//! gets over by itself: the next request that finds space reopens the store. Any other (a failed sync above all, after
//! which nobody knows what is on the disk) stays until the process ends.
//!
//! A store that has become much larger than what it holds is exchanged for a smaller copy between two commits.

use std::sync::Arc;
use std::time::Duration;

use skiff_common::delivery::record::Record;
use tokio::sync::mpsc;

use super::change::Change;
use super::compact;
use super::deadline::{self, in_time};
use super::error::JournalError;
use super::ledger::Ledger;
use super::lock::Lock;
use super::opening;
use super::reserve::Reserve;
use super::side::Side;
use super::slot::Slot;
use super::state_folder::StateFolder;
use super::store::Store;

/// The most requests of one commit. More don't make the sync any cheaper, but let the first wait longer.
const GROUP: usize = 64;
/// How many requests may wait: one group. A request is at most a shipment (1,000 items, 200 KB), 1,000 held items, or 24
/// bytes for each file that is gone of a folder; and few ask for as much at once, as each waits for the answer.
pub(super) const QUEUE: usize = GROUP;

/// How many commits make a look at the store's size worth while.
const COMMITS_A_LOOK: u32 = 1024;

/// Tells whoever asked.
pub(super) type Reply = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// What is asked, and whom to tell.
pub(super) struct Request {
    pub(super) work: Work,
    pub(super) reply: Reply,
}

/// What is asked.
pub(super) enum Work {
    Write(Vec<Change>),
    Close,
}

impl Work {
    pub(super) fn record(records: &[Record]) -> Self {
        Self::Write(records.iter().cloned().map(Change::Record).collect())
    }
}

/// The writer's own things.
pub(super) struct Writer {
    pub(super) queue: mpsc::Receiver<Request>,
    pub(super) slot: Arc<Slot>,
    pub(super) side: Side,
    pub(super) place: StateFolder,
    pub(super) reserve: Reserve,
    /// Held as long as there is a writer.
    pub(super) lock: Lock,
    /// Commits since the store's size was looked at.
    pub(super) commits: u32,
    /// Whether a copy is tried; after one has failed, the next start tries again.
    pub(super) shrinks: bool,
}

impl Writer {
    /// Works until it is told to close, or nobody is left to tell it.
    pub(super) fn run(mut self) {
        let mut close = None;
        while close.is_none()
            && let Some(first) = self.queue.blocking_recv()
        {
            let (changes, replies);
            (changes, replies, close) = self.group(first);
            let outcome = self.commit(changes);
            for reply in replies {
                reply(outcome.clone());
            }
            if outcome.is_ok() && close.is_none() {
                self.shrink();
            }
        }
        let outcome = self.close();
        if let Err(error) = &outcome {
            tracing::error!(%error, "the journal did not close well");
        }
        drop(self.lock);
        if let Some(reply) = close {
            reply(outcome);
        }
    }

    /// Whatever waits, up to a request to close.
    fn group(&mut self, first: Request) -> (Vec<Change>, Vec<Reply>, Option<Reply>) {
        let (mut changes, mut replies) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(Request { work, reply }) = next {
            match work {
                Work::Write(more) => changes.extend(more),
                Work::Close => return (changes, replies, Some(reply)),
            }
            replies.push(reply);
            next = if replies.len() < GROUP { self.queue.try_recv().ok() } else { None };
        }
        (changes, replies, None)
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), JournalError> {
        // Asked before, because sled's handle is useless once it met a full disk.
        self.reserve.require_space(&self.place, "write to")?;
        let store = self.store()?;
        self.commits += 1;
        if changes.iter().any(Change::frees) {
            self.commits = COMMITS_A_LOOK;
        }
        let committed = commit(&store, &self.side, changes);
        if let Err(error) = &committed {
            drop(store);
            self.fail(error.clone());
        }
        committed
    }

    /// The store, opened again where the disk was full before.
    fn store(&mut self) -> Result<Arc<Store>, JournalError> {
        match self.slot.store() {
            Err(JournalError::NoSpace { .. }) => self.reopen()?,
            other => return other,
        }
        self.slot.store()
    }

    fn reopen(&mut self) -> Result<(), JournalError> {
        let opened = opening::open(&self.place)?;
        tracing::info!(path = %self.place.journal().display(), "there is space again; the journal is open");
        self.side = opened.side;
        let _ = self.slot.replace(Ok(opened.store));
        Ok(())
    }

    /// Exchanges the store for a smaller copy, where that saves much. Not while somebody waits.
    fn shrink(&mut self) {
        if self.commits < COMMITS_A_LOOK || !self.queue.is_empty() {
            return;
        }
        self.commits = 0;
        let Ok(store) = self.slot.store() else { return };
        // From the open store: to open it again, sled would read all that went through it since it was opened last.
        if self.shrinks && compact::is_worth_a_break(&store, &self.place) {
            self.shrinks = self.copy(store);
            if self.shrinks {
                self.exchange();
            }
        }
    }

    fn copy(&self, store: Arc<Store>) -> bool {
        let (dir, place) = (self.place.journal(), self.place.clone());
        let copied = in_time("copy", &dir, deadline::COPY, move || {
            compact::try_copy(&store, store.logical_bytes(), &place)
        });
        copied.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot make the journal smaller");
            false
        })
    }

    /// Puts the copy in the store's place. Who asks for the store meanwhile waits.
    fn exchange(&mut self) {
        let (place, side) = (&self.place, &mut self.side);
        let exchanged = self.slot.exchange(|store| {
            in_time("close", &place.journal(), deadline::COMMIT, move || wait_for_readers(store))?;
            // What is left half-way is mended by the opening.
            if let Err(error) = place.swap() {
                tracing::warn!(%error, "cannot make the journal smaller");
            }
            let opened = opening::open(place)?;
            *side = opened.side;
            Ok(opened.store)
        });
        match exchanged {
            Ok(()) => tracing::info!("the journal was made smaller"),
            Err(error) => tracing::error!(%error, "the journal takes nothing more"),
        }
    }

    fn fail(&mut self, error: JournalError) {
        tracing::error!(%error, "the journal takes nothing more");
        if let Err(error) = self.empty_slot(error) {
            // What hangs still has its file open: no second store may be opened beside it.
            let _ = self.slot.replace(Err(error));
        }
    }

    fn close(&mut self) -> Result<(), JournalError> {
        let open = self.slot.store().map(drop);
        self.empty_slot(JournalError::Closed)?;
        open.and_then(|()| self.side.sync())
    }

    fn empty_slot(&mut self, reason: JournalError) -> Result<(), JournalError> {
        let store = self.slot.replace(Err(reason));
        in_time("close", &self.place.journal(), deadline::COMMIT, move || store.map_or((), wait_for_readers))
    }
}

fn commit(store: &Store, side: &Side, changes: Vec<Change>) -> Result<(), JournalError> {
    let mut ledger = Ledger::new(store);
    changes.into_iter().try_for_each(|change| ledger.write(change))?;
    ledger.apply()?;
    let Some(seq) = ledger.seq() else { return Ok(()) };
    store.sync()?;
    side.write(seq)
}

/// Drops the store, once no reader has it any more.
fn wait_for_readers(mut store: Arc<Store>) {
    loop {
        match Arc::try_unwrap(store) {
            Ok(store) => return drop(store),
            Err(shared) => store = shared,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
