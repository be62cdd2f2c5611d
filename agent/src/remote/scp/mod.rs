//! The steps of a delivery at a destination with a shell, `scp` and `tar`.
//!
//! Owns the connection and the shells on it; a shell that isn't in use waits for the next shipment. Promises that each
//! step is safe to repeat. Lacks retries and the decision what is published.

pub(crate) mod answer;
mod channels;
mod folders;
mod hand;
mod one_by_one;
mod owner;
mod place;
mod segments;
mod space;
mod stage;
mod traffic;
mod transfer;
mod twins;
mod verify;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use skiff_common::{RemotePath, Shipment, ShipmentId};
use skiff_config::{Compression, Destination, Duplicates, KeepFree, Owner};
use tokio::sync::Mutex;

pub use hand::Facts;
pub(crate) use hand::Hand;
pub(crate) use place::Conflicts;

use super::RemoteError;
use super::session::{ChannelError, Login, Session};
use crate::status::Status;
use channels::{Channels, OpenChannel};
use space::Space;
pub use traffic::Limiter;
use traffic::Traffic;
pub(crate) use twins::Stood;
use twins::Twins;

/// The slowest digest tool that is waited for, in bytes a second.
const SLOWEST_DIGEST: u64 = 1 << 20;

const SWEEP_EVERY: Duration = Duration::from_secs(24 * 3600);

/// How a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// There is none.
    Down,
    /// It is being made.
    Connecting,
    /// It is there.
    Up,
}

/// What else the settings say of a destination.
#[derive(Debug, Clone, Copy, Default)]
struct Policy {
    /// Whether content that it has already is copied there.
    copies: bool,
    /// Whether files get the owner there that they have here.
    keeps_owner: bool,
}

/// A destination that is reached by SCP.
pub struct ScpRemote {
    name: String,
    login: Login,
    sender: String,
    connection: Mutex<Option<Arc<Session>>>,
    idle: std::sync::Mutex<Vec<(RemotePath, Hand)>>,
    traffic: Arc<Traffic>,
    limiter: Arc<Limiter>,
    channels: Arc<Channels>,
    /// How many shells somebody has taken and not given back; who fails never does.
    taken: AtomicUsize,
    used: std::sync::Mutex<Instant>,
    policy: Policy,
    rests: AtomicBool,
    space: Arc<Space>,
    twins: Twins,
    said: std::sync::Mutex<String>,
    swept: std::sync::Mutex<HashMap<RemotePath, Instant>>,
    /// Shipments that are published and whose staging is gone, until somebody asks for that: few, as many as are under way.
    cleared: std::sync::Mutex<HashSet<ShipmentId>>,
}

impl ScpRemote {
    /// A destination; nothing is connected yet. `sender` names this machine in staging: 8 hexadecimal digits.
    ///
    /// What is sent is counted in `status`, and held below `limit` bits a second.
    pub fn new(
        login: Login,
        sender: &str,
        status: Arc<Status>,
        limit: Option<u64>,
        compression: Compression,
    ) -> Self {
        Self::limited(login, sender, status, (limit, Arc::new(Limiter::new(None))), compression)
    }

    /// The same, where it shares a limit with others.
    pub fn limited(
        login: Login,
        sender: &str,
        status: Arc<Status>,
        (limit, overall): (Option<u64>, Arc<Limiter>),
        compression: Compression,
    ) -> Self {
        let idle = std::sync::Mutex::new(Vec::new());
        let limiter = Arc::new(Limiter::new(limit));
        let traffic = Arc::new(Traffic::new(status, (Arc::clone(&limiter), overall), compression));
        Self {
            name: login.host.clone(),
            login,
            sender: sender.to_owned(),
            connection: Mutex::new(None),
            idle,
            traffic,
            limiter,
            channels: Channels::new(),
            taken: AtomicUsize::new(0),
            used: std::sync::Mutex::new(Instant::now()),
            policy: Policy::default(),
            rests: AtomicBool::new(false),
            space: Space::new(KeepFree::Off),
            twins: Twins::default(),
            said: std::sync::Mutex::default(),
            swept: std::sync::Mutex::default(),
            cleared: std::sync::Mutex::default(),
        }
    }

