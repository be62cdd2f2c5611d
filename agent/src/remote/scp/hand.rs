//! One shell at the destination that runs `hand.sh`, and the words exchanged with it.
//!
//! Promises that whatever the server does, each wait ends: with an answer, with the channel's end, or at a deadline.
//! It reads all the time, also while it writes, for a peer that isn't read from stops reading.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use skiff_common::RemotePath;
use skiff_common::escape::escaped_up_to;
use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};

use super::answer::{Answer, Lines};
use super::facts::{Facts, parse_facts, parse_room};
use crate::remote::RemoteError;
use crate::remote::channels::OpenChannel;
use crate::remote::connection::{nonce, reading};
use crate::remote::session::{ChannelError, ExecChannel, ExecWriter, Said, Session};
use crate::remote::shell::{self, LastWords};
use crate::remote::space::Room;
use crate::remote::traffic::Traffic;

/// Pieces of server output that wait to be looked at; each is at most a packet of 32 KiB.
const WAITING_PIECES: usize = 64;

/// What a server says that it reads is waited for no longer: it may say anything.
const LONGEST_READING: Duration = Duration::from_secs(24 * 3600);

/// A shell at the destination, in the destination's folder.
pub(crate) struct Hand {
    write: ExecWriter,
    incoming: mpsc::Receiver<Result<Said, ChannelError>>,
    heard: Heard,
    stall: Duration,
    facts: Facts,
    usable: bool,
    ahead: Vec<u8>,
    owed: VecDeque<&'static str>,
    traffic: Arc<Traffic>,
    root: String,
    moves: Arc<AtomicUsize>,
    /// What `moves` was when it entered its folder.
    entered: usize,
    _open: OpenChannel,
}

/// What was heard and not understood yet.
struct Heard {
    lines: Lines,
    words: LastWords,
}

impl Hand {
    /// Starts one in the folder `root`, which is made if it is missing. `moves` counts, for all shells of a destination, how often
    /// one found that another folder has come in the place of its own.
    pub(crate) async fn start(
        session: &Session,
        root: &RemotePath,
        stall: Duration,
        traffic: Arc<Traffic>,
        moves: Arc<AtomicUsize>,
        mut open: OpenChannel,
    ) -> Result<Self, RemoteError> {
        let nonce = nonce();
        let channel = open.heard(session.open_exec(&shell::command_line(&nonce), stall).await)?;
        let (write, incoming) = split(channel);
        let facts = Facts {
            digest: None,
            scp: false,
            tar: false,
            gzip: false,
            zstd: false,
            is_root: false,
            used: true,
            room: None,
        };
        let mut hand = Self {
            write,
            incoming,
            heard: Heard { lines: Lines::new(nonce), words: LastWords::default() },
            stall,
            facts,
            usable: true,
            ahead: shell::first_line(include_str!("hand.sh").lines()),
            owed: VecDeque::new(),
            traffic,
            root: root.to_string(),
            entered: moves.load(Ordering::Relaxed),
            moves,
            _open: open,
        };
        hand.say(&["root", &shell::word(root.as_bytes())]).await?;
        hand.skip_noise().await?;
        let answer = hand.answer(stall, "entering the folder").await?;
        if !answer.ok {
            return Err(RemoteError::Root { path: root.to_string(), why: answer.why("root") });
        }
        hand.facts = parse_facts(&answer.words);
        Ok(hand)
    }

    pub(crate) const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What names this shell, and no other.
    pub(crate) fn nonce(&self) -> &str {
        self.heard.lines.nonce()
    }

    /// What this shell's destination has in common with its other shells.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Nobody knows what it waits for: it must not be used again.
    pub(crate) fn spoil(&mut self) {
        self.usable = false;
    }

    /// Whether nothing is to be said first any longer.
    pub(crate) fn is_silent(&self) -> bool {
        self.ahead.is_empty()
    }

    pub(crate) const fn is_usable(&self) -> bool {
        self.usable
    }

