//! A fleet that lost its collector and comes back to it, simulated: agents with a delivery each against one sshd's limits.
//!
//! Promises skiff's own backoff and its own choice of a collector, and OpenSSH's own rule for dropping connections. Lacks
//! bytes: a delivery is a login and a time. The numbers are of a small collector, and stand in [`Collector`].

mod collector;
mod course;
mod picture;

use std::time::Duration;

use skiff_common::retry::Retry;
use skiff_common::spread;

pub use collector::{Collector, Limits};
pub use course::Course;
pub use picture::as_picture;

use course::Agents;

/// A tick of the simulated clock.
pub const TICK: Duration = Duration::from_millis(10);
/// How long the collector was away: long enough for every backoff to reach its longest wait.
const OUTAGE: Duration = Duration::from_secs(1800);
/// After so long a fleet counts as one that never drains.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// When an agent that was refused tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// As skiff does, by its defaults.
    Skiff,
    /// As skiff does, where the fleet is spread over so many collectors, each with the same limits.
    SkiffSpread(usize),
    /// After a delay that is always the same.
    Fixed(Duration),
    /// At once.
    AtOnce,
}

impl Policy {
    /// All that are compared.
    pub const ALL: [Self; 5] = [
        Self::Skiff,
        Self::SkiffSpread(4),
        Self::Fixed(Duration::from_secs(60)),
        Self::Fixed(Duration::from_secs(5)),
        Self::AtOnce,
    ];

    /// As it is called.
    pub fn title(self) -> String {
        match self {
            Self::Skiff => "skiff".to_owned(),
            Self::SkiffSpread(collectors) => format!("skiff, spread over {collectors}"),
            Self::Fixed(delay) => format!("always {} s", delay.as_secs()),
            Self::AtOnce => "no wait".to_owned(),
        }
    }

    /// How long to wait after so many failures in a row.
    fn wait(self, failures: u32, chance: f64) -> Duration {
        match self {
            Self::Skiff | Self::SkiffSpread(_) => BACKOFF.wait(failures, chance),
            Self::Fixed(delay) => delay,
            Self::AtOnce => TICK,
        }
    }
}

/// `retry_first` and `retry_max` of `default.toml`; a test compares them.
const BACKOFF: Retry = Retry { first: Duration::from_secs(1), max: Duration::from_secs(300), attempts: None };

/// Lets `agents` come back by `policy` to collectors with these limits.
pub fn come_back(agents: usize, policy: Policy, limits: &Limits, seed: u64) -> Course {
    let collectors = if let Policy::SkiffSpread(collectors) = policy { collectors } else { 1 };
    let names: Vec<String> = (0..collectors).map(|number| format!("collector-{number}")).collect();
    let mut shares = vec![0_usize; collectors];
    for agent in 0..agents {
        let machine = blake3::hash(&agent.to_le_bytes()).to_hex();
        let chosen = spread::first(machine.as_bytes(), &names).expect("there are names");
        shares[names.iter().position(|name| name == chosen).expect("it is one of them")] += 1;
    }
    let courses = shares.iter().zip(seed..).map(|(share, seed)| {
        let mut agents = Agents::that_lost_theirs(*share, policy, OUTAGE, seed);
        agents.come_back(&mut Collector::new(limits), PATIENCE)
    });
    courses.reduce(|one, other| one.beside(&other)).expect("there is a collector")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_backoff_is_that_of_the_defaults() {
        let watch = skiff_config::Watch::with_defaults("w", Path::new("/w"), "d");
        assert_eq!((BACKOFF.first, BACKOFF.max), (watch.retry_first, watch.retry_max));
    }

    #[test]
    fn a_fleet_that_comes_back_by_skiffs_backoff_drains_near_the_limit_and_is_refused_little() {
        let limits = Limits::default();
        let [skiff, at_once] =
            [Policy::Skiff, Policy::AtOnce].map(|policy| come_back(2_000, policy, &limits, 1));
        assert_eq!((skiff.delivered(), at_once.delivered()), (2_000, 2_000));
        assert!(skiff.refused * 20 < at_once.refused, "{} and {}", skiff.refused, at_once.refused);
        // The last of a small fleet may draw the longest wait.
        assert!(skiff.drained.expect("it drains") < BACKOFF.max + Duration::from_secs(60));
    }

    #[test]
    fn equal_seeds_give_equal_courses() {
        let course = || come_back(1_000, Policy::Skiff, &Limits::default(), 7);
        assert_eq!(course(), course());
    }
}
