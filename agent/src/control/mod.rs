//! What a running agent can be asked: HTTP with JSON, over a Unix socket in the state folder and, if configured, TCP.
//!
//! One router for the command line, the web page and Prometheus. Reads the dispatcher's snapshot, the journal (which
//! it shares with the dispatcher) and the receipts; changes nothing itself, but passes orders on to the dispatcher. Lacks
//! any say in deliveries.

mod admit;
mod door;
mod held;
mod items;
mod orders;
mod page;
mod paused;
mod reply;
mod route;
mod sampler;
#[cfg(test)]
mod tests;
mod throughput;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use skiff_config::Control as Settings;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::context::WatchContext;
use crate::dispatch::Order;
use crate::journal::Journal;
use crate::status::{History, Snapshot, Status, add_growing, latest, wall_ms};

pub(crate) use door::read_token;
pub use door::{ControlError, connect, socket_path};
pub(crate) use held::{is_named, item_of};
pub(crate) use items::delivered_items;
pub use paused::Paused;

/// The watches that are there now.
pub type Roster = Arc<RwLock<Vec<Arc<WatchContext>>>>;

/// What is known of a running agent, and how to tell it something.
pub struct Control {
    /// Its counts.
    pub status: Arc<Status>,
    /// How it stood a moment ago.
    pub board: watch::Receiver<Arc<Snapshot>>,
    /// Where orders go.
    pub orders: mpsc::Sender<Order>,
    /// Where it is asked to read its configuration again.
    pub reloads: mpsc::Sender<Reload>,
    /// Its journal.
    pub journal: Option<Journal>,
    /// Its watches.
    pub roster: Roster,
    /// Which of them are paused.
    pub paused: Arc<Paused>,
    /// Where it remembers.
    pub state_dir: PathBuf,
    /// What it did over time.
    pub history: Arc<History>,
    /// Whom it is open to.
    pub settings: Settings,
}

impl Control {
    /// The dispatcher's snapshot, with what it doesn't know. Blocks for a few looks at the journal's files.
    pub(crate) fn look(&self) -> Snapshot {
        let mut snapshot = self.told();
        snapshot.journal_bytes = Journal::bytes_on_disk(&self.state_dir);
        snapshot.time_ms = wall_ms();
        snapshot.throughput = throughput::of(&self.history, snapshot.pending.bytes);
        let logs = self.contexts().into_iter().map(|context| context.problems());
        snapshot.problems = latest(std::iter::once(std::mem::take(&mut snapshot.problems)).chain(logs));
        snapshot
    }

    /// The dispatcher's snapshot, with the logs that grow, which are no matter of its own.
    fn told(&self) -> Snapshot {
        let mut snapshot = Snapshot::clone(&self.board.borrow());
        let growing: Vec<_> = self.contexts().iter().filter_map(|context| context.growing()).collect();
        add_growing(&mut snapshot, &growing, &self.status);
        snapshot
    }

    fn contexts(&self) -> Vec<Arc<WatchContext>> {
        self.roster.read().expect("nothing panics while it holds the lock").clone()
    }
}

/// Asks for the configuration to be read again.
pub struct Reload {
    /// What has changed, or all that is wrong with the new one.
    pub answer: oneshot::Sender<Result<Reloaded, Vec<String>>>,
}

/// What a new configuration has changed.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reloaded {
    /// Watches that are new.
    pub added: Vec<String>,
    /// Watches that have other settings, or whose destination has.
    pub changed: Vec<String>,
    /// Watches that are gone.
    pub removed: Vec<String>,
    /// Destinations that are new or have other settings.
    pub destinations: Vec<String>,
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("new", &self.added),
            ("changed", &self.changed),
            ("gone", &self.removed),
            ("destinations changed", &self.destinations),
        ];
        let said: Vec<_> = parts
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect();
        f.write_str(if said.is_empty() { "nothing has changed" } else { "" })?;
        f.write_str(&said.join("; "))
    }
}

/// A control that answers. Dropped, it ends.
pub struct Serving {
    /// What it answers from.
    pub control: Arc<Control>,
    socket: PathBuf,
    _tasks: JoinSet<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Who finds no socket knows at once that there is no agent.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Answers from now on. Needs a tokio runtime, and the lock of the state folder.
pub fn serve(control: Control) -> Result<Serving, ControlError> {
    let socket = socket_path(&control.state_dir);
    let (control, mut tasks) = (Arc::new(control), JoinSet::new());
    tasks.spawn(door::unix(door::bind(&control.state_dir)?, Arc::clone(&control)));
    if let Some(address) = control.settings.listen {
        let token = control.settings.token_file.as_deref().map(read_token).transpose()?;
        tasks.spawn(door::tcp(door::bind_tcp(address)?, token, Arc::clone(&control)));
    }
    tasks.spawn(sampler::sample(Arc::clone(&control)));
    Ok(Serving { control, socket, _tasks: tasks })
}
