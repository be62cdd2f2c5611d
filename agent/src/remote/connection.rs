//! One destination's connection, made when it is needed, and what all transports over it share.
//!
//! Promises that there is at most one. Lacks what is done over it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use skiff_common::{RemotePath, Shipment};
use skiff_config::Compression;
use tokio::sync::Mutex;

use super::RemoteError;
use super::channels::Channels;
use super::session::{Login, Session};
use super::traffic::{Limiter, Traffic};
use crate::status::Status;

/// The slowest that a destination reads, in bytes a second.
const SLOWEST_DIGEST: u64 = 1 << 20;

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

/// A connection to one destination.
pub(crate) struct Connection {
    pub(super) name: String,
    pub(super) login: Login,
    pub(super) sender: String,
    pub(super) traffic: Arc<Traffic>,
    pub(super) channels: Arc<Channels>,
    limiter: Arc<Limiter>,
    session: Mutex<Option<Arc<Session>>>,
    /// How many channels somebody has taken and not given back; who fails never does.
    taken: AtomicUsize,
    used: std::sync::Mutex<Instant>,
    /// The last warning.
    warned: std::sync::Mutex<String>,
}

impl Connection {
    /// To the destination `name`; nothing is connected yet. `sender` names this machine in staging: 8 hexadecimal digits.
    ///
    /// What is sent is counted in `status`, and held below `limit` bits a second and a limit shared with others.
    pub(crate) fn new(
        name: &str,
        login: Login,
        sender: &str,
        status: Arc<Status>,
        (limit, overall): (Option<u64>, Arc<Limiter>),
        compression: Compression,
    ) -> Self {
        let limiter = Arc::new(Limiter::new(limit));
        let traffic = Arc::new(Traffic::new(status, (Arc::clone(&limiter), overall), compression));
        Self {
            name: name.to_owned(),
            login,
            sender: sender.to_owned(),
            traffic,
            channels: Channels::new(),
            limiter,
            session: Mutex::new(None),
            taken: AtomicUsize::new(0),
            used: std::sync::Mutex::new(Instant::now()),
            warned: std::sync::Mutex::default(),
        }
    }

    pub(super) fn set_limit(&self, limit: Option<u64>) {
        self.limiter.set(limit);
    }

    /// Where it goes: `user@host:port`.
    pub(super) fn address(&self) -> String {
        let Login { user, host, port, .. } = &self.login;
        format!("{user}@{host}:{port}")
    }

    /// Whether it is there, for those who watch: it may be gone a moment later.
    pub(super) fn link(&self) -> Link {
        match self.session.try_lock() {
            // Who makes a connection holds the lock until there is one.
            Err(_) => Link::Connecting,
            Ok(session) if session.as_ref().is_some_and(|session| !session.is_closed()) => Link::Up,
            Ok(_) => Link::Down,
        }
    }

    /// The connection, made anew if it has ended.
    pub(super) async fn session(&self) -> Result<Arc<Session>, RemoteError> {
        let mut current = self.session.lock().await;
        if let Some(session) = current.as_ref().filter(|session| !session.is_closed()) {
            return Ok(Arc::clone(session));
        }
        if let Some(session) = current.take() {
            self.tell_loss(&session);
        }
        self.taken.store(0, Ordering::Relaxed);
        self.channels.forget_refusals();
        self.traffic.forget_round_trip();
        let session = Arc::new(Session::connect(&self.login).await?);
        *current = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Warns of something in the folder `root`, unless that was the last warning.
    pub(super) fn warn_once(&self, root: &RemotePath, words: &str) {
        let mut warned = self.warned.lock().expect("nothing panics while it holds the lock");
        if *warned != words {
            words.clone_into(&mut warned);
            tracing::warn!(destination = %self.name, folder = %root, "{words}");
        }
    }

    /// Somebody uses a channel of it.
    pub(super) fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody has done with a channel of it, as it should be.
    pub(super) fn given_back(&self) {
        // What was taken on a connection that is lost counts no longer.
        let _ = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| taken.checked_sub(1));
        *self.used.lock().expect("nothing panics while it holds the lock") = Instant::now();
        self.channels.notify();
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

    /// Ends it.
    pub(super) async fn close(&self) {
        if let Some(session) = self.session.lock().await.take() {
            session.disconnect().await;
        }
    }

    /// What a shipment's staging is called, as far as it is the same whoever works on it.
    pub(super) fn staging(&self, shipment: &Shipment) -> String {
        format!("{}-{}", self.sender, shipment.id)
    }

    /// How long to wait for a step that reads `bytes` at the destination.
    pub(super) fn patience(&self, bytes: u64) -> Duration {
        self.login.stall_timeout + reading(bytes)
    }
}

/// How long a destination may take to read so much.
pub(super) const fn reading(bytes: u64) -> Duration {
    Duration::from_secs(bytes / SLOWEST_DIGEST)
}

/// What waits for its next use on the connection that it was made on.
pub(super) struct Idle<T> {
    of: Weak<Session>,
    waiting: Vec<T>,
}

impl<T> Default for Idle<T> {
    fn default() -> Self {
        Self { of: Weak::new(), waiting: Vec::new() }
    }
}

impl<T> Idle<T> {
    /// What waits on `session`: what was made on a lost connection is lost with it.
    pub(super) fn on(&mut self, session: &Arc<Session>) -> &mut Vec<T> {
        if !std::ptr::eq(self.of.as_ptr(), Arc::as_ptr(session)) {
            self.of = Arc::downgrade(session);
            self.waiting.clear();
        }
        &mut self.waiting
    }

    /// What waits, on whatever connection.
    pub(super) const fn waiting(&mut self) -> &mut Vec<T> {
        &mut self.waiting
    }
}

/// 24 digits that nobody else has: what belongs to one user of a connection is named by them.
pub(crate) fn nonce() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    blake3::Hash::from_bytes(bytes).to_hex()[..24].to_owned()
}
