//! What the dispatcher tells those who watch. It only writes here: nothing decides by it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use skiff_common::delivery::record::HeldItem;
use skiff_common::{Item, ItemId, Moment, Shipment};
use tokio::sync::watch;

use super::{Begun, Dispatcher, Live};
use crate::clock;
use crate::remote::Link;
use crate::ship;
use crate::status::snapshot::{
    Destination, DestinationState, Held, LastError, OnItsWay, Pending, Problem, Snapshot, Source, Totals,
    Watch,
};
use crate::status::{Problems, Status, add_growing, millis, wall_ms};

/// How often it is told at most: people see no more, and a snapshot goes over all that is under way.
const EVERY: Duration = Duration::from_millis(500);
/// How often it is told though nothing has happened: a connection may have ended, a folder come back.
const REFRESH: Duration = Duration::from_secs(10);
const MOST_ON_ITS_WAY: usize = 64;

/// The dispatcher's notes for others.
pub(super) struct Board {
    out: watch::Sender<Arc<Snapshot>>,
    started_ms: u64,
    last: Option<Moment>,
    is_stale: bool,
    last_delivery_ms: Option<u64>,
    watches: BTreeMap<String, Tally>,
    errors: BTreeMap<String, LastError>,
    problems: Problems,
}

/// Of one watch, over all its configurations.
#[derive(Default)]
struct Tally {
    found_files: u64,
    delivered_files: u64,
    delivered_bytes: u64,
    last_delivery_ms: Option<u64>,
    /// Items that wait (`false`) or are quarantined (`true`).
    held: HashMap<ItemId, bool>,
}

impl Board {
    pub(super) fn new(out: watch::Sender<Arc<Snapshot>>) -> Self {
        Self {
            out,
            started_ms: wall_ms(),
            last: None,
            is_stale: true,
            last_delivery_ms: None,
            watches: BTreeMap::new(),
            errors: BTreeMap::new(),
            problems: Problems::default(),
        }
    }

    /// Something has happened that changes the picture.
    pub(super) fn touch(&mut self) {
        self.is_stale = true;
    }

    /// When the picture is to be told next, if somebody watches.
    pub(super) fn due(&self) -> Option<Moment> {
        let every = if self.is_stale { EVERY } else { REFRESH };
        (self.out.receiver_count() > 0).then(|| self.last.map_or(Moment::START, |last| last + every))
    }

    pub(super) fn expect(&mut self, watch: &str) {
        self.watches.entry(watch.to_owned()).or_default();
    }

    pub(super) fn forget(&mut self, watch: &str) {
        self.watches.remove(watch);
    }

    pub(super) fn found(&mut self, watch: &str) {
        self.tally(watch).found_files += 1;
    }

    pub(super) fn delivered(&mut self, shipment: &Shipment, items: &[&Item]) {
        let now = wall_ms();
        self.last_delivery_ms = Some(now);
        let tally = self.tally(&shipment.watch);
        tally.delivered_files += items.len() as u64;
        tally.delivered_bytes += items.iter().map(|item| item.stamp.size).sum::<u64>();
        tally.last_delivery_ms = Some(now);
        if !tally.held.is_empty() {
            for item in items {
                tally.held.remove(&shipment.item_id(item));
            }
        }
    }

    pub(super) fn released(&mut self, watch: &str, item: ItemId) {
        self.tally(watch).held.remove(&item);
    }

    /// An item is held, as the journal says or as has just come to pass.
    pub(super) fn recalled(&mut self, held: &HeldItem) {
        self.tally(&held.watch).held.insert(held.item, held.quarantined);
    }

    pub(super) fn held(&mut self, held: &HeldItem) {
        self.recalled(held);
        self.problems.add(Problem {
            at_ms: wall_ms(),
            watch: held.watch.clone(),
            what: held.path.to_string(),
            reason: held.reason.clone(),
            quarantined: held.quarantined,
        });
    }

    /// A destination failed as a whole.
    pub(super) fn failed(&mut self, destination: &str, code: &str, message: &str) {
        let error = LastError { code: code.to_owned(), message: message.to_owned(), at_ms: wall_ms() };
        self.errors.insert(destination.to_owned(), error);
        self.problem(destination, message);
    }

