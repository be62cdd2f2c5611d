//! The dispatcher: one loop that takes what is settled and what workers report, and does what the desk decides.
//!
//! Records are stored before the effects that rely on them. Owns the planners, the timers and the workers. Lacks
//! decisions (`skiff_common::desk`) and the work itself (`worker`).

mod worker;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use skiff_common::batch::{BatchLimits, Planned, Planner};
use skiff_common::delivery::{Event, Receipt, Record};
use skiff_common::desk::{Desk, Effect};
use skiff_common::retry::Retry;
use skiff_common::{ItemId, Moment, RelPath, Shipment, ShipmentId};
use skiff_config::{Settings, Watch};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::admission::{Admission, Standing};
use crate::clock;
use crate::journal::{Journal, JournalError, Opening, Trust};
use crate::receipts::Receipts;
use crate::scan::Found;
use crate::status::Status;
use crate::supervise::WatchContext;

/// Items under way at most: a few batches for each of many destinations; 8 MiB. The rest is still in the folders.
const MOST_ITEMS: usize = 32 << 10;
/// How long shipments that are under way may take to end after a stop.
const GRACE: Duration = Duration::from_secs(5);
/// How often a full disk is looked at.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(5);

/// Tells an agent to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Urgency {
    /// Go on.
    #[default]
    Run,
    /// Begin nothing new, end what is under way.
    Drain,
    /// End now.
    Abort,
}

/// Where an agent hears of a stop.
pub type Stop = watch::Receiver<Urgency>;

/// Why the dispatcher ended.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The journal can't be written: going on would mean acting without a record.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A worker panicked.
    #[error("a worker panicked: {0}")]
    Panicked(String),
    /// A scanner has ended: its watch would be forgotten.
    #[error("a scanner has ended")]
    NoScanner,
}

/// What is left when an agent ends.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Items that were not delivered, and why; at most a few.
    pub problems: Vec<String>,
    /// How many were not delivered.
    pub undelivered: u64,
    /// The stable code of the last failure of the destination itself.
    pub destination_failure: Option<(String, String)>,
    /// Whether it was stopped before it was done.
    pub interrupted: bool,
}

/// What a dispatcher is made of.
pub struct Setup<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The watches.
    pub contexts: Vec<Arc<WatchContext>>,
    /// Shared with the scanners.
    pub admission: Arc<Admission>,
    /// The journal, if one is kept.
    pub journal: Option<Journal>,
    /// The receipts.
    pub receipts: Arc<Receipts>,
    /// The counts.
    pub status: Arc<Status>,
    /// Told when a scanner ends.
    pub scanner_ended: Arc<Notify>,
    /// Whether to end when all is done.
    pub once: bool,
    /// How to retry a destination; for ever where it isn't said.
    pub retry: Option<Retry>,
}

/// The dispatcher.
pub struct Dispatcher {
    contexts: Vec<Arc<WatchContext>>,
    planners: Vec<Planner>,
    admission: Arc<Admission>,
    journal: Option<Journal>,
    receipts: Arc<Receipts>,
    status: Arc<Status>,
    pub(crate) scanner_ended: Arc<Notify>,
    once: bool,
    fresh: bool,
    desk: Desk,
    settled: mpsc::Receiver<Found>,
    workers: JoinSet<(ShipmentId, worker::Report)>,
    held: BinaryHeap<Reverse<(Moment, usize, RelPath, ItemId)>>,
    resumed: Vec<Shipment>,
    changes: HashMap<ItemId, u32>,
    given_up: bool,
    outcome: Outcome,
}

enum Input {
    Found(Option<Found>),
    Report(Box<(ShipmentId, worker::Report)>),
    Timer,
    ScannerIdle,
    ScannerEnded,
    Stop(Urgency),
}

