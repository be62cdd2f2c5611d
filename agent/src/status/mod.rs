//! What the agent is doing, for those who watch it. A sink: nothing decides by it.

mod growing;
mod history;
mod problems;
mod progress;
pub mod snapshot;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

pub(crate) use growing::{Growing, add as add_growing};
pub use history::{Histories, History, Sample};
pub(crate) use problems::{MOST_PROBLEMS, Problems, latest};
pub use progress::{Progress, counted, counting, note_sent};
pub use snapshot::Snapshot;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Status {
    /// Settled files that were taken on.
    pub found_files: AtomicU64,
    /// Their bytes.
    pub found_bytes: AtomicU64,
    /// Files delivered and verified.
    pub delivered_files: AtomicU64,
    /// Their bytes.
    pub delivered_bytes: AtomicU64,
    /// Files of these that stood at the destination already.
    pub standing_files: AtomicU64,
    /// Bytes that were sent, tar headers included.
    pub sent_bytes: AtomicU64,
    /// Whole shipments that failed and were begun again.
    pub failures: AtomicU64,
    /// Bytes of [`sent_bytes`](Self::sent_bytes) that had been sent before.
    pub resent_bytes: AtomicU64,
    /// Delivered files that were deleted later, to make room.
    pub expired_files: AtomicU64,
    /// Files that were deleted undelivered, as the configuration allows when the disk is full.
    pub lost_files: AtomicU64,
    /// What the destinations took to read back what was sent.
    pub digest_times: Histogram,
    failures_by_code: Mutex<BTreeMap<String, u64>>,
    /// By watch.
    grown: Mutex<BTreeMap<String, growing::Grown>>,
}

impl Status {
    /// Adds to a count.
    pub fn add(count: &AtomicU64, more: u64) {
        count.fetch_add(more, Ordering::Relaxed);
    }

    /// Reads a count.
    pub fn get(count: &AtomicU64) -> u64 {
        count.load(Ordering::Relaxed)
    }

    /// So much of what a log of `watch` grew by was delivered and verified.
    pub(crate) fn grew(&self, watch: &str, bytes: u64) {
        Self::add(&self.delivered_bytes, bytes);
        let mut all = self.grown.lock().unwrap_or_else(PoisonError::into_inner);
        let grown = all.entry(watch.to_owned()).or_default();
        (grown.bytes, grown.last_ms) = (grown.bytes + bytes, Some(wall_ms()));
    }

    /// The whole copy of a log of `watch` was verified.
    pub(crate) fn grown_whole(&self, watch: &str) {
        Self::add(&self.delivered_files, 1);
        let mut all = self.grown.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(watch.to_owned()).or_default().files += 1;
    }

    fn grown(&self, watch: &str) -> growing::Grown {
        let all = self.grown.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(watch).cloned().unwrap_or_default()
    }

    /// Something failed, by its stable code.
    pub fn failed(&self, code: &str) {
        let mut failures = self.failures_by_code.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry(code.to_owned()).or_default() += 1;
    }

    /// How often what has failed, by stable codes.
    pub fn failures_by_code(&self) -> BTreeMap<String, u64> {
        self.failures_by_code.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Upper bounds of a histogram's buckets, in seconds.
pub const BUCKETS: [f64; 10] = [0.005, 0.02, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0];

/// How long something took, counted by [`BUCKETS`].
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS.len() + 1],
    total_us: AtomicU64,
}

impl Histogram {
    /// It took so long once more.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        Status::add(&self.counts[bucket], 1);
        Status::add(&self.total_us, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// The count of each bucket and of what was above all, not cumulated.
    pub fn counts(&self) -> [u64; BUCKETS.len() + 1] {
        std::array::from_fn(|at| Status::get(&self.counts[at]))
    }

    /// All of it together.
    pub fn total(&self) -> Duration {
        Duration::from_micros(Status::get(&self.total_us))
    }
}

/// Milliseconds since 1970, for people and programs that have no other clock in common with us.
pub fn wall_ms() -> u64 {
    millis(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// A length of time in milliseconds.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_in_their_buckets() {
        let histogram = Histogram::default();
        for ms in [5, 6, 20, 700_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let counts = histogram.counts();
        assert_eq!((counts[0], counts[1], counts[BUCKETS.len()]), (1, 2, 1));
        assert_eq!(histogram.total(), Duration::from_millis(700_031));
    }
}
