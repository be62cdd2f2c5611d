//! How far a connection has come, so that whoever ends it can say where.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skiff_common::escape::escaped_up_to;
use tokio::time::Instant;

use super::proposal::Proposal;

/// Of what a server says before it is known to be one: enough for a reason, and for a greeting after a few lines.
const MAX_HEARD_BYTES: usize = 1024;
const MAX_SHOWN_CHARS: usize = 200;

/// A part of connecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// From the name to addresses.
    Resolving,
    /// TCP.
    Connecting,
    /// Until the server says which SSH it speaks.
    Greeting,
    /// Until the host key is judged and the connection encrypted.
    KeyExchange,
    /// Until a key of ours is accepted.
    LoggingIn,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolving => "looking up the address",
            Self::Connecting => "connecting",
            Self::Greeting => "waiting for the SSH greeting",
            Self::KeyExchange => "exchanging keys",
            Self::LoggingIn => "logging in",
        })
    }
}

/// Where a connection stands. Written by the one who connects, read by whoever has to explain.
#[derive(Debug)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    address: String,
    step: Step,
    heard: Vec<u8>,
    version: String,
    /// Only where somebody wants to see it.
    proposal: Option<Proposal>,
    /// What a person took so far.
    asked: Duration,
    asking: Option<Instant>,
}

/// While a person is asked; ends when dropped.
#[derive(Debug)]
pub(super) struct Asking(Arc<Progress>);

impl Drop for Asking {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let Some(since) = state.asking.take() {
            state.asked += since.elapsed();
        }
    }
}

impl Progress {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self(Mutex::new(State {
            address: place(host, port),
            step: Step::Resolving,
            heard: Vec::new(),
            version: String::new(),
            proposal: proposal(),
            asked: Duration::ZERO,
            asking: None,
        }))
    }

    /// A new connection.
    pub(super) fn begin(&self, host: &str, port: u16) {
        let mut state = self.state();
        state.address = place(host, port);
        state.step = Step::Resolving;
        state.heard.clear();
        state.proposal = proposal();
    }

    /// The server that was reached is asked for a connection to another.
    pub(super) fn pass_on_to(&self, host: &str, port: u16) {
        let mut state = self.state();
        state.address = format!("{} through {}", place(host, port), state.address);
        state.step = Step::Connecting;
        state.heard.clear();
        state.proposal = proposal();
    }

    /// From now until the end of what is returned a person thinks.
    pub(super) fn ask(self: &Arc<Self>) -> Asking {
        self.state().asking = Some(Instant::now());
        Asking(Arc::clone(self))
    }

    /// How long a person took so far.
    pub(super) fn asked(&self) -> Duration {
        let state = self.state();
        state.asked + state.asking.map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(super) fn enter(&self, step: Step) {
        self.state().step = step;
    }

    /// The address that the host's name stands for.
    pub(super) fn connect_to(&self, host: &str, address: SocketAddr) {
        let mut state = self.state();
        state.address = shown(host, address);
        state.step = Step::Connecting;
    }

    /// Notes what came from the server, as long as it matters.
    pub(super) fn hear(&self, bytes: &[u8]) {
        let mut state = self.state();
        for (list, names) in state.proposal.as_mut().and_then(|one| one.hear(bytes)).unwrap_or_default() {
            tracing::trace!("the server offers {list}: {names}");
        }
        if state.step == Step::Greeting {
            let room = MAX_HEARD_BYTES - state.heard.len();
            state.heard.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if let Some(version) = state.greeting() {
                tracing::debug!("the server's version: {version}");
                state.version = version;
                state.step = Step::KeyExchange;
            }
        }
    }

    pub(super) fn address(&self) -> String {
        self.state().address.clone()
    }

    pub(super) fn step(&self) -> Step {
        self.state().step
    }

    /// What the server says it is; empty before it has.
    pub(super) fn version(&self) -> String {
        self.state().version.clone()
    }

    /// The first that the server said, made safe to show.
    pub(super) fn said(&self) -> String {
        escaped_up_to(self.state().heard.trim_ascii(), MAX_SHOWN_CHARS)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn greeting(&self) -> Option<String> {
        // Lines before the greeting are allowed, and it may come in pieces.
        let mut lines = self.heard.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n"));
        let line = lines.find(|line| line.starts_with(b"SSH-"))?;
        Some(escaped_up_to(line.trim_ascii(), MAX_SHOWN_CHARS))
    }
}

/// `-vvv` shows it, nobody else needs it.
fn proposal() -> Option<Proposal> {
    tracing::enabled!(tracing::Level::TRACE).then(Proposal::default)
}

/// An address, with the name that it was found by.
pub(super) fn shown(host: &str, address: SocketAddr) -> String {
    let ip = address.ip();
    if host.parse() == Ok(ip) {
        address.to_string()
    } else {
        format!("{} ({ip})", place(host, address.port()))
    }
}

pub(super) fn place(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Whatever a server says first, what is shown of it is short. It is given back: it has to be safe as well.
#[cfg(any(test, fuzzing))]
pub(crate) fn any_greeting(bytes: &[u8]) -> String {
    let progress = Progress::new("host", 22);
    progress.enter(Step::Greeting);
    let (size, rest) =
        bytes.split_first().map_or((1, bytes), |(size, rest)| (usize::from(*size).max(1), rest));
    rest.chunks(size).for_each(|piece| progress.hear(piece));
    let said = progress.said();
    assert!(said.chars().count() <= MAX_SHOWN_CHARS + 1);
    let heard = rest.len().min(MAX_HEARD_BYTES);
    let mut lines = rest[..heard].split_inclusive(|byte| *byte == b'\n');
    let greets = lines.any(|line| line.starts_with(b"SSH-") && line.ends_with(b"\n"));
    assert_eq!(progress.step() == Step::KeyExchange, greets, "{said}");
    said
}
