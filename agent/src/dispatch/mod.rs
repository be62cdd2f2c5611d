//! The dispatcher: one loop that takes what is settled and what workers report, and does what the desk decides.
//!
//! Records are stored before the effects that rely on them. Owns the planners, the timers and the workers. Lacks
//! decisions (`skiff_common::desk`) and the work itself (`worker`).

mod board;
mod orders;
mod pulse;
mod worker;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use skiff_common::batch::{BatchLimits, Planned, Planner};
use skiff_common::delivery::{Command, Event, Receipt, Record};
use skiff_common::desk::{Desk, Effect};
use skiff_common::retry::Retry;
use skiff_common::{ItemId, Moment, RelPath, Shipment, ShipmentId};
use skiff_config::{Settings, Watch};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::admission::{Admission, Standing};
use crate::clock;
use crate::hooks::Quarantines;
use crate::journal::{Journal, JournalError, Opening, Trust};
use crate::receipts::Receipts;
use crate::remote::scp::ScpRemote;
use crate::scan::Found;
use crate::status::snapshot::Snapshot;
use crate::status::{Progress, Status, counting};
use crate::supervise::WatchContext;
use board::Board;
pub(crate) use orders::pending_item;
pub use orders::{Change, Order};
use pulse::Pulse;

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
    /// The destinations.
    pub remotes: Vec<Arc<ScpRemote>>,
    /// What people ask.
    pub orders: mpsc::Receiver<Order>,
    /// Where it is told how things stand.
    pub board: watch::Sender<Arc<Snapshot>>,
    /// Watches that somebody paused.
    pub paused: Vec<String>,
    /// Whether it is a service that tells systemd how it is.
    pub service: bool,
    /// Told when a scanner ends.
    pub scanner_ended: Arc<Notify>,
    /// Whether to end when all is done.
    pub once: bool,
    /// How to retry a destination; for ever where it isn't said.
    pub retry: Option<Retry>,
}

/// The dispatcher.
pub struct Dispatcher {
    /// By number.
    watches: BTreeMap<usize, Live>,
    remotes: Vec<Arc<ScpRemote>>,
    /// No destination any more, but something is on its way there.
    retired: Vec<Arc<ScpRemote>>,
    under_way: HashMap<ShipmentId, UnderWay>,
    orders: mpsc::Receiver<Order>,
    board: Board,
    pulse: Pulse,
    quarantines: Quarantines,
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

/// A watch that files are taken from.
struct Live {
    context: Arc<WatchContext>,
    planner: Planner,
}

impl Live {
    fn new(context: Arc<WatchContext>) -> Self {
        let planner = Planner::new(limits(&context.settings));
        Self { context, planner }
    }
}

/// A shipment that has begun, by the settings that held then.
struct UnderWay {
    context: Arc<WatchContext>,
    step: &'static str,
    runs: bool,
    since: Moment,
    progress: Progress,
    wire_bytes: u64,
}

impl UnderWay {
    fn sent(&self) -> u64 {
        Status::get(&self.progress)
    }

