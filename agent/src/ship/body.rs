//! From a reader's thread to the network, in pieces.

use std::io::{self, Write};

use tokio::sync::mpsc;

/// Gathers what is written into pieces and queues them; waits while the queue is full.
pub(crate) struct BodySender {
    queue: mpsc::Sender<Vec<u8>>,
    piece: Vec<u8>,
    size: usize,
}

impl BodySender {
    pub(super) fn new(queue: mpsc::Sender<Vec<u8>>, size: usize) -> Self {
        Self { queue, piece: Vec::with_capacity(size), size }
    }

    /// Sends `bytes`. Fails when nobody takes them any longer.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    /// Sends what was gathered.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush()
    }

    fn hand_on(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(self.size));
        self.queue.blocking_send(piece).map_err(|_| io::Error::other("the transfer has ended"))
    }
}

impl Write for BodySender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.size - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == self.size {
            self.hand_on()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { self.hand_on() }
    }
}
