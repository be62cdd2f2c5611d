//! A client's command: a shell in the server's folder, and the bytes between it and the channel.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use russh::server::{Handle, Msg};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::DemoServerError;
use super::live::raised;

/// Input that a command has not read yet. russh widens the client's window whether or not what came was read, and once
/// a channel is full the whole connection stands still: so this is far more than a window.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// How long a full queue may stand still while the client takes no output either.
const STALL: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// A piece of output: what a pipe holds.
const PIECE_BYTES: usize = 64 * 1024;
/// The channel's second stream.
const STDERR: u32 = 1;

/// How commands are run.
#[derive(Debug)]
pub(super) struct Shell {
    home: PathBuf,
    path: OsString,
    // Holds the `scp` that commands find first.
    _programs: TempDir,
}

impl Shell {
    /// Commands run in `home` and find `scp_program`, or else this very program, under the name of `scp`.
    pub(super) fn new(home: &Path, scp_program: Option<PathBuf>) -> Result<Self, DemoServerError> {
        let failed = |path: &Path, source| DemoServerError::Write { path: path.to_owned(), source };
        let programs = TempDir::with_prefix("skiff-demo-").map_err(|e| failed(&std::env::temp_dir(), e))?;
        let scp = programs.path().join("scp");
        let program = scp_program.map_or_else(std::env::current_exe, Ok);
        program.and_then(|program| std::os::unix::fs::symlink(program, &scp)).map_err(|e| failed(&scp, e))?;
        Ok(Self { home: home.to_owned(), path: path_with(programs.path()), _programs: programs })
    }

    /// Starts `line`, in a process group of its own.
    pub(super) fn spawn(&self, line: &[u8]) -> io::Result<Child> {
        Command::new("/bin/sh")
            .arg("-c")
            .arg(std::ffi::OsStr::from_bytes(line))
            .current_dir(&self.home)
            .env("HOME", &self.home)
            .env("PATH", &self.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

fn path_with(first: &Path) -> OsString {
    let rest = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let mut path = first.as_os_str().to_owned();
    path.push(":");
    path.push(rest);
    path
}

/// Carries bytes both ways until the command has ended and its output is sent. A command whose client is gone is killed.
pub(super) async fn relay(
    mut child: Child,
    channel: Channel<Msg>,
    session: Handle,
    killed: watch::Receiver<bool>,
) {
    let (read, write) = channel.split();
    let (input, queue) = mpsc::unbounded_channel();
    let stdin = child.stdin.take();
    let ended = tokio::select! {
        ended = run(&mut child, &write) => Some(ended),
        () = take_input(read, &write, input) => None,
        () = feed(stdin, queue) => None,
        () = raised(&killed) => None,
    };
    match ended {
        Some(Ok(status)) => report(status, &write, &session).await,
        Some(Err(error)) => tracing::warn!(%error, "the demo server cannot wait for a command"),
        None => kill(&mut child).await,
    }
    let _ = write.close().await;
}

/// Sends what the command says until it has ended and both its outputs are closed.
async fn run(child: &mut Child, write: &ChannelWriteHalf<Msg>) -> io::Result<ExitStatus> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ((), (), status) =
        tokio::join!(send(stdout, None, write), send(stderr, Some(STDERR), write), child.wait());
    status
}

/// Sends one of the command's outputs. Waits for the client's window, and so lets the command wait for its pipe.
async fn send(output: Option<impl AsyncRead + Unpin>, stream: Option<u32>, write: &ChannelWriteHalf<Msg>) {
    let Some(mut output) = output else { return };
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        if !matches!(output.read_buf(&mut piece).await, Ok(1..)) {
            return;
        }
        let sent = match stream {
            None => write.data_bytes(piece).await,
            Some(stream) => write.extended_data_bytes(stream, piece).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Input on its way to the command, and the room in the queue that it takes up.
struct Piece {
    data: ChannelMsg,
    _room: OwnedSemaphorePermit,
}

/// Queues what the client sends. Returns when the channel is closed, or has to be.
async fn take_input(
    mut read: ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    queue: mpsc::UnboundedSender<Piece>,
) {
    let room = Arc::new(Semaphore::new(QUEUE_BYTES));
    let mut queue = Some(queue);
    while let Some(message) = read.wait().await {
        match (&message, &queue) {
            (ChannelMsg::Data { data }, Some(open)) => {
                let Some(permit) = make_room(&room, data.len(), write).await else { return };
                if open.send(Piece { data: message, _room: permit }).is_err() {
                    queue = None;
                }
            }
            (ChannelMsg::Eof, _) => queue = None,
            (ChannelMsg::Close, _) => return,
            _ => {}
        }
    }
}

/// Waits for room. `None` where none will come: the command waits for the client to take its output, and the client's
/// word that it did is behind the very input that there is no room for.
async fn make_room(
    room: &Arc<Semaphore>,
    bytes: usize,
    write: &ChannelWriteHalf<Msg>,
) -> Option<OwnedSemaphorePermit> {
    let bytes = u32::try_from(bytes.min(QUEUE_BYTES)).unwrap_or(u32::MAX);
    loop {
        if let Ok(permit) = timeout(STALL, Arc::clone(room).acquire_many_owned(bytes)).await {
            return permit.ok();
        }
        if write.writable_packet_size().await == 0 {
            tracing::warn!("a client of the demo server sends without reading; ending its command");
            return None;
        }
    }
}

/// Writes the queue to the command. Never returns: a command that reads no more, or has read all, may still speak.
async fn feed(stdin: Option<ChildStdin>, mut queue: mpsc::UnboundedReceiver<Piece>) {
    if let Some(mut stdin) = stdin {
        while let Some(piece) = queue.recv().await {
            if let ChannelMsg::Data { data } = &piece.data
                && stdin.write_all(data).await.is_err()
            {
                break;
            }
        }
    }
    // What still comes is dropped by `take_input`, which finds nobody here.
    drop(queue);
    std::future::pending::<()>().await;
}

async fn kill(child: &mut Child) {
    // No id: it was waited for, and its number may be somebody else's by now.
    if let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // It fails only where the whole group has ended.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait().await;
}

async fn report(status: ExitStatus, write: &ChannelWriteHalf<Msg>, session: &Handle) {
    let _ = write.eof().await;
    let _ = match (status.code(), status.signal()) {
        (Some(code), _) => write.exit_status(code.unsigned_abs()).await.map_err(drop),
        (None, signal) => {
            send_signal(write.id(), signal.unwrap_or_default(), status.core_dumped(), session).await
        }
    };
}

async fn send_signal(id: ChannelId, signal: i32, core_dumped: bool, session: &Handle) -> Result<(), ()> {
    session.exit_signal_request(id, named(signal), core_dumped, String::new(), String::new()).await
}

fn named(signal: i32) -> Sig {
    match Signal::from_named_raw(signal) {
        Some(Signal::ABORT) => Sig::ABRT,
        Some(Signal::ALARM) => Sig::ALRM,
        Some(Signal::FPE) => Sig::FPE,
        Some(Signal::HUP) => Sig::HUP,
        Some(Signal::ILL) => Sig::ILL,
        Some(Signal::INT) => Sig::INT,
        Some(Signal::KILL) => Sig::KILL,
        Some(Signal::PIPE) => Sig::PIPE,
        Some(Signal::QUIT) => Sig::QUIT,
        Some(Signal::SEGV) => Sig::SEGV,
        Some(Signal::TERM) => Sig::TERM,
        Some(Signal::USR1) => Sig::USR1,
        // As OpenSSH names what the protocol has no name for.
        _ => Sig::Custom("SIG@openssh.com".into()),
    }
}
