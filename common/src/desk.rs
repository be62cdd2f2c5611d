//! The dispatcher's decisions: which shipment runs when, what waits and why, what is given up.
//!
//! Owns all deliveries under way. Promises that records come before the effects that rely on them, that no destination
//! runs more than its limit, that a destination in trouble is tried by one shipment at a time, and that an item
//! travels in one shipment at a time: of two, the slower could put an older version over a newer one. Takes time and
//! chance as arguments and acts through the [`Effect`]s it returns.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::delivery::{Command, Delivery, Event, HeldItem, Left, Receipt, Record, Step, Trouble};
use crate::fault::Fault;
use crate::item::{Item, ItemId};
use crate::lane::Lane;
pub use crate::lane::{LaneStanding, Rank};
use crate::moment::Moment;
use crate::path::RelPath;
use crate::retry::Retry;
use crate::shipment::{Shipment, ShipmentId};

/// Items that are held at most. Of each, some 300 bytes stay in memory: who retries it, who lists it, who looks for it.
pub const MOST_HELD: usize = 50_000;

/// What the agent is to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Store this before any later effect.
    Record(Record),
    /// Have a worker run this.
    Start(ShipmentId, Command),
    /// These members of the shipment are delivered.
    Delivered(Shipment, Vec<Receipt>),
    /// The item no longer travels: its file is to be looked at again, if it is still there.
    Release(ItemId, RelPath, String),
    /// The item was found again before its shipment was over: its file is to be looked at now.
    Again(ItemId, RelPath, String),
    /// The item waits until then, or (`None`) until somebody retries it.
    Hold(HeldItem, Option<Moment>),
    /// The item failed, and is not kept in mind, as too many are held: a later scan finds it again.
    Pass(HeldItem),
    /// A shipment failed as a whole and is tried again after the wait, or (`None`) is given up.
    Failed(ShipmentId, String, Option<Duration>),
}

/// All deliveries under way.
#[derive(Debug, Default)]
pub struct Desk {
    lanes: BTreeMap<String, Lane>,
    deliveries: HashMap<ShipmentId, Delivery>,
    attempts: HashMap<ItemId, u32>,
    retries: HashMap<String, Retry>,
    /// The items of all shipments under way, and whether each was found again meanwhile.
    under_way: HashMap<ItemId, bool>,
    /// Watches of which nothing new starts.
    paused: HashSet<String>,
    /// Shipments of watches that were withdrawn: they end with their next failure.
    withdrawn: HashSet<ShipmentId>,
    /// The destinations of watches that deliver to the first that works, in that order.
    failover: HashMap<String, Vec<String>>,
    /// How many items of each watch are under way.
    loads: HashMap<String, usize>,
    ticked: Moment,
    /// Which shipments go before others; one without a rank comes last.
    ranks: HashMap<ShipmentId, Rank>,
    /// Nothing more starts.
    drains: bool,
}

impl Desk {
    /// A desk without work.
    pub fn new() -> Self {
        Self::default()
    }

    /// A destination takes up to `limit` shipments at once; its own troubles are retried by `retry`.
    pub fn add_destination(&mut self, name: &str, limit: usize, retry: Retry) {
        self.lanes.insert(name.to_owned(), Lane::new(limit, retry));
    }

    /// Items of a watch are retried by `retry`.
    pub fn add_watch(&mut self, name: &str, retry: Retry) {
        self.retries.insert(name.to_owned(), retry);
    }

    /// How many items of a watch are under way.
    pub fn load(&self, watch: &str) -> usize {
        self.loads.get(watch).copied().unwrap_or(0)
    }

    /// How many items are under way.
    pub fn items(&self) -> usize {
        self.under_way.len()
    }

    /// How many shipments are under way.
    pub fn shipments(&self) -> usize {
        self.deliveries.len()
    }

    /// A shipment under way.
    pub fn shipment(&self, id: &ShipmentId) -> Option<&Shipment> {
        self.deliveries.get(id).map(Delivery::shipment)
    }

    /// What the journal remembers of an item that failed before.
    pub fn recall(&mut self, held: &HeldItem) {
        self.attempts.insert(held.item, held.attempts);
    }

    /// A shipment that is planned next goes before those of a higher rank.
    pub fn rank(&mut self, id: &ShipmentId, rank: Rank) {
        self.ranks.insert(id.clone(), rank);
    }

    /// Settled items are to go. Those that are under way already are left out, and looked at again afterwards.
    pub fn plan(&mut self, shipment: Shipment, survey: bool, now: Moment) -> Vec<Effect> {
        let (planned, rank) = (shipment.items.len(), self.ranks.remove(&shipment.id));
        let Some(mut shipment) = self.take_items(shipment) else { return Vec::new() };
        if shipment.items.len() < planned {
            let Shipment { watch, destination, kind, items, .. } = shipment;
            shipment = Shipment::new(&watch, &destination, kind, items);
        }
        self.ranks.extend(rank.map(|rank| (shipment.id.clone(), rank)));
        // A member that failed before may have come further than anybody knows.
        let survey =
            survey || shipment.items.iter().any(|i| self.attempts.contains_key(&shipment.item_id(i)));
        self.begin(Delivery::plan(shipment, survey), now)
    }