    /// Whether no shell has found another folder in the place of its own since this one entered it.
    pub(super) fn is_current(&self) -> bool {
        self.entered == self.moves.load(Ordering::Relaxed)
    }

    /// Says one verb and its words, and takes the answer.
    pub(crate) async fn ask(
        &mut self,
        words: &[&str],
        patience: Duration,
        attempt: &'static str,
    ) -> Result<Answer, RemoteError> {
        let asked = Instant::now();
        self.say(words).await?;
        let answer = self.answer(patience, attempt).await?;
        self.traffic.saw_round_trip(asked.elapsed());
        Ok(answer)
    }

    /// As [`ask`](Self::ask), where only yes will do.
    pub(crate) async fn must(
        &mut self,
        words: &[&str],
        patience: Duration,
        attempt: &'static str,
    ) -> Result<Answer, RemoteError> {
        self.ask(words, patience, attempt).await?.expected(attempt)
    }

    /// The space there now, where `df` tells.
    pub(super) async fn room(&mut self) -> Result<Option<Room>, RemoteError> {
        let answer = self.must(&["free"], self.stall, "asking for the free space").await?;
        Ok(parse_room(&answer.words))
    }

    /// Has one line said together with the next, which saves a round trip. Only yes will do for it, and the next answer
    /// is not given before.
    pub(crate) fn first(&mut self, words: &[&str], attempt: &'static str) {
        self.ahead((words.join(" ") + "\n").as_bytes());
        self.owed.push_back(attempt);
    }

    /// Says one line.
    pub(crate) async fn say(&mut self, words: &[&str]) -> Result<(), RemoteError> {
        tracing::trace!(shell = %self.nonce(), verb = words.first(), "asked");
        self.ahead((words.join(" ") + "\n").as_bytes());
        self.flush("asking").await
    }

    /// Has `bytes` sent with what is sent next.
    pub(super) fn ahead(&mut self, bytes: &[u8]) {
        self.ahead.extend_from_slice(bytes);
    }

    /// Sends what was to go ahead.
    pub(super) async fn flush(&mut self, attempt: &'static str) -> Result<(), RemoteError> {
        let bytes = std::mem::take(&mut self.ahead);
        if bytes.is_empty() { Ok(()) } else { self.push(bytes, attempt).await }
    }

    /// Takes the next answer. `patience` is for the whole of it, and grows with what the shell says that it reads.
    pub(crate) async fn answer(
        &mut self,
        patience: Duration,
        attempt: &'static str,
    ) -> Result<Answer, RemoteError> {
        self.take_owed(patience).await?;
        self.next_answer(patience, attempt).await
    }

    pub(super) async fn take_owed(&mut self, patience: Duration) -> Result<(), RemoteError> {
        while let Some(attempt) = self.owed.pop_front() {
            self.next_answer(patience, attempt).await?.expected(attempt)?;
        }
        Ok(())
    }

    async fn next_answer(
        &mut self,
        patience: Duration,
        attempt: &'static str,
    ) -> Result<Answer, RemoteError> {
        let began = tokio::time::Instant::now();
        loop {
            if let Some(answer) = self.heard.lines.next_answer(attempt)? {
                tracing::trace!(shell = %self.nonce(), attempt, ok = answer.ok, "answered");
                return self.where_it_should(answer);
            }
            let after = patience + reading(self.heard.lines.reads()).min(LONGEST_READING);
            timeout_at(began + after, self.more(attempt))
                .await
                .unwrap_or(Err(RemoteError::Stalled { attempt, after }))?;
        }
    }

    /// An answer of a shell that stands where it was sent to.
    fn where_it_should(&self, answer: Answer) -> Result<Answer, RemoteError> {
        if answer.ok || answer.words != b"moved" {
            return Ok(answer);
        }
        self.moves.fetch_add(1, Ordering::Relaxed);
        Err(RemoteError::Moved { path: self.root.clone() })
    }

