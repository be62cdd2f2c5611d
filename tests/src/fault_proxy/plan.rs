//! What is to happen to one connection.

use std::time::Duration;

/// How a connection fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Both sides see an orderly end.
    Fin,
    /// Both sides see a reset.
    Reset,
    /// Nothing moves any longer, in either direction, and nobody is told.
    Stall,
    /// This direction is no longer read, so that its sender sees the window close; the other goes on.
    Deaf,
    /// The lowest bit of this byte is flipped; the rest goes on.
    Flip,
}

/// One direction of a connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// After so many bytes this happens.
    pub fault: Option<(u64, Fault)>,
    /// Each byte arrives so much later. Bytes on their way are not waited for, as on a long line.
    pub delay: Duration,
    /// The most that passes in a second. A few bytes a second are a drip: they come one by one.
    pub bytes_per_second: Option<u64>,
}

/// Both directions of a connection. The default hands on everything at once.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// From the client to the server.
    pub up: Way,
    /// From the server to the client.
    pub down: Way,
}

impl Plan {
    /// `fault` after so many bytes to the server.
    pub fn up_at(byte: u64, fault: Fault) -> Self {
        Plan { up: Way { fault: Some((byte, fault)), ..Way::default() }, down: Way::default() }
    }

    /// `fault` after so many bytes to the client.
    pub fn down_at(byte: u64, fault: Fault) -> Self {
        Plan { up: Way::default(), down: Way { fault: Some((byte, fault)), ..Way::default() } }
    }

    /// The same with a round trip of this length, half of it each way.
    #[must_use]
    pub fn round_trip(mut self, round_trip: Duration) -> Self {
        self.up.delay = round_trip / 2;
        self.down.delay = round_trip / 2;
        self
    }

    /// The same with a limit for each direction.
    #[must_use]
    pub fn rate(mut self, bytes_per_second: u64) -> Self {
        self.up.bytes_per_second = Some(bytes_per_second);
        self.down.bytes_per_second = Some(bytes_per_second);
        self
    }
}
