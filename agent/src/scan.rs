//! One watch's scanner: finds files that have settled and hands them on.
//!
//! Promises to look at every file below the folder at start, on a timer and after every trouble with events. Waits when
//! the dispatcher or the settler is full, so that its memory is bounded whatever lies in the folder. Blocks: runs in a
//! thread of its own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use skiff_common::settle::{Observation, Settler};
use skiff_common::{Item, ItemId, Moment, RelPath, Stamp};
use tokio::sync::mpsc;

use crate::admission::{Admission, Standing};
use crate::census::Census;
use crate::clock;
use crate::context::WatchContext;
use crate::finish;
use crate::folders;
use crate::ignores::Ignores;
use crate::journal::{DeliveredFolder, Journal, JournalError};
use crate::route;
use crate::source::{Look, Root, SourceError};
use crate::wake::{Wake, Waker};
use crate::watch::Watch;

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
pub struct Found {
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
    out: mpsc::Sender<Found>,
    waker: Arc<Waker>,
    settler: Settler,
    cached: Option<DeliveredFolder>,
    /// What was delivered of the folder that was looked at last, by other routes.
    former: Vec<(String, DeliveredFolder)>,
    /// Files that wait and were met by the first scan, and whether they were delivered by another route.
    met_first: HashMap<RelPath, bool>,
    ignores: Ignores,
    first_scan: bool,
    next_scan: Moment,
    events: Option<Watch>,
    was_mounted: bool,
    trouble: bool,
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
        out: mpsc::Sender<Found>,
    ) -> Self {
        let settler = Settler::new(context.settings.settle, SETTLING);
        let waker = Arc::clone(&context.waker);
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
            former: Vec::new(),
            met_first: HashMap::new(),
            first_scan: true,
            next_scan,
            events: None,
            was_mounted: false,
            trouble: false,
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
            if let Some(root) = self.root() {
                self.look_round(&root, wake)?;
            }
            if self.settler.is_empty() && !self.first_scan {
                self.waker.answer(ticket);
            }
        }
        Ok(())
    }

    fn patience(&mut self) -> Duration {
        let due = self.settler.next_due().map_or(self.next_scan, |due| due.min(self.next_scan));
        // No event tells that a folder above was renamed, or that a file system was mounted here.
        due.since(clock::now()).min(ROOT_CHECK)
    }

    /// The watched folder, opened and watched; `None` while it isn't there.
    fn root(&mut self) -> Option<Root> {
        if let Some(root) = self.context.root() {
            return Some(root);
        }
        if self.context.set_folder(None).is_some() {
            tracing::warn!(watch = %self.context.settings.name, "the watched folder has been moved, deleted or unmounted");
            self.events = None;
        }
        match self.attached() {
            Ok(root) => {
                self.next_scan = Moment::START;
                Some(root)
            }
            Err(error) => {
                self.context.complain(&error.to_string());
                self.next_scan = clock::now() + POLL;
                None
            }
        }
    }

    /// The folder that stands there now, watched from now on.
    fn attached(&mut self) -> Result<Root, SourceError> {
        let root = self.context.open()?;
        let (id, is_mounted) = (root.id()?, root.is_mounted());
        if self.was_mounted && !is_mounted {
            // The empty folder below it doesn't say that all was deleted.
            return Err(SourceError::Unmounted { path: self.context.settings.path.display().to_string() });
        }
        self.was_mounted = is_mounted;
        self.restore(&root);
        self.attach();
        self.context.set_folder(Some(id));
        Ok(root)
    }

    /// What a crash left half-way out of the folder goes back, and is verified anew.
    fn restore(&self, root: &Root) {
        if !self.context.settings.removes() {
            return;
        }
        match finish::restore(root) {
            Ok(0) => {}
            Ok(files) => {
                tracing::info!(watch = %self.context.settings.name, files, "an interrupted removal was undone");
            }
            Err(error) => self.context.complain(&format!("cannot undo an interrupted removal: {error}")),
        }
    }

    fn attach(&mut self) {
        if self.context.once {
            return;
        }
        // Watching begins before the first scan, so that nothing falls between the two.
        match Watch::on(&self.context.settings.path, &self.waker) {
            Ok(events) => self.events = Some(events),
            Err(error) => self.poll_instead(&error),
        }
    }

    fn poll_instead(&mut self, error: &notify::Error) {
        tracing::warn!(watch = %self.context.settings.name, %error,
            "cannot watch the folder, so it is scanned every few seconds; raise fs.inotify.max_user_watches");
        self.events = None;
    }

    /// Whatever comes into the folder from now on wakes us.
    fn cover(&mut self, folder: &RelPath) {
        if let Some(events) = &mut self.events
            && let Err(error) = events.cover(folder)
        {
            self.poll_instead(&error);
            self.next_scan = Moment::START;
        }
    }

    fn look_round(&mut self, root: &Root, wake: Wake) -> Result<(), ScanError> {
        self.look_at_due(root)?;
        for path in wake.paths {
            self.look(root, &path)?;
        }
        if wake.all || self.next_scan <= clock::now() {
            self.scan_all(root)?;
        }
        Ok(())
    }

    fn scan_all(&mut self, root: &Root) -> Result<(), ScanError> {
        let begin = clock::now();
        self.cached = None;
        self.trouble = false;
        match self.context.only.clone() {
            Some(paths) => paths.iter().try_for_each(|path| self.look(root, path))?,
            None => self.scan_whole(root)?,
        }
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
        self.first_scan &= self.waker.is_paused();
        if !self.first_scan {
            self.former.clear();
        }
        Ok(())
    }

    fn scan_whole(&mut self, root: &Root) -> Result<(), ScanError> {
        let (census, watch) = (self.census.clone(), self.context.number);
        if let Some(census) = &census {
            census.begin(watch)?;
        }
        self.left_out.clear();
        self.scan_folder(root, None)?;
        self.tell_left_out();
        let whole = !self.trouble && !self.waker.is_stopped() && !self.waker.is_paused();
        Ok(census.map_or(Ok(()), |census| census.end(watch, whole))?)
    }

    fn scan_folder(&mut self, root: &Root, folder: Option<&RelPath>) -> Result<(), ScanError> {
        let listing = match root.list(folder) {
            Ok(listing) => listing,
            Err(SourceError::Gone { .. }) => return Ok(()),
            Err(error) => {
                self.trouble = true;
                self.context.complain(&error.to_string());
                return Ok(());
            }
        };
        self.ignores.refresh(root, folder);
        let delivered = self.delivered_in(folder)?;
        let mut seen = HashSet::new();
        let mut complete = true;
        let mut folders = Vec::new();
        let mut is_empty = true;
        for entry in listing {
            is_empty = false;
            // What is left out is looked at when it goes on.
            if self.waker.is_stopped() || self.waker.is_paused() {
                return Ok(());
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.trouble = true;
                    self.context.complain(&error.to_string());
                    complete = false;
                    continue;
                }
            };
            let path = match RelPath::in_folder(folder, &entry.name) {
                Ok(path) => path,
                Err(error) => {
                    self.context.complain(&format!("cannot deliver a file: {error}"));
                    continue;
                }
            };
            match root.through(&path, entry.look) {
                Look::Folder if self.context.enters(root, &path, &mut self.ignores) => folders.push(path),
                Look::Folder => {}
                Look::Other(kind) => {
                    *self.left_out.entry(kind).or_default() += 1;
                    self.refuse(&path, kind);
                }
                Look::File { stamp, mode } => {
                    if delivered.as_ref().is_some_and(|delivered| !delivered.is_empty()) {
                        seen.insert(self.id(&path));
                    }
                    self.consider(root, &path, stamp, mode, delivered.as_ref())?;
                }
            }
        }
        if let (Some(journal), Some(delivered), true) = (&self.journal, &delivered, complete) {
            journal.keep_only(delivered, |item| seen.contains(&item))?;
        }
        drop(delivered);
        if let Some(folder) = folder.filter(|_| is_empty && folders::are_wanted(&self.context)) {
            self.context.folders.met(folder);
        }
        folders.iter().try_for_each(|folder| self.scan_folder(root, Some(folder)))
    }

    /// Looks at one path that an event or a timer named.
    fn look(&mut self, root: &Root, path: &RelPath) -> Result<(), ScanError> {
        match root.look(path) {
            Ok(Look::File { .. }) if self.is_ignore_file(path) => {
                // What it ignored, or ignores now, is looked at again.
                self.ignores.refresh(root, path.folder().as_ref());
                self.scan_folder(root, path.folder().as_ref())
            }
            Ok(Look::File { stamp, mode }) => {
                let folder = path.folder();
                let id = ItemId::of_folder(&self.context.settings.name, folder.as_ref());
                if self.cached.as_ref().is_none_or(|cached| cached.folder() != id) {
                    self.cached = self.delivered_in(folder.as_ref())?;
                }
                let delivered = self.cached.take();
                let outcome = self.consider(root, path, stamp, mode, delivered.as_ref());
                self.cached = delivered;
                outcome
            }
            // A folder that appears may be filled before it is watched.
            Ok(Look::Folder) if self.context.enters(root, path, &mut self.ignores) => {
                self.cover(path);
                self.scan_folder(root, Some(path))
            }
            Ok(Look::Folder) => Ok(()),
            Ok(Look::Other(kind)) => {
                self.refuse(path, kind);
                Ok(())
            }
            Err(_) => {
                self.settler.forget(path);
                Ok(())
            }
        }
    }

    fn look_at_due(&mut self, root: &Root) -> Result<(), ScanError> {
        while let Some(path) = self.settler.take_due(clock::now()) {
            self.look(root, &path)?;
        }
        Ok(())
    }

    fn consider(
        &mut self,
        root: &Root,
        path: &RelPath,
        stamp: Stamp,
        mode: u32,
        delivered: Option<&DeliveredFolder>,
    ) -> Result<(), ScanError> {
        let id = self.id(path);
        let fingerprint = stamp.fingerprint();
        let known = delivered.is_some_and(|delivered| delivered.has(id, fingerprint));
        if known || !self.is_meant(root, path, stamp) || !self.admission.is_new(id, fingerprint) {
            self.settler.forget(path);
            return Ok(());
        }
        if self.first_scan && self.met_first.len() < SETTLING {
            let elsewhere = self.went_by_another_route(path, fingerprint)?;
            self.met_first.insert(path.clone(), elsewhere);
        }
        loop {
            match self.settler.observe(path, stamp, clock::now()) {
                Observation::Waits(_) => return Ok(()),
                Observation::Settled => {
                    self.settled(root, Item { path: path.clone(), stamp, mode });
                    return Ok(());
                }
                Observation::Full => self.make_room(root),
            }
        }
    }

    /// Waits until one of the files that are waited for is due, and looks at it.
    fn make_room(&mut self, root: &Root) {
        if let Some(due) = self.settler.next_due() {
            std::thread::sleep(due.since(clock::now()).min(POLL));
        }
        // What is due is looked at alone: a folder among it would lead back here.
        while let Some(path) = self.settler.take_due(clock::now()) {
            if self.waker.is_stopped() {
                self.settler.forget(&path);
                continue;
            }
            match root.look(&path) {
                Ok(Look::File { stamp, mode }) => {
                    if self.settler.observe(&path, stamp, clock::now()) == Observation::Settled {
                        self.settled(root, Item { path, stamp, mode });
                    }
                }
                _ => self.settler.forget(&path),
            }
        }
    }

    fn settled(&mut self, root: &Root, item: Item) {
        // Who delivers once takes what is there now, as scp does; the digest still is of what was sent.
        let opened = (!self.context.once).then(|| root.open_item(&item.path));
        match opened {
            Some(Ok(open)) if open.has_writer() => {
                self.settler.postpone(&item.path, open.stamp, clock::now());
            }
            Some(Ok(open)) if open.stamp != item.stamp => {
                self.settler.observe(&item.path, open.stamp, clock::now());
            }
            Some(Err(SourceError::Gone { .. })) => self.settler.forget(&item.path),
            // Whatever else is wrong with it, its shipment will say.
            None | Some(Ok(_) | Err(_)) => {
                self.settler.forget(&item.path);
                self.admission.set(self.id(&item.path), Standing::UnderWay { asked: false });
                self.waker.wait_for_room();
                let (watch, of) = (self.context.number, Arc::clone(&self.name));
                let met_first = self.met_first.remove(&item.path);
                let first_scan = self.first_scan || met_first.is_some();
                let found = Found { watch, of, item, first_scan, may_stand: met_first.unwrap_or(false) };
                // Nobody listens any longer: the agent is ending.
                let _ = self.out.blocking_send(found);
            }
        }
    }

    /// Whether this version was delivered before the watch got the destinations that it has now. Who delivers by other ones
    /// begins anew, so only what the first scan meets can have been; to be asked in that.
    fn went_by_another_route(&mut self, path: &RelPath, fingerprint: u64) -> Result<bool, ScanError> {
        let Some(journal) = &self.journal else { return Ok(false) };
        let folder = path.folder();
        let of = |name: &str| ItemId::of_folder(name, folder.as_ref());
        if self.former.first().is_none_or(|(name, known)| known.folder() != of(name)) {
            let names = route::former(&self.context.settings).into_iter();
            let read = names.map(|name| journal.delivered_in(of(&name)).map(|folder| (name, folder)));
            self.former = read.collect::<Result<_, _>>()?;
        }
        Ok(self.former.iter().any(|(name, known)| known.has(ItemId::of(name, path), fingerprint)))
    }

    fn is_meant(&mut self, root: &Root, path: &RelPath, stamp: Stamp) -> bool {
        self.context.wants(root, path)
            && (self.context.only.is_some()
                || (self.context.takes(path, stamp) && !self.ignores.ignores(root, path, false)))
    }

    fn is_ignore_file(&self, path: &RelPath) -> bool {
        let name = self.context.settings.taken.ignore_file.as_deref();
        self.context.only.is_none() && name.is_some_and(|name| path.name() == name.as_bytes())
    }

    /// What is left out for what it is, once for each time that this changes.
    fn tell_left_out(&mut self) {
        if self.left_out == self.told {
            return;
        }
        self.told.clone_from(&self.left_out);
        let kinds: Vec<_> = self.told.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
        tracing::info!(watch = %self.context.settings.name, left_out = kinds.join(", "),
            "only regular files are delivered, and symlinks as `symlinks` says");
    }

    fn refuse(&self, path: &RelPath, kind: &str) {
        tracing::debug!(watch = %self.context.settings.name, path = %path, kind, "only regular files are delivered");
    }

    fn delivered_in(&self, folder: Option<&RelPath>) -> Result<Option<DeliveredFolder>, ScanError> {
        let id = ItemId::of_folder(&self.context.settings.name, folder);
        if let Some(census) = &self.census {
            census.met(id);
        }
        Ok(self.journal.as_ref().map(|journal| journal.delivered_in(id)).transpose()?)
    }

    fn id(&self, path: &RelPath) -> ItemId {
        ItemId::of(&self.context.settings.name, path)
    }
}
