//! The scanners of an agent: started, joined, and changed with the configuration.
//!
//! A new configuration restarts just the watches that it changes, and those whose destination it changes; what is on
//! its way goes on. One that can't be read or doesn't hold together changes nothing.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use skiff_common::retry::Retry;
use skiff_config::{Destination, Environment, Mode, Settings, Watch};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::admission::Admission;
use crate::census::Census;
use crate::context::{WatchContext, context};
use crate::control::{Reload, Reloaded, Roster};
use crate::dispatch::{Change, Order, destination_retry};
use crate::error::AgentError;
use crate::follow::Follower;
use crate::journal::Journal;
use crate::login;
use crate::machine::machine;
use crate::maker;
use crate::reach::reach;
use crate::receipts::Receipts;
use crate::remote::{Limiter, Remote};
use crate::retain::Keeper;
use crate::route::{self, Muster};
use crate::scan::{Found, ScanError, Scanner};
use crate::status::Status;
use crate::wake::Waker;
use crate::windows;

/// What a thread of a watch ends with.
type Thread = JoinHandle<Result<(), ScanError>>;

/// A thread that follows files while they grow.
pub(crate) struct Following {
    watch: String,
    thread: Thread,
    /// Closed when nothing of the follower is left.
    ended: watch::Receiver<()>,
}

impl Following {
    fn start(
        watch: &str,
        run: impl FnOnce() -> Result<(), ScanError> + Send + 'static,
    ) -> Result<Self, AgentError> {
        let (ends, ended) = watch::channel(());
        let run = move || {
            // Dropped after what `run` owns, also when that panics.
            let _ends = ends;
            run()
        };
        let thread = std::thread::Builder::new().name(format!("follow {watch}")).spawn(run);
        Ok(Self { watch: watch.to_owned(), thread: thread.map_err(AgentError::Thread)?, ended })
    }

    /// Waits until it has ended. It does so at once when it is told to, or gives up a step within seconds.
    async fn ended(&self) {
        let mut ended = self.ended.clone();
        // Nothing is ever sent: only the end of the sender ends this.
        while ended.changed().await.is_ok() {}
    }

    fn has_ended(&self) -> bool {
        self.ended.has_changed().is_err()
    }

    fn into_thread(self) -> (String, Thread) {
        (self.watch, self.thread)
    }
}

/// All that is needed to start a scanner.
pub(crate) struct Crew {
    /// The settings in force.
    pub(crate) settings: Settings,
    /// Where they were read from, if they can be read again.
    pub(crate) config: Option<PathBuf>,
    pub(crate) status: Arc<Status>,
    pub(crate) remotes: HashMap<String, Arc<Remote>>,
    pub(crate) muster: Arc<Muster>,
    /// The limit of all destinations together.
    pub(crate) overall: Arc<Limiter>,
    /// For who looks at the clock.
    pub(crate) live: watch::Sender<Vec<windows::Live>>,
    pub(crate) contexts: Vec<Arc<WatchContext>>,
    pub(crate) scanners: Vec<(String, Thread)>,
    /// Who follows files while they grow, in a scanner's place.
    pub(crate) followers: Vec<Following>,
    /// Who makes the empty folders of a watch; ends with it.
    pub(crate) makers: Vec<tokio::task::JoinHandle<()>>,
    /// The contexts, for those who watch.
    pub(crate) roster: Roster,
    pub(crate) admission: Arc<Admission>,
    /// Where there is a journal.
    pub(crate) census: Option<Arc<Census>>,
    pub(crate) journal: Option<Journal>,
    /// Whether the journal is all that there was.
    pub(crate) trusted: bool,
    pub(crate) found: mpsc::Sender<Found>,
    pub(crate) scanner_ended: Arc<Notify>,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) reloads: mpsc::Receiver<Reload>,
    /// Numbers that were given to watches so far.
    pub(crate) numbers: usize,
}

