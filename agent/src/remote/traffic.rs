//! What is sent: counted, held below a limit, and packed where the link is slower than the packer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use skiff_config::Compression;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::ship::Codec;
use crate::status::{self, Status};

/// Channels for one large item; more leave no room for others in the ten sessions that sshd allows.
pub(super) const MOST_CHANNELS: u64 = 6;

/// Without a limit, pieces go as they come.
const UNLIMITED_PIECE: usize = 128 << 10;
/// What an idle link may catch up on, so that a pause isn't followed by a flood.
const BURST: Duration = Duration::from_millis(50);

/// One destination's traffic; all its channels share the limit.
#[derive(Debug)]
pub(crate) struct Traffic {
    status: Arc<Status>,
    own: Arc<Limiter>,
    overall: Arc<Limiter>,
    compression: Compression,
    /// The shortest that a question took, in microseconds.
    round_trip_us: AtomicU64,
    pace: std::sync::Mutex<Measured>,
}

/// A limit that can be changed while it is kept.
#[derive(Debug)]
pub struct Limiter {
    /// `u64::MAX` for none.
    bits_per_second: AtomicU64,
    next: Mutex<Instant>,
}

impl Limiter {
    /// A limit of so many bits a second, if any.
    pub fn new(bits_per_second: Option<u64>) -> Self {
        let bits_per_second = AtomicU64::new(bits_per_second.unwrap_or(u64::MAX));
        Self { bits_per_second, next: Mutex::new(Instant::now()) }
    }

