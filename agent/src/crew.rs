//! Who works for the watches of an agent: a scanner or a follower each, and who removes old files and makes empty folders.
//! Started, joined, and changed with the configuration.

mod reload;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use skiff_config::{Mode, Settings};
use tokio::sync::{Notify, mpsc, watch};

use crate::admission::Admission;
use crate::census::Census;
use crate::context::WatchContext;
use crate::control::{Reload, Roster};
use crate::dispatch::Order;
use crate::error::AgentError;
use crate::folder_maker;
use crate::follow::Follower;
use crate::journal::Journal;
use crate::receipts::Receipts;
use crate::remote::{Limiter, Remote};
use crate::retain::Keeper;
use crate::route::Muster;
use crate::scan::{ScanError, Scanner, Settled};
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

/// What all parts of an agent use; opened once, at its start.
pub(crate) struct Shared {
    pub(crate) journal: Option<Journal>,
    pub(crate) status: Arc<Status>,
    /// By the names of their destinations.
    pub(crate) remotes: HashMap<String, Arc<Remote>>,
    /// The limit of all destinations together.
    pub(crate) overall: Arc<Limiter>,
    pub(crate) muster: Arc<Muster>,
    pub(crate) admission: Arc<Admission>,
    /// The contexts, for those who watch.
    pub(crate) roster: Roster,
}

/// The ends of its channels that the crew holds.
pub(crate) struct Ends {
    pub(crate) found: mpsc::Sender<Settled>,
    pub(crate) scanner_ended: Arc<Notify>,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) reloads: mpsc::Receiver<Reload>,
    /// For who looks at the clock.
    pub(crate) live: watch::Sender<Vec<windows::Live>>,
}

/// Who works for the watches.
pub(crate) struct Crew {
    /// The settings in force.
    settings: Settings,
    /// Where they were read from, if they can be read again.
    config: Option<PathBuf>,
    shared: Shared,
    ends: Ends,
    /// Where there is a journal.
    census: Option<Arc<Census>>,
    contexts: Vec<Arc<WatchContext>>,
    scanners: Vec<(String, Thread)>,
    /// Who follows files while they grow, in a scanner's place.
    followers: Vec<Following>,
    /// Who makes the empty folders of a watch; ends with it.
    makers: Vec<tokio::task::JoinHandle<()>>,
    /// Numbers that were given to watches so far.
    numbers: usize,
}

impl Crew {
    /// Nobody works yet.
    pub(crate) fn new(settings: &Settings, config: Option<PathBuf>, shared: Shared, ends: Ends) -> Self {
        Self {
            settings: settings.clone(),
            config,
            census: shared.journal.clone().map(|journal| Arc::new(Census::of(journal))),
            shared,
            ends,
            contexts: Vec::new(),
            scanners: Vec::new(),
            followers: Vec::new(),
            makers: Vec::new(),
            numbers: settings.watches.len(),
        }
    }

    /// Puts somebody to work for each.
    pub(crate) fn start(&mut self, contexts: Vec<Arc<WatchContext>>) -> Result<(), AgentError> {
        // All of them before any begins: a census that knows the first alone is over when that one is.
        for context in &contexts {
            if let Some(census) = self.census_of(context) {
                census.join(context.number);
            }
        }
        for context in contexts {
            if context.settings.mode == Mode::Append {
                self.follow(&context)?;
            } else {
                self.keep(&context)?;
                if folder_maker::are_wanted(&context) {
                    self.makers.push(tokio::spawn(folder_maker::serve(Arc::clone(&context))));
                }
                self.scan(&context)?;
            }
            self.contexts.push(context);
        }
        self.contexts.sort_by_key(|context| context.order.load(Ordering::Relaxed));
        self.shared
            .roster
            .write()
            .expect("nothing panics while it holds the lock")
            .clone_from(&self.contexts);
        Ok(())
    }

    /// The census, where this watch is scanned for it.
    fn census_of(&self, context: &WatchContext) -> Option<Arc<Census>> {
        let takes_part = !context.once && context.settings.mode != Mode::Append;
        self.census.clone().filter(|_| takes_part)
    }

    fn scan(&mut self, context: &Arc<WatchContext>) -> Result<(), AgentError> {
        let census = self.census_of(context);
        let Shared { admission, journal, .. } = &self.shared;
        let journal = (journal.clone(), census);
        let scanner =
            Scanner::new(Arc::clone(context), Arc::clone(admission), journal, self.ends.found.clone());
        self.thread("scan", context, || scanner.run())
    }

    /// Starts who removes old files, where they are to go.
    fn keep(&mut self, context: &Arc<WatchContext>) -> Result<(), AgentError> {
        let Shared { journal, status, .. } = &self.shared;
        let Some(keeper) = Keeper::of(context, journal.as_ref(), status, &self.settings.state_dir) else {
            return Ok(());
        };
        self.thread("keep", context, || {
            keeper.run();
            Ok(())
        })
    }

    fn thread(
        &mut self,
        does: &str,
        context: &WatchContext,
        run: impl FnOnce() -> Result<(), ScanError> + Send + 'static,
    ) -> Result<(), AgentError> {
        let name = context.settings.name.clone();
        let tells_end = TellsEnd::new(&self.ends.scanner_ended, &context.waker);
        let run = || {
            let _tells_end = tells_end;
            run()
        };
        let thread = std::thread::Builder::new().name(format!("{does} {name}")).spawn(run);
        self.scanners.push((name, thread.map_err(AgentError::Thread)?));
        Ok(())
    }

    /// Starts one that follows files while they grow, in a scanner's place.
    fn follow(&mut self, context: &Arc<WatchContext>) -> Result<(), AgentError> {
        let state_dir = &self.settings.state_dir;
        let receipts = receipts(&self.settings)?;
        let Shared { journal, status, .. } = &self.shared;
        let doubt = journal.as_ref().map(Journal::doubt).transpose()?.flatten();
        let journal = (journal.clone(), doubt.is_none());
        let follower =
            Follower::new(Arc::clone(context), journal, (receipts, state_dir), Arc::clone(status))?;
        let tells_end = TellsEnd::new(&self.ends.scanner_ended, &context.waker);
        let run = || {
            let _tells_end = tells_end;
            follower.run()
        };
        self.followers.push(Following::start(&context.settings.name, run)?);
        Ok(())
    }

    /// Waits for the scanners, which were told to end, and closes what is open.
    pub(crate) async fn end(self) -> Result<(), AgentError> {
        self.makers.iter().for_each(tokio::task::JoinHandle::abort);
        // A follower ends the step that it is at, or gives it up before long, and records how far it came: for that it needs
        // its connection.
        let followed = join(self.followers.into_iter().map(Following::into_thread).collect()).await;
        for remote in self.shared.remotes.values() {
            remote.close().await;
        }
        join(self.scanners).await.and(followed)
    }

    /// Those that were told to end and have.
    fn join_ended(&mut self) {
        self.makers.retain(|maker| !maker.is_finished());
        let scanned = self.scanners.extract_if(.., |(_, thread)| thread.is_finished());
        let followed = self.followers.extract_if(.., |follower| follower.has_ended());
        for (watch, thread) in scanned.chain(followed.map(Following::into_thread)) {
            if let Ok(Err(error)) = thread.join() {
                tracing::warn!(%watch, %error, "the watch's scanner ended with an error when its settings changed");
            }
        }
    }
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