    /// From now on it is sent at most so many bits a second.
    pub fn set_limit(&self, limit: Option<u64>) {
        self.limiter.set(limit);
    }

    /// The destination's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is: `user@host:port`.
    pub fn address(&self) -> String {
        let Login { user, host, port, .. } = &self.login;
        format!("{user}@{host}:{port}")
    }

    /// From now on it has this name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Whether nothing is to be sent to it now.
    pub(crate) fn rests(&self) -> bool {
        self.rests.load(Ordering::Relaxed)
    }

    /// From now on nothing is to be sent to it, or all may be. What the dispatcher sends it holds back itself.
    pub(crate) fn rest(&self, rests: bool) {
        self.rests.store(rests, Ordering::Relaxed);
    }

    /// From now on it is treated as these settings say.
    #[must_use]
    pub fn treated(mut self, settings: &Destination) -> Self {
        self.policy = Policy {
            copies: settings.duplicates == Duplicates::Copy,
            keeps_owner: settings.owner == Owner::Preserve,
        };
        self.space = Space::new(settings.keep_free);
        self
    }

    /// Whether there is a connection, for those who watch: it may be gone a moment later.
    pub fn link(&self) -> Link {
        match self.connection.try_lock() {
            // Who makes a connection holds the lock until there is one.
            Err(_) => Link::Connecting,
            Ok(connection) if connection.as_ref().is_some_and(|session| !session.is_closed()) => Link::Up,
            Ok(_) => Link::Down,
        }
    }

    /// Connects, logs in and looks what is there.
    pub async fn probe(&self, root: &RemotePath) -> Result<Facts, RemoteError> {
        let hand = self.take_hand(root).await?;
        let facts = hand.facts().clone();
        self.give_back(root, hand);
        Ok(facts)
    }

