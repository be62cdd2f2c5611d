//! What is sent: counted, and held below a limit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::status::Status;

/// Without a limit, pieces go as they come.
const UNLIMITED_PIECE: usize = 128 << 10;
/// What an idle link may catch up on, so that a pause isn't followed by a flood.
const BURST: Duration = Duration::from_millis(50);

/// One destination's traffic; all its channels share the limit.
#[derive(Debug)]
pub(crate) struct Traffic {
    status: Arc<Status>,
    bits_per_second: Option<u64>,
    next: Mutex<Instant>,
}

impl Traffic {
    pub(crate) fn new(status: Arc<Status>, bits_per_second: Option<u64>) -> Self {
        Self { status, bits_per_second, next: Mutex::new(Instant::now()) }
    }

    /// How much to send at once: at most what a limit lets through in a tenth of a second.
    pub(crate) fn piece_bytes(&self) -> usize {
        let tenth = |bits: u64| usize::try_from(bits / 80).unwrap_or(usize::MAX);
        self.bits_per_second.map_or(UNLIMITED_PIECE, tenth).clamp(512, UNLIMITED_PIECE)
    }

    /// So many bytes were sent; returns when the next may go.
    pub(crate) async fn sent(&self, bytes: usize) {
        Status::add(&self.status.sent_bytes, bytes as u64);
        let Some(bits) = self.bits_per_second else { return };
        let mut next = self.next.lock().await;
        let earliest = Instant::now().checked_sub(BURST).unwrap_or_else(Instant::now);
        #[expect(clippy::cast_precision_loss, reason = "rates need no 53 bits")]
        let takes = Duration::from_secs_f64(bytes as f64 * 8.0 / bits.max(1) as f64);
        *next = next.max(earliest) + takes;
        tokio::time::sleep_until(*next).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_limit_holds_on_average() {
        let traffic = Traffic::new(Arc::default(), Some(8000));
        let start = Instant::now();
        for _ in 0..20 {
            traffic.sent(500).await;
        }
        let took = start.elapsed().as_secs_f64();
        assert!((9.5..=10.5).contains(&took), "10,000 bytes at 1,000 bytes/s took {took} s");
    }
}
