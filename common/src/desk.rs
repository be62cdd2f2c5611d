//! The dispatcher's decisions: which shipment runs when, what waits and why, what is given up.
//!
//! Owns all deliveries under way. Promises that records come before the effects that rely on them, that no destination
//! has more than its limit under way, and that a destination in trouble is tried by one shipment at a time. Takes time
//! and chance as arguments and acts through the [`Effect`]s it returns.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::delivery::{Command, Delivery, Event, HeldItem, Left, Receipt, Record, Step, Trouble};
use crate::fault::Fault;
use crate::item::{Item, ItemId};
use crate::lane::Lane;
use crate::moment::Moment;
use crate::path::RelPath;
use crate::retry::Retry;
use crate::shipment::{Shipment, ShipmentId};

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
    /// The item waits until then, or (`None`) until somebody retries it.
    Hold(HeldItem, Option<Moment>),
    /// A shipment failed as a whole and is tried again after the wait, or (`None`) is given up.
    Failed(ShipmentId, String, Option<Duration>),
}

/// All deliveries under way.
#[derive(Debug, Default)]
pub struct Desk {
    lanes: BTreeMap<String, Lane>,
    deliveries: HashMap<ShipmentId, Delivery>,
    again: HashMap<ShipmentId, Shipment>,
    attempts: HashMap<ItemId, u32>,
    retries: HashMap<String, Retry>,
    items: usize,
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

    /// How many items are under way.
    pub const fn items(&self) -> usize {
        self.items
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

    /// Settled items are to go.
    pub fn plan(&mut self, shipment: Shipment, survey: bool, now: Moment) -> Vec<Effect> {
        // A member that failed before may have come further than anybody knows.
        let survey =
            survey || shipment.items.iter().any(|i| self.attempts.contains_key(&shipment.item_id(i)));
        if self.deliveries.contains_key(&shipment.id) {
            // Its members failed and are due again before what is left of it is cleared away.
            self.again.insert(shipment.id.clone(), shipment);
            return Vec::new();
        }
        self.begin(Delivery::plan(shipment, survey), now)
    }

    /// The journal remembers this shipment as pending.
    pub fn resume(&mut self, shipment: Shipment, now: Moment) -> Vec<Effect> {
        self.begin(Delivery::resume(shipment), now)
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
        let ready = self.lanes.values_mut().flat_map(|lane| lane.take_ready(now));
        ready.map(|(id, command)| Effect::Start(id, command)).collect()
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub fn next_due(&self) -> Option<Moment> {
        self.lanes.values().filter_map(Lane::next_due).min()
    }

    /// Tries everything now: somebody says that the trouble is over.
    pub fn retry_now(&mut self, now: Moment) -> Vec<Effect> {
        self.lanes.values_mut().for_each(|lane| lane.open(now));
        self.tick(now)
    }

    fn begin(&mut self, (delivery, step): (Delivery, Step), now: Moment) -> Vec<Effect> {
        let id = delivery.shipment().id.clone();
        if self.deliveries.contains_key(&id) {
            return Vec::new();
        }
        self.items += delivery.shipment().items.len();
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
        for receipt in &step.delivered {
            let item = ItemId::of(&watch, &receipt.item().path);
            if self.attempts.remove(&item).is_some() {
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
                let done = self.deliveries.remove(id).expect("it was there above");
                self.items -= done.shipment().items.len();
                self.lane(&destination).release(id);
                if let Some(shipment) = self.again.remove(id) {
                    effects.extend(self.begin(Delivery::plan(shipment, true), now));
                }
            }
            None => {}
        }
        effects.extend(self.tick(now));
        effects
    }

    fn leave(&mut self, watch: &str, Left { item, trouble }: Left, now: Moment, chance: f64) -> Vec<Effect> {
        let id = ItemId::of(watch, &item.path);
        match trouble {
            Trouble::Changed | Trouble::Gone => {
                let forgotten = self.attempts.remove(&id).map(|_| Effect::Record(Record::Released(id)));
                forgotten.into_iter().chain([Effect::Release(id, item.path, watch.to_owned())]).collect()
            }
            Trouble::Failed { fault, reason } => {
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
        HeldItem {
            item: id,
            watch: watch.to_owned(),
            path: item.path.clone(),
            stamp: item.stamp.fingerprint(),
            attempts: *attempts,
            reason,
            quarantined,
        }
    }

    fn lane(&mut self, name: &str) -> &mut Lane {
        self.lanes.get_mut(name).expect("shipments go to known destinations")
    }
}

#[cfg(test)]
mod tests;
