//! Sets up an agent from its settings, and owns its threads and tasks until they end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use skiff_common::delivery::OnConflict;
use skiff_common::retry::Retry;
use skiff_common::{RelPath, RemotePath};
use skiff_config::{AfterDelivery, Destination, Environment, Settings, Watch, WatchGlobs};
use tokio::sync::{Notify, mpsc};

use crate::admission::Admission;
use crate::dispatch::{self, DispatchError, Dispatcher, Stop};
use crate::finish::After;
use crate::journal::{Journal, JournalError, Opening, Trust};
use crate::receipts::Receipts;
use crate::remote::scp::ScpRemote;
use crate::remote::session::Login;
use crate::scan::{ScanError, Scanner};
use crate::source::{FolderId, Root};
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
    folder: Mutex<Option<FolderId>>,
    complaint: Mutex<String>,
}

impl WatchContext {
    /// The watched folder, while it is the one that is watched.
    pub fn root(&self) -> Option<Root> {
        let watched = (*self.folder.lock().expect("nothing panics while it holds the lock"))?;
        let root = Root::open(&self.settings.path).ok()?;
        (root.id().ok()? == watched).then_some(root)
    }

    /// From now on this folder is the one that is watched. Returns the one before.
    pub(crate) fn set_folder(&self, folder: Option<FolderId>) -> Option<FolderId> {
        std::mem::replace(&mut *self.folder.lock().expect("nothing panics while it holds the lock"), folder)
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
    /// A scanner.
    #[error(transparent)]
    Scan(#[from] ScanError),
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
    scanners: Vec<(String, JoinHandle<Result<(), ScanError>>)>,
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
        let scanner_ended = Arc::new(Notify::new());
        let setup = dispatch::Setup {
            settings,
            contexts: contexts.clone(),
            admission: Arc::clone(&admission),
            journal: journal.clone(),
            receipts: Arc::new(receipts),
            status: Arc::clone(&status),
            scanner_ended: Arc::clone(&scanner_ended),
            once: plan.once,
            retry: plan.retry,
        };
        let dispatcher = Dispatcher::new(setup, opening, settled);
        let scanners = contexts
            .iter()
            .map(|context| {
                let scanner =
                    Scanner::new(Arc::clone(context), Arc::clone(&admission), journal.clone(), found.clone());
                start_scanner(&context.settings.name, scanner, TellsEnd(Arc::clone(&scanner_ended)))
            })
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
                Ok(Ok(ended)) => ended?,
                Ok(Err(_)) | Err(_) => return Err(AgentError::Panicked(watch)),
            }
        }
        Ok(outcome?)
    }
}

pub use dispatch::Outcome;

/// Tells when it is dropped: also when the scanner that holds it panics.
struct TellsEnd(Arc<Notify>);

impl Drop for TellsEnd {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn start_scanner(
    name: &str,
    scanner: Scanner,
    tells_end: TellsEnd,
) -> Result<(String, JoinHandle<Result<(), ScanError>>), AgentError> {
    let run = || {
        let _tells_end = tells_end;
        scanner.run()
    };
    let thread = std::thread::Builder::new().name(format!("scan {name}")).spawn(run);
    Ok((name.to_owned(), thread.map_err(AgentError::Thread)?))
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
        Arc::new(ScpRemote::new(
            login(destination),
            &sender,
            Arc::clone(status),
            limit,
            destination.compression,
        ))
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
            folder: Mutex::default(),
            complaint: Mutex::default(),
        }))
    };
    settings.watches.iter().enumerate().map(context).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::watch;

    use super::*;
    use crate::dispatch::Urgency;

    /// Fault 87: one scanner of several that ends would leave its watch forgotten, and nobody told.
    #[tokio::test(flavor = "multi_thread")]
    async fn fault_87_scanner_that_ends_ends_the_agent() {
        let home = tempfile::tempdir().expect("a folder");
        let at = home.path().display();
        let text = format!(
            "state_dir = '{at}/state'\n[destination.d]\naddress = 'u@127.0.0.1:1'\n\
             [[watch]]\nname = 'a'\npath = '{at}/in'\nto = 'd'\n[[watch]]\nname = 'b'\npath = '{at}/in'\nto = 'd'\n"
        );
        let file = home.path().join("skiff.toml");
        std::fs::write(&file, text).expect("there is room");
        let settings = skiff_config::load(&file, &Environment::from_process()).expect("it is right");
        let agent =
            tokio::task::block_in_place(|| Agent::start(&settings, &Plan::default())).expect("it starts");
        let (_never, stop) = watch::channel(Urgency::Run);

        drop(TellsEnd(Arc::clone(&agent.dispatcher.scanner_ended)));

        let ended = tokio::time::timeout(Duration::from_secs(30), agent.run(stop)).await;
        let error = ended.expect("it doesn't go on").expect_err("that is an error");
        assert!(matches!(error, AgentError::Dispatch(DispatchError::NoScanner)), "{error}");
    }
}
