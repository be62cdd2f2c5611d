//! Follows the files of one watch while they grow: looks, and does what `skiff_common::growth` decides.
//!
//! Runs in a thread of its own, as a scanner does; one step at a time, so that a slow destination holds up this watch
//! alone. Goes on looking while the destination can't be reached, for what is held open can be read even when it has
//! been deleted. Promises that a name is recorded before it is claimed. Lacks decisions.

mod compare;
mod folder;
mod reading;
mod telling;
mod work;

use std::cell::{Cell, OnceCell};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use skiff_common::growth::{FileId, Ledger, Log, LogId, Note, Outcome, Task};
use tokio::runtime::Handle;

use crate::context::WatchContext;
use crate::journal::{Journal, JournalError, NO_SPACE_PAUSE};
use crate::machine::sender;
use crate::receipts::Receipts;
use crate::remote::RemoteError;
use crate::route;
use crate::scan::ScanError;
use crate::source::Root;
use crate::status::Status;
use crate::watched::{Sight, WatchedFolder};
use folder::Folder;
use reading::{Known, Pace};
use telling::Telling;
pub(crate) use telling::log_item;

/// How often what grew is recorded. What a crash loses of it is found again at the destination; a record each time would
/// wear out flash.
const RECORD_EVERY: Duration = Duration::from_secs(10);
/// How long a step may take to end after a stop, however often it asks the destination.
const GRACE: Duration = Duration::from_secs(2);
/// A look rests so many times as long as it took: a large tree must not become all that is done.
const LOOK_SHARE: u32 = 10;

/// Follows one watch.
pub(crate) struct Follower {
    context: Arc<WatchContext>,
    journal: Option<Journal>,
    receipts: Receipts,
    status: Arc<Status>,
    runtime: Handle,
    ledger: Ledger,
    folder: Folder,
    watched: WatchedFolder,
    /// Names our staging at the destination.
    staging: String,
    losses: PathBuf,
    known: HashMap<LogId, Known>,
    soon: HashMap<LogId, Log>,
    recorded: Instant,
    pace: Pace,
    telling: Telling,
    /// Whether the destination answered since that was asked last.
    reached: Cell<bool>,
    /// When a step that runs at a stop is given up.
    given_up_at: OnceCell<Instant>,
}

impl Follower {
    /// One that takes up what the journal remembers. `trusted`: the journal is all that there was. Needs a runtime.
    pub(crate) fn new(
        context: Arc<WatchContext>,
        (journal, trusted): (Option<Journal>, bool),
        (receipts, state_dir): (Receipts, &Path),
        status: Arc<Status>,
    ) -> Result<Self, JournalError> {
        let logs = match &journal {
            Some(journal) => journal.growing(&context.settings.name)?,
            None => Vec::new(),
        };
        let ledger = Ledger::new(&sender(), context.on_conflict, trusted && journal.is_some(), logs);
        Ok(Self {
            folder: Folder::of(&context),
            watched: WatchedFolder::of(&context, journal.as_ref()),
            staging: blake3::hash(context.settings.name.as_bytes()).to_hex()[..16].to_owned(),
            losses: state_dir.join("losses.jsonl"),
            context,
            journal,
            receipts,
            status,
            runtime: Handle::current(),
            ledger,
            known: HashMap::new(),
            soon: HashMap::new(),
            recorded: Instant::now(),
            pace: Pace::default(),
            telling: Telling::new(),
            reached: Cell::new(false),
            given_up_at: OnceCell::new(),
        })
    }

    /// Follows until it is told to stop.
    pub(crate) fn run(mut self) -> Result<(), ScanError> {
        let waker = Arc::clone(&self.context.waker);
        let mut patience = Duration::ZERO;
        tracing::debug!(watch = %self.context.settings.name, "its follower begins");
        while !waker.is_stopped() {
            let (_, ticket) = waker.wait(patience);
            if waker.is_stopped() {
                break;
            }
            let begin = Instant::now();
            let root = match self.root() {
                Err(error @ JournalError::NoSpace { .. }) => {
                    self.context.complain(&error.to_string());
                    None
                }
                looked => looked?,
            };
            if let Some(root) = root
                && let Some(sightings) = self.folder.look(&root, &self.context, &self.ledger)
            {
                let notes = self.ledger.observe(&sightings);
                let looked = begin.elapsed();
                self.note(notes)?;
                self.folder.keep_only(&self.ledger);
                patience = (looked * LOOK_SHARE).max(self.context.settings.flush_interval);
                if !waker.is_paused() && !self.rests() && self.telling.may_begin() {
                    self.work_off(&root, begin + patience)?;
                }
            } else {
                patience = self.context.settings.flush_interval.max(Duration::from_secs(1));
            }
            self.tell();
            self.record_in_time()?;
            waker.answer(ticket);
            // From the begin of one look to that of the next.
            patience = patience.saturating_sub(begin.elapsed()).max(Duration::from_millis(10));
        }
        let recorded = self.record_soon();
        tracing::debug!(watch = %self.context.settings.name, "its follower has ended");
        recorded
    }

    /// Whether the destination is to get nothing now.
    fn rests(&self) -> bool {
        self.context.places[0].remote.rests()
    }

