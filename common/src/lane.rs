//! The shipments of one destination: which may run, and when after trouble.

use std::collections::HashSet;
use std::time::Duration;

use crate::delivery::Command;
use crate::fault::Fault;
use crate::moment::Moment;
use crate::retry::Retry;
use crate::shipment::ShipmentId;

/// How a destination stands, for those who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneStanding {
    /// Shipments that run.
    pub running: usize,
    /// Shipments that wait for their turn.
    pub queued: usize,
    /// Failures of the destination itself, in a row.
    pub failures: u32,
    /// Nothing starts before then.
    pub closed_until: Option<Moment>,
}

/// One destination's queue, limit and circuit breaker.
#[derive(Debug)]
pub(crate) struct Lane {
    limit: usize,
    retry: Retry,
    running: HashSet<ShipmentId>,
    queue: Vec<(Moment, ShipmentId, Command)>,
    failures: u32,
    closed_until: Option<Moment>,
    /// After trouble: until then one that was taken from elsewhere is on its way to try it.
    promised_until: Option<Moment>,
    /// Nothing starts, though nothing is wrong.
    rests: bool,
    /// What has started by now, to tell whose turn it is.
    started: u32,
}

/// What goes first: the least. Its class, and its place in there.
pub type Rank = (u32, i64);
/// Of the shipments that start, one in so many is the one that has waited longest, whatever its rank: none waits for ever.
const FAIR_TURN: u32 = 4;

impl Lane {
    pub(crate) fn new(limit: usize, retry: Retry) -> Self {
        Self {
            limit,
            retry,
            running: HashSet::new(),
            queue: Vec::new(),
            failures: 0,
            closed_until: None,
            promised_until: None,
            rests: false,
            started: 0,
        }
    }

    /// Queues a shipment that may start at `due`.
    pub(crate) fn enqueue(&mut self, id: ShipmentId, command: Command, due: Moment) {
        self.queue.push((due, id, command));
    }

    /// Queues a shipment again that failed.
    pub(crate) fn requeue(&mut self, id: ShipmentId, command: Command, due: Moment) {
        self.running.remove(&id);
        self.enqueue(id, command, due);
    }

    /// A shipment is over: the destination works.
    pub(crate) fn release(&mut self, id: &ShipmentId) {
        self.running.remove(id);
        self.failures = 0;
        self.closed_until = None;
    }

    /// The destination itself is in trouble: nothing starts until the wait is over, `None`: it is given up.
    pub(crate) fn trouble(
        &mut self,
        id: &ShipmentId,
        fault: Fault,
        now: Moment,
        chance: f64,
    ) -> Option<Duration> {
        self.running.remove(id);
        // Shipments that were under way together fail together; they are one failure.
        if let Some(until) = self.closed_until.filter(|until| *until > now) {
            return Some(until - now);
        }
        self.failures = self.failures.saturating_add(1);
        self.promised_until = None;
        let wait = self.wait(self.failures, fault, chance)?;
        self.closed_until = Some(now + wait);
        Some(wait)
    }

    /// How long to wait after so many failures; `None`: no longer.
    pub(crate) fn wait(&self, failures: u32, fault: Fault, chance: f64) -> Option<Duration> {
        if self.retry.gives_up(failures) || (fault == Fault::Fatal && self.retry.attempts.is_some()) {
            return None;
        }
        // What somebody has to mend is asked for rarely, so that nobody is hammered.
        let failures = if fault == Fault::Retryable { failures } else { u32::MAX };
        Some(self.retry.wait(failures, chance))
    }

    /// Takes what may start at `now`; what `rests` stays in the queue.
    pub(crate) fn take_ready(
        &mut self,
        now: Moment,
        rests: impl Fn(&ShipmentId) -> bool,
        rank: Option<&impl Fn(&ShipmentId) -> Rank>,
    ) -> Vec<(ShipmentId, Command)> {
        if self.rests || self.closed_until.is_some_and(|until| until > now) {
            return Vec::new();
        }
        // After trouble one shipment goes ahead and tries.
        let limit = if self.failures > 0 { 1 } else { self.limit };
        let mut ready = Vec::new();
        while self.running.len() < limit {
            let mut may = self.queue.iter().enumerate().filter(|(_, (due, id, _))| *due <= now && !rests(id));
            let next = match rank {
                // The first of equals is the one that has waited longest.
                Some(rank) if self.started % FAIR_TURN != FAIR_TURN - 1 => {
                    may.min_by_key(|(_, (_, id, _))| rank(id))
                }
                Some(_) | None => may.next(),
            };
            let Some(at) = next.map(|(at, _)| at) else { break };
            let (_, id, command) = self.queue.remove(at);
            self.started = self.started.wrapping_add(1);
            self.running.insert(id.clone());
            ready.push((id, command));
        }
        ready
    }

