//! The agents, and how it went.

use std::collections::BTreeMap;
use std::time::Duration;

use super::collector::{Collector, Ended, ticks};
use super::{Policy, TICK};
use crate::simulation::chance::Chance;

/// A point of the curve that is kept for a picture.
const POINT: Duration = Duration::from_secs(10);

/// How a fleet came back. Times count from the collector's return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// Agents in all.
    pub agents: usize,
    /// When the last was delivered; `None`: not all were, in hours.
    pub drained: Option<Duration>,
    /// When half of them were.
    pub half: Option<Duration>,
    /// Connections that the collector refused.
    pub refused: u64,
    /// The most in one second.
    pub refused_at_worst: u64,
    /// How many were delivered after each ten seconds.
    pub curve: Vec<usize>,
}

impl Course {
    /// How many agents have delivered in the end.
    pub fn delivered(&self) -> usize {
        self.curve.last().copied().unwrap_or(0)
    }

    /// The seconds between two points of the curve.
    pub const fn point() -> Duration {
        POINT
    }

    /// Two collectors at the same time.
    #[must_use]
    pub(super) fn beside(&self, other: &Self) -> Self {
        let length = self.curve.len().max(other.curve.len());
        let at =
            |course: &Self, nth: usize| course.curve.get(nth).copied().unwrap_or_else(|| course.delivered());
        let curve: Vec<_> = (0..length).map(|nth| at(self, nth) + at(other, nth)).collect();
        let both = |one: Option<Duration>, other: Option<Duration>| Some(one?.max(other?));
        Self {
            agents: self.agents + other.agents,
            drained: both(self.drained, other.drained),
            half: both(self.half, other.half),
            refused: self.refused + other.refused,
            refused_at_worst: self.refused_at_worst + other.refused_at_worst,
            curve,
        }
    }
}

/// Agents that lost their collector at one moment.
pub(super) struct Agents {
    policy: Policy,
    chance: Chance,
    failures: Vec<u32>,
    /// Who tries at which tick, counted from the collector's return.
    due: BTreeMap<u64, Vec<u32>>,
}

impl Agents {
    /// So many, which tried in vain all through an outage.
    pub(super) fn that_lost_theirs(agents: usize, policy: Policy, outage: Duration, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut failures = vec![0_u32; agents];
        let mut due: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for (agent, failures) in failures.iter_mut().enumerate() {
            // They don't all hear of it in the same instant.
            let mut at = NOTICED.mul_f64(chance.unit());
            match policy {
                Policy::Skiff | Policy::SkiffSpread(_) => {
                    while at < outage {
                        *failures = failures.saturating_add(1);
                        at += policy.wait(*failures, chance.unit());
                    }
                }
                Policy::Fixed(_) | Policy::AtOnce => {
                    let wait = policy.wait(1, 0.0);
                    let waits = outage.saturating_sub(at).as_nanos().div_ceil(wait.as_nanos());
                    at += wait * u32::try_from(waits).expect("an outage of hours");
                }
            }
            let agent = u32::try_from(agent).expect("a fleet of less than four thousand million");
            due.entry(ticks(at.saturating_sub(outage))).or_default().push(agent);
        }
        Self { policy, chance, failures, due }
    }

    /// The collector is back; until all have delivered, or `patience` is over.
    pub(super) fn come_back(&mut self, collector: &mut Collector, patience: Duration) -> Course {
        let agents = self.failures.len();
        let (mut delivered, mut half, mut drained) = (0, None, None);
        let mut refused = Refusals::default();
        let mut curve = vec![0];
        for tick in 1..=ticks(patience) {
            let now = TICK * u32::try_from(tick).unwrap_or(u32::MAX);
            refused.add(tick, self.connect(tick, collector));
            let Ended { delivered: over, refused: full } = collector.work(tick);
            refused.add(tick, full.len() as u64);
            for agent in full {
                self.wait(tick, agent);
            }
            delivered += over.len();
            if half.is_none() && delivered * 2 >= agents {
                half = Some(now);
            }
            if tick % ticks(POINT) == 0 {
                curve.push(delivered);
            }
            if delivered == agents {
                drained = Some(now);
                break;
            }
        }
        curve.push(delivered);
        Course { agents, drained, half, refused: refused.all, refused_at_worst: refused.worst, curve }
    }

    /// Those whose time has come try. Returns how many were refused.
    fn connect(&mut self, tick: u64, collector: &mut Collector) -> u64 {
        let Some(mut trying) = self.due.remove(&tick) else { return 0 };
        let mut refused = Vec::new();
        // In no order: whom the listener takes first is chance.
        while !trying.is_empty() && !collector.is_closed() {
            let agent = trying.swap_remove(self.chance.index(trying.len()));
            if !collector.admits(tick, agent, &mut self.chance) {
                refused.push(agent);
            }
        }
        collector.dropped(trying.len());
        let count = (refused.len() + trying.len()) as u64;
        if let (Policy::Fixed(_) | Policy::AtOnce, false) = (self.policy, trying.is_empty()) {
            // All wait the same, so nobody need be looked at; what a refusal takes on the network counts as well.
            let again = tick + ticks(self.policy.wait(1, 0.0)) + ticks(ROUND_TRIP);
            let waiting = self.due.entry(again).or_default();
            if waiting.is_empty() {
                *waiting = std::mem::take(&mut trying);
            } else {
                waiting.append(&mut trying);
            }
        }
        refused.into_iter().chain(trying).for_each(|agent| self.wait(tick, agent));
        count
    }

    fn wait(&mut self, tick: u64, agent: u32) {
        let failures = &mut self.failures[agent as usize];
        *failures = failures.saturating_add(1);
        let wait = self.policy.wait(*failures, self.chance.unit());
        self.due.entry(tick + ticks(wait) + ticks(ROUND_TRIP)).or_default().push(agent);
    }
}

/// Within this time all have noticed that the collector went.
const NOTICED: Duration = Duration::from_secs(1);
/// What it takes to hear that one was refused.
const ROUND_TRIP: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Refusals {
    all: u64,
    worst: u64,
    second: u64,
    in_second: u64,
}

impl Refusals {
    fn add(&mut self, tick: u64, more: u64) {
        let second = tick / ticks(Duration::from_secs(1));
        if second != self.second {
            (self.second, self.in_second) = (second, 0);
        }
        self.in_second += more;
        self.all += more;
        self.worst = self.worst.max(self.in_second);
    }
}