    /// The journal remembers this shipment as pending. An item can be in two of them: it had left the first, which
    /// wasn't over, when the second was planned.
    pub fn resume(&mut self, shipment: Shipment, now: Moment) -> Vec<Effect> {
        let id = shipment.id.clone();
        match self.take_items(shipment) {
            Some(shipment) => self.begin(Delivery::resume(shipment), now),
            None => vec![Effect::Record(Record::Finished { shipment: id, delivered: Vec::new() })],
        }
    }

    /// A worker reports on a shipment.
    ///
    /// # Panics
    /// Where no such shipment is under way.
    pub fn on(&mut self, id: &ShipmentId, event: Event, now: Moment, chance: f64) -> Vec<Effect> {
        let delivery = self.deliveries.get_mut(id).expect("workers report on what is under way");
        let failure = match &event {
            Event::Failed { fault, destination, reason } => Some((*fault, *destination, reason.clone())),
            _ => None,
        };
        let step = delivery.on(event);
        match failure {
            Some(failure) => self.failed(id, failure, now, chance),
            None => self.follow(id, step, now, chance),
        }
    }

    /// Starts what may start at `now`.
    pub fn tick(&mut self, now: Moment) -> Vec<Effect> {
        self.ticked = now;
        if self.drains {
            return Vec::new();
        }
        let mut effects = self.reroute(now);
        effects.extend(self.start_ready(now));
        effects
    }

