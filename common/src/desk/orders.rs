//! What people ask of a desk, and what they see of it.

use super::{Desk, Effect};
use crate::delivery::{Delivery, HeldItem, Record};
use crate::item::ItemId;
use crate::lane::LaneStanding;
use crate::moment::Moment;
use crate::retry::Retry;
use crate::shipment::{Shipment, ShipmentId};

impl Desk {
    /// Nothing more of this watch starts, and what runs goes on to its end; or it goes on with the next
    /// [`tick`](Self::tick).
    pub fn set_paused(&mut self, watch: &str, paused: bool) {
        if paused {
            self.paused.insert(watch.to_owned());
        } else {
            self.paused.remove(watch);
        }
    }

    /// Whether the watch is paused.
    pub fn is_paused(&self, watch: &str) -> bool {
        self.paused.contains(watch)
    }

    /// Nothing more starts, of whatever watch: the agent ends. What runs goes on to its end.
    pub fn drain(&mut self) {
        self.drains = true;
    }

    /// Whether nothing more starts.
    pub fn drains(&self) -> bool {
        self.drains
    }

    /// A shipment that ran was cut off, as its destination rests: nothing has failed, and it goes on later.
    ///
    /// # Panics
    /// Where no such shipment is under way.
    pub fn put_back(&mut self, id: &ShipmentId, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.withdrawn.contains(id) {
            effects.extend(self.drop_shipment(id));
        } else {
            let delivery = self.deliveries.get_mut(id).expect("workers report on what is under way");
            let (command, destination) = (delivery.restart(), delivery.shipment().destination.clone());
            self.lane(&destination).requeue(id.clone(), command, now);
        }
        effects.extend(self.tick(now));
        effects
    }

    /// Nothing more starts to this destination, or all may again. What runs goes on until it is cut off.
    pub fn rest(&mut self, destination: &str, rests: bool, now: Moment) -> Vec<Effect> {
        if let Some(lane) = self.lanes.get_mut(destination) {
            lane.rest(rests, now);
        }
        self.tick(now)
    }

    /// Somebody says that the item may go now: it begins with no failure, and what stands at the destination is asked
    /// for, as it may have come further than anybody knows.
    pub fn forgive(&mut self, held: HeldItem) -> Vec<Effect> {
        self.attempts.insert(held.item, 0);
        let (item, path, watch) = (held.item, held.path.clone(), held.watch.clone());
        let forgiven = HeldItem { attempts: 0, quarantined: false, ..held };
        vec![Effect::Record(Record::Held(forgiven)), Effect::Release(item, path, watch)]
    }

    /// How many attempts of this item have failed.
    pub fn failures_of(&self, item: ItemId) -> u32 {
        self.attempts.get(&item).copied().unwrap_or(0)
    }

    /// The file of an item that waited is gone.
    pub fn forget(&mut self, item: ItemId) -> Vec<Effect> {
        self.attempts.remove(&item);
        vec![Effect::Record(Record::Released(item))]
    }

    /// The watch is no longer as it was: of its shipments, those that wait are dropped, to be found again if they are
    /// still meant; those that run go on to their end or their next failure.
    pub fn withdraw(&mut self, watch: &str) -> Vec<Effect> {
        let of_watch = self.deliveries.values().map(Delivery::shipment).filter(|of| of.watch == watch);
        let (run, wait): (Vec<_>, Vec<_>) = of_watch
            .map(|shipment| (shipment.id.clone(), shipment.destination.clone()))
            .partition(|(id, destination)| self.lanes[destination].is_running(id));
        self.withdrawn.extend(run.into_iter().map(|(id, _)| id));
        wait.iter().flat_map(|(id, _)| self.drop_shipment(id)).collect()
    }

    /// The destination has another limit, is retried otherwise or stands elsewhere. One that is new is added.
    pub fn retune(&mut self, name: &str, limit: usize, retry: Retry, now: Moment) -> Vec<Effect> {
        match self.lanes.get_mut(name) {
            Some(lane) => lane.retune(limit, retry, now),
            None => self.add_destination(name, limit, retry),
        }
        self.tick(now)
    }

    /// Forgets destinations that `keep` doesn't name, once nothing is on its way there.
    pub fn keep_destinations(&mut self, keep: impl Fn(&str) -> bool) {
        self.lanes.retain(|name, lane| keep(name) || !lane.is_empty());
    }

    /// Drops a shipment as if it had never been planned; its files are still in their folder.
    pub(super) fn drop_shipment(&mut self, id: &ShipmentId) -> Vec<Effect> {
        let dropped = self.deliveries.remove(id).expect("the caller names what is under way");
        self.withdrawn.remove(id);
        self.ranks.remove(id);
        let shipment = dropped.shipment();
        self.lane(&shipment.destination).forget(id);
        let mut effects =
            vec![Effect::Record(Record::Finished { shipment: id.clone(), delivered: Vec::new() })];
        for item in &shipment.items {
            let item_id = shipment.item_id(item);
            if self.under_way.remove(&item_id).is_some() {
                super::lighten(&mut self.loads, &shipment.watch);
            }
            effects.push(Effect::Release(item_id, item.path.clone(), shipment.watch.clone()));
        }
        effects
    }

    /// All shipments under way, and whether each runs or waits for its turn.
    pub fn all_shipments(&self) -> impl Iterator<Item = (&Shipment, bool)> {
        self.deliveries.values().map(|delivery| {
            let shipment = delivery.shipment();
            (shipment, self.lanes[&shipment.destination].is_running(&shipment.id))
        })
    }

    /// How each destination stands, by name.
    pub fn standings(&self) -> impl Iterator<Item = (&str, LaneStanding)> {
        self.lanes.iter().map(|(name, lane)| (name.as_str(), lane.standing()))
    }
}
