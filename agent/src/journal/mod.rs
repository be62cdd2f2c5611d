//! What must survive a restart: shipments under way, items that wait, and what was delivered of files that stay.
//!
//! The journal is a cache of what the watched folders and the destination say already. So it promises that nothing is
//! acknowledged before it is durable and that it never answers from a store it can't trust; it doesn't promise to be
//! there. A damaged, rolled back or lost one is moved away and reported ([`Trust`]), and costs comparing again.
//!
//! One thread writes, whatever waits in one commit. Reading is for blocking threads. sled stands behind
//! `store` alone. There is no history here: that is `receipts.jsonl`.

mod change;
mod compact;
mod completed;
mod deadline;
mod error;
mod folder;
mod glance;
mod head;
mod keys;
mod ledger;
mod legs;
mod lock;
mod log;
mod mount;
mod moves;
mod opening;
mod owner;
mod reserve;
mod side;
mod slot;
mod state_folder;
mod store;
mod trust;
mod value;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread;
use std::time::{Duration, Instant};

use skiff_common::delivery::record::{HeldItem, Record};
use skiff_common::growth::{Log, LogId};
use skiff_common::{ItemId, Shipment};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

pub use error::JournalError;
pub use folder::DeliveredFolder;
pub use legs::LegsNote;
pub use mount::MountNote;
pub(crate) use state_folder::make_folder;
pub use trust::{Opening, Trust};
#[cfg(any(test, fuzzing))]
pub(crate) use value::any_value;

use change::Change;
use keys::{Kind, legs_key, mount_key};
use lock::Lock;
use reserve::Reserve;
use slot::Slot;
use state_folder::StateFolder;
use store::Store;
use value::{unseal_held, unseal_log};
use verify::Verified;
use writer::{QUEUE, Request, Work, Writer};

/// How often who was refused for want of space asks again.
pub(crate) const NO_SPACE_PAUSE: Duration = Duration::from_secs(5);
/// How many folders are forgotten in one request.
const FORGET_AT_ONCE: usize = 256;
/// How many records are stored in one request. Most are a transaction of their own, and a request has its deadline.
const RECORD_AT_ONCE: usize = 1000;

/// What a journal remembers that isn't delivered.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Peek {
    /// Shipments that were on their way.
    pub pending: Vec<Shipment>,
    /// Items that wait or are quarantined.
    pub held: Vec<HeldItem>,
    /// Logs that are delivered while they grow, each with the id of its watch's folder.
    pub logs: Vec<(ItemId, Log)>,
}

/// The open journal. Clones are the same journal.
#[derive(Clone)]
pub struct Journal {
    queue: mpsc::Sender<Request>,
    slot: Arc<Slot>,
    path: PathBuf,
}

