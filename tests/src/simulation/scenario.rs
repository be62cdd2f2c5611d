//! What a seed stands for: the rules, the faults and who does what.

use std::time::Duration;

use skiff_common::batch::BatchLimits;
use skiff_common::delivery::OnConflict;
use skiff_common::retry::Retry;

use super::chance::Chance;
use super::defect::Defect;
use super::names::MOST;
use super::source::Act;

/// Faults and writers are over by then, in simulated milliseconds.
pub(super) const PEACE_MS: u64 = 60_000;
/// What happens to the machines happens before.
const HAPPENS_BEFORE_MS: u32 = 30_000;

/// What happens to the machines, and what strangers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// The server loses power, and is back after so many milliseconds.
    ServerPowerCut(u32),
    ServerFull(bool),
    /// The agent's machine loses power.
    AgentPowerCut,
    /// Somebody sets the wall clock by so many milliseconds.
    ClockJump(i64),
    /// Somebody puts a file where ours is to go.
    Foreign(usize),
    /// Somebody takes ours away there.
    Consumed(usize),
}

/// The rules of one run.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub(super) struct Scenario {
    pub(super) defect: Option<Defect>,
    pub(super) files: usize,
    pub(super) delete: bool,
    pub(super) policy: OnConflict,
    pub(super) leases: bool,
    pub(super) links: bool,
    pub(super) quiet: Duration,
    pub(super) limits: BatchLimits,
    pub(super) in_flight: usize,
    pub(super) attempts: Option<u32>,
    /// A fault strikes once in so many chances; 0 is never.
    pub(super) fault_in: u32,
    /// Whether the server goes on with a verb after its connection has gone.
    pub(super) late_verbs: bool,
    /// An event is lost once in so many times.
    pub(super) event_lost_in: u32,
    /// Whether a crash takes the state folder with it.
    pub(super) loses_state: bool,
    pub(super) slow_in: u32,
    pub(super) crashes: u32,
}

impl Scenario {
    pub(super) fn draw(chance: &mut Chance, defect: Option<Defect>) -> Self {
        let limits = BatchLimits {
            small_file: chance.pick(&[0, 40, 1000]),
            bytes: chance.pick(&[60, 1000]),
            items: chance.pick(&[1, 2, 3, 6]),
            wait: Duration::from_millis(chance.pick(&[0, 20, 500])),
        };
        Self {
            defect,
            files: 1 + chance.index(MOST),
            delete: chance.one_in(2),
            policy: chance.pick(&[
                OnConflict::KeepBoth,
                OnConflict::KeepBoth,
                OnConflict::Park,
                OnConflict::Replace,
            ]),
            leases: !chance.one_in(4),
            links: !chance.one_in(8),
            quiet: Duration::from_millis(chance.pick(&[0, 50, 300, 1000])),
            limits,
            in_flight: 1 + chance.index(3),
            attempts: chance.pick(&[None, None, Some(1), Some(3)]),
            fault_in: chance.pick(&[0, 4, 8, 32]),
            late_verbs: chance.one_in(4),
            event_lost_in: chance.pick(&[0, 1, 3]),
            loses_state: chance.one_in(8),
            slow_in: chance.pick(&[0, 8, 32]),
            crashes: chance.pick(&[0, 0, 1, 2, 3]),
        }
    }

    /// Files are retried so.
    pub(super) const fn watch_retry(&self) -> Retry {
        Retry { first: Duration::from_millis(200), max: Duration::from_secs(4), attempts: self.attempts }
    }

    /// The destination is retried so.
    pub(super) const fn destination_retry(&self) -> Retry {
        Retry { attempts: None, ..self.watch_retry() }
    }

    /// What happens, and when; by time.
    pub(super) fn script(&self, chance: &mut Chance) -> Vec<(u64, Happening)> {
        let mut script = Vec::new();
        let mut add = |chance: &mut Chance, happening| {
            script.push((u64::from(chance.below(HAPPENS_BEFORE_MS)), happening));
        };
        if self.fault_in > 0 {
            for _ in 0..chance.below(3) {
                let for_ms = chance.pick(&[0, 1, 5000]);
                add(chance, Happening::ServerPowerCut(for_ms));
            }
            if chance.one_in(4) {
                add(chance, Happening::ServerFull(true));
                add(chance, Happening::ServerFull(false));
            }
        }
        if self.crashes > 0 && chance.one_in(2) {
            add(chance, Happening::AgentPowerCut);
        }
        for _ in 0..chance.below(3) {
            let by_ms = i64::from(chance.below(200_000_000)) - 100_000_000;
            add(chance, Happening::ClockJump(by_ms));
        }
        if chance.one_in(3) {
            for _ in 0..=chance.below(2) {
                let name = chance.index(self.files);
                add(chance, Happening::Foreign(name));
            }
        }
        if chance.one_in(8) {
            let name = chance.index(self.files);
            add(chance, Happening::Consumed(name));
        }
        script.push((PEACE_MS, Happening::ServerFull(false)));
        script.sort_by_key(|(at, _)| *at);
        script
    }
}

/// One writer's plan for one file: what it does, each after a wait in milliseconds.
pub(super) fn acts(chance: &mut Chance) -> Vec<(u32, Act)> {
    let mut acts = Vec::new();
    let len = |chance: &mut Chance| chance.pick(&[0, 1, 30, 50, 500]);
    for _ in 0..=chance.below(3) {
        let pause = chance.pick(&[0, 10, 100, 2000, 10_000]);
        let wait = chance.below(pause + 1);
        match chance.below(8) {
            0 | 1 => acts.push((wait, Act::Replace(len(chance)))),
            2 => slow(chance, wait, &mut acts),
            3 | 4 => acts.push((wait, Act::Append(len(chance) + 1))),
            5 => acts.push((wait, Act::Rewrite)),
            6 => acts.push((wait, chance.pick(&[Act::Truncate, Act::Touch]))),
            _ => acts.push((wait, chance.pick(&[Act::Delete, Act::Replace(7)]))),
        }
    }
    acts
}

fn slow(chance: &mut Chance, wait: u32, acts: &mut Vec<(u32, Act)>) {
    acts.push((wait, Act::Begin(10)));
    for _ in 0..chance.below(3) {
        let wait = chance.pick(&[1, 200, 3000]);
        acts.push((wait, Act::Add(10)));
    }
    acts.push((chance.pick(&[1, 200, 3000]), Act::Close));
}
