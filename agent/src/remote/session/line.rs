//! The TCP connection under a session: made to the first address that answers, listened to until the server greets,
//! and cut for certain when its owner lets go.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelStream};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::error::ConnectError;
use super::progress::{Progress, Step};

/// Cuts the number of receive calls to a tenth.
const READ_BUFFER_BYTES: usize = 16 << 10;

/// Ends the connection when dropped, even where the task that serves it is blocked on a write, or has been forgotten by
/// a deadline.
#[derive(Debug)]
pub(super) struct Hangup(OwnedFd);

impl Drop for Hangup {
    fn drop(&mut self) {
        // It may be closed already.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}

/// The bytes of a connection; what the server says first goes into the progress.
#[derive(Debug)]
pub(super) struct Line {
    stream: Stream,
    progress: Arc<Progress>,
}

/// What carries it.
enum Stream {
    Tcp(TcpStream),
    /// A channel of a connection to the server before.
    Channel(Box<ChannelStream<Msg>>),
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Channel(_) => "Channel",
        })
    }
}

impl Line {
    /// By a channel that leads to the server.
    pub(super) fn through(channel: Channel<Msg>, progress: &Arc<Progress>) -> BufReader<Self> {
        progress.enter(Step::Greeting);
        let stream = Stream::Channel(Box::new(channel.into_stream()));
        BufReader::with_capacity(READ_BUFFER_BYTES, Self { stream, progress: Arc::clone(progress) })
    }
}

/// Connects to one of the host's addresses after the other, each with a fair share of the time.
pub(super) async fn dial(
    host: &str,
    port: u16,
    deadline: Instant,
    stall: Duration,
    progress: &Arc<Progress>,
) -> Result<(BufReader<Line>, Hangup), ConnectError> {
    let stream = reach(host, port, deadline, progress).await?;
    let io = |attempt| {
        let address = progress.address();
        move |source| ConnectError::Io { attempt, address, source }
    };
    prepare(&stream, stall).map_err(io("set up the connection"))?;
    let hangup = Hangup(stream.as_fd().try_clone_to_owned().map_err(io("keep hold of the connection"))?);
    progress.enter(Step::Greeting);
    let line = Line { stream: Stream::Tcp(stream), progress: Arc::clone(progress) };
    Ok((BufReader::with_capacity(READ_BUFFER_BYTES, line), hangup))
}

async fn reach(
    host: &str,
    port: u16,
    deadline: Instant,
    progress: &Progress,
) -> Result<TcpStream, ConnectError> {
    let unresolved = |source| ConnectError::Resolve { host: host.to_owned(), source };
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await.map_err(unresolved)?.collect();
    let mut failure = unresolved(io::Error::new(ErrorKind::NotFound, "it has none"));
    for (index, address) in addresses.iter().enumerate() {
        progress.connect_to(host, *address);
        tracing::debug!("connecting to {host}, address {address}");
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        let began = Instant::now();
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                tracing::debug!("connected to {address}");
                return Ok(stream);
            }
            Ok(Err(source)) => failure = unreachable(progress.address(), source, began.elapsed()),
            Err(_) => failure = unreachable(progress.address(), ErrorKind::TimedOut.into(), share),
        }
    }
    Err(failure)
}

fn unreachable(address: String, source: io::Error, after: Duration) -> ConnectError {
    match source.kind() {
        ErrorKind::ConnectionRefused => ConnectError::Refused { address },
        ErrorKind::TimedOut => ConnectError::TimedOut { address, step: Step::Connecting, after },
        _ => ConnectError::Io { attempt: "connect", address, source },
    }
}

fn prepare(stream: &TcpStream, stall: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // Keepalives can't fire while a write blocks, so the kernel has to notice a dead peer.
    #[cfg(target_os = "linux")]
    if !stall.is_zero() {
        let stall_ms = u32::try_from(stall.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(stream, stall_ms)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = stall;
    Ok(())
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Channel(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        })?;
        self.progress.hear(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Channel(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Channel(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Channel(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_gives_up_on_a_peer_that_acknowledges_nothing() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (deadline, stall) = (Instant::now() + Duration::from_secs(20), Duration::from_secs(7));
        let progress = Arc::new(Progress::new("127.0.0.1", port));
        let (line, _hangup) = dial("127.0.0.1", port, deadline, stall, &progress).await.expect("connected");
        let Stream::Tcp(stream) = &line.get_ref().stream else { panic!("it is a direct connection") };
        assert_eq!(rustix::net::sockopt::tcp_user_timeout(stream).expect("readable"), 7000);
        assert!(stream.nodelay().expect("readable"), "or each channel would cost 40 ms");
    }
}
