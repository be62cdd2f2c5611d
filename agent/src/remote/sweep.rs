//! When to clear what shipments left behind long ago: at first, and then once a day.
//!
//! Owns when each folder was swept last. Lacks the sweeping, which is the transport's, as the names in staging are.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use skiff_common::RemotePath;

const EVERY: Duration = Duration::from_secs(24 * 3600);

/// The sweeps of one transport at one destination.
#[derive(Default)]
pub(super) struct Sweeps {
    last: Mutex<HashMap<RemotePath, Instant>>,
}

impl Sweeps {
    /// Whether it is time to sweep the folder `root`, which then counts as swept.
    pub(super) fn is_due(&self, root: &RemotePath) -> bool {
        let mut last = self.last.lock().expect("nothing panics while it holds the lock");
        let is_due = last.get(root).is_none_or(|at| at.elapsed() > EVERY);
        if is_due {
            last.insert(root.clone(), Instant::now());
        }
        is_due
    }
}
