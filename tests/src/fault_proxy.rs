//! A TCP proxy on the loopback address that does to connections what networks do: delay, throttle, cut, stall, flip.
//!
//! Each connection has a [`Plan`]; a plan counts bytes of payload from the first one, in each direction for itself. One
//! thread serves one connection, so that a reset is a reset and not also a farewell. Lacks any knowledge of SSH.

mod flow;
mod link;
mod plan;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

pub use plan::{Fault, Plan, Way};

/// A running proxy. Ends, with all its connections, when dropped.
pub struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// What a connection has carried.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Bytes handed to the server.
    pub up: u64,
    /// Bytes handed to the client.
    pub down: u64,
    /// Whether it met the fault of its plan.
    pub met: bool,
    /// Whether it is over.
    pub over: bool,
}

struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
}

struct State {
    /// Of connections that have none of their own; `None`: they are turned away and not counted.
    usual: Option<Plan>,
    next: VecDeque<Plan>,
    carried: Vec<Carried>,
    is_up: bool,
    /// Connections before this number end by this fault.
    broken: Option<(usize, Fault)>,
    stopped: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

impl FaultProxy {
    /// A proxy before a port of this machine. It hands on everything until it is told otherwise.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the kernel has a free port");
        let own = listener.local_addr().expect("a listener knows its port").port();
        let state = State {
            usual: Some(Plan::default()),
            next: VecDeque::new(),
            carried: Vec::new(),
            is_up: true,
            broken: None,
            stopped: false,
        };
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let shared = Arc::new(Shared { target, state: Mutex::new(state) });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        FaultProxy { port: own, shared, acceptor: Some(acceptor) }
    }

    /// The port to connect to, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The plan of all connections from now on.
    pub fn always(&self, plan: Plan) {
        self.shared.state().usual = Some(plan);
    }

    /// Only connections that have a plan of their own come through from now on.
    pub fn turn_away_others(&self) {
        self.shared.state().usual = None;
    }

    /// The plan of one connection: the next that has none yet.
    pub fn next(&self, plan: Plan) {
        self.shared.state().next.push_back(plan);
    }

    /// Whether the link is up. While it is down nothing moves and nobody is told, as where a radio has lost its mast.
    pub fn set_up(&self, is_up: bool) {
        self.shared.state().is_up = is_up;
    }

    /// Ends all connections that are open now.
    pub fn break_all(&self, fault: Fault) {
        let mut state = self.shared.state();
        state.broken = Some((state.carried.len(), fault));
    }

    /// What each connection has carried so far, in the order in which they came, without the first `skipped`.
    pub fn carried_after(&self, skipped: usize) -> Vec<Carried> {
        self.shared.state().carried.get(skipped..).unwrap_or_default().to_vec()
    }

    /// How many connections there were, and what the last one has carried.
    pub fn last(&self) -> (usize, Carried) {
        let state = self.shared.state();
        (state.carried.len(), state.carried.last().copied().unwrap_or_default())
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        // The acceptor is woken by a connection; that none can be made means that it has ended.
        let _ended = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the proxy does not panic");
        }
    }
}

fn accept(listener: &TcpListener, shared: &Shared) {
    thread::scope(|scope| {
        for client in listener.incoming() {
            // A client that went away while it was queued is nobody's fault.
            let Ok(client) = client else { continue };
            let mut state = shared.state();
            if state.stopped {
                return;
            }
            let number = state.carried.len();
            let Some(plan) = state.next.pop_front().or(state.usual) else { continue };
            state.carried.push(Carried::default());
            scope.spawn(move || link::serve(shared, number, plan, client));
        }
    });
}
