//! One shell at the destination that runs `hand.sh`, and the words exchanged with it.
//!
//! Promises that whatever the server does, each wait ends: with an answer, with the channel's end, or at a deadline.
//! It reads all the time, also while it writes, for a peer that isn't read from stops reading.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use skiff_common::escape::escaped_up_to;
use skiff_common::scp::{Output, Source, Times};
use skiff_common::{Algorithm, RemotePath};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::answer::{Answer, Lines, encode, parse_facts};
use super::channels::OpenChannel;
use super::traffic::Traffic;
use crate::remote::RemoteError;
use crate::remote::session::{ExecChannel, ExecWriter, Said, Session};

/// What the server says before our own first word is somebody's shell start-up file; more than this is no shell.
const MOST_NOISE: usize = 1 << 20;
/// Pieces of server output that wait to be looked at; each is at most a packet of 32 KiB.
const WAITING_PIECES: usize = 64;

/// What a destination can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What its digest tool computes; `None`: what is there must be read back.
    pub digest: Option<Algorithm>,
    /// Whether it has `scp`.
    pub scp: bool,
    /// Whether it has `tar`.
    pub tar: bool,
    /// Whether anything stood in the folder when the shell began.
    pub used: bool,
    /// Free space in bytes, where `df` tells.
    pub free_bytes: Option<u64>,
}

/// A shell at the destination, in the destination's folder.
pub(crate) struct Hand {
    write: ExecWriter,
    incoming: mpsc::Receiver<Piece>,
    lines: Lines,
    stall: Duration,
    stderr: Vec<u8>,
    facts: Facts,
    usable: bool,
    exited: bool,
    ahead: Vec<u8>,
    owed: VecDeque<&'static str>,
    traffic: Arc<Traffic>,
    _open: OpenChannel,
}

/// A file for staging.
pub(crate) struct Sent<'a> {
    /// The token that it is called there.
    pub(crate) name: &'a str,
    /// Its mode, once it is there.
    pub(crate) mode: u32,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// When it was changed, in nanoseconds since 1970.
    pub(crate) mtime_ns: i64,
    /// A verb and its words, said right behind the body. Its answer is for the caller to take.
    pub(crate) then: Option<&'a str>,
}

enum Piece {
    Out(Vec<u8>),
    Err(Vec<u8>),
    Exited,
    Lost(String),
}

