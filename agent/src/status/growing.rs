//! Logs that grow, in what is told: who follows them tells of each watch by itself, and the dispatcher knows nothing of that.

use std::sync::Arc;

use super::Status;
use super::snapshot::{Destination, DestinationState, Item, LastError, Pending, Snapshot};

/// What is told of the logs of a watch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Growing {
    /// The watch's name.
    pub(crate) watch: String,
    /// The destination's.
    pub(crate) destination: String,
    /// Each of them.
    pub(crate) logs: Vec<Item>,
    /// Since when nothing came of one that has more.
    pub(crate) oldest_ms: Option<u64>,
    /// The destination's failures in a row.
    pub(crate) failures: u32,
    /// When it is tried again.
    pub(crate) retry_at_ms: Option<u64>,
    /// What was wrong with it last.
    pub(crate) last_error: Option<LastError>,
}

/// What was delivered of the logs of a watch since the agent began.
#[derive(Debug, Clone, Default)]
pub(super) struct Grown {
    pub(super) bytes: u64,
    /// Logs whose whole copy was verified.
    pub(super) files: u64,
    pub(super) last_ms: Option<u64>,
}

/// Puts them into what the dispatcher tells.
pub(crate) fn add(snapshot: &mut Snapshot, told: &[Arc<Growing>], status: &Status) {
    for growing in told {
        let pending = growing.pending();
        if let Some(watch) = snapshot.watches.iter_mut().find(|watch| watch.name == growing.watch) {
            let grown = status.grown(&growing.watch);
            watch.delivered_files += grown.files;
            watch.delivered_bytes += grown.bytes;
            watch.last_delivery_ms = watch.last_delivery_ms.max(grown.last_ms);
            add_pending(&mut watch.pending, &pending);
            snapshot.totals.last_delivery_ms = snapshot.totals.last_delivery_ms.max(grown.last_ms);
        }
        add_pending(&mut snapshot.pending, &pending);
        let mut destinations = snapshot.destinations.iter_mut();
        if let Some(destination) = destinations.find(|one| one.name == growing.destination) {
            growing.tell_of(destination);
        }
    }
}

impl Growing {
    /// What is not delivered; of a log that nobody has seen yet nobody knows.
    fn pending(&self) -> Pending {
        let left = |log: &Item| log.bytes.map(|bytes| bytes.saturating_sub(log.delivered_bytes.unwrap_or(0)));
        let behind = self.logs.iter().filter_map(left).filter(|left| *left > 0);
        Pending {
            items: behind.clone().count() as u64,
            bytes: behind.sum(),
            oldest_ms: self.oldest_ms,
            more: self.logs.iter().any(|log| log.bytes.is_none()),
        }
    }

    /// A destination that takes no logs is in trouble, whatever else goes there.
    fn tell_of(&self, destination: &mut Destination) {
        if self.failures > 0 {
            destination.failures = destination.failures.max(self.failures);
            destination.retry_at_ms = destination.retry_at_ms.into_iter().chain(self.retry_at_ms).min();
            if matches!(destination.state, DestinationState::Idle | DestinationState::Connected) {
                destination.state = DestinationState::Waiting;
            }
        }
        if let Some(error) = &self.last_error
            && destination.last_error.as_ref().is_none_or(|other| other.at_ms < error.at_ms)
        {
            destination.last_error = Some(error.clone());
        }
    }
}

fn add_pending(sum: &mut Pending, more: &Pending) {
    sum.items += more.items;
    sum.bytes += more.bytes;
    sum.oldest_ms = sum.oldest_ms.into_iter().chain(more.oldest_ms).min();
    sum.more |= more.more;
}
