//! What can be asked of a server over one SFTP channel, each question with the answer that belongs to it.
//!
//! Promises that an answer of another kind is an error. Lacks any order of steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use skiff_common::sftp::{Attributes, Code, Entry, Extensions, Limits, Open, Reply, Request, Space, Status};

use super::wire::{Pending, Wire};
use crate::remote::RemoteError;
use crate::remote::channels::OpenChannel;
use crate::remote::session::Session;
use crate::remote::traffic::Traffic;

/// What every server has to take in one request.
const SAFE_BYTES: u32 = 32 << 10;
/// The most that is asked for in one request: what OpenSSH takes.
const MOST_BYTES: u64 = 255 << 10;
/// Files that every server keeps open at once.
const SAFE_HANDLES: usize = 32;
/// The most that are kept open at once: enough to fill a long round trip with small files.
const MOST_HANDLES: u64 = 256;
/// More names than these are in no folder that is ours to list.
const MOST_NAMES: usize = 1 << 20;

/// What the server answers to a request that it may refuse.
pub(crate) type Answer<T> = Result<Result<T, Status>, RemoteError>;

/// A channel to the server's SFTP subsystem.
pub(crate) struct Channel {
    wire: Wire,
    offered: Extensions,
    read_bytes: u32,
    write_bytes: u32,
    handles: usize,
    traffic: Arc<Traffic>,
    _open: Option<OpenChannel>,
}

impl Channel {
    /// Opens one, and hears what it can do.
    pub(crate) async fn start(
        session: &Session,
        stall: Duration,
        traffic: Arc<Traffic>,
        mut open: Option<OpenChannel>,
    ) -> Result<Self, RemoteError> {
        const ATTEMPT: &str = "starting SFTP";
        let opened = session.open_subsystem("sftp", stall).await;
        let channel = match &mut open {
            Some(open) => open.heard(opened),
            None => opened,
        }?;
        let asked = Instant::now();
        let wire = Wire::new(channel, Arc::clone(&traffic), stall);
        let offered = match wire.ask(Request::Init, ATTEMPT).await {
            Ok(Reply::Greeting(offered)) => offered,
            Ok(_) => return Err(unasked(ATTEMPT)),
            Err(error) => return Err(without_sftp(error, &wire.noise(), session.is_closed())),
        };
        traffic.saw_round_trip(asked.elapsed());
        let (read_bytes, write_bytes, handles) = (SAFE_BYTES, SAFE_BYTES, SAFE_HANDLES);
        let mut channel = Self { wire, offered, read_bytes, write_bytes, handles, traffic, _open: open };
        if offered.limits
            && let Reply::Extended(reply) = channel.wire.ask(Request::Limits, ATTEMPT).await?
            && let Some(limits) = Limits::parse(reply)
        {
            channel.take_limits(limits);
        }
        Ok(channel)
    }

    fn take_limits(&mut self, limits: Limits) {
        let bytes = |most: u64| u32::try_from(most.min(MOST_BYTES)).unwrap_or(SAFE_BYTES).max(1024);
        self.read_bytes = if limits.read == 0 { SAFE_BYTES } else { bytes(limits.read) };
        self.write_bytes = if limits.write == 0 { SAFE_BYTES } else { bytes(limits.write) };
        if limits.handles > 0 {
            // Half of them: others may share them.
            self.handles = usize::try_from((limits.handles / 2).clamp(1, MOST_HANDLES)).unwrap_or(1);
        }
    }

    /// What it offers beside the draft.
    pub(crate) const fn offered(&self) -> Extensions {
        self.offered
    }

    /// The most that is read at once, in bytes.
    pub(crate) const fn read_bytes(&self) -> u32 {
        self.read_bytes
    }

    /// The most that is written at once, in bytes.
    pub(crate) const fn write_bytes(&self) -> u32 {
        self.write_bytes
    }

    /// How many files may be open at once.
    pub(crate) const fn handles(&self) -> usize {
        self.handles
    }

    /// Asks without waiting for the answer, which [`done`] or [`looked`] takes.
    pub(crate) async fn begin(
        &self,
        request: Request<'_>,
        attempt: &'static str,
    ) -> Result<Pending, RemoteError> {
        self.wire.begin(request, attempt).await
    }

    /// What is only done or not.
    pub(crate) async fn done(&self, request: Request<'_>, attempt: &'static str) -> Answer<()> {
        done(self.wire.begin(request, attempt).await?, attempt).await
    }

    /// Opens a file.
    pub(crate) async fn open(
        &self,
        path: &[u8],
        how: Open,
        attributes: Attributes,
        attempt: &'static str,
    ) -> Answer<Bytes> {
        self.handle(Request::Open(path, how, attributes), attempt).await
    }

    async fn handle(&self, request: Request<'_>, attempt: &'static str) -> Answer<Bytes> {
        match self.wire.ask(request, attempt).await? {
            Reply::Handle(handle) => Ok(Ok(handle)),
            Reply::Status(status) => refused(status, attempt),
            _ => Err(unasked(attempt)),
        }
    }

    /// Closes a file; nothing waits for that.
    pub(crate) async fn close(&self, handle: &[u8]) -> Result<(), RemoteError> {
        self.wire.begin(Request::Close(handle), "closing a file").await.map(drop)
    }

