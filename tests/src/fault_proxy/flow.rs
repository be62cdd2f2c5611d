//! One direction of one connection: what was taken and is on its way.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::plan::{Fault, Way};

const PIECE_BYTES: usize = 64 << 10;
/// What a direction without a delay holds: enough to keep the receiver busy.
const SHORT_LINE_BYTES: usize = 256 << 10;
/// What a long fast line holds: 5 Gbit/s at 100 ms. More would only hide that a receiver is slow.
const LONG_LINE_BYTES: usize = 64 << 20;
/// What a slow line queues before it, as routers do.
const QUEUED: Duration = Duration::from_millis(100);

/// One direction.
pub(super) struct Flow {
    way: Way,
    on_the_way: VecDeque<(Instant, Vec<u8>)>,
    held_bytes: usize,
    passed: u64,
    free_at: Instant,
    ended: bool,
    told: bool,
}

impl Flow {
    pub(super) fn new(way: Way) -> Self {
        let on_the_way = VecDeque::new();
        let free_at = Instant::now();
        Flow { way, on_the_way, held_bytes: 0, passed: 0, free_at, ended: false, told: false }
    }

    /// How many bytes have arrived.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// The fault that is due.
    pub(super) fn due_fault(&self) -> Option<Fault> {
        self.way.fault.filter(|(byte, _)| *byte == self.passed).map(|(_, fault)| fault)
    }

    /// The fault is over and the bytes go on.
    pub(super) fn flip(&mut self) -> bool {
        let Some((_, piece)) = self.on_the_way.front_mut() else { return false };
        piece[0] ^= 1;
        self.way.fault = None;
        true
    }

    /// Whether the sender is read: there is room, and nothing has made this direction deaf.
    pub(super) fn has_room(&self) -> bool {
        !self.ended && self.held_bytes < self.room() && self.due_fault() != Some(Fault::Deaf)
    }

    /// Whether bytes wait for the receiver to take them.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_due().is_some_and(|due| due <= now)
    }

    /// When something can be handed on.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.on_the_way.front().map(|(due, _)| (*due).max(self.free_at))
    }

    /// Whether all is handed on, also the end.
    pub(super) fn is_over(&self) -> bool {
        self.told
    }

    /// Takes what the sender has sent.
    pub(super) fn take(&mut self, mut from: &TcpStream, now: Instant) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES.min(self.room())];
        match from.read(&mut piece) {
            Ok(0) => self.ended = true,
            Ok(length) => {
                piece.truncate(length);
                self.held_bytes += length;
                self.on_the_way.push_back((now + self.way.delay, piece));
            }
            Err(error) => return unless_busy(error),
        }
        Ok(())
    }

    /// Hands on what is due, but nothing behind the place of the fault.
    pub(super) fn hand_on(&mut self, mut to: &TcpStream, now: Instant) -> io::Result<()> {
        while self.is_due(now) && self.due_fault().is_none() {
            let most = self.piece_bytes();
            let (_, piece) = self.on_the_way.front_mut().expect("something is due");
            match to.write(&piece[..most.min(piece.len())]) {
                Ok(length) => self.handed_on(length, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return unless_busy(error),
            }
        }
        if self.ended && self.on_the_way.is_empty() && !self.told {
            self.told = true;
            to.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }

    fn handed_on(&mut self, length: usize, now: Instant) {
        let (due, mut piece) = self.on_the_way.pop_front().expect("it was there to be written");
        self.passed += length as u64;
        self.held_bytes -= length;
        if length < piece.len() {
            piece.drain(..length);
            self.on_the_way.push_front((due, piece));
        }
        if let Some(rate) = self.way.bytes_per_second {
            let takes = Duration::from_nanos(length as u64 * 1_000_000_000 / rate.max(1));
            self.free_at = self.free_at.max(now) + takes;
        }
    }

    /// How much to hand on at once: up to the fault, and with a limit no more than it lets through in 10 ms.
    fn piece_bytes(&self) -> usize {
        let to_fault = self.way.fault.map_or(u64::MAX, |(byte, _)| byte.saturating_sub(self.passed));
        let by_rate = self.way.bytes_per_second.map_or(u64::MAX, |rate| (rate / 100).max(1));
        // A fault that lies behind is no limit.
        let to_fault = if to_fault == 0 { u64::MAX } else { to_fault };
        usize::try_from(to_fault.min(by_rate)).unwrap_or(usize::MAX)
    }

    fn room(&self) -> usize {
        match self.way.bytes_per_second {
            Some(rate) => {
                let bytes = u128::from(rate) * (self.way.delay + QUEUED).as_millis() / 1000;
                usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1, LONG_LINE_BYTES)
            }
            None if self.way.delay.is_zero() => SHORT_LINE_BYTES,
            None => LONG_LINE_BYTES,
        }
    }
}

fn unless_busy(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}
