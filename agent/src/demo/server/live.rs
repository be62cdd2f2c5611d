//! The connections that stand, and how to cut them: russh owns their sockets, and offers only to end them politely.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fd::OwnedFd;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Waits until the flag is raised, or until nobody is left who could.
pub(super) async fn raised(flag: &watch::Receiver<bool>) {
    let _ = flag.clone().wait_for(|raised| *raised).await;
}

/// The connections that stand.
#[derive(Debug, Default)]
pub(super) struct Live {
    next: AtomicU64,
    connections: Mutex<HashMap<u64, Connection>>,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    killed: watch::Sender<bool>,
}

impl Live {
    /// Lists the connection for as long as the guard lives.
    pub(super) fn add(self: &Arc<Self>, socket: &TcpStream) -> io::Result<LiveGuard> {
        let socket = rustix::io::fcntl_dupfd_cloexec(socket, 0)?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let killed = watch::Sender::new(false);
        let receiver = killed.subscribe();
        self.lock().insert(id, Connection { socket, killed });
        Ok(LiveGuard { live: Arc::clone(self), id, killed: receiver })
    }

    /// Cuts all connections; says how many there were.
    pub(super) fn kill(&self) -> usize {
        let connections = self.lock();
        connections.values().for_each(Connection::kill);
        connections.len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn kill(&self) {
        self.killed.send_replace(true);
        // It fails only where the connection is gone already.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}

/// Keeps a connection listed, and ends its commands with it.
pub(super) struct LiveGuard {
    live: Arc<Live>,
    id: u64,
    killed: watch::Receiver<bool>,
}

impl LiveGuard {
    /// Raised when the connection is cut or has ended.
    pub(super) fn killed(&self) -> watch::Receiver<bool> {
        self.killed.clone()
    }
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        if let Some(connection) = self.live.lock().remove(&self.id) {
            connection.kill();
        }
    }
}
