//! What systemd is told: that the dispatcher makes progress, and one line on what it does.

use std::time::Duration;

use sd_notify::NotifyState;
use skiff_common::Moment;

use crate::clock;
use crate::size;
use crate::status::Snapshot;

/// How often the line may change.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Fed by nobody but the dispatcher's loop, so that a dispatcher that hangs is noticed.
pub(super) struct Pulse {
    every: Option<Duration>,
    next: Moment,
    line: String,
    line_due: Moment,
}

impl Pulse {
    /// Of a dispatcher that systemd watches, if it does. A `service` is one that may tell it something.
    pub(super) fn new(service: bool) -> Self {
        // Half the time that systemd allows is what it recommends; a third bears a late timer.
        Self::fed_every(sd_notify::watchdog_enabled().filter(|_| service).map(|limit| limit / 3))
    }

    pub(super) fn fed_every(every: Option<Duration>) -> Self {
        Self { every, next: Moment::START, line: String::new(), line_due: Moment::START }
    }

    /// When the dispatcher has to turn next, whatever there is to do.
    pub(super) fn due(&self) -> Option<Moment> {
        self.every.map(|_| self.next)
    }

    /// The dispatcher has come round.
    pub(super) fn beat(&mut self) {
        let now = clock::now();
        if let Some(every) = self.every.filter(|_| now >= self.next) {
            self.next = now + every;
            // Without systemd there is nobody to tell.
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
    }

    /// What `systemctl status` shows.
    pub(super) fn say(&mut self, snapshot: &Snapshot) {
        let (now, line) = (clock::now(), line(snapshot));
        if now >= self.line_due && line != self.line {
            let _ = sd_notify::notify(&[NotifyState::Status(&line)]);
            (self.line, self.line_due) = (line, now + LINE_EVERY);
        }
    }
}

fn line(snapshot: &Snapshot) -> String {
    let mut parts = vec![format!("{} delivered", size::count(snapshot.totals.delivered_files, "file"))];
    if snapshot.pending.items > 0 {
        parts.push(format!("{} pending ({})", snapshot.pending.items, size::bytes(snapshot.pending.bytes)));
    }
    if snapshot.held.quarantined > 0 {
        parts.push(format!("{} quarantined", snapshot.held.quarantined));
    }
    let in_trouble = snapshot.destinations.iter().filter(|destination| destination.failures > 0);
    parts.extend(in_trouble.map(|destination| {
        let code = destination.last_error.as_ref().map_or("in trouble", |error| &error.code);
        format!("{}: {code}", destination.name)
    }));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::snapshot::{Destination, DestinationState, LastError, Source};

    #[test]
    fn a_destination_in_trouble_is_told_with_its_code() {
        let error = LastError { code: "no-space".to_owned(), message: String::new(), at_ms: 0 };
        let destination = Destination {
            name: "collector".to_owned(),
            address: String::new(),
            state: DestinationState::Waiting,
            retry_at_ms: None,
            failures: 2,
            running: 0,
            queued: 0,
            paused: None,
            last_error: Some(error),
        };
        let snapshot = Snapshot { destinations: vec![destination], ..Snapshot::empty(Source::Agent) };
        assert_eq!(line(&snapshot), "0 files delivered, collector: no-space");
    }
}
