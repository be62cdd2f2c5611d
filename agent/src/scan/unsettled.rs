//! Telling of files that don't settle: a process that never closes one, or never stops writing, keeps it here for ever.

use std::time::Duration;

use skiff_common::Moment;
use skiff_common::settle::Unsettled;

use super::Scanner;
use crate::status::snapshot::{Item, ItemState, Settling};
use crate::status::{millis, wall_ms};

/// Beyond the quiet time; before that it is nothing to tell of.
const LATE: Duration = Duration::from_secs(60);
/// How often it is looked for, since that takes a look at all that are waited for.
const LOOK: Duration = Duration::from_secs(5);
/// The oldest are listed; all are counted.
const LISTED: usize = 256;

impl Scanner {
    /// Shows what is late, and logs what was not before.
    pub(super) fn tell_unsettled(&mut self, now: Moment) {
        if now < self.next_told {
            return;
        }
        self.next_told = now + LOOK;
        let mut late: Vec<Unsettled> = self.settler.late(LATE, now).collect();
        late.sort_unstable_by_key(|late| late.since);
        let watch = &self.context.settings.name;
        let mut newcomers = late.iter().filter(|late| !self.told_unsettled.contains(&late.path));
        if let Some(first) = newcomers.next() {
            tracing::warn!(%watch, path = %first.path, others = newcomers.count(), "not delivered yet: {}", why(first, now));
        }
        let since = late.first().map(|oldest| now.since(oldest.since));
        let settling = Settling {
            files: late.len() as u64,
            since_ms: since.map(|age| wall_ms().saturating_sub(millis(age))),
        };
        let items = late.iter().take(LISTED).map(|late| item(watch, late, now)).collect();
        self.context.set_settling(settling, items);
        self.told_unsettled = late.into_iter().map(|late| late.path).collect();
    }
}

fn why(late: &Unsettled, now: Moment) -> String {
    let seconds = now.since(late.since).as_secs();
    if late.open {
        format!("a process has it open for writing; it was first seen {seconds} s ago")
    } else {
        format!("it keeps changing; it was first seen {seconds} s ago")
    }
}

fn item(watch: &str, late: &Unsettled, now: Moment) -> Item {
    let item = Item::at(watch, &late.path, late.stamp.size, ItemState::Settling);
    Item { reason: Some(why(late, now)), ..item }
}
