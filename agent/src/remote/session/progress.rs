//! How far a connection has come, so that whoever ends it can say where.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use skiff_common::escape::escaped_up_to;

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
pub(in crate::remote) struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    address: String,
    step: Step,
    heard: Vec<u8>,
}

impl Progress {
    pub(super) fn new(host: &str, port: u16) -> Self {
        let address = format!("{host}:{port}");
        Self(Mutex::new(State { address, step: Step::Resolving, heard: Vec::new() }))
    }

    pub(super) fn enter(&self, step: Step) {
        self.state().step = step;
    }

    pub(super) fn connect_to(&self, address: String) {
        let mut state = self.state();
        state.address = address;
        state.step = Step::Connecting;
    }

    /// Notes what came from the server, as long as it matters.
    pub(super) fn hear(&self, bytes: &[u8]) {
        let mut state = self.state();
        if state.step == Step::Greeting {
            let room = MAX_HEARD_BYTES - state.heard.len();
            state.heard.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if state.greeted() {
                state.step = Step::KeyExchange;
            }
        }
    }

    pub(in crate::remote) fn address(&self) -> String {
        self.state().address.clone()
    }

    pub(in crate::remote) fn step(&self) -> Step {
        self.state().step
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
    fn greeted(&self) -> bool {
        // Lines before the greeting are allowed.
        self.heard.split(|b| *b == b'\n').any(|line| line.starts_with(b"SSH-"))
    }
}
