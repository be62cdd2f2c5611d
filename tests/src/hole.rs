//! A port that swallows what comes: connections to it are neither taken nor refused.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, listen, socket};

/// Enough for any kernel to have its queue full.
const MOST: usize = 16;
/// Over loopback, whoever is let in is so at once.
const PATIENCE: Duration = Duration::from_millis(300);

/// Listens, but its queue is full. Ends when dropped.
pub struct Hole {
    listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Hole {
    /// On a free port of 127.0.0.1.
    pub fn open() -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("the kernel has sockets");
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        bind(&socket, &any).and_then(|()| listen(&socket, 0)).expect("there is a free port");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("a listener knows its port");
        let connect = || TcpStream::connect_timeout(&address, PATIENCE).ok();
        let waiting: Vec<_> = std::iter::from_fn(connect).take(MOST).collect();
        assert!(waiting.len() < MOST, "the queue never gets full");
        Hole { listener, _waiting: waiting }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.listener.local_addr().expect("a listener knows its port").port()
    }
}