    /// From now on it is this.
    pub fn set(&self, bits_per_second: Option<u64>) {
        self.bits_per_second.store(bits_per_second.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> Option<u64> {
        Some(self.bits_per_second.load(Ordering::Relaxed)).filter(|bits| *bits != u64::MAX)
    }

    /// So many bytes were sent; returns when the next may go.
    async fn sent(&self, bytes: usize) {
        let Some(bits) = self.get() else { return };
        let mut next = self.next.lock().await;
        let earliest = Instant::now().checked_sub(BURST).unwrap_or_else(Instant::now);
        #[expect(clippy::cast_precision_loss, reason = "rates need no 53 bits")]
        let takes = Duration::from_secs_f64(bytes as f64 * 8.0 / bits.max(1) as f64);
        *next = next.max(earliest) + takes;
        tokio::time::sleep_until(*next).await;
    }
}

/// What was measured of sending and packing.
#[derive(Debug, Default)]
struct Measured {
    wire: Speed,
    pack: Speed,
    /// What packing left, of one.
    share: Option<f64>,
}

impl Measured {
    /// A channel packs, then sends: that has to be quicker than to send all.
    fn packing_pays(&self, unknown: bool) -> bool {
        match (self.wire.0, self.pack.0, self.share) {
            (None, ..) => unknown,
            (Some(wire), Some(pack), Some(share)) => pack + wire * share < wire,
            // To be tried.
            (Some(_), ..) => true,
        }
    }
}

/// Nanoseconds a byte, smoothed.
#[derive(Debug, Default)]
struct Speed(Option<f64>);

impl Speed {
    #[expect(clippy::cast_precision_loss, reason = "speeds need no 53 bits")]
    fn add(&mut self, bytes: u64, took: Duration) {
        // What fits into buffers tells nothing.
        const TELLS: u64 = 256 << 10;
        if bytes >= TELLS {
            let now = took.as_nanos() as f64 / bytes as f64;
            self.0 = Some(self.0.map_or(now, |before| before * 0.75 + now * 0.25));
        }
    }
}

impl Traffic {
    pub(crate) fn new(
        status: Arc<Status>,
        (own, overall): (Arc<Limiter>, Arc<Limiter>),
        compression: Compression,
    ) -> Self {
        let (round_trip_us, pace) = (AtomicU64::new(u64::MAX), std::sync::Mutex::default());
        Self { status, own, overall, compression, round_trip_us, pace }
    }

    /// A question was answered after `took`.
    pub(crate) fn saw_round_trip(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.round_trip_us.fetch_min(took, Ordering::Relaxed);
    }

    /// The next connection may take another way.
    pub(crate) fn forget_round_trip(&self) {
        self.round_trip_us.store(u64::MAX, Ordering::Relaxed);
    }

    /// How many channels side by side a large item wants: OpenSSH lets 2 MiB a round trip through each.
    pub(crate) fn channels_wanted(&self) -> usize {
        // 128 MiB/s need one channel for each sixteenth of a tenth of a second.
        const ONE_CARRIES_US: u64 = 15_625;
        let round_trip = self.round_trip_us.load(Ordering::Relaxed);
        if round_trip == u64::MAX {
            return 1;
        }
        usize::try_from(round_trip.div_ceil(ONE_CARRIES_US).clamp(1, MOST_CHANNELS)).expect("at most six")
    }

    /// By what to pack for a destination that has what `unpacks` says. Whether it shrinks and pays is for others to say.
    pub(crate) fn codec(&self, unpacks: impl Fn(Codec) -> bool) -> Option<Codec> {
        let wanted: &[Codec] = match self.compression {
            Compression::Auto => &[Codec::Zstd, Codec::Gzip],
            Compression::Zstd => &[Codec::Zstd],
            Compression::Gzip => &[Codec::Gzip],
            Compression::Ssh | Compression::Off => &[],
        };
        wanted.iter().copied().find(|codec| unpacks(*codec))
    }

    /// A body of `bytes` was sent and answered in `took`.
    pub(crate) fn carried(&self, bytes: u64, took: Duration) {
        self.pace().wire.add(bytes, took);
    }

    /// `raw` bytes were packed into `packed` ones in `took`.
    pub(crate) fn packed(&self, raw: u64, packed: u64, took: Duration) {
        let mut pace = self.pace();
        pace.pack.add(raw, took);
        #[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
        let share = packed as f64 / raw.max(1) as f64;
        pace.share = Some(share);
    }

    /// Whether packing saves time, as far as that is known: `unknown`, where nothing was sent so far.
    pub(crate) fn packing_pays(&self, unknown: bool) -> bool {
        self.compression != Compression::Auto || self.pace().packing_pays(unknown)
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Measured> {
        self.pace.lock().expect("nothing panics while it holds the lock")
    }

    /// How much to send at once: at most what a limit lets through in a tenth of a second.
    pub(crate) fn piece_bytes(&self) -> usize {
        let tenth = |bits: u64| usize::try_from(bits / 80).unwrap_or(usize::MAX);
        let limit = self.own.get().into_iter().chain(self.overall.get()).min();
        limit.map_or(UNLIMITED_PIECE, tenth).clamp(512, UNLIMITED_PIECE)
    }

    /// The destination took so long to read back what was sent.
    pub(crate) fn read_back(&self, took: Duration) {
        self.status.digest_times.observe(took);
    }

    /// So many bytes were sent; returns when the next may go.
    pub(crate) async fn sent(&self, bytes: usize) {
        Status::add(&self.status.sent_bytes, bytes as u64);
        status::note_sent(bytes as u64);
        self.own.sent(bytes).await;
        self.overall.sent(bytes).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_connection_may_be_longer() {
        let traffic = limited(None, None, Compression::Auto);
        traffic.saw_round_trip(Duration::from_millis(1));
        traffic.saw_round_trip(Duration::from_millis(90));
        assert_eq!(traffic.channels_wanted(), 1);
        traffic.forget_round_trip();
        traffic.saw_round_trip(Duration::from_millis(90));
        assert_eq!(traffic.channels_wanted(), 6);
    }

    #[test]
    fn packing_pays_where_the_link_is_slower_than_the_packer() {
        const MIB: u64 = 1 << 20;
        let ms = Duration::from_millis;
        let traffic = limited(None, None, Compression::Auto);
        assert!(traffic.packing_pays(true) && !traffic.packing_pays(false), "nothing is known");
        traffic.carried(MIB, ms(5));
        assert!(traffic.packing_pays(false), "to be tried");
        traffic.packed(1 << 20, 1 << 18, ms(4));
        assert!(!traffic.packing_pays(true), "4 ms and a quarter of 5 are more than 5");
        for _ in 0..20 {
            traffic.carried(MIB, ms(50));
        }
        assert!(traffic.packing_pays(false), "the link got slow");
        let always = limited(None, None, Compression::Zstd);
        always.packed(1 << 20, 1 << 18, ms(400));
        always.carried(MIB, ms(5));
        assert!(always.packing_pays(false), "somebody wants it so");
    }

    fn limited(own: Option<u64>, overall: Option<u64>, compression: Compression) -> Traffic {
        let limiters = [own, overall].map(|limit| Arc::new(Limiter::new(limit)));
        let [own, overall] = limiters;
        Traffic::new(Arc::default(), (own, overall), compression)
    }

    #[tokio::test(start_paused = true)]
    async fn two_destinations_share_the_limit_of_all_and_a_change_holds_at_once() {
        let overall = Arc::new(Limiter::new(Some(8000)));
        let one = || (Arc::new(Limiter::new(None)), Arc::clone(&overall));
        let (a, b) = (one(), one());
        let [a, b] = [a, b].map(|limits| Traffic::new(Arc::default(), limits, Compression::Auto));
        assert_eq!(a.piece_bytes(), 512);
        let start = Instant::now();
        for _ in 0..10 {
            tokio::join!(a.sent(500), b.sent(500));
        }
        let took = start.elapsed().as_secs_f64();
        assert!((9.5..=10.5).contains(&took), "10,000 bytes at 1,000 bytes/s took {took} s");
        overall.set(None);
        let start = Instant::now();
        a.sent(1 << 30).await;
        assert!(start.elapsed() < Duration::from_millis(10) && a.piece_bytes() == UNLIMITED_PIECE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_holds_on_average() {
        let traffic = limited(Some(8000), None, Compression::Auto);
        let start = Instant::now();
        for _ in 0..20 {
            traffic.sent(500).await;
        }
        let took = start.elapsed().as_secs_f64();
        assert!((9.5..=10.5).contains(&took), "10,000 bytes at 1,000 bytes/s took {took} s");
    }
}
