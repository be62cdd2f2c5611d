//! When to try again: exponential backoff with full jitter.

use std::time::Duration;

/// How often and how patiently to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The upper bound of the first wait.
    pub first: Duration,
    /// The upper bound of every wait.
    pub max: Duration,
    /// After how many attempts to give up; `None` is never.
    pub attempts: Option<u32>,
}

impl Retry {
    /// The wait after `failures` failures in a row (1 or more): uniformly in (0, bound], by `chance` in 0..=1.
    /// Full jitter spreads a fleet that lost its collector at one moment.
    pub fn wait(&self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let bound = self.first.saturating_mul(1 << doublings).min(self.max);
        bound.mul_f64(chance.clamp(0.0, 1.0)).max(Duration::from_millis(1))
    }

    /// Whether `failures` failures are enough.
    pub fn gives_up(&self, failures: u32) -> bool {
        self.attempts.is_some_and(|most| failures >= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry =
        Retry { first: Duration::from_secs(1), max: Duration::from_secs(300), attempts: Some(3) };

    #[test]
    fn the_bound_doubles_up_to_the_maximum() {
        let bounds: Vec<_> = [1, 2, 3, 9, 10, 40, u32::MAX].map(|n| RETRY.wait(n, 1.0).as_secs()).into();
        assert_eq!(bounds, [1, 2, 4, 256, 300, 300, 300]);
    }

    #[test]
    fn jitter_is_full_and_never_nothing() {
        assert_eq!(RETRY.wait(4, 0.5), Duration::from_secs(4));
        assert_eq!(RETRY.wait(4, 0.0), Duration::from_millis(1));
    }

    #[test]
    fn gives_up_only_when_told_to() {
        assert!(!RETRY.gives_up(2) && RETRY.gives_up(3));
        assert!(!Retry { attempts: None, ..RETRY }.gives_up(u32::MAX));
    }
}
