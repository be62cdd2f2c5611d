//! Campaigns: the same delivery many times, each time with another fault, and a verdict on what is left.
//!
//! Each has a name, a count and a seed, so that one run can be made again alone. `cargo run --release -p skiff-tests
//! --bin campaign` runs them at any length; a short version of each is a test.

use std::fmt;

pub mod chance;
mod cut;
pub mod cuts;
pub mod disk;
mod errors;
pub mod fleet;
mod flips;
mod foreign;
mod journal_flips;
mod kill_everywhere;
mod kill_random;
pub mod logger;
mod lying;
mod power;
mod power_journal;
pub mod rig;
pub mod simulation;
mod strace;
pub mod verdict;
pub mod writer;

pub use verdict::{Expected, Verdict};

use crate::machine;

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
    /// Why the campaign could not be run here; then nothing is shown.
    pub skipped: Option<String>,
}

/// After so many failures a campaign ends: more would only say the same.
const ENOUGH_FAILURES: usize = 3;

impl Tally {
    /// Counts one run.
    pub fn add(&mut self, met: bool, failure: Option<String>) {
        self.runs += 1;
        self.met += u64::from(met);
        self.failures.extend(failure);
    }

    /// A campaign that this machine does not allow.
    pub fn skipped(why: String) -> Self {
        Tally { skipped: Some(why), ..Tally::default() }
    }

    /// Whether further runs would show nothing new.
    pub fn is_enough(&self) -> bool {
        self.failures.len() >= ENOUGH_FAILURES
    }

    /// Whether runs met their fault, and none failed: nothing less shows anything.
    pub fn is_clean(&self) -> bool {
        self.skipped.is_none() && self.failures.is_empty() && self.met > 0
    }

    /// Panics unless there were runs, some met their fault and none failed.
    #[track_caller]
    pub fn expect_clean(&self) {
        if let Some(why) = &self.skipped {
            return machine::not_shown("a campaign", why);
        }
        assert!(self.is_clean(), "{self}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { runs, met, failures, resent_bytes, skipped } = self;
        if let Some(why) = skipped {
            return write!(f, "SKIPPED: {why}");
        }
        write!(
            f,
            "{runs} runs, {met} met their fault, {} failed, {resent_bytes} bytes sent again",
            failures.len()
        )?;
        if *met == 0 {
            write!(f, "; no run met its fault, so this shows nothing")?;
        }
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
pub const ALL: &[Campaign] = &[
    cuts::CAMPAIGN,
    simulation::CAMPAIGN,
    fleet::CAMPAIGN,
    power_journal::CAMPAIGN,
    journal_flips::CAMPAIGN,
    Campaign {
        name: "kill-everywhere",
        about: "SIGKILL of the agent at every system call of a delivery",
        run: kill_everywhere::run,
    },
    Campaign {
        name: "kill-random",
        about: "SIGKILL of the agent at random moments while files are added and replaced",
        run: kill_random::run,
    },
    Campaign {
        name: "errors",
        about: "EIO and ENOSPC at every file system call of the agent",
        run: errors::run,
    },
    Campaign {
        name: "power-client",
        about: "power cuts of the disk with the watched folder and the agent's memory (root)",
        run: power::client,
    },
    Campaign {
        name: "power-server",
        about: "power cuts of the disk with the destination (root)",
        run: power::server,
    },
    Campaign {
        name: "symlink-flips",
        about: "files and folders that turn into symlinks to the outside and back while they are read and disposed of",
        run: flips::run,
    },
    Campaign {
        name: "logger",
        about: "a logger that is rotated, while the connection is cut and the agent killed; --minutes has its options",
        run: logger::run,
    },
    Campaign {
        name: "lying-server",
        about: "an scp that mangles what it writes and reports success",
        run: lying::run,
    },
    Campaign {
        name: "foreign-writer",
        about: "somebody else puts files under the final names while the agent delivers",
        run: foreign::run,
    },
];

/// The campaign of that name.
pub fn named(name: &str) -> Option<&'static Campaign> {
    ALL.iter().find(|campaign| campaign.name == name)
}
