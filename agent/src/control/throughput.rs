//! How fast it goes, and how long that will take.

use crate::status::snapshot::Throughput;
use crate::status::{History, Sample};

/// Over the last seconds, with so many bytes pending.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates need no 53 bits"
)]
pub(super) fn of(history: &History, pending_bytes: u64) -> Throughput {
    let seconds = history.last_seconds(60);
    let last = &seconds[seconds.len().saturating_sub(10)..];
    let mean = |of: fn(&Sample) -> u64| last.iter().map(of).sum::<u64>() as f64 / last.len().max(1) as f64;
    let bytes_per_second = mean(|sample| sample.delivered_bytes);
    let sent_bytes_per_second = mean(|sample| sample.sent_bytes);
    // Large files are delivered all at once, and compressed ones need fewer bytes on the way.
    let rate = bytes_per_second.max(sent_bytes_per_second);
    let drains = pending_bytes > 0 && rate > 0.0;
    Throughput {
        bytes_per_second,
        files_per_second: mean(|sample| sample.delivered_files),
        sent_bytes_per_second,
        seconds: seconds.iter().map(|sample| sample.sent_bytes).collect(),
        drain_seconds: drains.then(|| (pending_bytes as f64 / rate).ceil() as u64),
    }
}