impl Dispatcher {
    /// A dispatcher that takes up what the journal remembers.
    pub fn new(setup: Setup<'_>, opening: Opening, settled: mpsc::Receiver<Found>) -> Self {
        let mut desk = Desk::new();
        for destination in &setup.settings.destinations {
            let retry = setup.retry.unwrap_or_else(|| destination_retry(setup.settings, &destination.name));
            desk.add_destination(&destination.name, destination.in_flight.get(), retry);
        }
        for watch in &setup.settings.watches {
            desk.add_watch(&watch.name, watch_retry(watch));
        }
        let planners = setup.contexts.iter().map(|context| Planner::new(limits(&context.settings))).collect();
        let mut dispatcher = Self {
            contexts: setup.contexts,
            planners,
            admission: setup.admission,
            journal: setup.journal,
            receipts: setup.receipts,
            status: setup.status,
            scanner_ended: setup.scanner_ended,
            once: setup.once,
            fresh: opening.trust != Trust::Kept,
            desk,
            settled,
            workers: JoinSet::new(),
            held: BinaryHeap::new(),
            resumed: Vec::new(),
            changes: HashMap::new(),
            given_up: false,
            outcome: Outcome::default(),
        };
        dispatcher.recall(opening);
        dispatcher
    }

    /// Runs until it is told to stop or, where it runs once, all is done.
    pub async fn run(&mut self, mut stop: Stop) -> Result<Outcome, DispatchError> {
        for shipment in std::mem::take(&mut self.resumed) {
            let effects = self.desk.resume(shipment, clock::now());
            self.apply(effects).await?;
        }
        let mut urgency = Urgency::Run;
        let mut deadline = None;
        while !self.is_over(urgency) {
            match self.next_input(&mut stop, urgency, deadline).await {
                Input::Found(Some(found)) => self.take(found).await?,
                Input::Found(None) | Input::ScannerEnded => return Err(DispatchError::NoScanner),
                Input::Report(report) => self.report(*report).await?,
                Input::ScannerIdle => {}
                Input::Timer if deadline.is_some_and(|deadline| clock::now() >= deadline) => {
                    urgency = Urgency::Abort;
                }
                Input::Timer => self.timer(urgency).await?,
                Input::Stop(more) => {
                    urgency = urgency.max(more);
                    deadline = Some(clock::now() + GRACE);
                    self.outcome.interrupted = true;
                }
            }
        }
        self.workers.shutdown().await;
        Ok(std::mem::take(&mut self.outcome))
    }

    /// Tells the scanners to end.
    pub fn stop_scanners(&mut self) {
        self.contexts.iter().for_each(|context| context.waker.stop());
        // A scanner that waits for room would wait for ever.
        self.settled.close();
    }

    fn is_over(&mut self, urgency: Urgency) -> bool {
        match urgency {
            Urgency::Run => self.once && self.is_done(),
            Urgency::Drain => self.workers.is_empty(),
            Urgency::Abort => true,
        }
    }

    fn is_done(&self) -> bool {
        // In this order: a scanner that is idle has handed on all that it found.
        self.contexts.iter().all(|context| context.waker.is_idle())
            && self.settled.is_empty()
            && self.desk.shipments() == 0
            && self.held.is_empty()
            && self.planners.iter().all(|planner| planner.cut_at().is_none())
    }

    async fn next_input(&mut self, stop: &mut Stop, urgency: Urgency, deadline: Option<Moment>) -> Input {
        let due = self.next_due().into_iter().chain(deadline).min().map(clock::instant);
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let room = self.desk.items() < MOST_ITEMS && urgency == Urgency::Run;
        let waker = &self.contexts[0].waker;
        tokio::select! {
            Ok(()) = stop.changed() => Input::Stop(*stop.borrow()),
            Some(report) = self.workers.join_next() => Input::Report(Box::new(report.unwrap_or_else(|error| {
                // A panic leaves nobody who knows which shipment it was; the agent ends.
                std::panic::resume_unwind(error.into_panic())
            }))),
            found = self.settled.recv(), if room => Input::Found(found),
            () = waker.idle(), if self.once => Input::ScannerIdle,
            () = self.scanner_ended.notified() => Input::ScannerEnded,
            () = timer => Input::Timer,
        }
    }

    fn next_due(&self) -> Option<Moment> {
        let held = self.held.peek().map(|Reverse((due, ..))| *due);
        let cut = self.planners.iter().filter_map(Planner::cut_at).min();
        [held, cut, self.desk.next_due()].into_iter().flatten().min()
    }

