//! Once a second: what was delivered and sent since, for the charts. Now and then: forgets held items whose file is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::held::AT_ONCE;
use super::{Control, held};
use crate::dispatch::Order;
use crate::status::{Sample, Snapshot, Status, wall_ms};

/// How often held items are compared with their folders, in seconds.
const TIDY_EVERY: u32 = 60;

pub(super) async fn sample(control: Arc<Control>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let counts = |status: &Status| {
        [&status.delivered_files, &status.delivered_bytes, &status.sent_bytes].map(Status::get)
    };
    let mut before = counts(&control.status);
    let mut seconds = 0_u32;
    loop {
        tick.tick().await;
        let now = counts(&control.status);
        let [delivered_files, delivered_bytes, sent_bytes] = std::array::from_fn(|at| now[at] - before[at]);
        before = now;
        let Snapshot { held, pending, .. } = control.told();
        control.history.add(Sample {
            time_ms: wall_ms(),
            delivered_files,
            delivered_bytes,
            sent_bytes,
            pending_items: pending.items,
            pending_bytes: pending.bytes,
        });
        seconds = seconds.wrapping_add(1);
        if seconds.is_multiple_of(TIDY_EVERY) && held.waiting + held.quarantined > 0 {
            tidy(&control).await;
        }
    }
}

/// Forgets what is held of files that are gone.
pub(super) async fn tidy(control: &Arc<Control>) {
    let asked = Arc::clone(control);
    let read = tokio::task::spawn_blocking(move || held::read(&asked)).await;
    match read.expect("reading doesn't panic and isn't aborted") {
        Ok(items) => {
            for some in items.gone.chunks(AT_ONCE) {
                // An agent that has ended remembers nothing any more.
                let _ = control.orders.send(Order::Gone(some.to_vec())).await;
            }
        }
        Err(error) => tracing::debug!(%error, "cannot read what is held"),
    }
}
