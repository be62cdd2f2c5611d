//! One watch's scanner: finds files that have settled and hands them on.
//!
//! Promises to look at every file below the folder at start, on a timer and after every trouble with events. Waits when
//! the dispatcher or the settler is full, so that its memory is bounded whatever lies in the folder. Blocks: runs in a
//! thread of its own.

mod by_others;
mod leftover;
mod place;
mod settled;
mod unsettled;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use skiff_common::settle::Settler;
use skiff_common::{Item, ItemId, Moment, RelPath};
use tokio::sync::mpsc;

use crate::admission::Admission;
use crate::census::Census;
use crate::clock;
use crate::closed::Closed;
use crate::context::WatchContext;
use crate::ignores::Ignores;
use crate::journal::{DeliveredFolder, Journal, JournalError, NO_SPACE_PAUSE};
use crate::source::Root;
use crate::wake::{Wake, Waker};
use crate::watch::Events;
use crate::watched::WatchedFolder;
use by_others::ByOthers;
use leftover::Leftover;

/// Files that are waited for at a time; more are found when these have settled. About 2 MiB.
const SETTLING: usize = 16 << 10;
/// How often a folder that can't be watched or isn't there is looked at.
const POLL: Duration = Duration::from_secs(2);
/// How often to look whether the folder still is the one that is watched: one open, one close.
const ROOT_CHECK: Duration = Duration::from_secs(5);
/// How soon after trouble everything is looked at again: what was out of reach may tell nobody when it no longer is.
const TROUBLE: Duration = Duration::from_secs(30);
/// A polled tree rests so many times as long as it took to scan.
const POLL_SHARE: u32 = 10;

/// A settled file.
pub struct Settled {
    /// The watch's number.
    pub watch: usize,
    /// The watch's name.
    pub of: Arc<str>,
    /// The file.
    pub item: Item,
    /// Whether the first whole scan met it.
    pub first_scan: bool,
    /// Whether the journal has it as delivered when the watch had another route: it may stand at the destination.
    pub may_stand: bool,
}

/// What ended a scanner early.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The journal can't be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Scans one watch.
pub struct Scanner {
    context: Arc<WatchContext>,
    name: Arc<str>,
    admission: Arc<Admission>,
    journal: Option<Journal>,
    census: Option<Arc<Census>>,
    out: mpsc::Sender<Settled>,
    waker: Arc<Waker>,
    settler: Settler,
    cached: Option<DeliveredFolder>,
    /// What was delivered of the folder that was looked at last, by other routes.
    former: ByOthers,
    /// Files that wait and were met by the first scan, and whether they were delivered by another route.
    met_first: HashMap<RelPath, bool>,
    leftover: Leftover,
    ignores: Ignores,
    first_scan: bool,
    next_scan: Moment,
    watched: WatchedFolder,
    /// How long a file holds still at least, where the folder's file system tells times coarsely.
    least_rest: Duration,
    events: Option<Events>,
    trouble: bool,
    /// Whether the scan left something out because of a pause, which may be over by now, or of a stop.
    interrupted: bool,
    closed: Closed,
    /// When to tell of what doesn't settle, and what was told.
    next_told: Moment,
    told_unsettled: HashSet<RelPath>,
    /// What the scan has met that is no file, and how often; and what was told of it last.
    left_out: BTreeMap<&'static str, u64>,
    told: BTreeMap<&'static str, u64>,
}

