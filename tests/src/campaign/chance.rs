//! Chance that can be had again: everything follows from a seed.

use std::io::Read as _;
use std::time::Duration;

use blake3::{Hasher, OutputReader};

/// An endless sequence that a seed decides.
pub struct Chance(OutputReader);

impl Chance {
    /// Equal seeds give equal sequences.
    pub fn new(seed: u64) -> Self {
        Chance(Hasher::new().update(b"campaign").update(&seed.to_le_bytes()).finalize_xof())
    }

    /// A number below `bound`, which is more than 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes) % bound
    }

    /// True in `percent` of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A time of up to `most`.
    pub fn time(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_micros()).expect("campaigns wait for seconds");
        Duration::from_micros(self.below(most + 1))
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.by_ref().take(count).read_to_end(&mut bytes).expect("the sequence is endless");
        bytes
    }

    /// At most `count` of `all`, each as likely as the other; `None` is all.
    pub fn sample<T>(&mut self, mut all: Vec<T>, count: Option<u64>) -> Vec<T> {
        let wanted = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
        while all.len() > wanted {
            let gone = self.below(all.len() as u64);
            all.swap_remove(usize::try_from(gone).expect("it is below a length"));
        }
        all
    }
}
