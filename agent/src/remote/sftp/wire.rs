//! One SFTP channel: requests go out as they come, replies find who asked.
//!
//! Promises that it reads all the time, that what is under way fits in memory, and that each wait ends: with the reply,
//! with the channel's end, or once nothing has moved for too long. Lacks any idea of what the requests are for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use skiff_common::escape::escaped_up_to;
use skiff_common::sftp::{GREETING, Replies, Reply, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::remote::RemoteError;
use crate::remote::session::{ChannelError, ExecChannel, ExecReader, ExecWriter, Said, WINDOW_BYTES};
use crate::remote::tail::Tail;
use crate::remote::traffic::{MOST_CHANNELS, Traffic};
use crate::status::{self, Progress, Status};

/// Bytes on their way in one direction: the 2 MiB that OpenSSH lets through a channel in a round trip, and the next. Six
/// channels keep 30 MiB.
const UNDER_WAY: usize = 5 << 19;
const _: () = assert!(
    MOST_CHANNELS * (UNDER_WAY as u64) < 2 * WINDOW_BYTES as u64,
    "more than comes while keys are renewed"
);
/// Requests without an answer yet: those of some hundred small files at once. A few hundred bytes each.
const WAITING: usize = 2048;
/// Requests that go together in one packet; larger bodies go as they are.
const TOGETHER: usize = 32 << 10;
/// So much of a reply counts as progress; less may be a server that drips.
const MOVES: usize = 4096;
/// What a login shell's start-up files may print before the server's first word.
const MOST_NOISE: usize = 1 << 20;
/// So much of it is shown.
const SHOWN_NOISE: usize = 300;

/// A channel. Dropping it closes it.
pub(crate) struct Wire {
    asks: mpsc::Sender<Ask>,
    shared: Arc<Shared>,
    stall: Duration,
    _here: watch::Sender<()>,
}

struct Ask {
    head: Vec<u8>,
    body: Bytes,
    /// Of whoever asks: it isn't he who sends.
    progress: Option<Progress>,
}

struct Shared {
    state: Mutex<State>,
    next: AtomicU32,
    asking: Arc<Semaphore>,
    writing: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

struct State {
    waiting: HashMap<u32, Waiting>,
    moved: Instant,
    ended: Option<Ended>,
    stderr: Tail,
    /// The beginning of what is no SFTP, while nothing has been.
    noise: Vec<u8>,
}

/// Who asked; what it takes is free again once it is answered.
struct Waiting {
    reply: oneshot::Sender<Reply>,
    _room: [Option<OwnedSemaphorePermit>; 2],
}

#[derive(Debug, Clone)]
enum Ended {
    Closed,
    /// The server has no such subsystem.
    Refused,
    Lost(String),
    Nonsense(String),
    Stalled(Duration),
}

/// A reply on its way.
pub(crate) struct Pending {
    reply: oneshot::Receiver<Reply>,
    shared: Arc<Shared>,
    patience: Duration,
    attempt: &'static str,
}

impl Wire {
    /// Over `channel`; what is sent is counted and limited by `traffic`.
    pub(super) fn new(channel: ExecChannel, traffic: Arc<Traffic>, stall: Duration) -> Self {
        let state = State {
            waiting: HashMap::new(),
            moved: Instant::now(),
            ended: None,
            stderr: Tail::default(),
            noise: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            next: AtomicU32::new(GREETING + 1),
            asking: Arc::new(Semaphore::new(WAITING)),
            writing: Arc::new(Semaphore::new(UNDER_WAY)),
            reading: Arc::new(Semaphore::new(UNDER_WAY)),
        });
        let (asks, asked) = mpsc::channel(WAITING);
        let ExecChannel { read, write } = channel;
        // Both end with the channel, or when nobody is here any longer, and with both halves the channel closes.
        let (here, gone) = watch::channel(());
        tokio::spawn(until_gone(gone.clone(), listen(read, Arc::clone(&shared))));
        tokio::spawn(until_gone(gone, speak(write, asked, Arc::clone(&shared), traffic, stall)));
        Self { asks, shared, stall, _here: here }
    }

    /// Asks, and waits for the reply.
    pub(super) async fn ask(
        &self,
        request: Request<'_>,
        attempt: &'static str,
    ) -> Result<Reply, RemoteError> {
        self.begin(request, attempt).await?.reply().await
    }

    /// Asks; returns when there was room for the request.
    pub(super) async fn begin(
        &self,
        request: Request<'_>,
        attempt: &'static str,
    ) -> Result<Pending, RemoteError> {
        self.begin_with(request, Bytes::new(), attempt).await
    }

    /// The same, for a write of `body`.
    pub(super) async fn begin_with(
        &self,
        request: Request<'_>,
        body: Bytes,
        attempt: &'static str,
    ) -> Result<Pending, RemoteError> {
        let shared = &self.shared;
        let asking = self.room(&shared.asking, 1, attempt).await?;
        let (of, bytes) = match request {
            Request::Write(_, _, length) => (Some(&shared.writing), length),
            Request::Read(_, _, length) => (Some(&shared.reading), length),
            _ => (None, 0),
        };
        let room = match of {
            Some(of) => Some(self.room(of, bytes.min(1 << 20), attempt).await?),
            None => None,
        };
        let (answer, reply) = oneshot::channel();
        let id = if request == Request::Init { GREETING } else { shared.number() };
        {
            let mut state = shared.state();
            if let Some(ended) = state.ended.clone() {
                return Err(state.error(ended, attempt));
            }
            if state.waiting.is_empty() {
                // While nobody waited nothing had to move.
                state.moved = Instant::now();
            }
            state.waiting.insert(id, Waiting { reply: answer, _room: [Some(asking), room] });
        }
        let progress = status::counted().filter(|_| !body.is_empty());
        let ask = Ask { head: request.encode(id), body, progress };
        if self.asks.send(ask).await.is_err() {
            return Err(shared.why_ended(attempt));
        }
        Ok(Pending { reply, shared: Arc::clone(shared), patience: self.stall, attempt })
    }

    /// What came instead of the server's first word.
    pub(super) fn noise(&self) -> String {
        escaped_up_to(self.shared.state().noise.trim_ascii(), SHOWN_NOISE)
    }

    /// Waits for room, as long as something moves.
    async fn room(
        &self,
        of: &Arc<Semaphore>,
        many: u32,
        attempt: &'static str,
    ) -> Result<OwnedSemaphorePermit, RemoteError> {
        let room = Arc::clone(of).acquire_many_owned(many);
        match while_it_moves(&self.shared, self.stall, room).await {
            Some(room) => Ok(room.map_err(|_| self.shared.why_ended(attempt))?),
            None => Err(RemoteError::Stalled { attempt, after: self.stall }),
        }
    }
}

impl Pending {
    /// Nothing else may move for so long at least, say while the server syncs a large file.
    pub(super) fn at_least(mut self, patience: Duration) -> Self {
        self.patience = self.patience.max(patience);
        self
    }

    /// Waits for it.
    pub(super) async fn reply(self) -> Result<Reply, RemoteError> {
        match while_it_moves(&self.shared, self.patience, self.reply).await {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(_)) => Err(self.shared.why_ended(self.attempt)),
            None => Err(RemoteError::Stalled { attempt: self.attempt, after: self.patience }),
        }
    }
}

