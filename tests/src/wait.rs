//! Waiting for a condition, with a limit. No test sleeps to let something happen. That something does not happen is watched
//! for a while, where nothing comes later that would tell: a machine so busy that it would take longer shows less then.

use std::thread;
use std::time::{Duration, Instant};

/// How long any one condition may take. Generous, so that a busy machine does not look like a fault.
pub const LIMIT: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(10);

/// Whether `condition` came true within `limit`.
pub fn came_true(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(PAUSE);
    }
}

/// Whether `condition` stayed false for so long, which is for as long as what is not to happen would take.
pub fn never_came_true(watched: Duration, condition: impl FnMut() -> bool) -> bool {
    !came_true(watched, condition)
}