    /// Ends all shells and the connection.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle());
        for (_, hand) in idle {
            hand.end().await;
        }
        if let Some(session) = self.connection.lock().await.take() {
            session.disconnect().await;
        }
    }

    /// Clears what is staged of a shipment, if that isn't done.
    pub async fn discard(&self, root: &RemotePath, shipment: &Shipment) -> Result<(), RemoteError> {
        if self.cleared().remove(&shipment.id) {
            return Ok(());
        }
        let mut hand = self.take_hand(root).await?;
        let patience = self.patience(0);
        hand.must(&["drop", &self.staging(shipment)], patience, "clearing the staging").await?;
        self.give_back(root, hand);
        Ok(())
    }

    fn staging(&self, shipment: &Shipment) -> String {
        format!("{}-{}", self.sender, shipment.id)
    }

    /// How long to wait for a step that reads `bytes` at the destination.
    fn patience(&self, bytes: u64) -> Duration {
        self.login.stall_timeout + Duration::from_secs(bytes / SLOWEST_DIGEST)
    }

    /// A shell that is free, when the server has room for one. Its user gives it back after success; after a failure
    /// nobody knows what it waits for.
    async fn take_hand(&self, root: &RemotePath) -> Result<Hand, RemoteError> {
        loop {
            let mut freed = std::pin::pin!(self.channels.freed());
            // From here on, so that what is freed meanwhile isn't missed.
            freed.as_mut().enable();
            let session = self.session().await?;
            if let Some(hand) = self.take_idle(root) {
                return Ok(hand);
            }
            if let Some(open) = self.channels.claim() {
                match self.start_hand(&session, root, open).await {
                    Err(RemoteError::Channel(ChannelError::Denied { .. })) if self.channels.refused() => {
                        continue;
                    }
                    started => return started,
                }
            }
            // One that works in another folder makes room.
            drop(self.idle().pop());
            freed.await;
        }
    }

    /// A shell more, if one is idle or the server has room for it. `None` is no trouble.
    async fn spare_hand(&self, root: &RemotePath) -> Result<Option<Hand>, RemoteError> {
        let session = self.session().await?;
        if let Some(hand) = self.take_idle(root) {
            return Ok(Some(hand));
        }
        let Some(open) = self.channels.claim() else { return Ok(None) };
        match self.start_hand(&session, root, open).await {
            Err(RemoteError::Channel(ChannelError::Denied { .. })) => {
                self.channels.refused();
                Ok(None)
            }
            started => started.map(Some),
        }
    }

    async fn start_hand(
        &self,
        session: &Session,
        root: &RemotePath,
        open: OpenChannel,
    ) -> Result<Hand, RemoteError> {
        let stall = self.login.stall_timeout;
        self.taken.fetch_add(1, Ordering::Relaxed);
        let mut hand = Hand::start(session, root, stall, Arc::clone(&self.traffic), open).await?;
        if !hand.facts().scp {
            return Err(RemoteError::NoTool { tool: "scp" });
        }
        if self.is_to_be_swept(root) {
            // It takes no round trip of its own: the answer comes before the next one.
            hand.first(&["sweep", &self.sender], "clearing old staging");
        }
        Ok(hand)
    }

    /// Whether it is time to clear what shipments left behind long ago: at first, and then once a day.
    fn is_to_be_swept(&self, root: &RemotePath) -> bool {
        let mut swept = self.swept.lock().expect("nothing panics while it holds the lock");
        let is_due = swept.get(root).is_none_or(|at| at.elapsed() > SWEEP_EVERY);
        if is_due {
            swept.insert(root.clone(), Instant::now());
        }
        is_due
    }

    /// Warns, unless that was the last warning.
    fn say_once(&self, root: &RemotePath, words: &str) {
        let mut said = self.said.lock().expect("nothing panics while it holds the lock");
        if *said != words {
            words.clone_into(&mut said);
            tracing::warn!(destination = %self.name, folder = %root, "{words}");
        }
    }

    fn take_idle(&self, root: &RemotePath) -> Option<Hand> {
        let mut idle = self.idle();
        let at = idle.iter().position(|(of, _)| of == root)?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(idle.swap_remove(at).1)
    }

    fn give_back(&self, root: &RemotePath, hand: Hand) {
        if hand.is_usable() {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            *self.used.lock().expect("nothing panics while it holds the lock") = Instant::now();
            self.idle().push((root.clone(), hand));
            self.channels.notify();
        }
    }

    fn cleared(&self) -> std::sync::MutexGuard<'_, HashSet<ShipmentId>> {
        self.cleared.lock().expect("nothing panics while it holds the lock")
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(RemotePath, Hand)>> {
        self.idle.lock().expect("nothing panics while it holds the lock")
    }

    async fn session(&self) -> Result<Arc<Session>, RemoteError> {
        let mut connection = self.connection.lock().await;
        if let Some(session) = connection.as_ref().filter(|session| !session.is_closed()) {
            return Ok(Arc::clone(session));
        }
        if let Some(session) = connection.take() {
            self.tell_loss(&session);
        }
        // Shells of a lost connection are lost with it.
        self.idle().clear();
        self.taken.store(0, Ordering::Relaxed);
        self.channels.forget_refusals();
        let session = Arc::new(Session::connect(&self.login).await?);
        *connection = Some(Arc::clone(&session));
        Ok(session)
    }

    /// A connection that breaks under a shipment is told with it; of one that was idle, nobody else would hear.
    fn tell_loss(&self, session: &Session) {
        if self.taken.load(Ordering::Relaxed) > 0 {
            return;
        }
        let idle = self.used.lock().expect("nothing panics while it holds the lock").elapsed();
        let why = session.why_lost().unwrap_or_else(|| "it ended".to_owned());
        tracing::warn!(
            destination = %self.name, code = "dropped-idle", idle_s = idle.as_secs(),
            "the connection was lost while nothing was sent: {why}. Try: if this is seen again and again, a firewall or NAT on \
             the way forgets idle connections, or the server ends them (ClientAliveInterval, a shell's TMOUT): make \
             `keepalive` shorter"
        );
    }
}