impl Scanner {
    /// A scanner that hands on to `out`. It takes part in the census, if any.
    pub fn new(
        context: Arc<WatchContext>,
        admission: Arc<Admission>,
        (journal, census): (Option<Journal>, Option<Arc<Census>>),
        out: mpsc::Sender<Settled>,
    ) -> Self {
        let settler = Settler::new(context.settings.settle, SETTLING);
        let waker = Arc::clone(&context.waker);
        let watched = WatchedFolder::of(&context, journal.as_ref());
        let next_scan = Moment::START;
        Self {
            ignores: Ignores::of(context.settings.taken.ignore_file.as_deref()),
            name: context.settings.name.as_str().into(),
            context,
            admission,
            journal,
            census,
            out,
            waker,
            settler,
            cached: None,
            former: ByOthers::default(),
            met_first: HashMap::new(),
            leftover: Leftover::default(),
            first_scan: true,
            next_scan,
            watched,
            least_rest: Duration::ZERO,
            events: None,
            trouble: false,
            interrupted: false,
            closed: Closed::default(),
            next_told: Moment::START,
            told_unsettled: HashSet::new(),
            left_out: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// Scans until it is told to stop.
    pub fn run(mut self) -> Result<(), ScanError> {
        while !self.waker.is_stopped() {
            let patience = if self.waker.is_paused() { ROOT_CHECK } else { self.patience() };
            let (wake, ticket) = self.waker.wait(patience);
            if self.waker.is_paused() {
                continue;
            }
            // The folder isn't held open while it waits.
            match self.look_round(wake) {
                Err(ScanError::Journal(error @ JournalError::NoSpace { .. })) => {
                    self.wait_for_space(&error);
                    continue;
                }
                looked => looked?,
            }
            self.tell_unsettled(clock::now());
            self.tell_looked();
            if self.settler.is_empty() && !self.first_scan {
                self.waker.answer(ticket);
            }
        }
        Ok(())
    }

    /// What was left out is looked at when there is space again.
    fn wait_for_space(&mut self, error: &JournalError) {
        let watch = &self.context.settings.name;
        tracing::error!(%watch, %error, "waiting for space; nothing is found meanwhile");
        let still_full = || {
            self.journal
                .as_ref()
                .is_some_and(|it| matches!(it.try_again(), Err(JournalError::NoSpace { .. })))
        };
        while !self.waker.is_stopped() {
            self.waker.wait_for_stop(NO_SPACE_PAUSE);
            if !still_full() {
                break;
            }
        }
        self.next_scan = Moment::START;
    }

    fn patience(&mut self) -> Duration {
        let due = self.settler.next_due().map_or(self.next_scan, |due| due.min(self.next_scan));
        // No event tells that a folder above was renamed, or that a file system was mounted here.
        due.since(clock::now()).min(ROOT_CHECK)
    }

    fn look_round(&mut self, wake: Wake) -> Result<(), ScanError> {
        let Some(root) = self.root()? else { return Ok(()) };
        self.look_at_due(&root)?;
        for path in wake.paths {
            self.look(&root, &path)?;
        }
        if wake.all || self.next_scan <= clock::now() {
            self.scan_all(&root)?;
        }
        Ok(())
    }

    fn scan_all(&mut self, root: &Root) -> Result<(), ScanError> {
        let begin = clock::now();
        self.cached = None;
        (self.trouble, self.interrupted) = (false, false);
        match self.context.only.clone() {
            Some(paths) => paths.iter().try_for_each(|path| self.look(root, path))?,
            None => self.scan_whole(root)?,
        }
        self.end_leftover(root)?;
        let now = clock::now();
        // Polling a large tree must not become all that is done.
        let rest = now.since(begin) * POLL_SHARE;
        let watched = self.events.is_some() || self.context.once;
        let rescan = self.context.settings.rescan;
        self.next_scan = now
            + match (watched, self.trouble) {
                (false, _) => POLL.max(rest).min(rescan),
                (true, true) => TROUBLE.max(rest).min(rescan),
                (true, false) => rescan,
            };
        self.first_scan &= self.interrupted;
        if !self.first_scan {
            self.former.clear();
        }
        Ok(())
    }

    /// Whether the scan has looked into every folder, and of the watch's own file system.
    fn is_whole(&self) -> bool {
        !self.trouble && !self.interrupted && !self.watched.misses_mount()
    }

    /// Tells when all that the first scan met is handed on, or no longer waited for.
    fn tell_looked(&self) {
        let waits = || self.met_first.keys().any(|path| self.settler.waits_for(path));
        if self.leftover.is_over() && !self.first_scan && !self.context.has_looked() && !waits() {
            self.context.set_looked();
        }
    }

    fn id(&self, path: &RelPath) -> ItemId {
        ItemId::of(&self.context.settings.name, path)
    }
}