    /// Does what can be done until the next look is due, a step at least: what isn't looked at may be packed meanwhile.
    fn work_off(&mut self, root: &Root, due: Instant) -> Result<(), ScanError> {
        let waker = Arc::clone(&self.context.waker);
        while !waker.is_stopped() && !waker.is_paused() && !self.rests() {
            let Some(step) = self.ledger.next_step() else {
                self.context.set_looked();
                break;
            };
            if let Some(record) = step.record {
                self.record(&[record], &[])?;
                if self.is_stopped() {
                    // It may not be recorded, so nothing may rely on it.
                    break;
                }
            }
            tracing::trace!(watch = %self.context.settings.name, task = ?step.task, "to do");
            if !self.take(root, &step.task)? || Instant::now() >= due {
                break;
            }
        }
        Ok(())
    }

    /// Takes a step; whether another one may follow.
    fn take(&mut self, root: &Root, task: &Task) -> Result<bool, ScanError> {
        let log = self.log(task.log()).path;
        let (outcome, failure) = match self.work(root, task) {
            Ok(outcome) => (outcome, None),
            Err(Unended::Remote(error @ RemoteError::Denied { .. })) => {
                self.denied(task, &log, &error);
                (Outcome::Denied, None)
            }
            Err(failure) => (Outcome::Failed, Some(failure)),
        };
        let notes = self.ledger.on(task, &outcome);
        self.note(notes)?;
        match failure {
            None => {
                self.ended(task, &outcome);
                return Ok(true);
            }
            Some(Unended::Remote(error)) => self.failed(&log, &error),
            Some(Unended::Stopped) => {}
            Some(Unended::Receipts(error)) => {
                self.complain(&log, &format!("cannot write the receipts: {error}"));
                self.telling.rest(NO_SPACE_PAUSE);
            }
        }
        Ok(false)
    }

    fn note(&mut self, notes: Vec<Note>) -> Result<(), ScanError> {
        let (mut keep, mut over) = (Vec::new(), Vec::new());
        for note in notes {
            match note {
                Note::Keep(log) => {
                    self.soon.remove(&log.id);
                    keep.push(log);
                }
                Note::Soon(log) => drop(self.soon.insert(log.id, log)),
                Note::Forget(log) => {
                    self.soon.remove(&log);
                    self.known.remove(&log);
                    self.telling.forget(log);
                    over.push(log);
                }
            }
        }
        self.record(&keep, &over)
    }

    fn record_in_time(&mut self) -> Result<(), ScanError> {
        if self.recorded.elapsed() < RECORD_EVERY {
            return Ok(());
        }
        self.record_soon()
    }

    fn record_soon(&mut self) -> Result<(), ScanError> {
        self.recorded = Instant::now();
        let logs: Vec<Log> = std::mem::take(&mut self.soon).into_values().collect();
        self.record(&logs, &[])
    }

    /// Waits while the disk is full. Where a stop ends that, nothing is recorded, which costs a look.
    fn record(&self, keep: &[Log], over: &[LogId]) -> Result<(), ScanError> {
        let Some(journal) = self.journal.as_ref().filter(|_| !keep.is_empty() || !over.is_empty()) else {
            return Ok(());
        };
        let mut told = false;
        loop {
            match journal.note_growth(&self.context.settings.name, keep.to_vec(), over) {
                Err(JournalError::NoSpace { .. }) if self.is_stopped() => return Ok(()),
                Err(error @ JournalError::NoSpace { .. }) => {
                    // Once: the log may stand on the same disk.
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(%error, "waiting for space; nothing is shipped meanwhile");
                    }
                    self.context.waker.wait_for_stop(NO_SPACE_PAUSE);
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Runs something at the destination; a stop ends it a moment later.
    fn at_destination<T>(&self, doing: impl Future<Output = Result<T, RemoteError>>) -> Result<T, Unended> {
        let waker = &self.context.waker;
        let stopped = async {
            while !waker.is_stopped() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let given_up_at = *self.given_up_at.get_or_init(|| Instant::now() + GRACE);
            tokio::time::sleep_until(given_up_at.into()).await;
        };
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                done = doing => {
                    self.reached.set(matches!(done, Ok(_) | Err(RemoteError::Denied { .. })));
                    done.map_err(Unended::Remote)
                }
                () = stopped => Err(Unended::Stopped),
            }
        })
    }

    fn is_stopped(&self) -> bool {
        self.context.waker.is_stopped()
    }

    fn watch(&self) -> &str {
        route::base(&self.context.settings.name)
    }

    fn destination(&self) -> &str {
        self.context.places[0].remote.name()
    }

    /// The watched folder; `None` while it isn't there, or a file system is missing there.
    fn root(&mut self) -> Result<Option<Root>, JournalError> {
        let (root, id) = match self.watched.look()? {
            Sight::Same(root) => return Ok(Some(root)),
            Sight::Other(root, id) => (root, id),
            Sight::Missing => return Ok(None),
        };
        if self.watched.can_tell() && self.holds_followed(&root) {
            self.watched.decide(true)?;
        }
        if self.watched.misses_mount() {
            // By the folder below it, all logs would have vanished.
            self.watched.wait_for_mount();
            return Ok(None);
        }
        self.context.set_folder(Some(id));
        Ok(Some(root))
    }

    /// Whether a log that is followed stands in the folder.
    fn holds_followed(&mut self, root: &Root) -> bool {
        let Some(seen) = self.folder.look(root, &self.context, &self.ledger) else { return false };
        let followed: HashSet<FileId> = self.ledger.files().collect();
        seen.iter().any(|sighting| followed.contains(&sighting.file))
    }
}

/// Why a step wasn't ended.
enum Unended {
    /// The destination.
    Remote(RemoteError),
    /// The receipts can't be written.
    Receipts(std::io::Error),
    /// The agent ends.
    Stopped,
}

#[cfg(test)]
mod tests;