    async fn take(&mut self, found: Found) -> Result<(), DispatchError> {
        Status::add(&self.status.found_files, 1);
        Status::add(&self.status.found_bytes, found.item.stamp.size);
        let survey = self.fresh && found.first_scan;
        for planned in self.planners[found.watch].add(found.item, clock::now()) {
            self.plan(found.watch, planned, survey).await?;
        }
        Ok(())
    }

    async fn plan(&mut self, watch: usize, planned: Planned, survey: bool) -> Result<(), DispatchError> {
        let settings = &self.contexts[watch].settings;
        let shipment = Shipment::new(&settings.name, &settings.to, planned.kind, planned.items);
        let effects = self.desk.plan(shipment, survey, clock::now());
        self.apply(effects).await
    }

    async fn timer(&mut self, urgency: Urgency) -> Result<(), DispatchError> {
        if urgency != Urgency::Run {
            return Ok(());
        }
        let now = clock::now();
        for watch in 0..self.planners.len() {
            if self.planners[watch].cut_at().is_some_and(|cut| cut <= now)
                && let Some(planned) = self.planners[watch].cut()
            {
                self.plan(watch, planned, self.fresh).await?;
            }
        }
        while let Some(Reverse((due, ..))) = self.held.peek()
            && *due <= now
        {
            let Reverse((_, watch, path, item)) = self.held.pop().expect("peeked above");
            self.admission.clear(item);
            self.contexts[watch].waker.path(path);
        }
        let effects = self.desk.tick(now);
        self.apply(effects).await
    }

    async fn report(&mut self, (id, report): (ShipmentId, worker::Report)) -> Result<(), DispatchError> {
        if let Some(failure) = report.failure {
            self.outcome.destination_failure = Some(failure);
        }
        if let Event::Failed { .. } = report.event {
            Status::add(&self.status.failures, 1);
        }
        let effects = self.desk.on(&id, report.event, clock::now(), clock::chance());
        self.apply(effects).await
    }