    /// Looks, by one of the requests that do.
    pub(crate) async fn look(&self, request: Request<'_>, attempt: &'static str) -> Answer<Attributes> {
        let asked = Instant::now();
        let answer = looked(self.wire.begin(request, attempt).await?, attempt).await;
        self.traffic.saw_round_trip(asked.elapsed());
        answer
    }

    /// Looks at what stands under a name, a symlink itself included; `None`: nothing.
    pub(crate) async fn standing(&self, path: &[u8], attempt: &'static str) -> Answer<Option<Attributes>> {
        Ok(match self.look(Request::Lstat(path), attempt).await? {
            Ok(attributes) => Ok(Some(attributes)),
            Err(Status { code: Code::NoSuchFile, .. }) => Ok(None),
            Err(status) => Err(status),
        })
    }

    /// Begins a read of `length` bytes.
    pub(crate) async fn begin_read(
        &self,
        handle: &[u8],
        offset: u64,
        length: u32,
        attempt: &'static str,
    ) -> Result<Pending, RemoteError> {
        self.wire.begin(Request::Read(handle, offset, length), attempt).await
    }

    /// Begins a write.
    pub(crate) async fn begin_write(
        &self,
        handle: &[u8],
        offset: u64,
        body: Bytes,
        attempt: &'static str,
    ) -> Result<Pending, RemoteError> {
        let length = u32::try_from(body.len()).expect("bodies are as long as one write");
        self.wire.begin_with(Request::Write(handle, offset, length), body, attempt).await
    }

    /// The names in a folder, without `.` and `..`; only the first ones with `peek`.
    pub(crate) async fn list(&self, path: &[u8], peek: bool, attempt: &'static str) -> Answer<Vec<Entry>> {
        let handle = match self.handle(Request::Opendir(path), attempt).await? {
            Ok(handle) => handle,
            Err(status) => return Ok(Err(status)),
        };
        let mut all = Vec::new();
        let outcome = loop {
            match self.wire.ask(Request::Readdir(&handle), attempt).await? {
                Reply::Names(names) => {
                    all.extend(names.into_iter().filter(|entry| !matches!(&entry.name[..], b"." | b"..")));
                    if all.len() > MOST_NAMES {
                        let words = "a folder with more names than are believed".to_owned();
                        return Err(RemoteError::Nonsense { attempt, words });
                    }
                    if peek && all.len() > 1 {
                        break Ok(all);
                    }
                }
                Reply::Status(Status { code: Code::Eof, .. }) => break Ok(all),
                Reply::Status(status) => break refused(status, attempt)?,
                _ => return Err(unasked(attempt)),
            }
        };
        self.close(&handle).await?;
        Ok(outcome)
    }

    /// How much room there is, where the server tells.
    pub(crate) async fn space(&self, path: &[u8]) -> Result<Option<Space>, RemoteError> {
        if !self.offered.statvfs {
            return Ok(None);
        }
        match self.wire.ask(Request::Statvfs(path), "asking for the free space").await? {
            Reply::Extended(reply) => Ok(Space::parse(reply)),
            _ => Ok(None),
        }
    }
}

/// Takes a reply that only says whether it was done.
pub(super) async fn done(pending: Pending, attempt: &'static str) -> Answer<()> {
    match pending.reply().await? {
        Reply::Status(Status { code: Code::Ok, .. }) => Ok(Ok(())),
        Reply::Status(status) => Ok(Err(status)),
        _ => Err(unasked(attempt)),
    }
}

/// Takes a reply that tells attributes.
pub(super) async fn looked(pending: Pending, attempt: &'static str) -> Answer<Attributes> {
    match pending.reply().await? {
        Reply::Attributes(attributes) => Ok(Ok(attributes)),
        Reply::Status(status) => refused(status, attempt),
        _ => Err(unasked(attempt)),
    }
}

/// Takes what was read; `None` at the end of the file. Never more than `most`.
pub(super) async fn data(pending: Pending, most: u32, attempt: &'static str) -> Answer<Option<Bytes>> {
    match pending.reply().await? {
        Reply::Data(bytes) if bytes.is_empty() || bytes.len() > most as usize => Err(unasked(attempt)),
        Reply::Data(bytes) => Ok(Ok(Some(bytes))),
        Reply::Status(Status { code: Code::Eof, .. }) => Ok(Ok(None)),
        Reply::Status(status) => refused(status, attempt),
        _ => Err(unasked(attempt)),
    }
}

/// A server that says yes, but gives nothing, makes no sense.
fn refused<T>(status: Status, attempt: &'static str) -> Answer<T> {
    if status.code == Code::Ok { Err(unasked(attempt)) } else { Ok(Err(status)) }
}

fn unasked(attempt: &'static str) -> RemoteError {
    RemoteError::Nonsense { attempt, words: "an SFTP reply that was not asked for".to_owned() }
}

/// Whatever ends before the first word is no SFTP, unless the connection went with it.
fn without_sftp(error: RemoteError, noise: &str, is_lost: bool) -> RemoteError {
    let said = |last: &str| {
        [noise, last].into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(", ")
    };
    match error {
        RemoteError::Ended { words, .. } if !is_lost => {
            let words = said(&words);
            let words = if words.is_empty() { "it ended without a word".to_owned() } else { words };
            RemoteError::NoSftp { words }
        }
        // Some other program is talking.
        RemoteError::Nonsense { words, .. } => RemoteError::NoSftp { words: said(&words) },
        RemoteError::Stalled { .. } if !noise.is_empty() => {
            RemoteError::NoSftp { words: said("and then nothing") }
        }
        error => error,
    }
}
