//! A socket whose writes never wait, as sshd's don't: russh reads nothing while it writes, so two of its sessions that
//! send to each other at once would wait for each other for ever.
//!
//! Owns what could not be sent yet. That is bounded by the windows that the client grants its channels. It goes out
//! while the session reads, which is all that a session does with its time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Unsent bytes are moved together when so many before them have gone.
const SLACK_BYTES: usize = 1024 * 1024;

/// A connected socket.
#[derive(Debug)]
pub(super) struct Wire {
    socket: TcpStream,
    unsent: Vec<u8>,
    sent: usize,
}

impl Wire {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket, unsent: Vec::new(), sent: 0 }
    }

    /// Sends what is waiting. Ready when nothing is.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            let count = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.unsent[self.sent..]))?;
            self.sent += count;
            if self.sent >= SLACK_BYTES {
                self.unsent.drain(..self.sent);
                self.sent = 0;
            }
        }
        self.unsent.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_direct(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.poll_direct(cx, bytes) {
            Poll::Ready(sent) => Poll::Ready(sent),
            Poll::Pending => {
                self.unsent.extend_from_slice(bytes);
                Poll::Ready(Ok(bytes.len()))
            }
        }
    }

    // To wait here would be what this type is there to avoid.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_send(cx) {
            Poll::Ready(sent) => Poll::Ready(sent),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
