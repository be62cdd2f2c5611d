//! Sets up an agent from its settings, and owns its threads and tasks until they end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use skiff_common::delivery::OnConflict;
use skiff_common::retry::Retry;
use skiff_common::{RelPath, RemotePath};
use skiff_config::{AfterDelivery, Destination, Environment, Settings, Watch, WatchGlobs};
use tokio::sync::mpsc;

use crate::admission::Admission;
use crate::dispatch::{self, DispatchError, Dispatcher, Stop};
use crate::finish::After;
use crate::journal::{Journal, JournalError, Opening, Trust};
use crate::receipts::Receipts;
use crate::remote::scp::ScpRemote;
use crate::remote::session::Login;
use crate::scan::{Handed, Scanner};
use crate::source::Root;
use crate::status::Status;
use crate::wake::Waker;

/// Settled files on their way to the dispatcher: enough for one whole batch, so that the scanner is ahead.
const FOUND_AHEAD: usize = 1024;

/// All that concerns one watch.
pub struct WatchContext {
    /// Its place in the configuration.
    pub number: usize,
    /// Its settings.
    pub settings: Watch,
    /// Which files are meant.
    pub globs: WatchGlobs,
    /// If set, only these paths are meant.
    pub only: Option<Vec<RelPath>>,
    /// Whether one look is enough.
    pub once: bool,
    /// Wakes its scanner.
    pub waker: Arc<Waker>,
    /// Where it delivers to.
    pub remote: Arc<ScpRemote>,
    /// The folder there.
    pub remote_root: RemotePath,
    /// What becomes of delivered sources.
    pub after: After,
    /// What to do about another file under the final name.
    pub on_conflict: OnConflict,
    root: Mutex<Option<Root>>,
    complaint: Mutex<String>,
}

impl WatchContext {
    /// The watched folder, while it is there.
    pub fn root(&self) -> Option<Root> {
        self.root.lock().expect("nothing panics while it holds the lock").clone()
    }

    pub(crate) fn set_root(&self, root: Option<Root>) {
        *self.root.lock().expect("nothing panics while it holds the lock") = root;
    }

    /// Says what is wrong with the folder, once for each time that it changes.
    pub(crate) fn complain(&self, words: &str) {
        let mut last = self.complaint.lock().expect("nothing panics while it holds the lock");
        if *last != words {
            words.clone_into(&mut last);
            tracing::warn!(watch = %self.settings.name, "{words}");
        }
    }

    /// Whether the file at `path` is meant, and its producer is done with it.
    pub(crate) fn wants(&self, root: &Root, path: &RelPath) -> bool {
        if let Some(only) = &self.only {
            return only.contains(path);
        }
        if !self.globs.matches(path.as_bytes()) {
            return false;
        }
        let Some(suffix) = &self.settings.settle_marker else { return true };
        let marker = [path.as_bytes(), suffix.as_bytes()].concat();
        !path.as_bytes().ends_with(suffix.as_bytes())
            && RelPath::parse(&marker).is_ok_and(|marker| root.look(&marker).is_ok())
    }
}

/// Why an agent ended that was not told to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The dispatcher.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The receipts can't be written.
    #[error("cannot open the receipts {path}: {source}")]
    Receipts {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A thread can't be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A thread panicked.
    #[error("the scanner of {0} panicked")]
    Panicked(String),
    /// Settings that were checked before don't hold.
    #[error("{0}")]
    Settings(String),
}

/// How an agent is to run.
#[derive(Default)]
pub struct Plan {
    /// End when everything found is delivered or given up.
    pub once: bool,
    /// For each watch: deliver these paths alone.
    pub only: Vec<Option<Vec<RelPath>>>,
    /// Keep no journal: the destination is asked instead.
    pub no_journal: bool,
    /// How to retry a destination; for ever where it isn't said.
    pub retry: Option<Retry>,
    /// At most so many bits a second.
    pub limit: Option<u64>,
}

/// A set-up agent.
pub struct Agent {
    /// What it is doing.
    pub status: Arc<Status>,
    dispatcher: Dispatcher,
    scanners: Vec<(String, JoinHandle<()>)>,
    remotes: Vec<Arc<ScpRemote>>,
}

impl Agent {
    /// Opens the journal and starts the scanners. Needs a tokio runtime; blocks for the journal.
    pub fn start(settings: &Settings, plan: &Plan) -> Result<Self, AgentError> {
        let (journal, opening) = if plan.no_journal {
            (None, Opening { pending: Vec::new(), held: Vec::new(), trust: Trust::Fresh })
        } else {
            let (journal, opening) = Journal::open(&settings.state_dir)?;
            (Some(journal), opening)
        };
        tell_trust(&opening.trust);
        let path = settings.state_dir.join("receipts.jsonl");
        let receipts = Receipts::open(&path)
            .map_err(|source| AgentError::Receipts { path: path.display().to_string(), source })?;
        let status = Arc::new(Status::default());
        let remotes = remotes(settings, &status, plan.limit);
        let contexts = contexts(settings, &remotes, plan)?;
        let admission = Arc::new(Admission::default());
        let (found, settled) = mpsc::channel(FOUND_AHEAD);
        let setup = dispatch::Setup {
            settings,
            contexts: contexts.clone(),
            admission: Arc::clone(&admission),
            journal: journal.clone(),
            receipts: Arc::new(receipts),
            status: Arc::clone(&status),
            once: plan.once,
            retry: plan.retry,
        };
        let dispatcher = Dispatcher::new(setup, opening, settled);
        let scanners = contexts
            .iter()
            .map(|context| start_scanner(context, &admission, journal.as_ref(), &found))
            .collect::<Result<_, _>>()?;
        Ok(Self { status, dispatcher, scanners, remotes: remotes.into_values().collect() })
    }

