//! The dispatcher: one loop that takes what is settled and what workers report, and does what the desk decides.
//!
//! Records are stored before the effects that rely on them. Owns the planners, the timers and the workers. Lacks
//! decisions (`skiff_common::desk`), the effects (`effects`) and the work itself (`worker`).

mod begun;
mod board;
mod effects;
mod late;
mod manifest;
mod orders;
mod pulse;
mod recall;
mod setup;
#[cfg(test)]
mod tests;
mod worker;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use skiff_common::batch::{Planned, Planner};
use skiff_common::delivery::Record;
use skiff_common::desk::{Desk, Rank};
use skiff_common::{Item, ItemId, Moment, RelPath, Shipment, ShipmentId};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::admission::Admission;
use crate::clock;
use crate::context::WatchContext;
use crate::hooks::Quarantines;
use crate::journal::{Journal, Opening};
use crate::receipts::Receipts;
use crate::remote::Remote;
use crate::route;
use crate::scan::Settled;
use crate::status::Status;
use begun::Begun;
use board::Board;
use late::Late;
pub use orders::{Change, Order};
use pulse::Pulse;
pub(crate) use setup::destination_retry;
pub use setup::{DispatchError, Failure, Outcome, Setup, Stop, Urgency};
use setup::{limits, watch_retry};

/// Items under way at most: as many batches as a destination takes at once, and two that wait; 5 MiB. The rest is still in
/// the folders.
const MOST_ITEMS: usize = 16 << 10;
/// A watch's share of them, at least: enough for a batch, so that one whose destination is in trouble, and which takes
/// all it may, leaves the others room.
const LEAST_SHARE: usize = 2 << 10;
/// Found before their scanner heard that its share was used up.
const ON_THE_WAY_HERE: usize = 8 << 10;
/// A file that has failed so often travels alone.
const ALONE_AFTER: u32 = 2;
/// How long shipments that are under way may take to end after a stop.
const GRACE: Duration = Duration::from_secs(5);

/// The dispatcher.
pub struct Dispatcher {
    /// By number.
    watches: BTreeMap<usize, Live>,
    remotes: Vec<Arc<Remote>>,
    /// No destination any more, but something is on its way there.
    retired: Vec<Arc<Remote>>,
    /// The shipments that have begun, of those that the desk has under way.
    begun: HashMap<ShipmentId, Begun>,
    orders: mpsc::Receiver<Order>,
    /// Those that came while nothing could be recorded.
    deferred: VecDeque<Order>,
    board: Board,
    pulse: Pulse,
    quarantines: Quarantines,
    admission: Arc<Admission>,
    journal: Option<Journal>,
    receipts: Arc<Receipts>,
    status: Arc<Status>,
    pub(crate) scanner_ended: Arc<Notify>,
    /// Told by each scanner and follower that is idle.
    idle: Arc<Notify>,
    once: bool,
    /// See [`Opening::doubt`].
    doubt: Option<String>,
    desk: Desk,
    late: Late,
    /// Watches of the configuration that somebody has paused, also those that are not there now.
    paused: HashSet<String>,
    /// Destinations that are paused, and why.
    rests: BTreeMap<String, String>,
    settled: mpsc::Receiver<Settled>,
    workers: JoinSet<(ShipmentId, worker::Report)>,
    held: BinaryHeap<Reverse<(Moment, usize, RelPath, ItemId)>>,
    resumed: Vec<Shipment>,
    /// Ends what the journal has of watches and destinations that are no longer configured.
    dropped: Vec<Record>,
    changes: HashMap<ItemId, u32>,
    /// Files that were asked for while they were under way, and are delivered.
    wanted: Vec<(String, RelPath)>,
    given_up: bool,
    /// For who waits for space instead of the next input.
    stop: Option<Stop>,
    outcome: Outcome,
}

/// A watch that files are taken from.
struct Live {
    context: Arc<WatchContext>,
    planner: Planner,
    /// Whether its share is used up.
    full: bool,
    /// Whether some of what waits for company may stand at the destination already.
    asks: bool,
}

impl Live {
    fn new(context: Arc<WatchContext>) -> Self {
        let planner = Planner::new(limits(&context.settings));
        Self { context, planner, full: false, asks: false }
    }
}

enum Input {
    Settled(Option<Settled>),
    Order(Order),
    Report(Box<(ShipmentId, worker::Report)>),
    Timer,
    ScannerIdle,
    ScannerEnded,
    Stop(Urgency),
}

