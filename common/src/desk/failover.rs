//! Which of several destinations a watch delivers to: the first that works.
//!
//! A shipment's destination is part of its name, so none changes it: it is dropped as if it had never been planned, its
//! files are found again, and planned for another. A destination that recovers is tried by one shipment first, and of those that
//! wait elsewhere, no more than one at a time is dropped for that.

use std::collections::BTreeSet;

use super::{Desk, Effect};
use crate::fault::Fault;
use crate::lane::Lane;
use crate::moment::Moment;
use crate::shipment::ShipmentId;

impl Desk {
    /// The watch delivers to the first of these that works; where there is just one, to that.
    pub fn set_failover(&mut self, watch: &str, destinations: &[String]) {
        if destinations.len() > 1 {
            self.failover.insert(watch.to_owned(), destinations.to_vec());
        } else {
            self.failover.remove(watch);
        }
    }

    /// Where a shipment of the watch is to go now; `only` where it has no choice.
    pub fn destination(&self, watch: &str, only: &str, now: Moment) -> String {
        let Some(names) = self.failover.get(watch) else { return only.to_owned() };
        self.choose(names, now).unwrap_or(only).to_owned()
    }

    /// Whether a destination of the watch is in trouble, so that what goes elsewhere may be there already.
    pub fn is_detouring(&self, watch: &str) -> bool {
        let names = self.failover.get(watch).into_iter().flatten();
        names.filter_map(|name| self.lanes.get(name)).any(|lane| lane.standing().failures > 0)
    }

    /// The first that works or is to be tried; else the one that is to be tried next.
    fn choose<'n>(&self, names: &'n [String], now: Moment) -> Option<&'n str> {
        let lanes = names.iter().filter_map(|name| Some((name.as_str(), self.lanes.get(name)?)));
        // `min_by_key` takes the first of equals.
        let wait = |lane: &Lane| (lane.rests(), lane.standing().closed_until.unwrap_or(now));
        let first = lanes.clone().find(|(_, lane)| lane.takes_more(now));
        first.or_else(|| lanes.min_by_key(|(_, lane)| wait(lane))).map(|(name, _)| name)
    }

    /// The first that takes what waits elsewhere, but for some.
    fn takes_over<'n>(&self, names: &'n [String], but: &BTreeSet<String>, now: Moment) -> Option<&'n str> {
        let takes = |name: &&String| {
            !but.contains(*name) && self.lanes.get(*name).is_some_and(|lane| lane.takes_from_others(now))
        };
        names.iter().find(takes).map(String::as_str)
    }

    /// The shipment's destination is in trouble: whether another takes its items. If not, it stays where it is.
    pub(super) fn other_way(&mut self, id: &ShipmentId, fault: Fault, now: Moment, chance: f64) -> bool {
        let shipment = self.deliveries[id].shipment();
        let destination = shipment.destination.clone();
        let Some(names) = self.failover.get(&shipment.watch) else { return false };
        let own = BTreeSet::from([destination.clone()]);
        let Some(other) = self.takes_over(names, &own, now).map(str::to_owned) else { return false };
        self.lane(&other).promise(now);
        // The trouble still counts, and closes the circuit.
        let lane = self.lanes.get_mut(&destination).expect("shipments go to known destinations");
        lane.trouble(id, fault, now, chance);
        true
    }

    /// Drops what waits at a destination in trouble while another works.
    pub(super) fn reroute(&mut self, now: Moment) -> Vec<Effect> {
        if self.failover.is_empty() {
            return Vec::new();
        }
        let stuck = self.lanes.iter().filter(|(_, lane)| lane.is_stuck(now));
        let queued = stuck.flat_map(|(name, lane)| lane.queued().map(move |id| (name, id)));
        // What isn't known to work gets the one that has waited longest; more would only come back.
        let (mut moving, mut tried) = (Vec::new(), BTreeSet::new());
        for (name, id) in queued {
            let names = self.failover.get(&self.deliveries[id].shipment().watch);
            let Some(other) = names.and_then(|names| self.takes_over(names, &tried, now)) else { continue };
            if other == name {
                continue;
            }
            if self.lanes[other].standing().failures > 0 {
                tried.insert(other.to_owned());
            }
            moving.push(id.clone());
        }
        for name in tried {
            self.lane(&name).promise(now);
        }
        moving.iter().flat_map(|id| self.drop_shipment(id)).collect()
    }

    /// When [`reroute`](Self::reroute) may find something, if nothing else happens.
    pub(super) fn next_reroute(&self) -> Option<Moment> {
        let waits = |names: &&Vec<String>| {
            let mut lanes = names.iter().filter_map(|name| self.lanes.get(name));
            let is_stuck = |lane: &Lane| lane.rests() || lane.standing().closed_until.is_some();
            lanes.any(|lane| lane.queued().next().is_some() && is_stuck(lane))
        };
        let waiting = self.failover.values().filter(waits).flatten();
        let lanes = waiting.filter_map(|name| self.lanes.get(name));
        let times = lanes.flat_map(|lane| [lane.standing().closed_until, lane.promised_until()]);
        // One whose time had come at the last look has nothing to wait for.
        times.flatten().filter(|until| *until > self.ticked).min()
    }
}