    /// Something that is of no watch is in the way.
    pub(super) fn problem(&mut self, what: &str, reason: &str) {
        let (watch, what, reason) = (String::new(), what.to_owned(), reason.to_owned());
        self.problems.add(Problem { at_ms: wall_ms(), watch, what, reason, quarantined: false });
        self.touch();
    }

    fn tally(&mut self, watch: &str) -> &mut Tally {
        if !self.watches.contains_key(watch) {
            self.watches.insert(watch.to_owned(), Tally::default());
        }
        self.watches.get_mut(watch).expect("it was just put there")
    }
}

impl Dispatcher {
    /// Tells how things stand, where that is due.
    pub(super) fn publish(&mut self) {
        let now = clock::now();
        if self.board.due().is_none_or(|due| due > now) {
            return;
        }
        self.board.last = Some(now);
        // While something is on its way, it comes further without a word to us.
        self.board.is_stale = self.begun.values().any(|begun| begun.runs);
        let snapshot = self.snapshot(now);
        let mut told = snapshot.clone();
        let growing: Vec<_> = self.watches.values().filter_map(|live| live.context.growing()).collect();
        add_growing(&mut told, &growing, &self.status);
        self.pulse.say(&told);
        self.board.out.send_replace(Arc::new(snapshot));
    }

    fn snapshot(&self, now: Moment) -> Snapshot {
        let watches = self.watch_views();
        let sum = |of: fn(&Watch) -> u64| watches.iter().map(of).sum();
        Snapshot {
            pid: std::process::id(),
            started_ms: self.board.started_ms,
            totals: self.totals(),
            pending: Pending {
                items: sum(|watch| watch.pending.items),
                bytes: sum(|watch| watch.pending.bytes),
                oldest_ms: watches.iter().filter_map(|watch| watch.pending.oldest_ms).min(),
                more: watches.iter().any(|watch| watch.pending.more),
            },
            held: Held {
                waiting: sum(|watch| watch.held.waiting),
                quarantined: sum(|watch| watch.held.quarantined),
            },
            destinations: self.destination_views(now),
            watches,
            on_its_way: self.on_its_way(now),
            problems: self.board.problems.all(),
            failures: self.status.failures_by_code(),
            ..Snapshot::empty(Source::Agent)
        }
    }

    fn totals(&self) -> Totals {
        let status = &self.status;
        let again: u64 = self.begun.values().map(Begun::sent_again).sum();
        Totals {
            found_files: Status::get(&status.found_files),
            found_bytes: Status::get(&status.found_bytes),
            delivered_files: Status::get(&status.delivered_files),
            delivered_bytes: Status::get(&status.delivered_bytes),
            standing_files: Status::get(&status.standing_files),
            sent_bytes: Status::get(&status.sent_bytes),
            resent_bytes: Status::get(&status.resent_bytes) + again,
            failures: Status::get(&status.failures),
            last_delivery_ms: self.board.last_delivery_ms,
        }
    }

    fn watch_views(&self) -> Vec<Watch> {
        let mut pending: HashMap<&str, Pending> = HashMap::new();
        for (shipment, _) in self.desk.all_shipments() {
            add(pending.entry(&shipment.watch).or_default(), &shipment.items);
        }
        for Live { context, planner, .. } in self.watches.values() {
            add(pending.entry(&context.settings.name).or_default(), planner.waiting());
        }
        let all_full = self.settled.len() == self.settled.max_capacity();
        let mut live: Vec<&Live> = self.watches.values().collect();
        live.sort_by_key(|live| live.context.order.load(std::sync::atomic::Ordering::Relaxed));
        let none = Tally::default();
        let view = |Live { context, full, .. }: &Live| {
            let settings = &context.settings;
            let tally = self.board.watches.get(&settings.name).unwrap_or(&none);
            let quarantined = tally.held.values().filter(|quarantined| **quarantined).count() as u64;
            let paused = self.desk.is_paused(&settings.name);
            let mut pending = pending.get(settings.name.as_str()).cloned().unwrap_or_default();
            pending.more = *full || all_full || paused;
            Watch {
                name: settings.name.clone(),
                path: settings.path.display().to_string(),
                to: settings.to.clone(),
                paused,
                trouble: context.trouble(),
                unmounted: context.misses_mount(),
                found_files: tally.found_files,
                delivered_files: tally.delivered_files,
                delivered_bytes: tally.delivered_bytes,
                last_delivery_ms: tally.last_delivery_ms,
                pending,
                held: Held { waiting: tally.held.len() as u64 - quarantined, quarantined },
                settling: context.settling().0,
            }
        };
        live.into_iter().map(view).collect()
    }

