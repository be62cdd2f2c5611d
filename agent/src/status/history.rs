//! Throughput and backlog over time: a ring of seconds and one of minutes, bounded.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Five minutes.
const SECONDS: usize = 300;
/// A day.
const MINUTES: usize = 1440;
const SECONDS_A_MINUTE: u32 = 60;

/// What happened in one span of time, and what stood at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its end, in milliseconds since 1970.
    pub time_ms: u64,
    /// Files delivered within.
    pub delivered_files: u64,
    /// Bytes delivered within.
    pub delivered_bytes: u64,
    /// Bytes sent within.
    pub sent_bytes: u64,
    /// Items that were pending at its end.
    pub pending_items: u64,
    /// Their bytes.
    pub pending_bytes: u64,
}

/// Both rings, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histories {
    /// One a second.
    pub seconds: Vec<Sample>,
    /// One a minute.
    pub minutes: Vec<Sample>,
}

/// Remembers samples.
#[derive(Debug, Default)]
pub struct History(Mutex<Rings>);

#[derive(Debug, Default)]
struct Rings {
    seconds: VecDeque<Sample>,
    minutes: VecDeque<Sample>,
    minute: Sample,
    in_minute: u32,
}

impl History {
    /// One second has passed.
    pub fn add(&self, second: Sample) {
        let mut rings = self.rings();
        push(&mut rings.seconds, second, SECONDS);
        let minute = rings.minute;
        rings.minute = Sample {
            delivered_files: minute.delivered_files + second.delivered_files,
            delivered_bytes: minute.delivered_bytes + second.delivered_bytes,
            sent_bytes: minute.sent_bytes + second.sent_bytes,
            ..second
        };
        rings.in_minute += 1;
        if rings.in_minute == SECONDS_A_MINUTE {
            let minute = std::mem::take(&mut rings.minute);
            rings.in_minute = 0;
            push(&mut rings.minutes, minute, MINUTES);
        }
    }

    /// All of it.
    pub fn all(&self) -> Histories {
        let rings = self.rings();
        Histories {
            seconds: rings.seconds.iter().copied().collect(),
            minutes: rings.minutes.iter().copied().collect(),
        }
    }

    /// The last `count` seconds, oldest first; fewer where there are not so many yet.
    pub fn last_seconds(&self, count: usize) -> Vec<Sample> {
        let rings = self.rings();
        let skipped = rings.seconds.len().saturating_sub(count);
        rings.seconds.iter().skip(skipped).copied().collect()
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push(ring: &mut VecDeque<Sample>, sample: Sample, most: usize) {
    if ring.len() == most {
        ring.pop_front();
    }
    ring.push_back(sample);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_add_up_to_minutes_and_both_are_bounded() {
        let history = History::default();
        for time_ms in 0..(MINUTES as u64 + 1) * 60 {
            history.add(Sample { time_ms, delivered_bytes: 2, pending_items: time_ms, ..Sample::default() });
        }
        let all = history.all();
        assert_eq!((all.seconds.len(), all.minutes.len()), (SECONDS, MINUTES));
        let first = all.minutes[0];
        assert_eq!(
            (first.delivered_bytes, first.pending_items),
            (120, 119),
            "the first minute has been forgotten"
        );
        assert_eq!(history.last_seconds(3).len(), 3);
        let told = serde_json::to_value(all).expect("JSON");
        crate::documented::assert_documented("GET /v1/history", &told);
    }
}
