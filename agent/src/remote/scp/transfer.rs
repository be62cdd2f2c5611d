//! One file on its way into staging, through `scp -t` under a shell.

use std::time::Instant;

use bytes::Bytes;
use skiff_common::scp::{Output, Source, Times};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::hand::Hand;
use crate::remote::RemoteError;

const ATTEMPT: &str = "sending";

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

/// A file whose header goes ahead.
pub(super) struct Transfer {
    source: Source,
    then: Option<String>,
    body: u64,
    began: Option<Instant>,
}

impl Hand {
    /// Sends a file. `body` ends early only on failure.
    pub(crate) async fn send_file(
        &mut self,
        file: &Sent<'_>,
        body: &mut mpsc::Receiver<Vec<u8>>,
    ) -> Result<(), RemoteError> {
        let mut transfer = self.begin(file)?;
        self.send(&mut transfer, body).await?;
        self.complete(transfer).await
    }

    /// Has the header of `file` sent with what is sent next: one file is announced while another one ends.
    pub(super) fn begin(&mut self, file: &Sent<'_>) -> Result<Transfer, RemoteError> {
        let modified_s = u64::try_from(file.mtime_ns.div_euclid(1_000_000_000)).unwrap_or(0);
        let times = Times { modified_s, accessed_s: modified_s };
        let mut source = Source::new(file.name.as_bytes(), file.mode, file.size, Some(times))?;
        self.ahead(format!("recv {}\n", file.name).as_bytes());
        if let Some(Output::Bytes(header)) = source.poll_output() {
            self.ahead(&header);
        }
        Ok(Transfer { source, then: file.then.map(str::to_owned), body: file.size, began: None })
    }

    /// Sends the body, and all that comes behind it.
    pub(super) async fn send(
        &mut self,
        transfer: &mut Transfer,
        body: &mut mpsc::Receiver<Vec<u8>>,
    ) -> Result<(), RemoteError> {
        self.flush(ATTEMPT).await?;
        while !transfer.source.is_sent() {
            match transfer.source.poll_output() {
                Some(Output::Bytes(bytes)) => self.ahead(&bytes),
                Some(Output::Body(bytes)) => {
                    transfer.began = Some(Instant::now());
                    self.send_body(bytes, body).await?;
                }
                None => self.hear(&mut transfer.source).await?,
            }
        }
        if let Some(words) = transfer.then.take() {
            self.ahead(words.as_bytes());
            self.ahead(b"\n");
        }
        Ok(())
    }

    /// Waits for the server's word that the file is there.
    pub(super) async fn complete(&mut self, mut transfer: Transfer) -> Result<(), RemoteError> {
        self.flush(ATTEMPT).await?;
        while !transfer.source.is_finished() {
            self.hear(&mut transfer.source).await?;
        }
        self.answer(self.stall(), ATTEMPT).await?.expected(ATTEMPT)?;
        if let Some(began) = transfer.began {
            self.traffic().carried(transfer.body, began.elapsed());
        }
        Ok(())
    }

    async fn send_body(&mut self, size: u64, body: &mut mpsc::Receiver<Vec<u8>>) -> Result<(), RemoteError> {
        let mut left = size;
        while left > 0 {
            let piece = body.recv().await.ok_or(RemoteError::SourceEnded)?;
            left = left.checked_sub(piece.len() as u64).ok_or(RemoteError::SourceEnded)?;
            let mut rest = Bytes::from(piece);
            while !rest.is_empty() {
                let part = rest.split_to(rest.len().min(self.traffic().piece_bytes()));
                let bytes = part.len();
                self.push(part, ATTEMPT).await?;
                self.traffic().sent(bytes).await;
            }
        }
        Ok(())
    }

    async fn hear(&mut self, source: &mut Source) -> Result<(), RemoteError> {
        let after = self.stall();
        self.take_owed(after).await?;
        if self.lines().is_empty() {
            timeout(after, self.more(ATTEMPT))
                .await
                .unwrap_or(Err(RemoteError::Stalled { attempt: ATTEMPT, after }))?;
        }
        let taken = source.handle_input(self.lines().waiting())?;
        self.lines().take(taken);
        Ok(())
    }
}
