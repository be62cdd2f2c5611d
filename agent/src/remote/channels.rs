//! How many channels are open, and how many the server allows.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The count for one destination. What it allows is learnt from its refusals.
#[derive(Debug)]
pub(crate) struct Channels {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    open: usize,
    most: usize,
}

/// One channel; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenChannel(Arc<Channels>);

impl Channels {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { open: 0, most: usize::MAX }), freed: Notify::new() })
    }

    /// A channel, if one more is allowed.
    pub(super) fn claim(self: &Arc<Self>) -> Option<OpenChannel> {
        let mut state = self.state();
        (state.open < state.most).then(|| {
            state.open += 1;
            OpenChannel(Arc::clone(self))
        })
    }

    /// The server refused one more. `false`: it refuses even the only one.
    pub(super) fn refused(&self) -> bool {
        let mut state = self.state();
        state.most = state.open.max(1);
        if state.open > 0 {
            tracing::info!(channels = state.most, "the server allows no more channels on one connection");
        }
        state.open > 0
    }

    /// Another connection may allow more.
    pub(super) fn forget_refusals(&self) {
        self.state().most = usize::MAX;
    }

    /// A channel is no longer in use.
    pub(super) fn notify(&self) {
        self.freed.notify_waiters();
    }

    /// Waits until one is no longer in use.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

impl Drop for OpenChannel {
    fn drop(&mut self) {
        self.0.state().open -= 1;
        self.0.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_remembered_until_another_connection() {
        let channels = Channels::new();
        let (first, second) = (channels.claim(), channels.claim());
        drop(second);
        assert!(channels.refused());
        assert!(channels.claim().is_none(), "one is open, and one is allowed");
        drop(first);
        let only = channels.claim();
        assert!(only.is_some());
        channels.forget_refusals();
        assert!(channels.claim().is_some());
        drop(only);
        assert!(!channels.refused(), "not even one");
        assert!(channels.claim().is_some(), "which is asked for again all the same");
    }
}
