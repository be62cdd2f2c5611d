//! How many channels are open, and how many the server allows.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::session::ChannelError;

/// The count for one destination. What it allows is learnt from its refusals.
#[derive(Debug)]
pub(crate) struct Channels {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    open: usize,
    /// Those among them that the server was asked for and has not answered.
    asked: usize,
    most: usize,
    news: News,
}

/// Whether a limit was met on this connection, and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    None,
    Met,
    Told,
}

/// One channel; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenChannel {
    channels: Arc<Channels>,
    answer: Answer,
}

/// What the server said to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    None,
    Yes,
    No,
}

impl Channels {
    pub(super) fn new() -> Arc<Self> {
        let state = State { open: 0, asked: 0, most: usize::MAX, news: News::None };
        Arc::new(Self { state: Mutex::new(state), freed: Notify::new() })
    }

    /// A channel, if one more is allowed.
    pub(super) fn claim(self: &Arc<Self>) -> Option<OpenChannel> {
        let mut state = self.state();
        (state.open < state.most).then(|| {
            state.open += 1;
            state.asked += 1;
            OpenChannel { channels: Arc::clone(self), answer: Answer::None }
        })
    }

    /// Whether some are open, one of which will be free. After a refusal, `false`: the server refuses even the only one.
    pub(super) fn some_are_open(&self) -> bool {
        self.state().open > 0
    }

    /// Another connection may allow more.
    pub(super) fn forget_refusals(&self) {
        let mut state = self.state();
        (state.most, state.news) = (usize::MAX, News::None);
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

impl State {
    /// How many the server allows, once for each connection, and not before it has answered all that it was asked for: each
    /// further refusal lowers the number.
    fn limit_to_tell(&mut self) -> Option<usize> {
        let settled = self.news == News::Met && self.asked == 0;
        settled.then(|| {
            self.news = News::Told;
            self.most
        })
    }

    fn tell(&mut self) {
        if let Some(channels) = self.limit_to_tell() {
            tracing::info!(channels, "the server allows no more channels on one connection");
        }
    }
}

impl OpenChannel {
    /// What the server answers to the wish for it.
    pub(crate) fn heard<T>(&mut self, answer: Result<T, ChannelError>) -> Result<T, ChannelError> {
        match &answer {
            Ok(_) => {
                self.answer = Answer::Yes;
                let mut state = self.channels.state();
                state.asked -= 1;
                state.tell();
            }
            Err(ChannelError::Denied { .. }) => self.answer = Answer::No,
            Err(_) => {}
        }
        answer
    }
}

impl Drop for OpenChannel {
    fn drop(&mut self) {
        {
            let mut state = self.channels.state();
            state.open -= 1;
            if self.answer != Answer::Yes {
                state.asked -= 1;
            }
            if self.answer == Answer::No {
                state.most = state.open.max(1);
                state.news = match (state.news, state.open) {
                    (News::Told, _) => News::Told,
                    // It refuses even the only one: that is no limit to tell, but trouble.
                    (_, 0) => News::None,
                    _ => News::Met,
                };
            }
            state.tell();
        }
        self.channels.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(channel: &mut OpenChannel) {
        channel.heard(Ok(())).expect("it was granted");
    }

    fn refused(mut channel: OpenChannel) {
        let reason = "ConnectFailed".to_owned();
        channel.heard::<()>(Err(ChannelError::Denied { reason })).expect_err("it was refused");
    }

    #[test]
    fn a_refusal_is_remembered_until_another_connection() {
        let channels = Channels::new();
        let (first, second) = (channels.claim(), channels.claim());
        refused(second.expect("nothing is known of a limit"));
        assert!(channels.some_are_open());
        assert!(channels.claim().is_none(), "one is open, and one is allowed");
        drop(first);
        let only = channels.claim();
        assert!(only.is_some());
        channels.forget_refusals();
        assert!(channels.claim().is_some());
        refused(only.expect("it was just looked at"));
        assert!(!channels.some_are_open(), "not even one");
        assert!(channels.claim().is_some(), "which is asked for again all the same");
    }

    /// However the answers come to what is asked for at once.
    #[test]
    fn a_limit_is_told_once_for_each_connection_when_it_is_known() {
        let channels = Channels::new();
        let news = || channels.state().news;
        for grants_first in [true, false] {
            channels.forget_refusals();
            let mut asked: Vec<_> = (0..6).map(|_| channels.claim().expect("no limit is known")).collect();
            let refusals = asked.split_off(3);
            if grants_first {
                asked.iter_mut().for_each(granted);
            }
            for (nth, channel) in refusals.into_iter().enumerate() {
                assert_eq!(news(), if nth == 0 { News::None } else { News::Met }, "others are unanswered");
                refused(channel);
            }
            if !grants_first {
                assert_eq!(news(), News::Met);
                asked.iter_mut().for_each(granted);
            }
            assert_eq!((news(), channels.state().most), (News::Told, 3));
            assert!(channels.claim().is_none());
        }
    }
}