    fn destination_views(&self, now: Moment) -> Vec<Destination> {
        let standings: HashMap<_, _> = self.desk.standings().collect();
        let view = |remote: &Arc<crate::remote::Remote>| {
            let standing = standings.get(remote.name())?;
            let closed_until = standing.closed_until.filter(|until| *until > now);
            let paused = self.rests.get(remote.name()).cloned();
            let state = match remote.link() {
                _ if paused.is_some() => DestinationState::Paused,
                Link::Up if standing.failures == 0 => DestinationState::Connected,
                Link::Connecting => DestinationState::Connecting,
                Link::Up | Link::Down if standing.failures > 0 => DestinationState::Waiting,
                Link::Up | Link::Down => DestinationState::Idle,
            };
            Some(Destination {
                name: remote.name().to_owned(),
                address: remote.address(),
                state,
                retry_at_ms: closed_until.map(|until| wall_ms() + millis(until.since(now))),
                failures: standing.failures,
                running: standing.running as u64,
                queued: standing.queued as u64,
                paused,
                last_error: self.board.errors.get(remote.name()).cloned(),
            })
        };
        let mut views: Vec<_> = self.remotes.iter().filter_map(view).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    fn on_its_way(&self, now: Moment) -> Vec<OnItsWay> {
        let view = |(id, begun): (&skiff_common::ShipmentId, &Begun)| {
            let shipment = self.desk.shipment(id)?;
            let (took, sent) = (now.since(begun.since), begun.sent());
            Some(OnItsWay {
                shipment: id.to_string(),
                watch: shipment.watch.clone(),
                destination: shipment.destination.clone(),
                first: shipment.items[0].path.to_string(),
                files: shipment.items.len() as u64,
                bytes: shipment.bytes(),
                sent_bytes: sent.min(shipment.bytes()),
                step: begun.step.to_owned(),
                since_ms: wall_ms().saturating_sub(millis(took)),
                bytes_per_second: sent * 1000 / millis(took).max(1),
            })
        };
        let running = self.begun.iter().filter(|(_, begun)| begun.runs);
        let mut views: Vec<_> = running.take(MOST_ON_ITS_WAY).filter_map(view).collect();
        views.sort_by(|a, b| (a.since_ms, &a.shipment).cmp(&(b.since_ms, &b.shipment)));
        views
    }
}

/// The most that goes over the wire for a shipment that goes once: its content, and the list of its names where the
/// destination is asked what it has.
pub(super) fn wire_bytes(shipment: &Shipment) -> u64 {
    let names: u64 = shipment.items.iter().map(|item| item.path.as_bytes().len() as u64 + 1).sum();
    names
        + match shipment.kind {
            skiff_common::ShipmentKind::Single => shipment.bytes(),
            // One that can't be packed goes one by one, with less.
            skiff_common::ShipmentKind::Batch => {
                ship::batch_bytes(&shipment.items).unwrap_or_else(|_| shipment.bytes())
            }
        }
}

fn add(pending: &mut Pending, items: &[Item]) {
    pending.items += items.len() as u64;
    for item in items {
        pending.bytes += item.stamp.size;
        let changed_ms = u64::try_from(item.stamp.ctime_ns.max(0) / 1_000_000).unwrap_or(0);
        pending.oldest_ms = Some(pending.oldest_ms.map_or(changed_ms, |oldest| oldest.min(changed_ms)));
    }
}
