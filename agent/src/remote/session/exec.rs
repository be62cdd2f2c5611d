//! A command or a subsystem on the server: one half to read what it says, one to write what it reads.

use std::ops::Deref;
use std::sync::Arc;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use skiff_common::escape::escaped_up_to;

use super::error::ChannelError;
use super::handler::Told;

const STDERR: u32 = 1;
const MAX_SHOWN_CHARS: usize = 200;

/// A running command. Keep reading while writing: a command that ends early is only noticed by the reader, and the whole
/// session stops when a channel's messages pile up.
#[derive(Debug)]
pub struct ExecChannel {
    /// What the command says.
    pub read: ExecReader,
    /// What it is given.
    pub write: ExecWriter,
}

/// What a command says.
#[derive(Debug)]
pub struct ExecReader {
    half: ChannelReadHalf,
    told: Arc<Told>,
    ended: bool,
    _open: Arc<Open>,
}

/// What a command is given: `data_bytes` in pieces of 64 KiB or more, then one `eof`, which dropping doesn't say.
/// `close` is not for the one who still reads: nothing would ever come.
#[derive(Debug)]
pub struct ExecWriter(Arc<Open>);

/// Closes the channel when both halves are dropped, or the server would keep it until `MaxSessions` are open. Not before:
/// russh forgets a channel that we close, without telling its reader.
#[derive(Debug)]
struct Open(Option<ChannelWriteHalf<Msg>>);

/// Something a command said. The order of its end, status and signal varies: read to the end, then judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// On standard output.
    Out(Vec<u8>),
    /// On standard error.
    Err(Vec<u8>),
    /// It ended by itself.
    Status(u32),
    /// It was killed.
    Signal(String),
    /// It closed its output.
    Eof,
}

impl ExecChannel {
    pub(super) fn new(channel: Channel<Msg>, told: Arc<Told>) -> Self {
        let (half, write) = channel.split();
        let open = Arc::new(Open(Some(write)));
        let read = ExecReader { half, told, ended: false, _open: Arc::clone(&open) };
        Self { read, write: ExecWriter(open) }
    }
}

impl ExecReader {
    /// The next that the command says; `None` when the channel is closed properly. Safe to drop in a `select!`. An error
    /// when the server refuses to run it, or the connection is lost. Has no deadline of its own.
    pub async fn next(&mut self) -> Result<Option<Said>, ChannelError> {
        while let Some(message) = self.half.wait().await {
            match message {
                ChannelMsg::Data { data } => return Ok(Some(Said::Out(data.into()))),
                ChannelMsg::ExtendedData { data, ext: STDERR } => return Ok(Some(Said::Err(data.into()))),
                ChannelMsg::ExitStatus { exit_status } => return Ok(Some(Said::Status(exit_status))),
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    let name = escaped_up_to(format!("{signal_name:?}").as_bytes(), MAX_SHOWN_CHARS);
                    return Ok(Some(Said::Signal(name)));
                }
                ChannelMsg::Eof => return Ok(Some(Said::Eof)),
                ChannelMsg::Close => self.ended = true,
                ChannelMsg::Failure => return Err(ChannelError::ExecRefused),
                // Success, window adjustments: russh has acted on them.
                _ => {}
            }
        }
        if self.ended { Ok(None) } else { Err(self.lost()) }
    }

    fn lost(&self) -> ChannelError {
        ChannelError::Lost { reason: self.told.why_lost().unwrap_or("it ended").to_owned() }
    }
}

impl Deref for ExecWriter {
    type Target = ChannelWriteHalf<Msg>;

    fn deref(&self) -> &Self::Target {
        self.0.0.as_ref().expect("the half is only taken when dropping")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Closing a channel that the server has closed is nothing to russh; without a runtime the session is gone, too.
        if let (Some(half), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { half.close().await });
        }
    }
}
