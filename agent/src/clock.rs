//! The one monotonic clock, by which everything waits; and the few questions to the clock on the wall, which may be wrong.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use skiff_common::Moment;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Now.
pub fn now() -> Moment {
    Moment::since_start(START.elapsed())
}

/// When `moment` is, on tokio's clock.
pub fn instant(moment: Moment) -> tokio::time::Instant {
    tokio::time::Instant::from_std(*START + moment.since(Moment::START))
}

/// A number in 0..1 that nobody can foresee, for jitter.
pub fn chance() -> f64 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

/// How long ago a file says that it was changed, in nanoseconds since 1970. A clock that went back makes nothing old.
pub fn age_of(changed_ns: i64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_nanos(u64::try_from(changed_ns).unwrap_or(0)))
}

/// A time as it is written into files: RFC 3339, in UTC, to the millisecond.
pub fn written(time: Timestamp) -> String {
    DateTimePrinter::new().precision(Some(3)).timestamp_to_string(&time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_full_whenever_they_were() {
        let at = |ms| Timestamp::from_millisecond(ms).expect("in range");
        assert_eq!(written(at(1_764_061_200_000)), "2025-11-25T09:00:00.000Z");
        assert_eq!(written(at(-1)), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn a_clock_that_went_back_makes_nothing_old() {
        assert_eq!(age_of(i64::MAX), Duration::ZERO);
        assert!(age_of(0) > Duration::from_secs(86_400 * 365 * 50));
    }
}
