//! What the agent is doing, for those who watch it. A sink: nothing decides by it.

use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Files that wait or are quarantined.
    pub held_files: AtomicU64,
    /// Whole shipments that failed and were begun again.
    pub failures: AtomicU64,
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
}