impl Hand {
    /// Starts one in the folder `root`, which is made if it is missing.
    pub(crate) async fn start(
        session: &Session,
        root: &RemotePath,
        stall: Duration,
        traffic: Arc<Traffic>,
        open: OpenChannel,
    ) -> Result<Self, RemoteError> {
        let nonce = nonce();
        let command =
            format!(r#"exec sh -c 'IFS= read -r P && N=$1 && eval "$(printf %b "$P")"' skiff {nonce}"#);
        let channel = session.open_exec(&command, stall).await?;
        let (write, incoming) = split(channel);
        let facts = Facts { digest: None, scp: false, tar: false, used: true, free_bytes: None };
        let mut hand = Self {
            write,
            incoming,
            lines: Lines::new(nonce),
            stall,
            stderr: Vec::new(),
            facts,
            usable: true,
            exited: false,
            ahead: encode(program().as_bytes()),
            owed: VecDeque::new(),
            traffic,
            _open: open,
        };
        hand.ahead.push(b'\n');
        hand.say(&["root", &text(encode(root.as_bytes()))]).await?;
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
        self.lines.nonce()
    }

    /// Nobody knows what it waits for: it must not be used again.
    pub(crate) fn spoil(&mut self) {
        self.usable = false;
    }

    pub(crate) const fn is_usable(&self) -> bool {
        self.usable
    }

    /// Says one verb and its words, and takes the answer.
    pub(crate) async fn ask(
        &mut self,
        words: &[&str],
        patience: Duration,
        attempt: &'static str,
    ) -> Result<Answer, RemoteError> {
        self.say(words).await?;
        self.answer(patience, attempt).await
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

    /// Has one line said together with the next, which saves a round trip. Only yes will do for it, and the next answer
    /// is not given before.
    pub(crate) fn first(&mut self, words: &[&str], attempt: &'static str) {
        self.ahead.extend((words.join(" ") + "\n").into_bytes());
        self.owed.push_back(attempt);
    }

    /// Says one line.
    pub(crate) async fn say(&mut self, words: &[&str]) -> Result<(), RemoteError> {
        self.ahead.extend((words.join(" ") + "\n").into_bytes());
        tracing::trace!(shell = %self.nonce(), verb = words.first(), "asked");
        let lines = std::mem::take(&mut self.ahead);
        self.push(lines, "asking").await
    }

    /// Takes the next answer. `patience` is for the whole of it.
    pub(crate) async fn answer(
        &mut self,
        patience: Duration,
        attempt: &'static str,
    ) -> Result<Answer, RemoteError> {
        self.take_owed(patience).await?;
        self.next_answer(patience, attempt).await
    }

    async fn take_owed(&mut self, patience: Duration) -> Result<(), RemoteError> {
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
        let whole = async {
            loop {
                if let Some(answer) = self.lines.next_answer(attempt)? {
                    tracing::trace!(shell = %self.nonce(), attempt, ok = answer.ok, "answered");
                    return Ok(answer);
                }
                self.more(attempt).await?;
            }
        };
        timeout(patience, whole).await.unwrap_or(Err(RemoteError::Stalled { attempt, after: patience }))
    }

    /// Sends a file into staging. `body` ends early only on failure.
    pub(crate) async fn send_file(
        &mut self,
        file: &Sent<'_>,
        body: &mut mpsc::Receiver<Vec<u8>>,
    ) -> Result<(), RemoteError> {
        const ATTEMPT: &str = "sending";
        let modified_s = u64::try_from(file.mtime_ns.div_euclid(1_000_000_000)).unwrap_or(0);
        let times = Times { modified_s, accessed_s: modified_s };
        let mut source = Source::new(file.name.as_bytes(), file.mode, file.size, Some(times))?;
        let mut then = file.then;
        self.ahead.extend(format!("recv {}\n", file.name).into_bytes());
        while !source.is_finished() {
            match source.poll_output() {
                Some(Output::Bytes(bytes)) => {
                    self.ahead.extend(bytes);
                    if source.is_sent()
                        && let Some(words) = then.take()
                    {
                        self.ahead.extend(format!("{words}\n").into_bytes());
                    }
                    let bytes = std::mem::take(&mut self.ahead);
                    self.push(bytes, ATTEMPT).await?;
                }
                Some(Output::Body(bytes)) => self.send_body(bytes, body).await?,
                None => self.hear(&mut source).await?,
            }
        }
        self.answer(self.stall, ATTEMPT).await?.expected(ATTEMPT).map(drop)
    }

    /// Takes `size` raw bytes that follow an answer, piece by piece.
    pub(crate) async fn take_raw(
        &mut self,
        mut size: u64,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), RemoteError> {
        const ATTEMPT: &str = "reading back";
        while size > 0 {
            let piece = self.lines.take(usize::try_from(size).unwrap_or(usize::MAX));
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

    async fn send_body(&mut self, size: u64, body: &mut mpsc::Receiver<Vec<u8>>) -> Result<(), RemoteError> {
        let mut left = size;
        while left > 0 {
            let piece = body.recv().await.ok_or(RemoteError::SourceEnded)?;
            left = left.checked_sub(piece.len() as u64).ok_or(RemoteError::SourceEnded)?;
            for part in piece.chunks(self.traffic.piece_bytes()) {
                self.push(part.to_vec(), "sending").await?;
                self.traffic.sent(part.len()).await;
            }
        }
        Ok(())
    }

    async fn hear(&mut self, source: &mut Source) -> Result<(), RemoteError> {
        self.take_owed(self.stall).await?;
        if self.lines.is_empty() {
            timeout(self.stall, self.more("sending"))
                .await
                .unwrap_or(Err(RemoteError::Stalled { attempt: "sending", after: self.stall }))?;
        }
        let taken = source.handle_input(self.lines.waiting())?;
        self.lines.take(taken);
        Ok(())
    }

    async fn skip_noise(&mut self) -> Result<(), RemoteError> {
        const ATTEMPT: &str = "starting a shell";
        let after = self.stall;
        let whole = async {
            while !self.lines.skip_to_ready() {
                if self.lines.waiting().len() > MOST_NOISE {
                    let words = escaped_up_to(self.lines.waiting(), 200);
                    return Err(RemoteError::Nonsense { attempt: ATTEMPT, words });
                }
                self.more(ATTEMPT).await.map_err(|error| self.without_shell(error))?;
            }
            Ok(())
        };
        timeout(after, whole).await.unwrap_or(Err(RemoteError::Stalled { attempt: ATTEMPT, after }))
    }

    /// A server that runs no shell says so in its own words, on either stream, or nothing at all.
    fn without_shell(&self, error: RemoteError) -> RemoteError {
        match error {
            RemoteError::Ended { words, .. }
                if self.exited || (words.is_empty() && !self.lines.is_empty()) =>
            {
                let said = [self.lines.waiting().trim_ascii(), self.stderr.trim_ascii()].join(&b' ');
                let said = escaped_up_to(said.trim_ascii(), 200);
                let words =
                    if said.is_empty() { "what it runs said nothing and ended".to_owned() } else { said };
                RemoteError::NoShell { words }
            }
            error => error,
        }
    }

    /// Waits for the next piece of output.
    async fn more(&mut self, attempt: &'static str) -> Result<(), RemoteError> {
        let piece = self.incoming.recv().await;
        self.took(piece, attempt)
    }

    fn took(&mut self, piece: Option<Piece>, attempt: &'static str) -> Result<(), RemoteError> {
        match piece {
            Some(Piece::Out(bytes)) => self.lines.push(&bytes),
            Some(Piece::Err(bytes)) => {
                // The last words tell most; 4 KiB are enough of them.
                self.stderr.extend(bytes);
                let start = self.stderr.len().saturating_sub(4096);
                self.stderr.drain(..start);
            }
            Some(Piece::Exited) => self.exited = true,
            Some(Piece::Lost(words)) => return Err(RemoteError::Ended { attempt, words }),
            None => return Err(RemoteError::Ended { attempt, words: self.last_words() }),
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        escaped_up_to(self.stderr.trim_ascii(), 300)
    }

    /// Writes, and reads what comes meanwhile.
    async fn push(&mut self, bytes: Vec<u8>, attempt: &'static str) -> Result<(), RemoteError> {
        let after = self.stall;
        let mut came = Vec::new();
        let outcome = {
            let write = self.write.data_bytes(bytes);
            tokio::pin!(write);
            let deadline = tokio::time::sleep(after);
            tokio::pin!(deadline);
            loop {
                tokio::select! {
                    biased;
                    done = &mut write => break done.map_err(|_| None),
                    piece = self.incoming.recv() => match piece {
                        Some(piece) => came.push(piece),
                        None => break Err(None),
                    },
                    () = &mut deadline => break Err(Some(RemoteError::Stalled { attempt, after })),
                }
            }
        };
        for piece in came {
            self.took(Some(piece), attempt)?;
        }
        outcome.map_err(|stalled| {
            stalled.unwrap_or_else(|| RemoteError::Ended { attempt, words: self.last_words() })
        })
    }
}

/// Splits the channel and reads it from now on. The task ends with the channel, or when nobody listens any longer.
fn split(channel: ExecChannel) -> (ExecWriter, mpsc::Receiver<Piece>) {
    let ExecChannel { mut read, write } = channel;
    let (sender, incoming) = mpsc::channel(WAITING_PIECES);
    tokio::spawn(async move {
        loop {
            let said = tokio::select! {
                said = read.next() => said,
                () = sender.closed() => return,
            };
            let piece = match said {
                Ok(Some(Said::Out(bytes))) => Piece::Out(bytes),
                Ok(Some(Said::Err(bytes))) => Piece::Err(bytes),
                Ok(Some(Said::Status(_))) => Piece::Exited,
                Ok(Some(Said::Signal(_) | Said::Eof)) => continue,
                Ok(None) => return,
                Err(error) => Piece::Lost(error.to_string()),
            };
            let lost = matches!(piece, Piece::Lost(_));
            if sender.send(piece).await.is_err() || lost {
                return;
            }
        }
    });
    (write, incoming)
}

/// The program without its comments.
fn program() -> String {
    let lines = include_str!("hand.sh").lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn nonce() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    blake3::Hash::from_bytes(bytes).to_hex()[..24].to_owned()
}

fn text(ascii: Vec<u8>) -> String {
    String::from_utf8(ascii).expect("escapes are ASCII")
}
