//! One collector: an sshd with its limits.

use std::collections::VecDeque;
use std::time::Duration;

use super::TICK;
use crate::simulation::chance::Chance;

/// What a collector can take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// OpenSSH's `MaxStartups begin:rate:full`: logins under way from which on some are dropped, how many percent of
    /// them then, and at how many all are.
    pub max_startups: (u32, u32, u32),
    /// Connections that are served at once, by its memory and processes. `MaxSessions` limits the shells on each one;
    /// skiff makes do with what it gets, so it only makes a delivery longer.
    pub connections: u32,
    /// Processors.
    pub cores: u32,
    /// Processor time of a login.
    pub login_cpu: Duration,
    /// Processor time of dropping a connection; sshd's listener is one process, so this takes one core at most.
    pub drop_cpu: Duration,
    /// What a login waits for the network.
    pub login_wait: Duration,
    /// How long the delivery takes then.
    pub delivery: Duration,
}

impl Default for Limits {
    /// OpenSSH's defaults on two small cores; 1 MiB from each agent over 1.5 Mbit/s.
    fn default() -> Self {
        Self {
            max_startups: (10, 30, 100),
            connections: 1000,
            cores: 2,
            login_cpu: Duration::from_millis(10),
            drop_cpu: Duration::from_micros(30),
            login_wait: Duration::from_millis(250),
            delivery: Duration::from_millis(5_600),
        }
    }
}

/// A collector at work.
#[derive(Debug)]
pub struct Collector {
    limits: Limits,
    /// Logins that wait for the network, and until when.
    waiting: VecDeque<(u64, u32)>,
    /// Logins that wait for a processor.
    computing: VecDeque<u32>,
    /// Deliveries, and when they are over.
    serving: VecDeque<(u64, u32)>,
    /// Processor time that dropping has used in this tick, and what a login has got so far.
    dropping: Duration,
    spent: Duration,
}

/// What became of agents in one tick.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) delivered: Vec<u32>,
    pub(super) refused: Vec<u32>,
}

impl Collector {
    /// One that nobody is connected to.
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            waiting: VecDeque::new(),
            computing: VecDeque::new(),
            serving: VecDeque::new(),
            dropping: Duration::ZERO,
            spent: Duration::ZERO,
        }
    }

    /// Whether a connection that comes at `tick` may log in; as OpenSSH's `should_drop_connection`.
    pub(super) fn admits(&mut self, tick: u64, agent: u32, chance: &mut Chance) -> bool {
        if self.dropping >= TICK {
            // The listener doesn't get to it, and its queue is full.
            return false;
        }
        if self.drops(chance) {
            self.dropping += self.limits.drop_cpu;
            return false;
        }
        self.waiting.push_back((tick + ticks(self.limits.login_wait), agent));
        true
    }

    /// Whether all that still come in this tick are refused, so that nobody need ask.
    pub(super) fn is_closed(&self) -> bool {
        self.dropping >= TICK || self.startups() >= self.limits.max_startups.2
    }

    /// So many more were dropped without asking.
    pub(super) fn dropped(&mut self, connections: usize) {
        let each = self.limits.drop_cpu * u32::try_from(connections).unwrap_or(u32::MAX);
        self.dropping = (self.dropping + each).min(TICK);
    }

    /// One tick passes.
    pub(super) fn work(&mut self, tick: u64) -> Ended {
        while let Some((until, agent)) = self.waiting.front().copied()
            && until <= tick
        {
            self.waiting.pop_front();
            self.computing.push_back(agent);
        }
        let mut ended = Ended::default();
        self.spent += (TICK * self.limits.cores).saturating_sub(self.dropping.min(TICK));
        self.dropping = Duration::ZERO;
        while self.spent >= self.limits.login_cpu
            && let Some(agent) = self.computing.pop_front()
        {
            self.spent -= self.limits.login_cpu;
            if u32::try_from(self.serving.len()).unwrap_or(u32::MAX) < self.limits.connections {
                self.serving.push_back((tick + ticks(self.limits.delivery), agent));
            } else {
                ended.refused.push(agent);
            }
        }
        // A processor with nothing to do saves nothing up.
        self.spent = self.spent.min(self.limits.login_cpu);
        while let Some((until, agent)) = self.serving.front().copied()
            && until <= tick
        {
            self.serving.pop_front();
            ended.delivered.push(agent);
        }
        ended
    }

    fn startups(&self) -> u32 {
        u32::try_from(self.waiting.len() + self.computing.len()).unwrap_or(u32::MAX)
    }

    fn drops(&self, chance: &mut Chance) -> bool {
        let (begin, rate, full) = self.limits.max_startups;
        let startups = self.startups();
        if startups < begin {
            return false;
        }
        if startups >= full || rate == 100 {
            return true;
        }
        let percent = (100 - rate) * (startups - begin) / (full - begin) + rate;
        chance.below(100) < percent
    }
}

/// At least one.
pub(super) fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn startups_are_dropped_as_openssh_drops_them() {
        let (mut chance, mut collector) = (Chance::new(1), Collector::new(&Limits::default()));
        let admitted = (0..10_000).filter(|agent| collector.admits(0, *agent, &mut chance)).count();
        assert!((95..=100).contains(&admitted), "{admitted}: ten at once, then fewer and fewer up to 100");
        assert!(collector.startups() <= 100);
    }

    #[test]
    fn logins_are_limited_by_processors() {
        let (mut chance, mut collector) = (Chance::new(1), Collector::new(&Limits::default()));
        let mut delivered = 0;
        for tick in 0..6_000 {
            for agent in 0..5 {
                collector.admits(tick, agent, &mut chance);
            }
            delivered += collector.work(tick).delivered.len();
        }
        // Two cores, 10 ms each: at most 200 a second; at most 1,000 connections of 5.6 s: at most 178.
        assert!((5_000..=11_000).contains(&delivered), "{delivered} in a minute");
    }
}
