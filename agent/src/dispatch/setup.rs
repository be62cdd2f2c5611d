//! What a dispatcher is made of, how it is told to stop and what it leaves.

use std::sync::Arc;
use std::time::Duration;

use skiff_common::batch::BatchLimits;
use skiff_common::retry::Retry;
use skiff_config::{Settings, Watch};
use tokio::sync::{Notify, mpsc, watch};

use super::Order;
use crate::admission::Admission;
use crate::context::WatchContext;
use crate::journal::{Journal, JournalError};
use crate::receipts::Receipts;
use crate::remote::Remote;
use crate::route;
use crate::status::Status;
use crate::status::snapshot::Snapshot;

/// Tells an agent to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Urgency {
    /// Go on.
    #[default]
    Run,
    /// Begin nothing new, end what is under way.
    Drain,
    /// End now.
    Abort,
}

/// Where an agent hears of a stop.
pub type Stop = watch::Receiver<Urgency>;

/// Why the dispatcher ended.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The journal can't be written: going on would mean acting without a record.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A scanner has ended: its watch would be forgotten.
    #[error("a scanner has ended")]
    NoScanner,
    /// It was told to stop while it waited for space in the state folder.
    #[error("told to stop while the state folder is full")]
    Stopped,
}

/// Why a destination failed, for a person and for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A stable word.
    pub code: &'static str,
    /// What was attempted, on what, and why it failed.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl Failure {
    /// As one line.
    pub fn reason(&self) -> String {
        format!("{}. Try: {}", self.what, self.hint)
    }
}

/// What is left when an agent ends.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Items that were not delivered, or could not even be looked at, and why; at most a few.
    pub problems: Vec<String>,
    /// How many were not delivered.
    pub undelivered: u64,
    /// The last failure of the destination itself.
    pub destination_failure: Option<Failure>,
    /// Whether it was stopped before it was done.
    pub interrupted: bool,
}

/// What a dispatcher is made of.
pub struct Setup<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The watches.
    pub contexts: Vec<Arc<WatchContext>>,
    /// Shared with the scanners.
    pub admission: Arc<Admission>,
    /// The journal, if one is kept.
    pub journal: Option<Journal>,
    /// The receipts.
    pub receipts: Arc<Receipts>,
    /// The counts.
    pub status: Arc<Status>,
    /// The destinations.
    pub remotes: Vec<Arc<Remote>>,
    /// What people ask.
    pub orders: mpsc::Receiver<Order>,
    /// Where it is told how things stand.
    pub board: watch::Sender<Arc<Snapshot>>,
    /// Watches of the configuration that somebody paused.
    pub paused: Vec<String>,
    /// Whether it is a service that tells systemd how it is.
    pub service: bool,
    /// Told when a scanner ends.
    pub scanner_ended: Arc<Notify>,
    /// Whether to end when all is done.
    pub once: bool,
    /// How to retry a destination; for ever where it isn't said.
    pub retry: Option<Retry>,
}

pub(super) fn limits(watch: &Watch) -> BatchLimits {
    BatchLimits {
        small_file: watch.small_file,
        bytes: watch.batch_bytes,
        items: watch.batch_items.get(),
        wait: watch.batch_wait,
    }
}

pub(super) fn watch_retry(watch: &Watch) -> Retry {
    Retry { first: watch.retry_first, max: watch.retry_max, attempts: watch.retry_attempts }
}

/// A destination is retried for ever, at the pace of the most patient watch that uses it.
pub(crate) fn destination_retry(settings: &Settings, destination: &str) -> Retry {
    let delivers = |watch: &&Watch| route::destinations(watch).iter().any(|name| name == destination);
    let watches = settings.watches.iter().filter(delivers);
    let slowest = watches.max_by_key(|watch| watch.retry_max).map(watch_retry);
    let default = Retry { first: Duration::from_secs(1), max: Duration::from_secs(300), attempts: None };
    Retry { attempts: None, ..slowest.unwrap_or(default) }
}