    /// What was heard and not understood yet.
    pub(super) const fn lines(&mut self) -> &mut Lines {
        &mut self.heard.lines
    }

    /// How long nothing may move.
    pub(super) const fn stall(&self) -> Duration {
        self.stall
    }

    /// Takes `size` raw bytes that follow an answer, piece by piece.
    pub(crate) async fn take_raw(
        &mut self,
        mut size: u64,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), RemoteError> {
        const ATTEMPT: &str = "reading back";
        while size > 0 {
            let piece = self.heard.lines.take(usize::try_from(size).unwrap_or(usize::MAX));
            if piece.is_empty() {
                timeout(self.stall, self.more(ATTEMPT))
                    .await
                    .unwrap_or(Err(RemoteError::Stalled { attempt: ATTEMPT, after: self.stall }))?;
                continue;
            }
            size -= piece.len() as u64;
            each(&piece);
        }
        Ok(())
    }

    /// Tells the shell to end.
    pub(crate) async fn end(self) {
        // Whether it hears that or not, the connection is about to close.
        let _ = timeout(Duration::from_secs(1), self.write.eof()).await;
    }

    async fn skip_noise(&mut self) -> Result<(), RemoteError> {
        const ATTEMPT: &str = "starting a shell";
        let after = self.stall;
        let whole = async {
            while !self.heard.lines.skip_to_ready() {
                if self.heard.lines.waiting().len() > shell::MOST_NOISE {
                    let words = escaped_up_to(self.heard.lines.waiting(), 200);
                    return Err(RemoteError::Nonsense { attempt: ATTEMPT, words });
                }
                self.more(ATTEMPT).await.map_err(|error| self.heard.without_shell(error))?;
            }
            Ok(())
        };
        timeout(after, whole).await.unwrap_or(Err(RemoteError::Stalled { attempt: ATTEMPT, after }))
    }

    /// Waits for the next piece of output.
    pub(super) async fn more(&mut self, attempt: &'static str) -> Result<(), RemoteError> {
        let piece = self.incoming.recv().await;
        self.heard.took(piece, attempt)
    }

    /// Writes, and reads what comes meanwhile.
    pub(super) async fn push(
        &mut self,
        bytes: impl Into<Bytes>,
        attempt: &'static str,
    ) -> Result<(), RemoteError> {
        let after = self.stall;
        let write = self.write.data_bytes(bytes.into());
        tokio::pin!(write);
        let deadline = tokio::time::sleep(after);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                biased;
                done = &mut write => break done.map_err(|_| self.heard.words.ended(attempt)),
                piece = self.incoming.recv() => self.heard.took(piece, attempt)?,
                () = &mut deadline => break Err(RemoteError::Stalled { attempt, after }),
            }
        }
    }
}

impl Heard {
    fn took(
        &mut self,
        said: Option<Result<Said, ChannelError>>,
        attempt: &'static str,
    ) -> Result<(), RemoteError> {
        let said = said.ok_or_else(|| self.words.ended(attempt))?;
        match self.words.took(said, attempt)? {
            Some(bytes) => self.lines.push(&bytes, attempt),
            None => Ok(()),
        }
    }

    fn without_shell(&self, error: RemoteError) -> RemoteError {
        self.words.without_shell(self.lines.waiting(), error)
    }
}

/// Splits the channel and reads it from now on. The task ends with the channel, or when nobody listens any longer.
fn split(channel: ExecChannel) -> (ExecWriter, mpsc::Receiver<Result<Said, ChannelError>>) {
    let ExecChannel { mut read, write } = channel;
    let (sender, incoming) = mpsc::channel(WAITING_PIECES);
    tokio::spawn(async move {
        loop {
            let said = tokio::select! {
                said = read.next() => said,
                () = sender.closed() => return,
            };
            let Some(said) = said.transpose() else { return };
            let is_lost = said.is_err();
            if sender.send(said).await.is_err() || is_lost {
                return;
            }
        }
    });
    (write, incoming)
}