impl Journal {
    /// Opens the journal in `state_dir`, makes both where they are missing, and tells what was in it. Blocking, for
    /// seconds where it is large. A journal that can't be trusted is moved to `journal.quarantine-<unix seconds>`.
    pub fn open(state_dir: &Path) -> Result<(Self, Opening), JournalError> {
        let place = StateFolder::make(state_dir)?;
        // Before all that writes.
        reserve::make_room(&place);
        let lock = Lock::take_patiently(&place.lock())?;
        let opened = opening::open_or_rebuild(&place)?;
        let slot = Arc::new(Slot::with(opened.store));
        let (queue, requests) = mpsc::channel(QUEUE);
        let journal = Self { queue, slot: slot.clone(), path: place.journal() };
        let (reserve, side) = (Reserve::new(), opened.side);
        let writer = Writer { queue: requests, slot, side, place, reserve, lock, commits: 0, shrinks: true };
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run());
        thread.map_err(|error| JournalError::io("start the writer of", &journal.path, error))?;
        Ok((journal, opened.opening))
    }

    /// Records what happened, in this order; durable on return. After an error nobody knows: it may be there or not,
    /// which every record bears. [`JournalError::NoSpace`] is worth another try.
    pub async fn record(&self, records: &[Record]) -> Result<(), JournalError> {
        for some in records.chunks(RECORD_AT_ONCE) {
            self.ask(Work::record(some)).await?;
        }
        Ok(())
    }

    /// As [`Journal::record`], for threads that may block.
    pub fn record_blocking(&self, records: &[Record]) -> Result<(), JournalError> {
        records.chunks(RECORD_AT_ONCE).try_for_each(|some| self.ask_blocking(Work::record(some)))
    }

    /// What is delivered of `folder`. Blocking.
    pub fn delivered_in(&self, folder: ItemId) -> Result<DeliveredFolder, JournalError> {
        DeliveredFolder::read(&self.slot, folder)
    }

    /// All items that wait or are quarantined. Blocking.
    pub fn held(&self) -> Result<Vec<HeldItem>, JournalError> {
        let store = self.slot.store()?;
        let held = store.scan(Kind::Held, &[]);
        held.map(|record| unseal_held(&record?.1).map_err(|bad| store.bad_value(bad))).collect()
    }

    /// All that is known of the logs of a watch. Blocking.
    pub fn growing(&self, watch: &str) -> Result<Vec<Log>, JournalError> {
        let store = self.slot.store()?;
        let logs = store.scan(Kind::Growing, ItemId::of_folder(watch, None).bytes());
        logs.map(|record| unseal_log(&record?.1).map_err(|bad| store.bad_value(bad))).collect()
    }

    /// Keeps what is known of these logs of a watch, and drops what was known of those; durable on return. Blocking.
    pub fn note_growth(&self, watch: &str, keep: Vec<Log>, over: &[LogId]) -> Result<(), JournalError> {
        let watch = ItemId::of_folder(watch, None);
        let kept = keep.into_iter().map(|log| Change::Grown(watch, Box::new(log)));
        self.ask_blocking(Work::Write(kept.chain(over.iter().map(|log| Change::Over(watch, *log))).collect()))
    }

    /// The mount that the folder of this watch was, if it was one when it was looked at last. Blocking.
    pub fn mount(&self, watch: &str) -> Result<Option<MountNote>, JournalError> {
        let key = mount_key(ItemId::of_folder(watch, None));
        Ok(self.slot.store()?.get(Kind::Meta, &key)?.map(|note| MountNote::unseal(&note)))
    }

    /// Keeps that in mind, or that it is none; durable on return. Blocking.
    pub fn note_mount(&self, watch: &str, note: Option<MountNote>) -> Result<(), JournalError> {
        self.ask_blocking(Work::Write(vec![Change::Mount(ItemId::of_folder(watch, None), note)]))
    }

    /// Where this watch delivered to when it was scanned last, if it was to all of several. Blocking.
    pub fn legs(&self, watch: &str) -> Result<Option<LegsNote>, JournalError> {
        let note = self.slot.store()?.get(Kind::Meta, &legs_key(ItemId::of_folder(watch, None)))?;
        Ok(note.and_then(|note| LegsNote::unseal(&note).ok()))
    }

    /// Keeps that in mind; durable on return. Blocking.
    pub fn note_legs(&self, watch: &str, note: LegsNote) -> Result<(), JournalError> {
        self.ask_blocking(Work::Write(vec![Change::Legs(ItemId::of_folder(watch, None), note)]))
    }

    /// Why what it doesn't know may have been delivered; `None`: it wasn't. See [`Opening::doubt`]. Blocking.
    pub fn doubt(&self) -> Result<Option<String>, JournalError> {
        trust::doubt_of(&*self.slot.store()?)
    }

    /// All that was there has been compared with the destinations: what it doesn't know wasn't delivered. Durable on
    /// return.
    pub async fn end_doubt(&self) -> Result<(), JournalError> {
        self.ask(Work::Write(vec![Change::Certain])).await
    }

    /// Whether it takes records, and is opened again where the disk was full before. Blocking.
    pub fn try_again(&self) -> Result<(), JournalError> {
        self.ask_blocking(Work::Write(Vec::new()))
    }

    /// What the journal in `state_dir` says, while no skiff works with it: nothing is made, repaired or set aside.
    /// `None`: there is no journal. Blocking; takes the lock of the state folder meanwhile.
    pub fn peek(state_dir: &Path) -> Result<Option<Peek>, JournalError> {
        let place = StateFolder::at(state_dir);
        if !place.has_journal() {
            return Ok(None);
        }
        let _lock = Lock::take(&place.lock())?;
        let dir = place.journal();
        deadline::in_time("read", &dir.clone(), deadline::OPEN, move || {
            let store = Store::open(&dir)?;
            let Verified { pending, held, logs, .. } = verify::look(&store)?;
            Ok(Some(Peek { pending, held, logs }))
        })?
    }

    /// What root has made in a state folder of another user's becomes that user's, who has to work with it. Blocking.
    pub fn hand_over(state_dir: &Path) -> Result<(), JournalError> {
        owner::hand_over(state_dir).map_err(|error| JournalError::io("hand over", state_dir, error))
    }

    /// What it takes on disk, in bytes.
    pub fn bytes_on_disk(state_dir: &Path) -> u64 {
        fn size(folder: &Path) -> u64 {
            let Ok(listing) = std::fs::read_dir(folder) else { return 0 };
            let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
                Ok(of) if of.is_dir() => size(&entry.path()),
                Ok(of) => of.len(),
                Err(_) => 0,
            };
            listing.flatten().map(bytes).sum()
        }
        size(&StateFolder::at(state_dir).journal())
    }

    /// Drops what is known of items that `keep` doesn't name: the scanner's, after it has listed the folder. What was
    /// delivered since `known` was read stays. Writes nothing where there is nothing to drop; returns how many
    /// versions were dropped. Blocking.
    pub fn keep_only(
        &self,
        known: &DeliveredFolder,
        keep: impl Fn(ItemId) -> bool,
    ) -> Result<usize, JournalError> {
        let versions = known.useless(keep);
        let count = versions.len();
        if count > 0 {
            self.ask_blocking(Work::Write(vec![Change::Drop { folder: known.folder(), versions }]))?;
        }
        Ok(count)
    }

    /// The folders of which something is delivered. Blocking.
    pub fn folders(&self) -> Result<Vec<ItemId>, JournalError> {
        completed::folders(&*self.slot.store()?)
    }

    /// Drops what is delivered of these folders, of whatever watch. Blocking.
    pub fn forget(&self, folders: &[ItemId]) -> Result<(), JournalError> {
        folders.chunks(FORGET_AT_ONCE).try_for_each(|some| {
            self.ask_blocking(Work::Write(some.iter().copied().map(Change::Forget).collect()))
        })
    }

    /// Writes what is queued and closes the store. Other clones then get [`JournalError::Closed`]. A journal that is
    /// only dropped closes too, a moment later. Blocking.
    pub fn close_blocking(self) -> Result<(), JournalError> {
        self.ask_blocking(Work::Close)
    }

    /// As [`Journal::close_blocking`], for tests with a runtime.
    #[cfg(test)]
    pub(crate) async fn close(self) -> Result<(), JournalError> {
        self.ask(Work::Close).await
    }

    async fn ask(&self, work: Work) -> Result<(), JournalError> {
        let (answer, answered) = oneshot::channel();
        let reply = Box::new(move |outcome| drop(answer.send(outcome)));
        let asked = async {
            self.queue.send(Request { work, reply }).await.map_err(|_| JournalError::Closed)?;
            answered.await.unwrap_or(Err(JournalError::Closed))
        };
        tokio::time::timeout(deadline::COMMIT, asked).await.unwrap_or_else(|_| Err(self.stalled()))
    }

    fn ask_blocking(&self, work: Work) -> Result<(), JournalError> {
        let deadline = Instant::now() + deadline::COMMIT;
        // One answer.
        let (answer, answered) = blocking::sync_channel(1);
        let reply = Box::new(move |outcome| drop(answer.send(outcome)));
        self.send_until(deadline, Request { work, reply })?;
        match answered.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(outcome) => outcome,
            Err(blocking::RecvTimeoutError::Timeout) => Err(self.stalled()),
            Err(blocking::RecvTimeoutError::Disconnected) => Err(JournalError::Closed),
        }
    }

    /// Waits for room in the queue, which tokio's own blocking send does without a deadline.
    fn send_until(&self, deadline: Instant, mut request: Request) -> Result<(), JournalError> {
        loop {
            request = match self.queue.try_send(request) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(_)) => return Err(JournalError::Closed),
                Err(TrySendError::Full(request)) if Instant::now() < deadline => request,
                Err(TrySendError::Full(_)) => return Err(self.stalled()),
            };
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn stalled(&self) -> JournalError {
        JournalError::Stalled { attempt: "commit to", path: self.path.clone(), after: deadline::COMMIT }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).finish_non_exhaustive()
    }
}
