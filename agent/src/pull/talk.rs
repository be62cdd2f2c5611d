//! What a command at the server says, as lines and as bodies, and what it is told.
//!
//! Promises that each wait ends: with something said, with the channel's end, or at a deadline; and that what is kept
//! of a server that doesn't stop talking is bounded. Lacks the meaning of what is said.

use std::time::Duration;

use skiff_common::escape::escaped_up_to;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::remote::RemoteError;
use crate::remote::session::{ExecChannel, ExecReader, Said};
use crate::remote::shell::{self, Buffer, LastWords};

/// The longest line: a digest and a path whose bytes are all escaped.
const LONGEST_LINE: usize = 64 << 10;
/// Messages that wait to be sent: more than are ever under way at once.
pub(super) const WAITING_MESSAGES: usize = 64;

/// A running command.
pub(super) struct Talk {
    read: ExecReader,
    said: mpsc::Sender<Vec<u8>>,
    heard: Buffer,
    words: LastWords,
    stall: Duration,
    ends_at_eof: bool,
}

impl Talk {
    pub(super) fn new(channel: ExecChannel, stall: Duration) -> Self {
        let ExecChannel { read, write } = channel;
        let (said, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING_MESSAGES);
        // It ends with `Talk`; a write that fails shows when reading.
        tokio::spawn(async move {
            while let Some(bytes) = waiting.recv().await {
                if write.data_bytes(bytes).await.is_err() {
                    return;
                }
            }
        });
        Self { read, said, heard: Buffer::default(), words: LastWords::default(), stall, ends_at_eof: false }
    }

    /// One that is over when the command closes its output, whatever it does then.
    pub(super) fn until_eof(self) -> Self {
        Self { ends_at_eof: true, ..self }
    }

    /// Says something; never waits.
    pub(super) fn say(&self, bytes: Vec<u8>) {
        // Full, it is only when somebody forgot to read what he asked for; gone, reading tells why.
        let _ = self.said.try_send(bytes);
    }

    /// Says something; waits while too much waits to be said, which somebody who listens to nothing lets last.
    pub(super) async fn tell(&self, bytes: Vec<u8>, attempt: &'static str) -> Result<(), RemoteError> {
        let after = self.stall;
        match timeout(after, self.said.send(bytes)).await {
            // A reader that is gone shows when reading.
            Ok(_) => Ok(()),
            Err(_) => Err(RemoteError::Stalled { attempt, after }),
        }
    }

    /// Waits longer for each word from now on.
    pub(super) fn set_patience(&mut self, stall: Duration) {
        self.stall = stall;
    }

    /// What is here and not taken.
    pub(super) fn waiting(&self) -> &[u8] {
        self.heard.waiting()
    }

    /// Takes what is here, up to `most` bytes.
    pub(super) fn take(&mut self, most: usize) -> Vec<u8> {
        self.heard.take(most)
    }

    /// Waits for more output. `false`: the command closed its output.
    pub(super) async fn more_or_end(&mut self, attempt: &'static str) -> Result<bool, RemoteError> {
        let after = self.stall;
        match timeout(after, self.next_out(attempt)).await {
            Ok(said) => said,
            Err(_) => Err(RemoteError::Stalled { attempt, after }),
        }
    }

    /// Waits for more output.
    pub(super) async fn more(&mut self, attempt: &'static str) -> Result<(), RemoteError> {
        if self.more_or_end(attempt).await? {
            return Ok(());
        }
        Err(self.ended(attempt))
    }

    /// The next line, without its end.
    pub(super) async fn line(&mut self, attempt: &'static str) -> Result<Vec<u8>, RemoteError> {
        loop {
            if let Some(line) = self.heard.take_line() {
                return Ok(line);
            }
            if self.waiting().len() > LONGEST_LINE {
                return Err(self.nonsense(attempt));
            }
            self.more(attempt).await?;
        }
    }

    /// The next piece of what goes on until `marker`; `None` when that has come.
    pub(super) async fn piece(
        &mut self,
        marker: &[u8],
        attempt: &'static str,
    ) -> Result<Option<Vec<u8>>, RemoteError> {
        loop {
            match memchr::memmem::find(self.waiting(), marker) {
                Some(0) => {
                    self.heard.skip_past(marker);
                    return Ok(None);
                }
                Some(at) => return Ok(Some(self.take(at))),
                // The marker may have begun.
                None if self.waiting().len() >= marker.len() => {
                    return Ok(Some(self.take(self.waiting().len() + 1 - marker.len())));
                }
                None => self.more(attempt).await?,
            }
        }
    }

    /// Skips what comes before `ready`, which is what a shell says first.
    pub(super) async fn skip_noise(
        &mut self,
        ready: &[u8],
        attempt: &'static str,
    ) -> Result<(), RemoteError> {
        // For all of it: noise may drip for ever.
        let after = self.stall;
        let whole = async {
            while !self.heard.skip_past(ready) {
                if self.waiting().len() > shell::MOST_NOISE {
                    return Err(self.nonsense(attempt));
                }
                self.more(attempt)
                    .await
                    .map_err(|error| self.words.without_shell(self.heard.waiting(), error))?;
            }
            Ok(())
        };
        timeout(after, whole).await.unwrap_or(Err(RemoteError::Stalled { attempt, after }))
    }

    pub(super) fn nonsense(&self, attempt: &'static str) -> RemoteError {
        RemoteError::Nonsense { attempt, words: escaped_up_to(self.waiting(), 100) }
    }

    /// The command ended in the middle.
    pub(super) fn ended(&self, attempt: &'static str) -> RemoteError {
        self.words.ended(attempt)
    }

    async fn next_out(&mut self, attempt: &'static str) -> Result<bool, RemoteError> {
        loop {
            let Some(said) = self.read.next().await.transpose() else { return Ok(false) };
            if self.ends_at_eof && matches!(said, Ok(Said::Eof)) {
                return Ok(false);
            }
            if let Some(bytes) = self.words.took(said, attempt)? {
                self.heard.push(&bytes);
                return Ok(true);
            }
        }
    }
}
