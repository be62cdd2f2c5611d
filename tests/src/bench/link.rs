//! A long or thin line between a client and a server on this machine.
//!
//! Two threads and one queue for each direction: one takes what comes, the other hands it on when its time has come. It
//! carries more than 500 MB/s, and holds what is under way at 1 GB/s with a round trip of 250 ms, so that nobody is held up
//! by it who would not be held up by the distance. Lacks what TCP does about distance: windows that have to grow first.

use std::collections::VecDeque;
use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PIECE_BYTES: usize = 256 << 10;
/// What is under way at most, in one direction.
const UNDER_WAY_BYTES: usize = 128 << 20;
/// What a slow line queues before it, as routers do.
const QUEUED: Duration = Duration::from_millis(100);

/// How long and how thin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    rtt_ms: u64,
    bits_per_second: Option<u64>,
}

impl Line {
    /// A line of any rate.
    pub fn rtt_ms(rtt_ms: u64) -> Self {
        Line { rtt_ms, bits_per_second: None }
    }

    /// A radio modem: 1.5 Mbit/s each way.
    pub fn slow() -> Self {
        Line { rtt_ms: 50, bits_per_second: Some(1_500_000) }
    }

    /// Whether its rate is limited.
    pub fn is_slow(&self) -> bool {
        self.bits_per_second.is_some()
    }

    /// Whether nothing has to be put between the two.
    pub fn is_direct(&self) -> bool {
        *self == Line::rtt_ms(0)
    }

    fn one_way(&self) -> Duration {
        Duration::from_micros(self.rtt_ms * 500)
    }

    /// How long so many bytes take to get onto the line.
    fn takes(&self, bytes: usize) -> Duration {
        self.bits_per_second
            .map_or(Duration::ZERO, |rate| Duration::from_nanos(bytes as u64 * 8_000_000_000 / rate.max(1)))
    }

    /// How much is under way at most, with what waits before a slow line.
    fn holds_bytes(&self) -> usize {
        let by_rate = |rate: u64| {
            let bytes = u128::from(rate) / 8 * (self.one_way() + QUEUED).as_millis() / 1000;
            usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1, UNDER_WAY_BYTES)
        };
        self.bits_per_second.map_or(UNDER_WAY_BYTES, by_rate)
    }

    /// How much is taken at once: of a slow line what passes in 10 ms, so that it flows evenly.
    fn piece_bytes(&self) -> usize {
        self.bits_per_second.map_or(PIECE_BYTES, |rate| {
            usize::try_from(rate / 800).unwrap_or(PIECE_BYTES).clamp(1, PIECE_BYTES)
        })
    }
}

impl FromStr for Line {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "slow" {
            return Ok(Line::slow());
        }
        let rtt_ms = text.parse().ok().filter(|rtt_ms| *rtt_ms <= 2000);
        rtt_ms.map(Line::rtt_ms).ok_or_else(|| "a round trip of 0 to 2000 ms, or \"slow\"".to_owned())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits_per_second {
            Some(rate) => write!(f, "{}.{} Mbit/s", rate / 1_000_000, rate / 100_000 % 10),
            None => write!(f, "{} ms", self.rtt_ms),
        }
    }
}

/// The line, in use. Takes no more connections when dropped; those that are open end with their ends.
pub struct DelayedLink {
    port: u16,
    stopped: Arc<AtomicBool>,
    up_bytes: Arc<AtomicU64>,
    acceptor: Option<JoinHandle<()>>,
}

impl DelayedLink {
    /// A line to a port of this machine.
    pub fn to(port: u16, line: Line) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the kernel has a free port");
        let own = listener.local_addr().expect("a listener knows its port").port();
        let stopped = Arc::new(AtomicBool::new(false));
        let up_bytes = Arc::new(AtomicU64::new(0));
        let acceptor = thread::spawn({
            let (stopped, up_bytes) = (Arc::clone(&stopped), Arc::clone(&up_bytes));
            move || {
                for client in listener.incoming() {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    // A side that is gone already is nobody's fault.
                    let Ok(client) = client else { continue };
                    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                    join(&client, &server, line, &up_bytes);
                }
            }
        });
        DelayedLink { port: own, stopped, up_bytes, acceptor: Some(acceptor) }
    }

    /// The port to connect to, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many bytes all clients together have sent.
    pub fn carried_up_bytes(&self) -> u64 {
        self.up_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for DelayedLink {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // The acceptor is woken by a connection.
        let _woken = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the line does not panic");
        }
    }
}

fn join(client: &TcpStream, server: &TcpStream, line: Line, up_bytes: &Arc<AtomicU64>) {
    let nobody = Arc::new(AtomicU64::new(0));
    for (from, to, counted) in [(client, server, up_bytes), (server, client, &nobody)] {
        let _still_works = to.set_nodelay(true);
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let under_way = Arc::new(UnderWay::default());
        thread::spawn({
            let (under_way, counted) = (Arc::clone(&under_way), Arc::clone(counted));
            move || take(from, &under_way, line, &counted)
        });
        thread::spawn(move || hand_on(&to, &under_way, line));
    }
}

/// What one direction carries now.
#[derive(Default)]
struct UnderWay {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// Pieces that were handed on, to be filled again.
    spare: Vec<Vec<u8>>,
    /// Nothing more comes, or nobody takes anything more.
    ended: bool,
}

impl UnderWay {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).expect("nothing panics while it holds the lock")
    }

    /// An empty piece once there is room. `None`: nobody takes it.
    fn room(&self, line: Line) -> Option<Vec<u8>> {
        let mut state = self.state();
        while !state.ended && state.bytes >= line.holds_bytes() {
            state = self.wait(state);
        }
        let spare = state.spare.pop().unwrap_or_else(|| vec![0; line.piece_bytes()]);
        (!state.ended).then_some(spare)
    }

    fn put(&self, due: Instant, piece: Vec<u8>, length: usize) {
        let mut state = self.state();
        state.bytes += length;
        let mut piece = piece;
        piece.truncate(length);
        state.pieces.push_back((due, piece));
        self.changed.notify_all();
    }

    fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// The next piece; `None` after the last.
    fn next(&self) -> Option<(Instant, Vec<u8>)> {
        let mut state = self.state();
        while !state.ended && state.pieces.is_empty() {
            state = self.wait(state);
        }
        state.pieces.pop_front()
    }

    fn arrived(&self, mut piece: Vec<u8>, line: Line) {
        let mut state = self.state();
        state.bytes -= piece.len();
        piece.resize(line.piece_bytes(), 0);
        state.spare.push(piece);
        self.changed.notify_all();
    }
}

fn take(mut from: TcpStream, under_way: &UnderWay, line: Line, counted: &AtomicU64) {
    while let Some(mut piece) = under_way.room(line) {
        match from.read(&mut piece) {
            Ok(length @ 1..) => {
                counted.fetch_add(length as u64, Ordering::Relaxed);
                under_way.put(Instant::now() + line.one_way(), piece, length);
            }
            Ok(0) | Err(_) => break,
        }
    }
    under_way.end();
}

fn hand_on(mut to: &TcpStream, under_way: &UnderWay, line: Line) {
    let mut free_at = Instant::now();
    while let Some((due, piece)) = under_way.next() {
        // A thin line is taken up by what went before; its own length is on top of it.
        free_at = free_at.max(due) + line.takes(piece.len());
        thread::sleep(free_at.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            under_way.end();
            break;
        }
        under_way.arrived(piece, line);
    }
    let _gone = to.shutdown(Shutdown::Write);
}