impl Dispatcher {
    /// A dispatcher that takes up what the journal remembers.
    pub fn new(setup: Setup<'_>, opening: Opening, settled: mpsc::Receiver<Settled>) -> Self {
        let mut desk = Desk::new();
        for destination in &setup.settings.destinations {
            let retry = setup.retry.unwrap_or_else(|| destination_retry(setup.settings, &destination.name));
            desk.add_destination(&destination.name, destination.in_flight.get(), retry);
        }
        for watch in &setup.settings.watches {
            desk.add_watch(&watch.name, watch_retry(watch));
            desk.set_failover(&watch.name, route::destinations(watch));
        }
        let mut board = Board::new(setup.board);
        setup.contexts.iter().for_each(|context| board.expect(&context.settings.name));
        let paused: HashSet<String> = setup.paused.into_iter().collect();
        for context in &setup.contexts {
            let rests = paused.contains(route::base(&context.settings.name));
            context.waker.pause(rests);
            desk.set_paused(&context.settings.name, rests);
        }
        let idle = Arc::new(Notify::new());
        setup.contexts.iter().for_each(|context| context.waker.tell_idle(&idle));
        let watches = setup.contexts.into_iter().map(|context| (context.number, Live::new(context)));
        let mut dispatcher = Self {
            watches: watches.collect(),
            remotes: setup.remotes,
            retired: Vec::new(),
            begun: HashMap::new(),
            orders: setup.orders,
            deferred: VecDeque::new(),
            board,
            pulse: Pulse::new(setup.service),
            quarantines: Quarantines::start(),
            admission: setup.admission,
            journal: setup.journal,
            receipts: setup.receipts,
            status: setup.status,
            scanner_ended: setup.scanner_ended,
            idle,
            once: setup.once,
            doubt: opening.doubt.clone(),
            desk,
            late: Late::default(),
            paused,
            rests: BTreeMap::new(),
            settled,
            workers: JoinSet::new(),
            held: BinaryHeap::new(),
            resumed: Vec::new(),
            dropped: Vec::new(),
            changes: HashMap::new(),
            wanted: Vec::new(),
            given_up: false,
            stop: None,
            outcome: Outcome::default(),
        };
        dispatcher.recall(opening);
        dispatcher
    }

    /// Runs until it is told to stop or, where it runs once, all is done.
    pub async fn run(&mut self, stop: Stop) -> Result<Outcome, DispatchError> {
        self.stop = Some(stop.clone());
        match self.go_round(stop).await {
            // Nothing more can be recorded, so nothing more can be done; it costs a resend at most.
            Err(DispatchError::Stopped) => self.outcome.interrupted = true,
            ended => ended?,
        }
        self.workers.shutdown().await;
        // A full disk may have no room soon; what isn't recorded is looked at again.
        match tokio::time::timeout(GRACE, self.apply_late()).await {
            Err(_) | Ok(Err(DispatchError::Stopped)) => {}
            Ok(ended) => ended?,
        }
        let unseen = self.watches.values().flat_map(|live| live.context.unseen());
        self.outcome.problems.extend(unseen);
        Ok(std::mem::take(&mut self.outcome))
    }

    async fn go_round(&mut self, mut stop: Stop) -> Result<(), DispatchError> {
        let dropped = std::mem::take(&mut self.dropped);
        self.store(dropped).await?;
        for shipment in std::mem::take(&mut self.resumed) {
            let effects = self.desk.resume(shipment, clock::now());
            self.apply(effects).await?;
        }
        let mut urgency = Urgency::Run;
        let mut deadline = None;
        while !self.is_over(urgency) {
            self.pulse.beat();
            self.end_dropped();
            self.end_doubt().await?;
            self.share_room();
            self.publish();
            match self.next_input(&mut stop, urgency, deadline).await {
                Input::Settled(Some(found)) => self.take(found).await?,
                Input::Settled(None) | Input::ScannerEnded => return Err(DispatchError::NoScanner),
                Input::Report(report) => self.report(*report).await?,
                Input::Order(order) => {
                    self.board.touch();
                    self.apply_late().await?;
                    self.obey(order).await?;
                }
                Input::ScannerIdle => {}
                Input::Timer if deadline.is_some_and(|deadline| clock::now() >= deadline) => {
                    urgency = Urgency::Abort;
                }
                Input::Timer => self.timer().await?,
                Input::Stop(more) => {
                    urgency = urgency.max(more);
                    self.desk.drain();
                    deadline = Some(clock::now() + GRACE);
                    self.outcome.interrupted = true;
                }
            }
        }
        Ok(())
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
        if urgency == Urgency::Run
            && let Some(order) = self.deferred.pop_front()
        {
            return Input::Order(order);
        }
        let due = self.next_due().into_iter().chain(deadline).min().map(clock::instant);
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let most = self.share() * self.watches.len() + ON_THE_WAY_HERE;
        let room = self.desk.items() < most && urgency == Urgency::Run;
        tokio::select! {
            Ok(()) = stop.changed() => Input::Stop(*stop.borrow()),
            Some(report) = self.workers.join_next() => Input::Report(Box::new(report.unwrap_or_else(|error| {
                // A panic leaves nobody who knows which shipment it was; the agent ends.
                std::panic::resume_unwind(error.into_panic())
            }))),
            found = self.settled.recv(), if room => Input::Settled(found),
            Some(order) = self.orders.recv(), if urgency == Urgency::Run => Input::Order(order),
            () = self.idle.notified(), if self.once || self.doubt.is_some() => Input::ScannerIdle,
            () = self.scanner_ended.notified() => Input::ScannerEnded,
            () = timer => Input::Timer,
        }
    }

