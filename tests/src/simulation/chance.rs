//! Chance that follows from a seed: splitmix64.

use std::time::Duration;

/// A stream of numbers; equal seeds give equal streams.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which isn't 0.
    pub(crate) const fn below(&mut self, end: u32) -> u32 {
        // The high half, times the end, shifted down: no division, and less bias than anybody can see.
        (((self.next() >> 32) * end as u64) >> 32) as u32
    }

    pub(crate) fn index(&mut self, end: usize) -> usize {
        self.below(u32::try_from(end).expect("scenarios are small")) as usize
    }

    /// True once in `often` times; never, where that is 0.
    pub(crate) const fn one_in(&mut self, often: u32) -> bool {
        often > 0 && self.below(often) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// A number in 0..1.
    pub(crate) fn unit(&mut self) -> f64 {
        f64::from(self.below(1 << 20)) / f64::from(1 << 20)
    }

    /// Up to `most_ms` milliseconds, and at least one.
    pub(crate) const fn wait(&mut self, most_ms: u32) -> Duration {
        Duration::from_millis(1 + self.below(most_ms) as u64)
    }
}
