//! An SSH server inside skiff, on 127.0.0.1, for `skiff demo` and for tests: nothing to install, nothing to set up.
//!
//! Owns throwaway keys, a port that the system chose, and the connections. Lets in whoever holds the one client key and
//! runs what they ask for as this user, in its folder: so it listens on the loopback alone and lives as briefly as it can.
//! Deliberately lacks terminals, forwarding, subsystems and passwords.

mod command;
mod identity;
mod live;
mod login;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::{Disconnect, Preferred, cipher, server};
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use command::Shell;
use identity::Identity;
use live::{Live, raised};
use login::Login;
use wire::Wire;

/// How long a client may take to say that it speaks SSH.
const GREETING_DEADLINE: Duration = Duration::from_secs(30);
/// How long clients have to hang up when the server stops.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(2);
/// How long to wait before accepting again after that failed, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What OpenSSH grants a channel, so that what is measured here holds there.
const WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Bytes that are received at once: several packets.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Why the server didn't start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoServerError {
    /// The port could not be had.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(#[source] io::Error),
    /// The keys could not be made.
    #[error("cannot make throwaway keys: {0}")]
    Keys(#[from] russh::keys::ssh_key::Error),
    /// A file or folder for its clients or its commands could not be made.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A running server. Dropping it cuts all connections.
#[derive(Debug)]
pub(crate) struct EmbeddedServer {
    address: SocketAddr,
    identity: Identity,
    live: Arc<Live>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl EmbeddedServer {
    /// Starts a server that keeps its clients' files in `home` and runs their commands there. The commands find this
    /// very program under the name of `scp`.
    pub(crate) async fn start(home: &Path) -> Result<Self, DemoServerError> {
        Self::start_with(home, None).await
    }

    /// As [`start`](Self::start); the commands find `scp_program` under the name of `scp`.
    pub(crate) async fn start_with(
        home: &Path,
        scp_program: Option<PathBuf>,
    ) -> Result<Self, DemoServerError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(DemoServerError::Listen)?;
        let address = listener.local_addr().map_err(DemoServerError::Listen)?;
        let identity = Identity::make(home, address.port())?;
        let shell = Shell::new(home, scp_program)?;
        let (stop, stopped) = watch::channel(false);
        let live = Arc::new(Live::default());
        let acceptor = Acceptor {
            config: Arc::new(config(&identity)),
            login: Login::new(identity.client_key(), Arc::new(shell)),
            live: Arc::clone(&live),
            stopped,
        };
        let accepting = tokio::spawn(acceptor.run(listener));
        Ok(Self { address, identity, live, stop, accepting })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file with the client's private key.
    pub(crate) fn client_key(&self) -> &Path {
        self.identity.client_key_file()
    }

    /// The file with the server's host key, as clients want it.
    pub(crate) fn known_hosts(&self) -> &Path {
        self.identity.known_hosts_file()
    }

    /// Cuts every connection where it stands, without a word, and kills their commands; says how many there were. New
    /// connections are welcome.
    #[cfg(test)]
    pub(crate) fn kill_connections(&self) -> usize {
        self.live.kill()
    }

    /// Takes no further connections, says goodbye on those that stand, and waits for their end, but not for long.
    pub(crate) async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if timeout(GOODBYE_DEADLINE, &mut self.accepting).await.is_err() {
            tracing::debug!("the demo server's clients did not hang up; cutting them off");
        }
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.live.kill();
    }
}

fn config(identity: &Identity) -> server::Config {
    let ciphers =
        vec![cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR];
    server::Config {
        keys: vec![identity.host_key().clone()],
        methods: [russh::MethodKind::PublicKey].as_slice().into(),
        // Nobody guesses here: the key is random, and only this machine can connect.
        auth_rejection_time: Duration::from_millis(20),
        auth_rejection_time_initial: Some(Duration::ZERO),
        preferred: Preferred { cipher: ciphers.into(), ..Preferred::DEFAULT },
        window_size: WINDOW_BYTES,
        inactivity_timeout: None,
        nodelay: true,
        ..server::Config::default()
    }
}

/// Takes connections until it is told to stop, and owns their tasks.
struct Acceptor {
    config: Arc<server::Config>,
    login: Login,
    live: Arc<Live>,
    stopped: watch::Receiver<bool>,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = raised(&self.stopped) => break,
                accepted = listener.accept() => self.on_accepted(accepted, &mut connections).await,
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    async fn on_accepted(
        &self,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        connections: &mut JoinSet<()>,
    ) {
        match accepted.and_then(|(socket, _)| self.live.add(&socket).map(|guard| (socket, guard))) {
            Ok((socket, guard)) => {
                let login = self.login.for_connection(guard.killed());
                let connection = converse(Arc::clone(&self.config), socket, login, self.stopped.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(guard);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the demo server cannot take a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, from the greeting to the end.
async fn converse(
    config: Arc<server::Config>,
    socket: TcpStream,
    login: Login,
    stopped: watch::Receiver<bool>,
) {
    let greeted = timeout(GREETING_DEADLINE, greet(config, socket, login)).await;
    let Ok(Ok(mut session)) = greeted else {
        tracing::debug!("a client of the demo server did not speak SSH");
        return;
    };
    let handle = session.handle();
    let ended = tokio::select! {
        ended = &mut session => ended,
        () = raised(&stopped) => {
            let goodbye = "the demo server is stopping".to_owned();
            let _ = handle.disconnect(Disconnect::ByApplication, goodbye, String::new()).await;
            session.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the demo server ended");
    }
}

async fn greet(
    config: Arc<server::Config>,
    socket: TcpStream,
    login: Login,
) -> Result<server::RunningSession<Login>, russh::Error> {
    socket.set_nodelay(true)?;
    server::run_stream(config, BufReader::with_capacity(RECEIVE_BYTES, Wire::new(socket)), login).await
}

#[cfg(test)]
mod tests;
