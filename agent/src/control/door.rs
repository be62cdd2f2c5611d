//! The two ways in: a socket that only the agent's own user can open, and TCP, with a token.
//!
//! Promises bounded work whoever knocks: so many connections, one request each, headers and all in so much time.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use super::Control;
use super::admit::Caller;
use super::route::route;

/// A page, a scraper and a few terminals; more wait.
const MOST_CONNECTIONS: usize = 32;
/// Who needs longer for a request is ended: `reload` and `retry` of many take seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const HEADERS: Duration = Duration::from_secs(10);
/// After an error of `accept`, such as too many open files.
const REST: Duration = Duration::from_millis(200);
/// The longest path that a socket's address takes is 107 bytes.
const LONGEST: usize = 100;

/// Why nobody can ask.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket can't be made.
    #[error("cannot listen at {path}: {source}")]
    Listen {
        /// The socket, or the address.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The token can't be read.
    #[error("cannot read the token {path}: {why}")]
    Token {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
}

/// Where the socket of the agent with this state folder is.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// Connects to the agent with this state folder. Blocks.
pub fn connect(state_dir: &Path) -> std::io::Result<UnixStream> {
    let (path, _folder) = short(state_dir)?;
    UnixStream::connect(path)
}

/// An earlier agent's socket may stand there; it is dead, as we have the lock of the folder.
pub(super) fn bind(state_dir: &Path) -> Result<UnixListener, ControlError> {
    let path = socket_path(state_dir);
    let bound = || {
        let (short, _folder) = short(state_dir)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Before the mode is right nobody comes in: the folder is its owner's alone. Where it is open all the same, which
        // people are told, the umask has to see to that.
        let listener = StdUnixListener::bind(short)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    };
    bound().map_err(|source| ControlError::Listen { path: path.display().to_string(), source })
}

pub(super) fn bind_tcp(address: SocketAddr) -> Result<TcpListener, ControlError> {
    let bound = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    bound().map_err(|source| ControlError::Listen { path: address.to_string(), source })
}

/// The token in this file: one line of at least 16 characters, in a file that others can't read.
pub(crate) fn read_token(path: &Path) -> Result<Zeroizing<String>, ControlError> {
    let wrong = |why: String| ControlError::Token { path: path.display().to_string(), why };
    let mode = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(wrong(format!("others can read it; run: chmod 600 {}", path.display())));
    }
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| wrong(error.to_string()))?;
    let token = text.trim();
    if token.len() < 16 || !token.bytes().all(|b| b.is_ascii_graphic()) {
        let make = format!("openssl rand -hex 24 > {}", path.display());
        return Err(wrong(format!("it has to be one word of at least 16 characters; make one with: {make}")));
    }
    Ok(Zeroizing::new(token.to_owned()))
}

pub(super) async fn unix(listener: UnixListener, control: Arc<Control>) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let place = take(&room).await;
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(talk(stream, Caller::Owner, Arc::clone(&control), place))),
            Err(error) => rest(&error).await,
        }
    }
}

pub(super) async fn tcp(listener: TcpListener, token: Option<Zeroizing<String>>, control: Arc<Control>) {
    let (room, token) = (Arc::new(Semaphore::new(MOST_CONNECTIONS)), token.map(Arc::new));
    loop {
        let place = take(&room).await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let caller = Caller::Network { token: token.clone() };
                tokio::spawn(talk(stream, caller, Arc::clone(&control), place));
            }
            Err(error) => rest(&error).await,
        }
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    caller: Caller,
    control: Arc<Control>,
    place: OwnedSemaphorePermit,
) {
    let service = service_fn(move |request| {
        let (control, caller) = (Arc::clone(&control), caller.clone());
        async move { Ok::<_, std::convert::Infallible>(route(&control, &caller, request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADERS).keep_alive(false).max_buf_size(64 << 10);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    // Whatever went wrong, it is the caller who hears of it.
    let _ = tokio::time::timeout(PATIENCE, connection).await;
    drop(place);
}

async fn take(room: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(room).acquire_owned().await.expect("nobody closes it")
}

async fn rest(error: &std::io::Error) {
    tracing::warn!(%error, "cannot take a connection to the control socket");
    tokio::time::sleep(REST).await;
}

/// A way to the socket that is short enough for an address; it holds while the folder is open.
fn short(state_dir: &Path) -> std::io::Result<(PathBuf, Option<std::fs::File>)> {
    use std::os::fd::AsRawFd as _;
    let path = socket_path(state_dir);
    if path.as_os_str().len() <= LONGEST {
        return Ok((path, None));
    }
    let folder = std::fs::File::open(state_dir)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join("control.sock");
    Ok((path, Some(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_below_a_long_path_is_the_owners_alone_and_replaces_a_dead_one() {
        let home = tempfile::tempdir().expect("a folder");
        let state = home.path().join("x".repeat(120));
        std::fs::create_dir(&state).expect("made");
        for _ in 0..2 {
            let listener = bind(&state).expect("bound");
            let mode = std::fs::metadata(socket_path(&state)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            connect(&state).expect("somebody listens");
            drop(listener);
        }
        connect(&state).expect_err("nobody listens");
    }

    #[test]
    fn a_token_is_long_and_private() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("token");
        let put = |text: &str, mode| {
            std::fs::write(&path, text).expect("written");
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("ours");
            read_token(&path).map_err(|error| error.to_string())
        };
        assert_eq!(put("0123456789abcdef\n", 0o600), Ok("0123456789abcdef".to_owned().into()));
        assert!(put("0123456789abcdef", 0o640).expect_err("open").contains("chmod 600"));
        assert!(put("short", 0o600).expect_err("short").contains("16 characters"));
        assert!(read_token(&home.path().join("none")).is_err());
    }
}