    fn start_ready(&mut self, now: Moment) -> Vec<Effect> {
        let (deliveries, paused) = (&self.deliveries, &self.paused);
        let rests = |id: &ShipmentId| !paused.is_empty() && paused.contains(&deliveries[id].shipment().watch);
        let ranks = &self.ranks;
        let rank = |id: &ShipmentId| ranks.get(id).copied().unwrap_or((u32::MAX, i64::MAX));
        let rank = (!ranks.is_empty()).then_some(rank);
        let ready = self.lanes.values_mut().flat_map(|lane| lane.take_ready(now, rests, rank.as_ref()));
        ready.map(|(id, command)| Effect::Start(id, command)).collect()
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub fn next_due(&self) -> Option<Moment> {
        if self.drains {
            return None;
        }
        let (deliveries, paused) = (&self.deliveries, &self.paused);
        let rests = |id: &ShipmentId| !paused.is_empty() && paused.contains(&deliveries[id].shipment().watch);
        let lanes = self.lanes.values().filter_map(|lane| lane.next_due(rests));
        lanes.chain(self.next_reroute()).min()
    }

    /// Tries everything now: somebody says that the trouble is over.
    pub fn retry_now(&mut self, now: Moment) -> Vec<Effect> {
        self.lanes.values_mut().for_each(|lane| lane.open(now));
        self.tick(now)
    }

    fn begin(&mut self, (delivery, step): (Delivery, Step), now: Moment) -> Vec<Effect> {
        let id = delivery.shipment().id.clone();
        let lane = self.lane(&delivery.shipment().destination.clone());
        let mut effects: Vec<_> = step.record.into_iter().map(Effect::Record).collect();
        lane.enqueue(id.clone(), step.command.expect("a shipment begins with a command"), now);
        self.deliveries.insert(id, delivery);
        effects.extend(self.tick(now));
        effects
    }

    fn failed(
        &mut self,
        id: &ShipmentId,
        (fault, destination, reason): (Fault, bool, String),
        now: Moment,
        chance: f64,
    ) -> Vec<Effect> {
        let delivery = self.deliveries.get_mut(id).expect("checked by the caller");
        let name = delivery.shipment().destination.clone();
        let failures = delivery.failures();
        if (destination && self.other_way(id, fault, now, chance)) || self.withdrawn.contains(id) {
            // Whoever watches the folder now finds its files at once.
            let mut effects = vec![Effect::Failed(id.clone(), reason, Some(Duration::ZERO))];
            effects.extend(self.drop_shipment(id));
            effects.extend(self.tick(now));
            return effects;
        }
        let lane = self.lanes.get_mut(&name).expect("shipments go to known destinations");
        let wait = if destination {
            lane.trouble(id, fault, now, chance)
        } else {
            lane.wait(failures, fault, chance)
        };
        let Some(wait) = wait else {
            let trouble = Trouble::Failed { fault, reason: reason.clone() };
            let step = self.deliveries.get_mut(id).expect("checked by the caller").abandon(&trouble);
            let mut effects = vec![Effect::Failed(id.clone(), reason, None)];
            effects.extend(self.follow(id, step, now, chance));
            return effects;
        };
        let command = self.deliveries.get_mut(id).expect("checked by the caller").restart();
        self.lane(&name).requeue(id.clone(), command, now + wait);
        let mut effects = vec![Effect::Failed(id.clone(), reason, Some(wait))];
        effects.extend(self.tick(now));
        effects
    }

    fn follow(&mut self, id: &ShipmentId, step: Step, now: Moment, chance: f64) -> Vec<Effect> {
        let mut effects: Vec<_> = step.record.into_iter().map(Effect::Record).collect();
        let shipment = self.deliveries[id].shipment();
        let (watch, destination) = (shipment.watch.clone(), shipment.destination.clone());
        // One that can't be disposed of fails again and again, so its attempts count.
        let stay: HashSet<_> = step.left.iter().map(|left| ItemId::of(&watch, &left.item.path)).collect();
        for receipt in &step.delivered {
            let item = ItemId::of(&watch, &receipt.item().path);
            if !stay.contains(&item) && self.attempts.remove(&item).is_some() {
                effects.push(Effect::Record(Record::Released(item)));
            }
        }
        if !step.delivered.is_empty() {
            effects.push(Effect::Delivered(self.deliveries[id].shipment().clone(), step.delivered));
        }
        for left in step.left {
            effects.extend(self.leave(&watch, left, now, chance));
        }
        match step.command {
            Some(command) => effects.push(Effect::Start(id.clone(), command)),
            None if self.deliveries[id].is_finished() => {
                self.lane(&destination).release(id);
                effects.extend(self.over(id));
            }
            None => {}
        }
        effects.extend(self.tick(now));
        effects
    }

    /// The shipment's items may travel again.
    fn over(&mut self, id: &ShipmentId) -> Vec<Effect> {
        let done = self.deliveries.remove(id).expect("checked by the caller");
        self.ranks.remove(id);
        self.withdrawn.remove(id);
        let Shipment { watch, items, .. } = done.shipment();
        let wanted = items.iter().filter_map(|item| {
            let id = ItemId::of(watch, &item.path);
            let again = self.under_way.remove(&id).expect("it is under way with its shipment");
            lighten(&mut self.loads, watch);
            again.then(|| Effect::Again(id, item.path.clone(), watch.clone()))
        });
        wanted.collect()
    }

    /// Puts the items under way. Leaves out those that are already, or twice among them, and remembers that they were
    /// wanted; `None`: nothing is left.
    fn take_items(&mut self, mut shipment: Shipment) -> Option<Shipment> {
        let Shipment { watch, items, .. } = &mut shipment;
        items.retain(|item| match self.under_way.entry(ItemId::of(watch, &item.path)) {
            Entry::Occupied(mut again) => {
                again.insert(true);
                false
            }
            Entry::Vacant(free) => {
                free.insert(false);
                *self.loads.entry(watch.clone()).or_default() += 1;
                true
            }
        });
        (!shipment.items.is_empty()).then_some(shipment)
    }

    fn leave(&mut self, watch: &str, Left { item, trouble }: Left, now: Moment, chance: f64) -> Vec<Effect> {
        let id = ItemId::of(watch, &item.path);
        match trouble {
            Trouble::Changed | Trouble::Gone => {
                let forgotten = self.attempts.remove(&id).map(|_| Effect::Record(Record::Released(id)));
                forgotten.into_iter().chain([Effect::Release(id, item.path, watch.to_owned())]).collect()
            }
            Trouble::Failed { fault, reason } => {
                if self.attempts.len() >= MOST_HELD && !self.attempts.contains_key(&id) {
                    return vec![Effect::Pass(held_item(watch, &item, 1, reason))];
                }
                let held = self.hold(watch, &item, fault, reason);
                let until =
                    (!held.quarantined).then(|| now + self.retries[watch].wait(held.attempts, chance));
                vec![Effect::Record(Record::Held(held.clone())), Effect::Hold(held, until)]
            }
        }
    }

    fn hold(&mut self, watch: &str, item: &Item, fault: Fault, reason: String) -> HeldItem {
        let id = ItemId::of(watch, &item.path);
        let attempts = self.attempts.entry(id).or_insert(0);
        *attempts = attempts.saturating_add(1);
        let quarantined = fault != Fault::Retryable || self.retries[watch].gives_up(*attempts);
        HeldItem { quarantined, ..held_item(watch, item, *attempts, reason) }
    }

    fn lane(&mut self, name: &str) -> &mut Lane {
        self.lanes.get_mut(name).expect("shipments go to known destinations")
    }
}

/// An item that waits.
fn held_item(watch: &str, item: &Item, attempts: u32, reason: String) -> HeldItem {
    HeldItem {
        item: ItemId::of(watch, &item.path),
        watch: watch.to_owned(),
        path: item.path.clone(),
        stamp: item.stamp.fingerprint(),
        attempts,
        reason,
        quarantined: false,
    }
}

/// One item of the watch is no longer under way.
fn lighten(loads: &mut HashMap<String, usize>, watch: &str) {
    if let Some(load) = loads.get_mut(watch) {
        *load = load.saturating_sub(1);
        if *load == 0 {
            loads.remove(watch);
        }
    }
}

mod failover;
mod orders;

#[cfg(test)]
mod tests;
