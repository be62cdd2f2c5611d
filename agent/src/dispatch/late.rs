//! Ends of small shipments, which are recorded together with what has to be recorded next.
//!
//! A commit costs a disk some pages, whatever is in it, and that a shipment is over can wait: until it is recorded nothing
//! is done that relies on it, and a death meanwhile costs what one right before the record does, a look at the
//! destination.

use std::time::Duration;

use skiff_common::Moment;
use skiff_common::delivery::Record;
use skiff_common::desk::Effect;

/// How long an end waits for company. Until then, a newer version of its files waits, too.
const PATIENCE: Duration = Duration::from_millis(200);
/// Members of a small shipment; the end of a larger one is worth a commit.
const FEW: usize = 16;

/// The ends that wait.
#[derive(Default)]
pub(super) struct Late {
    effects: Vec<Effect>,
    due: Option<Moment>,
}

impl Late {
    /// Keeps `effects` if they can wait; else gives them back.
    pub(super) fn keep(&mut self, effects: Vec<Effect>, now: Moment) -> Option<Vec<Effect>> {
        if effects.is_empty() || !effects.iter().all(can_wait) {
            return Some(effects);
        }
        self.effects.extend(effects);
        self.due.get_or_insert(now + PATIENCE);
        None
    }

    /// What has waited, the oldest first.
    pub(super) fn take(&mut self) -> Vec<Effect> {
        self.due = None;
        std::mem::take(&mut self.effects)
    }

    /// When it has waited long enough.
    pub(super) fn due(&self) -> Option<Moment> {
        self.due
    }
}

fn can_wait(effect: &Effect) -> bool {
    match effect {
        Effect::Record(Record::Finished { delivered, .. }) => delivered.len() <= FEW,
        Effect::Record(Record::Released(_)) => true,
        Effect::Delivered(_, receipts) => receipts.len() <= FEW,
        Effect::Record(Record::Planned(_) | Record::Held(_))
        | Effect::Start(..)
        | Effect::Pass(_)
        | Effect::Release(..)
        | Effect::Again(..)
        | Effect::Hold(..)
        | Effect::Failed(..) => false,
    }
}