/// Waits for `work`; `None` when nothing has moved for `patience`.
async fn while_it_moves<T>(shared: &Shared, patience: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let begun = Instant::now();
    loop {
        let deadline = shared.state().moved.max(begun) + patience;
        match tokio::time::timeout_at(deadline, &mut work).await {
            Ok(done) => return Some(done),
            Err(_) if shared.state().moved.max(begun) + patience <= Instant::now() => return None,
            Err(_) => {}
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }

    fn number(&self) -> u32 {
        // Of four billion, those of long ago are free again.
        match self.next.fetch_add(1, Ordering::Relaxed) {
            GREETING => self.next.fetch_add(1, Ordering::Relaxed),
            number => number,
        }
    }

    fn moved(&self) {
        self.state().moved = Instant::now();
    }

    fn end(&self, ended: Ended) {
        let waiting = {
            let mut state = self.state();
            state.ended.get_or_insert(ended);
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
        for semaphore in [&self.asking, &self.writing, &self.reading] {
            semaphore.close();
        }
    }

    fn why_ended(&self, attempt: &'static str) -> RemoteError {
        let state = self.state();
        let ended = state.ended.clone().unwrap_or(Ended::Closed);
        state.error(ended, attempt)
    }
}

impl State {
    fn error(&self, ended: Ended, attempt: &'static str) -> RemoteError {
        match ended {
            Ended::Refused => RemoteError::NoSftp { words: "it has no such subsystem".to_owned() },
            Ended::Closed => RemoteError::Ended { attempt, words: self.stderr.shown() },
            Ended::Lost(words) => RemoteError::Ended { attempt, words },
            Ended::Nonsense(words) => RemoteError::Nonsense { attempt, words },
            Ended::Stalled(after) => RemoteError::Stalled { attempt, after },
        }
    }
}

async fn until_gone(mut gone: watch::Receiver<()>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        // Nothing is ever sent: it is the sender's end.
        _ = gone.changed() => {}
    }
}

/// Hears what the server says.
async fn listen(mut read: ExecReader, shared: Arc<Shared>) {
    let mut replies = Replies::default();
    let mut unmoved = 0;
    let mut greeted = false;
    let ended = loop {
        match read.next().await {
            Ok(Some(Said::Out(bytes))) => {
                replies.push(&bytes);
                greeted = greeted || replies.skip_to_greeting();
                if !greeted {
                    // It counts as no progress: whoever only talks has as long as whoever says nothing.
                    let noise = replies.waiting();
                    shared.state().noise = noise[..noise.len().min(SHOWN_NOISE)].to_vec();
                    if noise.len() > MOST_NOISE {
                        break Ended::Nonsense("something else, without an end".to_owned());
                    }
                    continue;
                }
                unmoved += bytes.len();
                match hand_out(&mut replies, &shared) {
                    Ok(0) if unmoved < MOVES => {}
                    Ok(_) => {
                        unmoved = 0;
                        shared.moved();
                    }
                    Err(words) => break Ended::Nonsense(words),
                }
            }
            Ok(Some(Said::Err(bytes))) => shared.state().stderr.push(&bytes),
            Ok(Some(Said::Status(_) | Said::Signal(_) | Said::Eof)) => {}
            Ok(None) => break Ended::Closed,
            Err(ChannelError::ExecRefused) => break Ended::Refused,
            Err(error) => break Ended::Lost(error.to_string()),
        }
    };
    shared.end(ended);
}

/// How many replies were taken; an error says what is wrong with the next.
fn hand_out(replies: &mut Replies, shared: &Shared) -> Result<usize, String> {
    let mut taken = 0;
    while let Some((number, reply)) = replies.next_reply().map_err(|error| error.to_string())? {
        let waiting = shared.state().waiting.remove(&number);
        let Some(waiting) = waiting else {
            return Err(format!("a reply to request {number}, which nobody made"));
        };
        // Who no longer waits is not told.
        let _ = waiting.reply.send(reply);
        taken += 1;
    }
    Ok(taken)
}

/// Says what is asked for, until nobody can ask any longer.
async fn speak(
    write: ExecWriter,
    mut asked: mpsc::Receiver<Ask>,
    shared: Arc<Shared>,
    traffic: Arc<Traffic>,
    stall: Duration,
) {
    while let Some(ask) = asked.recv().await {
        let counted = |ask: &Ask| ask.progress.clone().map(|progress| (progress, ask.body.len() as u64));
        let mut counts: Vec<_> = counted(&ask).into_iter().collect();
        let (mut heads, mut body) = (ask.head, ask.body);
        while body.len() + heads.len() <= TOGETHER {
            heads.extend_from_slice(&body);
            body = Bytes::new();
            match asked.try_recv() {
                Ok(next) => {
                    counts.extend(counted(&next));
                    heads.extend(next.head);
                    body = next.body;
                }
                Err(_) => break,
            }
        }
        for bytes in [Bytes::from(heads), body] {
            match push(&write, bytes, &shared, &traffic, stall).await {
                Ok(()) => {}
                // Who listens knows why.
                Err(None) => return,
                Err(Some(ended)) => return shared.end(ended),
            }
        }
        for (progress, bytes) in counts {
            Status::add(&progress, bytes);
        }
    }
}

async fn push(
    write: &ExecWriter,
    mut bytes: Bytes,
    shared: &Shared,
    traffic: &Traffic,
    stall: Duration,
) -> Result<(), Option<Ended>> {
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(traffic.piece_bytes()));
        let size = piece.len();
        match timeout(stall, write.data_bytes(piece)).await {
            Ok(Ok(())) => shared.moved(),
            Ok(Err(_)) => return Err(None),
            Err(_) => return Err(Some(Ended::Stalled(stall))),
        }
        traffic.sent(size).await;
    }
    Ok(())
}