impl Crew {
    /// Starts a scanner for each.
    pub(crate) fn start(&mut self, contexts: Vec<Arc<WatchContext>>) -> Result<(), AgentError> {
        for context in contexts {
            let (name, tells_end) =
                (context.settings.name.clone(), TellsEnd::new(&self.scanner_ended, &context.waker));
            if context.settings.mode == Mode::Append {
                self.follow(&context, tells_end)?;
                self.contexts.push(context);
                continue;
            }
            let (admission, journal) = (Arc::clone(&self.admission), self.journal.clone());
            let census = self.census.clone().filter(|_| !context.once);
            if let Some(census) = &census {
                census.join(context.number);
            }
            let scanner =
                Scanner::new(Arc::clone(&context), admission, (journal, census), self.found.clone());
            let run = || {
                let _tells_end = tells_end;
                scanner.run()
            };
            if let Some(keeper) =
                Keeper::of(&context, self.journal.as_ref(), &self.status, &self.settings.state_dir)
            {
                let tells_end = TellsEnd::new(&self.scanner_ended, &context.waker);
                let run = move || {
                    let _tells_end = tells_end;
                    keeper.run();
                    Ok(())
                };
                let thread = std::thread::Builder::new().name(format!("keep {name}")).spawn(run);
                self.scanners.push((name.clone(), thread.map_err(AgentError::Thread)?));
            }
            if maker::are_wanted(&context) {
                self.makers.push(tokio::spawn(maker::serve(Arc::clone(&context))));
            }
            let thread = std::thread::Builder::new().name(format!("scan {name}")).spawn(run);
            self.scanners.push((name, thread.map_err(AgentError::Thread)?));
            self.contexts.push(context);
        }
        self.contexts.sort_by_key(|context| context.order.load(Ordering::Relaxed));
        self.roster.write().expect("nothing panics while it holds the lock").clone_from(&self.contexts);
        Ok(())
    }

    /// Starts one that follows files while they grow, in a scanner's place.
    fn follow(&mut self, context: &Arc<WatchContext>, tells_end: TellsEnd) -> Result<(), AgentError> {
        let state_dir = &self.settings.state_dir;
        let receipts = receipts(&self.settings)?;
        let journal = (self.journal.clone(), self.trusted);
        let follower =
            Follower::new(Arc::clone(context), journal, (receipts, state_dir), Arc::clone(&self.status))?;
        let run = || {
            let _tells_end = tells_end;
            follower.run()
        };
        self.followers.push(Following::start(&context.settings.name, run)?);
        Ok(())
    }

    /// Reads the configuration again whenever it is asked to. Ends only with an error.
    pub(crate) async fn serve(&mut self) -> Result<(), AgentError> {
        while let Some(Reload { answer }) = self.reloads.recv().await {
            let told = self.reload().await?;
            match &told {
                Ok(reloaded) => tracing::info!("configuration read again: {reloaded}"),
                Err(problems) => {
                    tracing::error!(
                        "the new configuration is refused, the old one stays: {}",
                        problems.join("; ")
                    );
                }
            }
            // Who asked may have gone.
            let _ = answer.send(told);
        }
        std::future::pending().await
    }

    /// Waits for the scanners, which were told to end, and closes what is open.
    pub(crate) async fn end(self) -> Result<(), AgentError> {
        self.makers.iter().for_each(tokio::task::JoinHandle::abort);
        // A follower ends the step that it is at, or gives it up before long, and records how far it came: for that it needs
        // its connection.
        let followed = join(self.followers.into_iter().map(Following::into_thread).collect()).await;
        for remote in self.remotes.values() {
            remote.close().await;
        }
        join(self.scanners).await.and(followed)
    }

    async fn reload(&mut self) -> Result<Result<Reloaded, Vec<String>>, AgentError> {
        let Some(config) = self.config.clone() else {
            return Ok(Err(vec!["it was started without a configuration file".to_owned()]));
        };
        let read = move || skiff_config::load(&config, &Environment::from_process());
        let read = tokio::task::spawn_blocking(read).await.expect("reading doesn't panic and isn't aborted");
        let settings = match read {
            Ok(settings) => settings,
            Err(problems) => return Ok(Err(problems.iter().map(ToString::to_string).collect())),
        };
        let stays = self.what_cannot_change(&settings);
        if !stays.is_empty() {
            return Ok(Err(stays));
        }
        let looked = settings.clone();
        let unreachable = tokio::task::spawn_blocking(move || login::problems(&looked)).await;
        let unreachable = unreachable.expect("reading doesn't panic and isn't aborted");
        if !unreachable.is_empty() {
            return Ok(Err(unreachable));
        }
        Ok(Ok(self.change(settings).await?))
    }