    fn sent_again(&self) -> u64 {
        self.sent().saturating_sub(self.wire_bytes)
    }
}

enum Input {
    Found(Option<Found>),
    Order(Order),
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
        let mut board = Board::new(setup.board);
        setup.contexts.iter().for_each(|context| board.expect(&context.settings.name));
        for watch in &setup.paused {
            desk.pause(watch);
        }
        let watches = setup.contexts.into_iter().map(|context| (context.number, Live::new(context)));
        let mut dispatcher = Self {
            watches: watches.collect(),
            remotes: setup.remotes,
            retired: Vec::new(),
            under_way: HashMap::new(),
            orders: setup.orders,
            board,
            pulse: Pulse::new(setup.service),
            quarantines: Quarantines::start(),
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
            self.pulse.beat();
            self.publish();
            match self.next_input(&mut stop, urgency, deadline).await {
                Input::Found(Some(found)) => self.take(found).await?,
                Input::Found(None) | Input::ScannerEnded => return Err(DispatchError::NoScanner),
                Input::Report(report) => self.report(*report).await?,
                Input::Order(order) => {
                    self.board.touch();
                    self.obey(order).await?;
                }
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
        self.watches.values().for_each(|live| live.context.waker.stop());
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
        self.watches.values().all(|live| live.context.waker.is_idle())
            && self.settled.is_empty()
            && self.desk.shipments() == 0
            && self.held.is_empty()
            && self.watches.values().all(|live| live.planner.cut_at().is_none())
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
        let first = self.watches.values().next().map(|live| Arc::clone(&live.context.waker));
        let idle = async {
            match first {
                Some(waker) => waker.idle().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok(()) = stop.changed() => Input::Stop(*stop.borrow()),
            Some(report) = self.workers.join_next() => Input::Report(Box::new(report.unwrap_or_else(|error| {
                // A panic leaves nobody who knows which shipment it was; the agent ends.
                std::panic::resume_unwind(error.into_panic())
            }))),
            found = self.settled.recv(), if room => Input::Found(found),
            Some(order) = self.orders.recv(), if urgency == Urgency::Run => Input::Order(order),
            () = idle, if self.once => Input::ScannerIdle,
            () = self.scanner_ended.notified() => Input::ScannerEnded,
            () = timer => Input::Timer,
        }
    }

    fn next_due(&self) -> Option<Moment> {
        let held = self.held.peek().map(|Reverse((due, ..))| *due);
        let cut = self.watches.values().filter_map(|live| live.planner.cut_at()).min();
        let others = [self.desk.next_due(), self.board.due(), self.pulse.due()];
        [held, cut].into_iter().chain(others).flatten().min()
    }

    async fn take(&mut self, found: Found) -> Result<(), DispatchError> {
        let Some(live) = self.watches.get_mut(&found.watch) else {
            // Of a watch that is no longer as it was when it found this.
            let id = ItemId::of(&found.of, &found.item.path);
            self.look_again(&found.of, id, found.item.path);
            return Ok(());
        };
        Status::add(&self.status.found_files, 1);
        Status::add(&self.status.found_bytes, found.item.stamp.size);
        self.board.touch();
        self.board.found(&live.context.settings.name);
        let survey = self.fresh && found.first_scan;
        for planned in live.planner.add(found.item, clock::now()) {
            self.plan(found.watch, planned, survey).await?;
        }
        Ok(())
    }

    async fn plan(&mut self, watch: usize, planned: Planned, survey: bool) -> Result<(), DispatchError> {
        let settings = &self.watches[&watch].context.settings;
        let shipment = Shipment::new(&settings.name, &settings.to, planned.kind, planned.items);
        let effects = self.desk.plan(shipment, survey, clock::now());
        self.apply(effects).await
    }

    async fn timer(&mut self, urgency: Urgency) -> Result<(), DispatchError> {
        if urgency != Urgency::Run {
            return Ok(());
        }
        let now = clock::now();
        let due = |(number, live): (&usize, &mut Live)| {
            let is_due = live.planner.cut_at().is_some_and(|cut| cut <= now);
            is_due.then(|| live.planner.cut()).flatten().map(|planned| (*number, planned))
        };
        let cut: Vec<_> = self.watches.iter_mut().filter_map(due).collect();
        for (watch, planned) in cut {
            self.plan(watch, planned, self.fresh).await?;
        }
        while let Some(Reverse((due, ..))) = self.held.peek()
            && *due <= now
        {
            let Reverse((_, watch, path, item)) = self.held.pop().expect("peeked above");
            self.admission.clear(item);
            if let Some(live) = self.watches.get(&watch) {
                live.context.waker.path(path);
            }
        }
        let effects = self.desk.tick(now);
        self.apply(effects).await
    }

    async fn report(&mut self, (id, report): (ShipmentId, worker::Report)) -> Result<(), DispatchError> {
        self.board.touch();
        self.note_failure(&id, &report);
        if let Some(failure) = report.failure {
            self.outcome.destination_failure = Some(failure);
        }
        if let Some(under_way) = self.under_way.get_mut(&id) {
            under_way.runs = false;
        }
        let effects = self.desk.on(&id, report.event, clock::now(), clock::chance());
        self.apply(effects).await?;
        if self.desk.shipment(&id).is_none()
            && let Some(over) = self.under_way.remove(&id)
        {
            Status::add(&self.status.resent_bytes, over.sent_again());
            self.close_retired();
        }
        Ok(())
    }

    fn note_failure(&mut self, id: &ShipmentId, report: &worker::Report) {
        let Event::Failed { reason, destination, .. } = &report.event else { return };
        Status::add(&self.status.failures, 1);
        let code = report.failure.as_ref().map_or("source", |(code, _)| code);
        self.status.failed(code);
        if let Some(shipment) = self.desk.shipment(id).filter(|_| *destination) {
            self.board.failed(&shipment.destination, code, reason);
        }
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

    async fn store(&mut self, records: Vec<Record>) -> Result<(), DispatchError> {
        let Some(journal) = self.journal.clone().filter(|_| !records.is_empty()) else { return Ok(()) };
        loop {
            match journal.record(records.clone()).await {
                Err(error @ JournalError::NoSpace { .. }) => {
                    tracing::error!(%error, "waiting for space; nothing is accepted or deleted meanwhile");
                    // Waiting for space is what it is to do, so systemd need not mind.
                    self.pulse.beat();
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
                self.board.released(&watch, item);
                if self.once && self.changes_too_often(item) {
                    self.admission.clear(item);
                    return self.give_up(&path, "it keeps changing while it is read");
                }
                tracing::debug!(%watch, %path, "changed or gone: looked at again");
                self.look_again(&watch, item, path);
            }
            Effect::Again(item, path, watch) => self.look_again(&watch, item, path),
            Effect::Hold(held, until) => {
                self.board.held(&held);
                if held.quarantined
                    && let Some(context) = self.context(&held.watch)
                {
                    self.quarantines.tell(&context.settings, &held);
                }
                self.status.failed(if held.quarantined { "quarantined" } else { "item" });
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

    fn look_again(&self, watch: &str, item: ItemId, path: RelPath) {
        self.admission.clear(item);
        if let Some(context) = self.context(watch) {
            context.waker.path(path);
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

    fn start(&mut self, id: ShipmentId, command: Command) {
        let shipment = self.desk.shipment(&id).expect("only shipments under way are started").clone();
        // Begun once, it ends by the settings that held then.
        let begun = self.under_way.remove(&id).or_else(|| self.begin(&shipment));
        let Some(mut under_way) = begun else { return };
        under_way.step = match command {
            Command::Stage { .. } => "sending",
            Command::Publish(_) => "publishing",
            Command::Finish(_) => "finishing",
        };
        under_way.runs = true;
        let (context, progress) = (Arc::clone(&under_way.context), Arc::clone(&under_way.progress));
        self.under_way.insert(id.clone(), under_way);
        let work = worker::Work { context, receipts: Arc::clone(&self.receipts), shipment };
        self.workers.spawn(async move { (id, counting(progress, Box::pin(work.run(command))).await) });
    }

    fn begin(&self, shipment: &Shipment) -> Option<UnderWay> {
        Some(UnderWay {
            context: self.context(&shipment.watch)?,
            step: "",
            runs: false,
            since: clock::now(),
            progress: Progress::default(),
            wire_bytes: board::wire_bytes(shipment),
        })
    }

    fn delivered(&mut self, shipment: &Shipment, receipts: &[Receipt]) {
        let bytes = receipts.iter().map(|receipt| receipt.item().stamp.size).sum();
        let standing = receipts.iter().filter(|receipt| !receipt.sent()).count();
        Status::add(&self.status.delivered_files, receipts.len() as u64);
        Status::add(&self.status.delivered_bytes, bytes);
        Status::add(&self.status.standing_files, standing as u64);
        let items: Vec<_> = receipts.iter().map(Receipt::item).collect();
        self.board.delivered(shipment, &items);
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
        let mut contexts = self.watches.values().map(|live| &live.context);
        contexts.find(|context| context.settings.name == watch).cloned()
    }

    fn recall(&mut self, opening: Opening) {
        for held in opening.held {
            if self.context(&held.watch).is_none() {
                continue;
            }
            self.desk.recall(&held);
            self.board.recalled(&held);
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

pub(crate) fn limits(watch: &Watch) -> BatchLimits {
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
pub(crate) fn destination_retry(settings: &Settings, destination: &str) -> Retry {
    let watches = settings.watches.iter().filter(|watch| watch.to == destination);
    let slowest = watches.max_by_key(|watch| watch.retry_max).map(watch_retry);
    let default = Retry { first: Duration::from_secs(1), max: Duration::from_secs(300), attempts: None };
    Retry { attempts: None, ..slowest.unwrap_or(default) }
}
