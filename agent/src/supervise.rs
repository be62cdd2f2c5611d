//! Sets up an agent from its settings, and owns its threads and tasks until they end.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use skiff_common::retry::Retry;
use skiff_config::{Destination, Settings, Watch};
use tokio::sync::{Notify, mpsc, watch};

use crate::context::{WatchContext, context};
use crate::control::{self, Control, Paused, Roster};
use crate::crew::{self, Crew, Ends, Shared};
use crate::dispatch::{self, Dispatcher, Stop};
use crate::error::AgentError;
use crate::journal::{Journal, Opening, Trust};
use crate::login::login_or_alone;
use crate::machine::machine;
use crate::reach;
use crate::remote::session::Login;
use crate::remote::{Limiter, Remote};
use crate::route;
use crate::source::Named;
use crate::status::snapshot::{Snapshot, Source};
use crate::status::{History, Status};
use crate::windows::{self, Windows};

/// Orders come from people, one at a time each.
const ORDERS_AHEAD: usize = 16;
/// Settled files on their way to the dispatcher: enough for one whole batch, so that the scanner is ahead.
const SETTLED_AHEAD: usize = 1024;

/// How an agent is to run.
#[derive(Default)]
pub struct Plan {
    /// End when everything found is delivered or given up.
    pub once: bool,
    /// For each watch: deliver these files alone.
    pub only: Vec<Option<Named>>,
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
    #[cfg(feature = "otel")]
    _figures: Option<opentelemetry_sdk::metrics::SdkMeterProvider>,
    windows: Option<(Windows, mpsc::Sender<dispatch::Order>)>,
    /// The destinations that are to rest from the beginning, and why.
    rests: Vec<(String, Option<String>)>,
}

impl Agent {
    /// Opens the journal and starts the scanners. Needs a tokio runtime; blocks for the journal.
    pub fn start(settings: &Settings, plan: &Plan) -> Result<Self, AgentError> {
        let settings = &route::legs(settings, &machine());
        let (shared, opening) = shared(settings, plan)?;
        let contexts = contexts(settings, &shared, plan)?;
        let paused = paused(settings, plan);
        let (live, lives) = watch::channel(windows::live(settings, &shared.remotes));
        let mut windows = plan.service.is_some().then(|| Windows::new(lives));
        let mut rests = windows.as_mut().map(Windows::look).unwrap_or_default();
        rests.retain(|(_, reason)| reason.is_some());
        for (name, _) in &rests {
            // Before anything starts.
            shared.remotes[name].rest(true);
        }

        let (found, settled) = mpsc::channel(SETTLED_AHEAD);
        let (order, orders) = mpsc::channel(ORDERS_AHEAD);
        let (board, shown) = watch::channel(Arc::new(Snapshot::empty(Source::Agent)));
        let (reload, reloads) = mpsc::channel(1);
        let scanner_ended = Arc::new(Notify::new());
        let setup = dispatch::Setup {
            settings,
            contexts: contexts.clone(),
            admission: Arc::clone(&shared.admission),
            journal: shared.journal.clone(),
            receipts: Arc::new(crew::receipts(settings)?),
            status: Arc::clone(&shared.status),
            remotes: shared.remotes.values().cloned().collect(),
            orders,
            board,
            paused: paused.names(),
            service: plan.service.is_some(),
            scanner_ended: Arc::clone(&scanner_ended),
            once: plan.once,
            retry: plan.retry,
        };
        let dispatcher = Dispatcher::new(setup, opening, settled);
        let control = match plan.service {
            Some(_) => Some(serve(settings, &shared, paused, (shown, order.clone(), reload))?),
            None => None,
        };
        let status = Arc::clone(&shared.status);
        let windows = windows.map(|windows| (windows, order.clone()));
        let ends = Ends { found, scanner_ended, orders: order, reloads, live };
        let mut crew = Crew::new(settings, plan.service.clone(), shared, ends);
        crew.start(contexts)?;
        Ok(Self {
            #[cfg(feature = "otel")]
            _figures: control.as_ref().and_then(|serving| crate::otel::figures(&serving.control)),
            status,
            dispatcher,
            crew,
            control,
            windows,
            rests,
        })
    }

    /// Tells it, from elsewhere, to read its configuration again; `None` where it has none.
    pub fn reloader(&self) -> Option<mpsc::Sender<control::Reload>> {
        self.control.as_ref().map(|serving| serving.control.reloads.clone())
    }