    /// What takes a new start.
    fn what_cannot_change(&self, new: &Settings) -> Vec<String> {
        let old = &self.settings;
        let changed = [
            ("state_dir", old.state_dir != new.state_dir),
            ("[log]", old.log != new.log),
            ("[control]", old.control != new.control),
            ("[receipts]", old.receipts != new.receipts),
        ];
        let changed = changed.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(key, _)| format!("{key} has changed, which takes a restart: restart skiff")).collect()
    }

    async fn change(&mut self, new: Settings) -> Result<Reloaded, AgentError> {
        let new = route::legs(&new, &machine());
        let moved = moved(&self.settings, &new);
        self.reach(&moved, &new);
        let mut change = Change {
            retune: retuned(&self.settings, &new, &moved),
            rest: resting(&self.settings, &new, &moved),
            destinations: self.remotes.values().cloned().collect(),
            ..Change::default()
        };
        let left = self.part_with(&new, &moved);
        let mut reloaded = Reloaded::default();
        change.join = self.joining(&new, &left, &mut reloaded)?;
        let gone = left.iter().filter(|context| new.watch(&context.settings.name).is_none());
        reloaded.removed = gone.map(|context| context.settings.name.clone()).collect();
        reloaded.destinations = moved;
        change.leave = left.iter().map(|context| context.number).collect();
        if let Some(census) = &self.census {
            change.leave.iter().for_each(|watch| census.leave(*watch));
        }
        let join = change.join.clone();
        self.end_followers(&left).await;
        let (answer, answered) = oneshot::channel();
        // A dispatcher that has ended needs no change; its end is reported elsewhere.
        if self.orders.send(Order::Change(Box::new(change), answer)).await.is_ok() && answered.await.is_ok() {
            self.overall.set(new.bandwidth);
            self.live.send_replace(windows::live(&new, &self.remotes));
            self.settings = new;
            self.start(join)?;
        }
        self.join_ended();
        Ok(reloaded)
    }

    /// Connects anew to the destinations that moved, and forgets those that are gone.
    fn reach(&mut self, moved: &[String], new: &Settings) {
        for name in moved {
            let destination = new.destination(name).expect("its name was just read there");
            self.remotes
                .insert(name.clone(), reach(destination, &self.status, (None, Arc::clone(&self.overall))));
        }
        self.remotes.retain(|name, _| new.destination(name).is_some());
    }

    /// Gives the watches that can't go on as they are; the others stay.
    fn part_with(&mut self, new: &Settings, moved: &[String]) -> Vec<Arc<WatchContext>> {
        let old = &self.settings;
        let stays = |watch: &Watch| {
            old.watch(&watch.name) == Some(watch)
                && !route::destinations(watch).iter().any(|to| moved.contains(to))
        };
        let (kept, left) = std::mem::take(&mut self.contexts)
            .into_iter()
            .partition(|context| new.watch(&context.settings.name).is_some_and(stays));
        self.contexts = kept;
        left
    }

    /// A context for each watch that is new, or was `left` as it was before.
    fn joining(
        &mut self,
        new: &Settings,
        left: &[Arc<WatchContext>],
        reloaded: &mut Reloaded,
    ) -> Result<Vec<Arc<WatchContext>>, AgentError> {
        let mut join = Vec::new();
        for (order, watch) in new.watches.iter().enumerate() {
            if let Some(context) = self.contexts.iter().find(|context| context.settings.name == watch.name) {
                context.order.store(order, Ordering::Relaxed);
                continue;
            }
            let numbers = (self.numbers, order);
            join.push(context(new, watch, (&self.remotes, &self.muster), numbers, (None, false))?);
            self.numbers += 1;
            let is_known = left.iter().any(|before| before.settings.name == watch.name);
            let list = if is_known { &mut reloaded.changed } else { &mut reloaded.added };
            list.push(watch.name.clone());
        }
        Ok(join)
    }

    /// Ends the followers of watches that leave, before their connections close and a successor begins at the same logs: that
    /// one takes up what they recorded last. They stay in the list until they have ended, so that an end of the agent
    /// meanwhile waits for them, too.
    async fn end_followers(&self, left: &[Arc<WatchContext>]) {
        let leaves = |watch: &String| left.iter().any(|context| context.settings.name == *watch);
        left.iter()
            .filter(|context| context.settings.mode == Mode::Append)
            .for_each(|context| context.waker.stop());
        for follower in self.followers.iter().filter(|follower| leaves(&follower.watch)) {
            follower.ended().await;
        }
    }

    /// Those that were told to end and have.
    fn join_ended(&mut self) {
        let scanned = self.scanners.extract_if(.., |(_, thread)| thread.is_finished());
        let followed = self.followers.extract_if(.., |follower| follower.has_ended());
        for (watch, thread) in scanned.chain(followed.map(Following::into_thread)) {
            if let Ok(Err(error)) = thread.join() {
                tracing::warn!(%watch, %error, "the watch's scanner ended with an error when its settings changed");
            }
        }
    }
}