    /// How many items a watch may have under way.
    fn share(&self) -> usize {
        (MOST_ITEMS / self.watches.len().max(1)).max(LEAST_SHARE)
    }

    /// Tells the scanners whose watch has its share, and those whose has no longer.
    fn share_room(&mut self) {
        let share = self.share();
        for live in self.watches.values_mut() {
            let full = self.desk.load(&live.context.settings.name) >= share;
            if full != live.full {
                live.full = full;
                live.context.waker.fill(full);
            }
        }
    }

    fn next_due(&self) -> Option<Moment> {
        if self.desk.drains() {
            // What is due begins something.
            return [self.board.due(), self.pulse.due(), self.late.due()].into_iter().flatten().min();
        }
        let held = self.held.peek().map(|Reverse((due, ..))| *due);
        let cut = self.watches.values().filter_map(|live| live.planner.cut_at()).min();
        let others = [self.desk.next_due(), self.board.due(), self.pulse.due(), self.late.due()];
        [held, cut].into_iter().chain(others).flatten().min()
    }

    async fn take(&mut self, found: Settled) -> Result<(), DispatchError> {
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
        let survey = (self.doubt.is_some() && found.first_scan) || found.may_stand;
        let id = ItemId::of(&live.context.settings.name, &found.item.path);
        if self.desk.failures_of(id) >= ALONE_AFTER {
            // What fails in company may not fail alone: two names that are one there, or a tar that can't hold it.
            let alone = Planned { kind: skiff_common::ShipmentKind::Single, items: vec![found.item] };
            return self.plan(found.watch, alone, true).await;
        }
        live.asks |= survey;
        for planned in live.planner.add(found.item, clock::now()) {
            self.plan(found.watch, planned, survey).await?;
        }
        Ok(())
    }

    async fn plan(&mut self, watch: usize, planned: Planned, survey: bool) -> Result<(), DispatchError> {
        let live = self.watches.get_mut(&watch).expect("only watches that are taken from are planned for");
        let survey = survey || live.asks;
        live.asks &= !live.planner.waiting().is_empty();
        let settings = &self.watches[&watch].context.settings;
        let now = clock::now();
        let destination = self.desk.destination(&settings.name, &settings.to, now);
        let shipment = Shipment::new(&settings.name, &destination, planned.kind, planned.items);
        if settings.order != skiff_config::Order::Found || !settings.first.is_empty() {
            let rank = rank(&self.watches[&watch].context, &shipment);
            self.desk.rank(&shipment.id, rank);
        }
        let survey = survey || self.desk.is_detouring(&settings.name);
        let effects = self.desk.plan(shipment, survey, now);
        self.apply(effects).await
    }

    async fn timer(&mut self) -> Result<(), DispatchError> {
        if self.late.due().is_some_and(|due| due <= clock::now()) {
            self.apply_late().await?;
        }
        if self.desk.drains() {
            return Ok(());
        }
        let now = clock::now();
        let due = |(number, live): (&usize, &mut Live)| {
            let is_due = live.planner.cut_at().is_some_and(|cut| cut <= now);
            is_due.then(|| live.planner.cut()).flatten().map(|planned| (*number, planned))
        };
        let cut: Vec<_> = self.watches.iter_mut().filter_map(due).collect();
        for (watch, planned) in cut {
            // What of it may stand there is known.
            self.plan(watch, planned, false).await?;
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

    fn context(&self, watch: &str) -> Option<Arc<WatchContext>> {
        let mut contexts = self.watches.values().map(|live| &live.context);
        contexts.find(|context| context.settings.name == watch).cloned()
    }
}

/// What goes first of a watch: the best class of its members, then as they are ordered.
fn rank(context: &WatchContext, shipment: &Shipment) -> Rank {
    use skiff_config::Order;
    let class_of = |item: &Item| {
        let class = context.classes.iter().position(|class| class.matches(item.path.as_bytes()));
        class.and_then(|class| u32::try_from(class).ok()).unwrap_or(u32::MAX - 1)
    };
    let place_of = |item: &Item| match context.settings.order {
        Order::Found => 0,
        Order::Oldest => item.stamp.mtime_ns,
        Order::Newest => item.stamp.mtime_ns.saturating_neg(),
        Order::Smallest => i64::try_from(item.stamp.size).unwrap_or(i64::MAX),
    };
    let ranks = shipment.items.iter().map(|item| (class_of(item), place_of(item)));
    ranks.min().expect("a shipment has members")
}