    /// Runs until it is told to stop, or, where it runs once, until all is done. Returns how many items were given up
    /// or wait.
    pub async fn run(mut self, stop: Stop) -> Result<Outcome, AgentError> {
        for (destination, reason) in std::mem::take(&mut self.rests) {
            self.dispatcher.rest(&destination, reason).await.map_err(AgentError::from)?;
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

fn shared(settings: &Settings, plan: &Plan) -> Result<(Shared, Opening), AgentError> {
    let (journal, opening) = journal(settings, plan)?;
    tell_trust(&opening);
    let status = Arc::new(Status::default());
    let overall = Arc::new(Limiter::new(settings.bandwidth));
    let shared = Shared {
        journal,
        remotes: remotes(settings, &status, plan, &overall),
        status,
        overall,
        muster: Arc::default(),
        admission: Arc::default(),
        roster: Roster::default(),
    };
    Ok((shared, opening))
}

/// The board, and where orders and reloads go.
type Asked = (watch::Receiver<Arc<Snapshot>>, mpsc::Sender<dispatch::Order>, mpsc::Sender<control::Reload>);

fn serve(
    settings: &Settings,
    shared: &Shared,
    paused: Paused,
    (board, orders, reloads): Asked,
) -> Result<control::Serving, AgentError> {
    let control = Control {
        status: Arc::clone(&shared.status),
        board,
        orders,
        reloads,
        journal: shared.journal.clone(),
        roster: Arc::clone(&shared.roster),
        paused: Arc::new(paused),
        state_dir: settings.state_dir.clone(),
        history: Arc::new(History::default()),
        settings: settings.control.clone(),
    };
    Ok(control::serve(control)?)
}

fn journal(settings: &Settings, plan: &Plan) -> Result<(Option<Journal>, Opening), AgentError> {
    if plan.no_journal {
        return Ok((
            None,
            Opening {
                pending: Vec::new(),
                held: Vec::new(),
                trust: Trust::Fresh,
                doubt: Some(String::new()),
            },
        ));
    }
    let (journal, opening) = Journal::open(&settings.state_dir)?;
    Ok((Some(journal), opening))
}

/// What somebody has put to rest; all, where that can't be read: nothing is to go against their will.
fn paused(settings: &Settings, plan: &Plan) -> Paused {
    let state_dir = &settings.state_dir;
    if plan.service.is_none() {
        // There nobody can pause.
        return Paused::these(state_dir, std::iter::empty());
    }
    Paused::read(state_dir).unwrap_or_else(|error| {
        tracing::error!(%error, "cannot read {}, so all watches are paused; `skiff resume` has them go on",
            state_dir.join("paused").display());
        Paused::these(state_dir, settings.watches.iter().map(|watch| route::base(&watch.name)))
    })
}

/// Also where somebody else has opened it first, such as `skiff retry`.
fn tell_trust(Opening { trust, doubt, .. }: &Opening) {
    match (trust, doubt) {
        (Trust::Rebuilt { reason, quarantine }, _) => {
            tracing::error!(%reason, quarantine = %quarantine.display(),
                "the journal could not be trusted: it is set aside and rebuilt by comparing with the destination");
        }
        (_, Some(why)) if !why.is_empty() => {
            tracing::warn!(
                why,
                "the journal was set aside and is not rebuilt yet: it goes on comparing with the destination"
            );
        }
        (Trust::Kept | Trust::Fresh, _) => {}
    }
}

fn remotes(
    settings: &Settings,
    status: &Arc<Status>,
    plan: &Plan,
    overall: &Arc<Limiter>,
) -> HashMap<String, Arc<Remote>> {
    let one = |destination: &Destination| {
        let login = plan.login.clone().unwrap_or_else(|| login_or_alone(destination));
        let limits = (plan.limit, Arc::clone(overall));
        (destination.name.clone(), reach::with_login(destination, login, status, limits))
    };
    settings.destinations.iter().map(one).collect()
}

fn contexts(settings: &Settings, shared: &Shared, plan: &Plan) -> Result<Vec<Arc<WatchContext>>, AgentError> {
    let context = |(order, watch): (usize, &Watch)| {
        let only = plan.only.get(order).cloned().flatten();
        let reached = (&shared.remotes, &shared.muster);
        Ok(context(settings, watch, reached, (order, order), (only, plan.once))?)
    };
    settings.watches.iter().enumerate().map(context).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use skiff_config::Environment;
    use tokio::sync::watch;

    use super::*;
    use crate::dispatch::{DispatchError, Urgency};

    /// Sends what is in the folder once, to a destination that isn't there.
    async fn once(folder: &std::path::Path) -> Outcome {
        let home = tempfile::tempdir().expect("a folder");
        let at = home.path().display();
        let text = format!(
            "state_dir = '{at}'\n[destination.d]\naddress = 'u@127.0.0.1:1'\nknown_hosts = ['/k']\n\
             [[watch]]\nname = 'a'\npath = '{}'\nto = 'd'\nsettle = '0s'\n",
            folder.display()
        );
        let file = std::path::Path::new("skiff.toml");
        let settings = skiff_config::parse(&text, file, &Environment::default()).expect("it is right");
        let plan = Plan { once: true, no_journal: true, ..Plan::default() };
        let agent = tokio::task::block_in_place(|| Agent::start(&settings, &plan)).expect("it starts");
        let (_never, stop) = watch::channel(Urgency::Run);
        let ended = tokio::time::timeout(Duration::from_secs(30), agent.run(stop)).await;
        ended.expect("it waits for nothing").expect("no error of its own")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_looks_once_waits_for_no_folder_and_says_so() {
        let home = tempfile::tempdir().expect("a folder");
        let outcome = once(&home.path().join("nowhere")).await;
        assert!(outcome.problems.iter().any(|why| why.contains("nowhere")), "{outcome:?}");
    }

    /// As one that may not be read, which root always may.
    #[tokio::test(flavor = "multi_thread")]
    async fn who_looks_once_says_what_could_not_be_looked_into() {
        use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
        let home = tempfile::tempdir().expect("a folder");
        let name = "n".repeat(250);
        let mut at = open(home.path(), OFlags::DIRECTORY, Mode::empty()).expect("it is there");
        for _ in 0..20 {
            mkdirat(&at, name.as_str(), Mode::RWXU).expect("a new name");
            at = openat(&at, name.as_str(), OFlags::DIRECTORY, Mode::empty()).expect("it was just made");
        }
        let outcome = once(home.path()).await;
        assert_eq!((outcome.undelivered, outcome.problems.len()), (0, 1), "{outcome:?}");
    }

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

        drop(crew::TellsEnd::new(&agent.dispatcher.scanner_ended, &Arc::default()));

        let ended = tokio::time::timeout(Duration::from_secs(30), agent.run(stop)).await;
        let error = ended.expect("it doesn't go on").expect_err("that is an error");
        assert!(matches!(error, AgentError::Dispatch(DispatchError::NoScanner)), "{error}");
    }
}
