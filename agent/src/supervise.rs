//! Sets up an agent from its settings, and owns its threads and tasks until they end.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use skiff_common::delivery::OnConflict;
use skiff_common::retry::Retry;
use skiff_common::{RelPath, RemotePath, Stamp};
use skiff_config::{AfterDelivery, Destination, Environment, Settings, Watch, WatchGlobs};
use tokio::sync::{Notify, mpsc, watch};

use crate::admission::Admission;
use crate::census::Census;
use crate::clock;
use crate::control::{self, Control, ControlError, Paused, Roster};
use crate::crew::Crew;
use crate::dispatch::{self, DispatchError, Dispatcher, Stop};
use crate::finish::After;
use crate::ignores::Ignores;
use crate::journal::{Journal, JournalError, Opening, Trust};
use crate::login::login;
use crate::receipts::Receipts;
use crate::remote::scp::{Limiter, ScpRemote};
use crate::remote::session::Login;
use crate::route::{self, Muster};
use crate::scan::ScanError;
use crate::source::{FolderId, Root};
use crate::status::snapshot::{Snapshot, Source};
use crate::status::{History, Status};
use crate::wake::Waker;
use crate::windows::{self, Windows};

/// Orders come from people, one at a time each.
const ORDERS_AHEAD: usize = 16;
/// Settled files on their way to the dispatcher: enough for one whole batch, so that the scanner is ahead.
const FOUND_AHEAD: usize = 1024;

/// All that concerns one watch.
pub struct WatchContext {
    /// Its number: each has its own, also where a watch of the same name was there before.
    pub number: usize,
    /// Its place in the configuration.
    pub order: AtomicUsize,
    /// Its settings.
    pub settings: Watch,
    /// Which files are meant.
    pub globs: WatchGlobs,
    /// Which files go before others.
    pub classes: Vec<WatchGlobs>,
    /// If set, only these paths are meant.
    pub only: Option<Vec<RelPath>>,
    /// Whether one look is enough.
    pub once: bool,
    /// Wakes its scanner.
    pub waker: Arc<Waker>,
    /// Where it delivers to, by name; several where the first that works is taken.
    pub places: Vec<Place>,
    /// Which of its legs have delivered what.
    pub muster: Arc<Muster>,
    /// What becomes of delivered sources.
    pub after: After,
    /// What to do about another file under the final name.
    pub on_conflict: OnConflict,
    folder: Mutex<Option<FolderId>>,
    complaint: Mutex<String>,
}

/// A folder at a destination.
pub struct Place {
    /// The destination.
    pub remote: Arc<ScpRemote>,
    /// The folder there.
    pub root: RemotePath,
}

impl WatchContext {
    /// Its folder at `destination`.
    ///
    /// # Panics
    /// Where it never delivers there.
    pub fn place(&self, destination: &str) -> &Place {
        let mut places = self.places.iter();
        places
            .find(|place| place.remote.name() == destination)
            .expect("shipments go where their watch delivers")
    }

    /// The watched folder, while it is the one that is watched.
    pub fn root(&self) -> Option<Root> {
        let watched = (*self.folder.lock().expect("nothing panics while it holds the lock"))?;
        let root = Root::open(&self.settings.path).ok()?;
        (root.id().ok()? == watched).then_some(root)
    }

