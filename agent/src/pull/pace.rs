//! A limit on what is asked for. What is asked for comes as fast as the server can send it, for russh takes all that
//! comes; so the limit is held by asking for little, and in time.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// What is asked for at once without a limit.
const JOB_BYTES: u64 = 4 << 20;
/// Jobs under way without a limit: what a long link holds, and all that waits in memory when the disk is slow.
const IN_FLIGHT: usize = 6;
/// What an idle link may catch up on.
const BURST: Duration = Duration::from_millis(100);

/// Tells when more may be asked for.
pub(super) struct Pace {
    bits_per_second: Option<u64>,
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(bits_per_second: Option<u64>) -> Self {
        Self { bits_per_second, next: Mutex::new(Instant::now()) }
    }

    /// How much to ask for at once, at most; what a limit lets through in a quarter of a second.
    pub(super) fn job_bytes(&self) -> u64 {
        self.bits_per_second.map_or(JOB_BYTES, |bits| bits / 32).clamp(super::jobs::BLOCK_BYTES, JOB_BYTES)
    }

    pub(super) const fn in_flight(&self) -> usize {
        if self.bits_per_second.is_some() { 2 } else { IN_FLIGHT }
    }

    /// Returns when so many bytes may be asked for.
    pub(super) async fn wait(&self, bytes: u64) {
        let Some(bits) = self.bits_per_second else { return };
        let mut next = self.next.lock().await;
        let earliest = Instant::now().checked_sub(BURST).unwrap_or_else(Instant::now);
        let begin = (*next).max(earliest);
        #[expect(clippy::cast_precision_loss, reason = "rates need no 53 bits")]
        let takes = Duration::from_secs_f64(bytes as f64 * 8.0 / bits.max(1) as f64);
        *next = begin + takes;
        tokio::time::sleep_until(begin).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_limit_holds_on_average() {
        let pace = Pace::new(Some(8 << 20));
        let start = Instant::now();
        for _ in 0..41 {
            pace.wait(256 << 10).await;
        }
        let took = start.elapsed().as_secs_f64();
        assert!((9.5..=10.5).contains(&took), "10 MiB at 1 MiB/s took {took} s");
        assert_eq!((pace.job_bytes(), Pace::new(None).job_bytes()), (256 << 10, JOB_BYTES));
    }
}