    /// When [`take_ready`](Self::take_ready) may have something, if nothing else happens.
    pub(crate) fn next_due(&self, rests: impl Fn(&ShipmentId) -> bool) -> Option<Moment> {
        let limit = if self.failures > 0 { 1 } else { self.limit };
        if self.rests || self.running.len() >= limit {
            return None;
        }
        let awake = self.queue.iter().filter(|(_, id, _)| !rests(id));
        let first = awake.map(|(due, ..)| *due).min()?;
        Some(self.closed_until.map_or(first, |until| first.max(until)))
    }

    /// From now on it has this limit and is retried like this; earlier trouble was of other settings.
    pub(crate) fn retune(&mut self, limit: usize, retry: Retry, now: Moment) {
        (self.limit, self.retry) = (limit, retry);
        self.open(now);
    }

    /// A shipment is dropped without an end.
    pub(crate) fn forget(&mut self, id: &ShipmentId) {
        self.running.remove(id);
        self.queue.retain(|(_, queued, _)| queued != id);
    }

    /// Whether a shipment that could go elsewhere is welcome: it works, or is to be tried and nobody tries it yet.
    pub(crate) fn takes_more(&self, now: Moment) -> bool {
        let is_closed = self.closed_until.is_some_and(|until| until > now);
        !self.rests && (self.failures == 0 || (!is_closed && self.is_empty()))
    }

    /// Whether what waits elsewhere may come here: one alone, as long as it has to try.
    pub(crate) fn takes_from_others(&self, now: Moment) -> bool {
        self.takes_more(now) && self.promised_until().is_none_or(|until| until <= now)
    }

    /// One that waited elsewhere was dropped there, to try this one once its file is found again. If that is gone, another
    /// may after as long as a failure would have cost.
    pub(crate) fn promise(&mut self, now: Moment) {
        self.promised_until = Some(now + self.retry.wait(self.failures, 1.0));
    }

    /// Until when one is on its way to try it.
    pub(crate) fn promised_until(&self) -> Option<Moment> {
        self.promised_until.filter(|_| self.failures > 0)
    }

    /// Whether what waits here gets no further for now.
    pub(crate) fn is_stuck(&self, now: Moment) -> bool {
        self.rests || self.closed_until.is_some_and(|until| until > now)
    }

    /// Whether nothing starts though nothing is wrong.
    pub(crate) fn rests(&self) -> bool {
        self.rests
    }

    /// From now on nothing starts, or all that waits may.
    pub(crate) fn rest(&mut self, rests: bool, now: Moment) {
        let goes_on = std::mem::replace(&mut self.rests, rests) && !rests;
        if goes_on && self.failures == 0 {
            self.queue.iter_mut().for_each(|(due, ..)| *due = now);
        }
    }

    /// What waits for its turn.
    pub(crate) fn queued(&self) -> impl Iterator<Item = &ShipmentId> {
        self.queue.iter().map(|(_, id, _)| id)
    }

    /// Whether the shipment runs, rather than waits for its turn.
    pub(crate) fn is_running(&self, id: &ShipmentId) -> bool {
        self.running.contains(id)
    }

    /// Whether nothing runs and nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.queue.is_empty()
    }

    /// How it stands.
    pub(crate) fn standing(&self) -> LaneStanding {
        LaneStanding {
            running: self.running.len(),
            queued: self.queue.len(),
            failures: self.failures,
            closed_until: self.closed_until,
        }
    }

    /// Forgets the trouble.
    pub(crate) fn open(&mut self, now: Moment) {
        self.closed_until = None;
        self.failures = 0;
        self.queue.iter_mut().for_each(|(due, ..)| *due = now);
    }
}