    /// What is wrong with the folder, while it can't be watched.
    pub fn trouble(&self) -> Option<String> {
        let is_there = self.folder.lock().expect("nothing panics while it holds the lock").is_some();
        let complaint = self.complaint.lock().expect("nothing panics while it holds the lock");
        (!is_there && !complaint.is_empty()).then(|| complaint.clone())
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

    /// Whether files below the folder at `path` can be meant.
    pub(crate) fn enters(&self, root: &Root, path: &RelPath, ignores: &mut Ignores) -> bool {
        self.globs.may_contain(path.as_bytes()) && !ignores.ignores(root, path, true)
    }

    /// Whether a file that the patterns name is taken.
    pub(crate) fn takes(&self, path: &RelPath, stamp: Stamp) -> bool {
        let taken = &self.settings.taken;
        taken.takes(path.as_bytes(), stamp.size) && taken.is_of_age(clock::age_of(stamp.mtime_ns))
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
    /// Nobody could ask it anything.
    #[error(transparent)]
    Control(#[from] ControlError),
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
    /// How to log in at every destination, where it does not follow from its settings.
    pub login: Option<Login>,
    /// The configuration of a service: it can be asked how it is, and told to read this file again.
    pub service: Option<PathBuf>,
}

/// A set-up agent.
pub struct Agent {
    /// What it is doing.
    pub status: Arc<Status>,
    dispatcher: Dispatcher,
    crew: Crew,
    control: Option<control::Serving>,
    windows: Option<(Windows, mpsc::Sender<dispatch::Order>)>,
}

impl Agent {
    /// Opens the journal and starts the scanners. Needs a tokio runtime; blocks for the journal.
    pub fn start(settings: &Settings, plan: &Plan) -> Result<Self, AgentError> {
        let settings = &route::legs(settings, &machine());
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
        let paused = Paused::of(&settings.state_dir, plan.service.is_some());
        let overall = Arc::new(Limiter::new(settings.bandwidth));
        let remotes = remotes(settings, &status, plan, &overall);
        let (live, lives) = watch::channel(windows::live(settings, &remotes));
        let muster = Arc::default();
        let contexts = contexts(settings, &remotes, &muster, plan)?;
        let live_names = settings.watches.iter().map(|watch| watch.name.as_str());
        let pausing = route::of_names(live_names, &paused.names());
        let admission = Arc::new(Admission::default());
        let (found, settled) = mpsc::channel(FOUND_AHEAD);
        let (order, orders) = mpsc::channel(ORDERS_AHEAD);
        let (board, shown) = watch::channel(Arc::new(Snapshot::empty(Source::Agent)));
        let scanner_ended = Arc::new(Notify::new());
        let setup = dispatch::Setup {
            settings,
            contexts: contexts.clone(),
            admission: Arc::clone(&admission),
            journal: journal.clone(),
            receipts: Arc::new(receipts),
            status: Arc::clone(&status),
            remotes: remotes.values().cloned().collect(),
            orders,
            board,
            paused: pausing.clone(),
            service: plan.service.is_some(),
            scanner_ended: Arc::clone(&scanner_ended),
            once: plan.once,
            retry: plan.retry,
        };
        let dispatcher = Dispatcher::new(setup, opening, settled);
        let roster = Roster::default();
        let (reload, reloads) = mpsc::channel(1);
        let control = match &plan.service {
            None => None,
            Some(_) => Some(control::serve(Control {
                status: Arc::clone(&status),
                board: shown,
                orders: order.clone(),
                reloads: reload,
                journal: journal.clone(),
                roster: Arc::clone(&roster),
                paused: Arc::new(paused),
                state_dir: settings.state_dir.clone(),
                history: Arc::new(History::default()),
                settings: settings.control.clone(),
            })?),
        };
        let mut crew = Crew {
            settings: settings.clone(),
            config: plan.service.clone(),
            status: Arc::clone(&status),
            remotes,
            muster,
            overall,
            live,
            contexts: Vec::new(),
            scanners: Vec::new(),
            roster,
            admission,
            census: journal.clone().map(|journal| Arc::new(Census::of(journal))),
            journal,
            found,
            scanner_ended,
            orders: order.clone(),
            reloads,
            numbers: contexts.len(),
        };
        for context in &contexts {
            context.waker.pause(pausing.contains(&context.settings.name));
        }
        crew.start(contexts)?;
        let windows = plan.service.is_some().then(|| (Windows::new(lives), order));
        Ok(Self { status, dispatcher, crew, control, windows })
    }

    /// Tells it, from elsewhere, to read its configuration again; `None` where it has none.
    pub fn reloader(&self) -> Option<mpsc::Sender<control::Reload>> {
        self.control.as_ref().map(|serving| serving.control.reloads.clone())
    }

    /// Runs until it is told to stop, or, where it runs once, until all is done. Returns how many items were given up
    /// or wait.
    pub async fn run(mut self, stop: Stop) -> Result<Outcome, AgentError> {
        if let Some((windows, _)) = &mut self.windows {
            // Before anything starts.
            for (destination, reason) in windows.look().await {
                self.dispatcher.rest(&destination, reason).await.map_err(AgentError::from)?;
            }
        }
        let windows = async {
            match self.windows {
                Some((windows, orders)) => windows.run(orders).await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            () = windows => unreachable!("it looks for ever"),
            outcome = self.dispatcher.run(stop) => outcome.map_err(AgentError::from),
            Err(error) = self.crew.serve() => Err(error),
        };
        drop(self.control);
        self.dispatcher.stop_scanners();
        drop(self.dispatcher);
        self.crew.end().await?;
        outcome
    }
}

pub use dispatch::Outcome;

fn tell_trust(trust: &Trust) {
    if let Trust::Rebuilt { reason, quarantine } = trust {
        tracing::error!(%reason, quarantine = %quarantine.display(),
            "the journal could not be trusted: it is set aside and rebuilt by comparing with the destination");
    }
}

fn remotes(
    settings: &Settings,
    status: &Arc<Status>,
    plan: &Plan,
    overall: &Arc<Limiter>,
) -> HashMap<String, Arc<ScpRemote>> {
    let one = |destination: &Destination| {
        let login = plan.login.clone().unwrap_or_else(|| login(destination));
        let limits = (plan.limit, Arc::clone(overall));
        (destination.name.clone(), remote_at(destination, login, status, limits))
    };
    settings.destinations.iter().map(one).collect()
}

/// A destination to connect to.
pub(crate) fn remote(
    destination: &Destination,
    status: &Arc<Status>,
    limits: (Option<u64>, Arc<Limiter>),
) -> Arc<ScpRemote> {
    remote_at(destination, login(destination), status, limits)
}

fn remote_at(
    destination: &Destination,
    login: Login,
    status: &Arc<Status>,
    (limit, overall): (Option<u64>, Arc<Limiter>),
) -> Arc<ScpRemote> {
    let limit = limit.or(destination.bandwidth);
    let (status, compression) = (Arc::clone(status), destination.compression);
    let remote = ScpRemote::limited(login, &sender(), status, (limit, overall), compression);
    Arc::new(remote.named(&destination.name))
}

/// This machine, in eight digits: names its staging and its conflicting files at the destination.
pub fn sender() -> String {
    blake3::hash(machine().as_bytes()).to_hex()[..8].to_owned()
}

/// What chooses a destination where files are spread: this machine, for good.
pub(crate) fn machine() -> String {
    let environment = Environment::from_process();
    environment.machine_id.or(environment.host_name).unwrap_or_default()
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
    muster: &Arc<Muster>,
    plan: &Plan,
) -> Result<Vec<Arc<WatchContext>>, AgentError> {
    let context = |(order, watch): (usize, &Watch)| {
        let only = plan.only.get(order).cloned().flatten();
        context(settings, watch, (remotes, muster), (order, order), (only, plan.once))
    };
    settings.watches.iter().enumerate().map(context).collect()
}

/// All that concerns one watch of `settings`, by its number and its place there.
pub(crate) fn context(
    settings: &Settings,
    watch: &Watch,
    (remotes, muster): (&HashMap<String, Arc<ScpRemote>>, &Arc<Muster>),
    (number, order): (usize, usize),
    (only, once): (Option<Vec<RelPath>>, bool),
) -> Result<Arc<WatchContext>, AgentError> {
    let place = |name: &String| {
        let destination = settings.destination(name).expect("the configuration was checked");
        Ok(Place { remote: Arc::clone(&remotes[name]), root: remote_root(destination, watch)? })
    };
    let places = route::destinations(watch).iter().map(place).collect::<Result<_, AgentError>>()?;
    Ok(Arc::new(WatchContext {
        number,
        order: AtomicUsize::new(order),
        settings: watch.clone(),
        globs: watch.globs().map_err(|error| AgentError::Settings(error.to_string()))?,
        classes: watch.classes().map_err(|error| AgentError::Settings(error.to_string()))?,
        only,
        once,
        waker: Arc::default(),
        places,
        muster: Arc::clone(muster),
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

        drop(crate::crew::TellsEnd::new(&agent.dispatcher.scanner_ended, &Arc::default()));

        let ended = tokio::time::timeout(Duration::from_secs(30), agent.run(stop)).await;
        let error = ended.expect("it doesn't go on").expect_err("that is an error");
        assert!(matches!(error, AgentError::Dispatch(DispatchError::NoScanner)), "{error}");
    }
}
