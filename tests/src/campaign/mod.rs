//! Campaigns: the same delivery many times, each time with another fault, and a verdict on what is left.
//!
//! Each has a name, a count and a seed, so that one run can be made again alone. `cargo run --release -p skiff-tests
//! --bin campaign` runs them at any length; a short version of each is a test.

use std::fmt;

pub mod cuts;
pub mod simulation;
pub mod verdict;

pub use verdict::{Expected, Verdict};

/// How long and from where a campaign is to run.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// How many runs; `None`: every one that there is.
    pub count: Option<u64>,
    /// Where chance begins.
    pub seed: u64,
}

/// What a campaign has seen.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Runs made.
    pub runs: u64,
    /// Runs in which the fault was really met: a kill that came too late shows nothing.
    pub met: u64,
    /// What was wrong, and how to make that run again; empty is a pass.
    pub failures: Vec<String>,
    /// Bytes of payload that were sent again because of the faults.
    pub resent_bytes: u64,
}

impl Tally {
    /// Counts one run.
    pub fn add(&mut self, met: bool, failure: Option<String>) {
        self.runs += 1;
        self.met += u64::from(met);
        self.failures.extend(failure);
    }

    /// Panics unless there were runs, some met their fault and none failed.
    #[track_caller]
    pub fn expect_clean(&self) {
        assert!(self.failures.is_empty(), "{self}");
        assert!(self.met > 0, "no run met its fault, so this shows nothing: {self}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { runs, met, failures, resent_bytes } = self;
        write!(
            f,
            "{runs} runs, {met} met their fault, {} failed, {resent_bytes} bytes sent again",
            failures.len()
        )?;
        failures.iter().try_for_each(|failure| write!(f, "\n  {failure}"))
    }
}

/// One campaign.
#[derive(Debug, Clone, Copy)]
pub struct Campaign {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Runs it.
    pub run: fn(&Order) -> Tally,
}

/// All campaigns.
pub const ALL: &[Campaign] = &[cuts::CAMPAIGN, simulation::CAMPAIGN];