    /// Runs until it is told to stop, or, where it runs once, until all is done. Returns how many items were given up
    /// or wait.
    pub async fn run(mut self, stop: Stop) -> Result<Outcome, AgentError> {
        let outcome = self.dispatcher.run(stop).await;
        self.dispatcher.stop_scanners();
        for remote in &self.remotes {
            remote.close().await;
        }
        drop(self.dispatcher);
        for (watch, scanner) in self.scanners {
            let ended = tokio::task::spawn_blocking(move || scanner.join()).await;
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(AgentError::Panicked(watch)),
            }
        }
        Ok(outcome?)
    }
}

pub use dispatch::Outcome;

fn start_scanner(
    context: &Arc<WatchContext>,
    admission: &Arc<Admission>,
    journal: Option<&Journal>,
    found: &mpsc::Sender<Handed>,
) -> Result<(String, JoinHandle<()>), AgentError> {
    let name = context.settings.name.clone();
    let scanner = Scanner::new(Arc::clone(context), Arc::clone(admission), journal.cloned(), found.clone());
    let found = found.clone();
    let work = move || {
        if let Err(error) = scanner.run() {
            // Never half alive: the dispatcher ends with it. If it has ended already, that has a reason of its own.
            let _ = found.blocking_send(Err(error));
        }
    };
    let thread = std::thread::Builder::new().name(format!("scan {name}"));
    Ok((name, thread.spawn(work).map_err(AgentError::Thread)?))
}

fn tell_trust(trust: &Trust) {
    if let Trust::Rebuilt { reason, quarantine } = trust {
        tracing::error!(%reason, quarantine = %quarantine.display(),
            "the journal could not be trusted: it is set aside and rebuilt by comparing with the destination");
    }
}

fn remotes(settings: &Settings, status: &Arc<Status>, limit: Option<u64>) -> HashMap<String, Arc<ScpRemote>> {
    let sender = sender();
    let remote = |destination: &Destination| {
        let limit = limit.or(destination.bandwidth);
        Arc::new(ScpRemote::new(login(destination), &sender, Arc::clone(status), limit))
    };
    settings.destinations.iter().map(|destination| (destination.name.clone(), remote(destination))).collect()
}

/// How to log in to a destination.
pub fn login(destination: &Destination) -> Login {
    let user = destination.user.clone().or_else(|| std::env::var("USER").ok());
    Login {
        host: destination.host.clone(),
        port: destination.port,
        user: user.unwrap_or_else(|| "root".to_owned()),
        identities: destination.identity.clone(),
        known_hosts: destination.known_hosts.clone(),
        connect_timeout: destination.connect_timeout,
        keepalive: destination.keepalive,
        stall_timeout: destination.stall_timeout,
    }
}

/// This machine, in eight digits: names its staging and its conflicting files at the destination.
pub fn sender() -> String {
    let environment = Environment::from_process();
    let name = environment.machine_id.or(environment.host_name).unwrap_or_default();
    blake3::hash(name.as_bytes()).to_hex()[..8].to_owned()
}

/// The folder at the destination that a watch delivers to.
pub fn remote_root(destination: &Destination, watch: &Watch) -> Result<RemotePath, AgentError> {
    let wrong =
        |error: skiff_common::path::PathError| AgentError::Settings(format!("destination path: {error}"));
    let root = RemotePath::parse(destination.path.as_bytes()).map_err(wrong)?;
    match watch.destination_path.as_deref() {
        None | Some("") => Ok(root),
        Some(below) => Ok(root.join(&RelPath::parse(below.as_bytes()).map_err(wrong)?)),
    }
}

fn contexts(
    settings: &Settings,
    remotes: &HashMap<String, Arc<ScpRemote>>,
    plan: &Plan,
) -> Result<Vec<Arc<WatchContext>>, AgentError> {
    let context = |(number, watch): (usize, &Watch)| {
        let destination = settings.destination(&watch.to).expect("the configuration was checked");
        Ok(Arc::new(WatchContext {
            number,
            settings: watch.clone(),
            globs: watch.globs().map_err(|error| AgentError::Settings(error.to_string()))?,
            only: plan.only.get(number).cloned().flatten(),
            once: plan.once,
            waker: Arc::default(),
            remote: Arc::clone(&remotes[&watch.to]),
            remote_root: remote_root(destination, watch)?,
            after: match &watch.after_delivery {
                AfterDelivery::Keep => After::Keep,
                AfterDelivery::Delete => After::Delete,
                AfterDelivery::Move(folder) => After::Move(folder.clone()),
            },
            on_conflict: match watch.on_conflict {
                skiff_config::OnConflict::KeepBoth => OnConflict::KeepBoth,
                skiff_config::OnConflict::Replace => OnConflict::Replace,
                skiff_config::OnConflict::Park => OnConflict::Park,
            },
            root: Mutex::default(),
            complaint: Mutex::default(),
        }))
    };
    settings.watches.iter().enumerate().map(context).collect()
}