    async fn apply(&mut self, effects: Vec<Effect>) -> Result<(), DispatchError> {
        let (records, rest): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Record(_)));
        let unwrap = |effect| if let Effect::Record(record) = effect { Some(record) } else { None };
        self.store(records.into_iter().filter_map(unwrap).collect()).await?;
        for effect in rest {
            self.act(effect);
        }
        Ok(())
    }

    async fn store(&self, records: Vec<Record>) -> Result<(), DispatchError> {
        let Some(journal) = self.journal.as_ref().filter(|_| !records.is_empty()) else { return Ok(()) };
        loop {
            match journal.record(records.clone()).await {
                Err(error @ JournalError::NoSpace { .. }) => {
                    tracing::error!(%error, "waiting for space; nothing is accepted or deleted meanwhile");
                    tokio::time::sleep(NO_SPACE_PAUSE).await;
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Record(_) => unreachable!("records are stored before"),
            Effect::Start(id, command) => self.start(id, command),
            Effect::Delivered(shipment, receipts) => self.delivered(&shipment, &receipts),
            Effect::Release(item, path, watch) => {
                self.admission.clear(item);
                if self.once && self.changes_too_often(item) {
                    return self.give_up(&path, "it keeps changing while it is read");
                }
                tracing::debug!(%watch, %path, "changed or gone: looked at again");
                if let Some(context) = self.context(&watch) {
                    context.waker.path(path);
                }
            }
            Effect::Again(item, path, watch) => {
                self.admission.clear(item);
                if let Some(context) = self.context(&watch) {
                    context.waker.path(path);
                }
            }
            Effect::Hold(held, until) => {
                tracing::warn!(watch = %held.watch, path = %held.path, attempts = held.attempts,
                    quarantined = held.quarantined, "not delivered: {}", held.reason);
                Status::add(&self.status.held_files, 1);
                let again = self.admission.set(held.item, Standing::Held(held.stamp));
                if let Some(context) = self.context(&held.watch).filter(|_| again) {
                    context.waker.path(held.path.clone());
                }
                match (until, self.context(&held.watch).map(|context| context.number)) {
                    (Some(until), Some(watch)) if !self.given_up => {
                        self.held.push(Reverse((until, watch, held.path, held.item)));
                    }
                    _ => self.give_up(&held.path, &held.reason),
                }
            }
            Effect::Failed(id, reason, Some(wait)) => {
                tracing::warn!(shipment = %id, again_in_ms = wait.as_millis(), "{reason}");
            }
            Effect::Failed(id, reason, None) => {
                // Its items would only meet the same trouble again.
                self.given_up = true;
                tracing::warn!(shipment = %id, "given up: {reason}");
            }
        }
    }

    fn changes_too_often(&mut self, item: ItemId) -> bool {
        // A person waits, so a file that never holds still is told instead of tried for ever.
        const MOST_CHANGES: u32 = 5;
        let changes = self.changes.entry(item).or_insert(0);
        *changes += 1;
        *changes >= MOST_CHANGES
    }

    fn give_up(&mut self, path: &RelPath, reason: &str) {
        // A screenful is enough for a person; the log has them all.
        const MOST_PROBLEMS: usize = 20;
        self.outcome.undelivered += 1;
        if self.outcome.problems.len() < MOST_PROBLEMS {
            self.outcome.problems.push(format!("{path}: {reason}"));
        }
    }

    fn start(&mut self, id: ShipmentId, command: skiff_common::delivery::Command) {
        let shipment = self.desk.shipment(&id).expect("only shipments under way are started").clone();
        let Some(context) = self.context(&shipment.watch) else { return };
        let work = worker::Work { context, receipts: Arc::clone(&self.receipts), shipment };
        self.workers.spawn(async move { (id, work.run(command).await) });
    }

    fn delivered(&mut self, shipment: &Shipment, receipts: &[Receipt]) {
        let bytes = receipts.iter().map(|receipt| receipt.item().stamp.size).sum();
        let standing = receipts.iter().filter(|receipt| !receipt.sent()).count();
        Status::add(&self.status.delivered_files, receipts.len() as u64);
        Status::add(&self.status.delivered_bytes, bytes);
        Status::add(&self.status.standing_files, standing as u64);
        tracing::info!(shipment = %shipment.id, watch = %shipment.watch, files = receipts.len(), bytes, standing,
            "delivered and verified");
        for receipt in receipts {
            let delivered = Standing::Delivered(receipt.item().stamp.fingerprint());
            if self.admission.set(shipment.item_id(receipt.item()), delivered)
                && let Some(context) = self.context(&shipment.watch)
            {
                context.waker.path(receipt.item().path.clone());
            }
        }
    }

    fn context(&self, watch: &str) -> Option<Arc<WatchContext>> {
        self.contexts.iter().find(|context| context.settings.name == watch).cloned()
    }

    fn recall(&mut self, opening: Opening) {
        for held in opening.held {
            if self.context(&held.watch).is_none() {
                continue;
            }
            self.desk.recall(&held);
            if held.quarantined {
                self.admission.set(held.item, Standing::Held(held.stamp));
            }
        }
        for shipment in opening.pending {
            // A watch or destination that is no longer configured: its files are still in their folder.
            if self.context(&shipment.watch).is_none_or(|context| context.settings.to != shipment.destination)
            {
                continue;
            }
            for item in &shipment.items {
                self.admission.set(shipment.item_id(item), Standing::UnderWay { asked: false });
            }
            self.resumed.push(shipment);
        }
    }
}

fn limits(watch: &Watch) -> BatchLimits {
    BatchLimits {
        small_file: watch.small_file,
        bytes: watch.batch_bytes,
        items: watch.batch_items.get(),
        wait: watch.batch_wait,
    }
}

fn watch_retry(watch: &Watch) -> Retry {
    Retry { first: watch.retry_first, max: watch.retry_max, attempts: watch.retry_attempts }
}

/// A destination is retried for ever, at the pace of the most patient watch that uses it.
fn destination_retry(settings: &Settings, destination: &str) -> Retry {
    let watches = settings.watches.iter().filter(|watch| watch.to == destination);
    let slowest = watches.max_by_key(|watch| watch.retry_max).map(watch_retry);
    let default = Retry { first: Duration::from_secs(1), max: Duration::from_secs(300), attempts: None };
    Retry { attempts: None, ..slowest.unwrap_or(default) }
}
