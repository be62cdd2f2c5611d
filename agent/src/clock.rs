//! The one monotonic clock; everything else is told the time.

use std::sync::LazyLock;
use std::time::Instant;

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
