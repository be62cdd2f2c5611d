//! What is told of the logs of a watch: how far each is delivered, what is in its way, and how their destination takes them.
//!
//! Owns the destination's failures in a row, and when it is tried again. Lacks what is done about either.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use skiff_common::growth::{Log, LogId, Outcome, Task};
use skiff_common::retry::Retry;
use skiff_common::{ItemId, RelPath};

use super::Follower;
use crate::clock;
use crate::remote::RemoteError;
use crate::status::snapshot::{Item, ItemState, LastError};
use crate::status::{Growing, Status, millis, wall_ms};

/// What a follower has to tell.
pub(super) struct Telling {
    /// The destination's failures in a row.
    failures: u32,
    last_error: Option<LastError>,
    not_before: Instant,
    /// What the destination refused about single logs, and how often in a row.
    refused: HashMap<LogId, Refused>,
    /// Since when nothing came of logs that have more.
    behind: HashMap<LogId, u64>,
}

struct Refused {
    /// Whether it was another name for its copy, or what its copy is to hold.
    is_name: bool,
    in_a_row: u32,
    why: String,
}

impl Telling {
    pub(super) fn new() -> Self {
        Self {
            failures: 0,
            last_error: None,
            not_before: Instant::now(),
            refused: HashMap::new(),
            behind: HashMap::new(),
        }
    }

    /// Whether the destination may be asked again.
    pub(super) fn may_begin(&self) -> bool {
        Instant::now() >= self.not_before
    }

    pub(super) fn rest(&mut self, time: Duration) {
        self.not_before = Instant::now() + time;
    }

    pub(super) fn forget(&mut self, log: LogId) {
        self.refused.remove(&log);
        self.behind.remove(&log);
    }

    /// Why a log that has more is not delivered to its end, and after how many attempts.
    fn why(&self, log: LogId) -> Option<(u32, &str)> {
        match (&self.last_error, self.refused.get(&log)) {
            (Some(error), _) if self.failures > 0 => Some((self.failures, &error.message)),
            (_, Some(refused)) => Some((refused.in_a_row, &refused.why)),
            _ => None,
        }
    }
}

/// Whether a task is about a copy's name alone.
const fn is_name(task: &Task) -> bool {
    matches!(task, Task::Rename { .. } | Task::Evict { .. })
}

impl Follower {
    /// Tells in the log, and those who ask how things stand, why one isn't delivered.
    pub(super) fn complain(&self, log: &RelPath, why: &str) {
        self.context.complain(why);
        self.context.failed(log, why);
    }

    /// The destination failed as a whole; it is tried again later.
    pub(super) fn failed(&mut self, log: &RelPath, error: &RemoteError) {
        let settings = &self.context.settings;
        let retry = Retry { first: settings.retry_first, max: settings.retry_max, attempts: None };
        let failures = self.telling.failures.saturating_add(1);
        let wait = retry.wait(failures, clock::chance());
        self.telling.failures = failures;
        self.telling.rest(wait);
        Status::add(&self.status.failures, 1);
        let message = self.note_failure(log, error);
        tracing::warn!(watch = %settings.name, path = %log, again_in_ms = wait.as_millis(), "{message}");
        self.telling.last_error =
            Some(LastError { code: error.code().to_owned(), message, at_ms: wall_ms() });
    }

    /// The destination refused this about one log, which is tried again later.
    pub(super) fn denied(&mut self, task: &Task, log: &RelPath, error: &RemoteError) {
        let why = self.note_failure(log, error);
        self.context.complain(&format!("{log}: {why}"));
        let is_name = is_name(task);
        let before = self.telling.refused.get(&task.log()).map_or(0, |refused| refused.in_a_row);
        let refused = Refused { is_name, in_a_row: before.saturating_add(1), why };
        self.telling.refused.insert(task.log(), refused);
    }

    fn note_failure(&self, log: &RelPath, error: &RemoteError) -> String {
        self.status.failed(error.code());
        let message = format!("{error}. Try: {}", error.hint_in(&self.context.places[0].root));
        self.context.failed(log, &message);
        message
    }

    /// A step came to its end.
    pub(super) fn ended(&mut self, task: &Task, outcome: &Outcome) {
        if self.reached.take() {
            self.telling.failures = 0;
        }
        let is_done = match outcome {
            Outcome::Shipped { .. } => {
                self.telling.behind.remove(&task.log());
                true
            }
            Outcome::Moved | Outcome::Verified(true) => true,
            _ => false,
        };
        if is_done
            && self.telling.refused.get(&task.log()).is_some_and(|refused| refused.is_name == is_name(task))
        {
            self.telling.refused.remove(&task.log());
        }
    }

    /// Tells those who ask how far each log is delivered.
    pub(super) fn tell(&mut self) {
        let now = wall_ms();
        let mut items = Vec::new();
        let mut oldest_ms: Option<u64> = None;
        for (log, size) in self.ledger.all().filter(|(log, _)| !log.ended) {
            let item = Item { bytes: size, ..log_item(&self.context.settings.name, log) };
            if size == Some(log.shipped) {
                self.telling.behind.remove(&log.id);
            } else if size.is_some() {
                let since = *self.telling.behind.entry(log.id).or_insert(now);
                oldest_ms = oldest_ms.into_iter().chain([since]).min();
            }
            items.push(match self.telling.why(log.id) {
                Some((attempts, why)) if size.is_none_or(|size| size > log.shipped) => {
                    Item { attempts, reason: Some(why.to_owned()), ..item }
                }
                _ => item,
            });
        }
        items.sort_by(|a, b| a.path.cmp(&b.path));
        let left = self.telling.not_before.saturating_duration_since(Instant::now());
        self.context.set_growing(Growing {
            watch: self.context.settings.name.clone(),
            destination: self.destination().to_owned(),
            logs: items,
            oldest_ms,
            failures: self.telling.failures,
            retry_at_ms: (self.telling.failures > 0).then(|| now + millis(left)),
            last_error: self.telling.last_error.clone(),
        });
    }
}

/// A log as it is listed, by what is recorded of it.
pub(crate) fn log_item(watch: &str, log: &Log) -> Item {
    Item {
        item: ItemId::of(watch, &log.path).to_string(),
        watch: watch.to_owned(),
        path: log.path.to_string(),
        state: ItemState::Growing,
        bytes: None,
        attempts: 0,
        reason: None,
        delivered: None,
        digest: None,
        delivered_bytes: Some(log.shipped),
    }
}