/// The destinations that are new, or set otherwise than before.
fn moved(old: &Settings, new: &Settings) -> Vec<String> {
    let moved = new.destinations.iter().filter(|now| old.destination(&now.name) != Some(now));
    moved.map(|destination| destination.name.clone()).collect()
}

/// Those that moved, and those of which more or fewer shipments may be on their way, or that are retried otherwise.
fn retuned(old: &Settings, new: &Settings, moved: &[String]) -> Vec<(String, usize, Retry)> {
    let pace = |settings: &Settings, name: &str| {
        let limit = settings.destination(name).map(|destination| destination.in_flight.get());
        (limit, destination_retry(settings, name))
    };
    let retuned = new
        .destinations
        .iter()
        .filter(|Destination { name, .. }| moved.contains(name) || pace(old, name) != pace(new, name));
    let pace = |destination: &Destination| {
        let Destination { name, in_flight, .. } = destination;
        (name.clone(), in_flight.get(), destination_retry(new, name))
    };
    retuned.map(pace).collect()
}

/// Of those that moved, which begin at rest, and why.
fn resting(old: &Settings, new: &Settings, moved: &[String]) -> Vec<(String, String)> {
    let resting = moved.iter().filter_map(|name| {
        let why = windows::rests_at_first(old.destination(name), new.destination(name)?)?;
        Some((name.clone(), why))
    });
    resting.collect()
}

/// Opens the receipts where the settings have them.
pub(crate) fn receipts(settings: &Settings) -> Result<Receipts, AgentError> {
    let path = settings.state_dir.join("receipts.jsonl");
    Receipts::open(&path, settings.receipts)
        .map_err(|source| AgentError::Receipts { path: path.display().to_string(), source })
}

/// Waits for them, up to the first error.
async fn join(threads: Vec<(String, Thread)>) -> Result<(), AgentError> {
    for (watch, thread) in threads {
        let ended = tokio::task::spawn_blocking(move || thread.join()).await;
        match ended {
            Ok(Ok(ended)) => ended?,
            Ok(Err(_)) | Err(_) => return Err(AgentError::Panicked(watch)),
        }
    }
    Ok(())
}

/// Tells when it is dropped, also when the scanner that holds it panics; unless the scanner was told to end.
pub(crate) struct TellsEnd(Arc<Notify>, Arc<Waker>);

impl TellsEnd {
    pub(crate) fn new(ended: &Arc<Notify>, waker: &Arc<Waker>) -> Self {
        Self(Arc::clone(ended), Arc::clone(waker))
    }
}

impl Drop for TellsEnd {
    fn drop(&mut self) {
        if !self.1.is_stopped() {
            self.0.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::poll_immediate;
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    /// Whoever waits is woken by the end, however that comes, and not before.
    #[tokio::test]
    async fn a_follower_is_waited_for_until_nothing_of_it_is_left() {
        for panics in [false, true] {
            let (let_go, held) = std::sync::mpsc::channel::<()>();
            let run = move || {
                let _let_go = held.recv();
                if panics { std::panic::resume_unwind(Box::new("on purpose")) } else { Ok(()) }
            };
            let follower = Following::start("logs", run).expect("a thread");
            let mut ended = Box::pin(follower.ended());
            assert!(poll_immediate(&mut ended).await.is_none() && !follower.has_ended());
            drop(let_go);
            timeout(SOON, ended).await.expect("its end is told");
            assert!(follower.has_ended());
            assert_eq!(follower.into_thread().1.join().is_err(), panics);
        }
    }
}
