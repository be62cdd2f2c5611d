//! One authenticated SSH connection.
//!
//! It owns making the connection, judging the host by its recorded keys, and opening channels. It promises that
//! connecting ends by its deadline wherever the server stops answering, that nothing is said to a host whose key is not
//! recorded, and that letting go of a session ends it. Deliberately absent: retrying, pooling, recording host keys.

mod error;
mod exec;
mod handler;
mod line;
mod progress;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::{Algorithm, PublicKey};
use russh::{Disconnect, Preferred, cipher, compression};
use skiff_common::escape::escaped_up_to;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

pub use self::error::{ChannelError, ConnectError};
pub use self::exec::{ExecChannel, ExecReader, ExecWriter, Said};
pub use self::progress::Step;

pub(super) use self::handler::{Handler, Told};
pub(super) use self::progress::Progress;

use self::handler::{Judge, Stop};
use self::line::Hangup;
use super::auth;
use super::host_key::{KnownHosts, fingerprint};

const KEEPALIVES_MISSED: usize = 3;
/// Window adjustments of a channel that nobody reads block the whole session when they fill its buffer; the default of
/// 100 is reached soon.
const CHANNEL_MESSAGES: usize = 4096;
/// Longer than a full window takes on a slow but healthy link.
const MIN_INACTIVITY: Duration = Duration::from_secs(300);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);
const MAX_SHOWN_CHARS: usize = 100;

/// Where to log in, and how patiently.
#[derive(Debug, Clone)]
pub struct Login {
    /// The host's name or address, as its key is recorded.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user there.
    pub user: String,
    /// Private keys to try, in this order. None: those of ssh-agent, then the usual files in `~/.ssh` that exist.
    pub identities: Vec<PathBuf>,
    /// The files of recorded host keys.
    pub known_hosts: Vec<PathBuf>,
    /// For everything until the login is done.
    pub connect_timeout: Duration,
    /// Between signs of life; zero for none. Three without an answer end the session.
    pub keepalive: Duration,
    /// How long sent bytes may stay unacknowledged; zero for the system's default.
    pub stall_timeout: Duration,
}

/// An authenticated connection. Dropping it cuts the connection, also for its channels; [`Session::disconnect`] says
/// goodbye first.
pub struct Session {
    handle: Handle<Handler>,
    told: Arc<Told>,
    alive: watch::Receiver<()>,
    _hangup: Hangup,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("told", &self.told).finish_non_exhaustive()
    }
}

impl Session {
    /// Connects, judges the host key, logs in; all of it within `connect_timeout`.
    pub async fn connect(login: &Login) -> Result<Self, ConnectError> {
        let progress = Arc::new(Progress::new(&login.host, login.port));
        let deadline = Instant::now() + login.connect_timeout;
        within(deadline, &progress, log_in(login, deadline, &progress)).await
    }

    /// Starts a command; does not wait for the server's consent, which [`ExecReader::next`] would report missing.
    pub async fn open_exec(&self, command: &str, deadline: Duration) -> Result<ExecChannel, ChannelError> {
        let opening = async {
            let channel = self.handle.channel_open_session().await?;
            // In the guard first, so that it is closed if the deadline comes now.
            let channel = ExecChannel::new(channel, Arc::clone(&self.told));
            channel.write.exec(true, command).await?;
            Ok(channel)
        };
        match timeout(deadline, opening).await {
            Ok(opened) => opened.map_err(|error| self.channel_error(&error)),
            Err(_) => Err(ChannelError::TimedOut(deadline)),
        }
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) {
        let mut alive = self.alive.clone();
        // Nothing is ever sent: only the end of the sender ends this.
        while alive.changed().await.is_ok() {}
    }

    /// Says goodbye, and waits a moment for it to be said.
    pub async fn disconnect(&self) {
        let farewell = async {
            if self.handle.disconnect(Disconnect::ByApplication, "", "").await.is_ok() {
                self.closed().await;
            }
        };
        if timeout(FAREWELL, farewell).await.is_err() {
            tracing::debug!("the connection did not end in time; it is cut");
        }
    }

    /// The fingerprint of the host's key, as `ssh` prints it.
    pub fn host_key(&self) -> String {
        self.told.host_key.get().map(fingerprint).unwrap_or_default()
    }

    /// Why the connection ended, if it has: the server's words, escaped, or the failure.
    pub fn why_lost(&self) -> Option<String> {
        self.told.why_lost().map(str::to_owned)
    }

    fn channel_error(&self, error: &russh::Error) -> ChannelError {
        match error {
            russh::Error::ChannelOpenFailure(reason) => {
                ChannelError::Denied { reason: format!("{reason:?}") }
            }
            other => ChannelError::Lost { reason: self.why_lost().unwrap_or_else(|| other.to_string()) },
        }
    }
}

/// The key that a host presents, whatever is recorded for it. Only a person can say whether it is the right one.
pub async fn offered_key(host: &str, port: u16, timeout: Duration) -> Result<PublicKey, ConnectError> {
    let progress = Arc::new(Progress::new(host, port));
    let deadline = Instant::now() + timeout;
    let learning = async {
        let (line, _hangup) = line::dial(host, port, deadline, timeout, &progress).await?;
        let config = client::Config { preferred: preferred(&[]), ..client::Config::default() };
        let (handler, _, _) = handler(host, port, Judge::Learn);
        match client::connect_stream(Arc::new(config), line, handler).await {
            Err(Stop::Learned(key)) => Ok(*key),
            Err(stop) => Err(failure(stop, &progress)),
            Ok(_) => Err(lost(&progress, "it presented no host key".to_owned())),
        }
    };
    within(deadline, &progress, learning).await
}

async fn log_in(login: &Login, deadline: Instant, progress: &Arc<Progress>) -> Result<Session, ConnectError> {
    let (host, port) = (login.host.as_str(), login.port);
    let known = known_hosts(login.known_hosts.clone()).await?;
    let config = Arc::new(config(login, &known.algorithms_for(host, port)));
    let (line, hangup) = line::dial(host, port, deadline, login.stall_timeout, progress).await?;
    let (handler, told, alive) = handler(host, port, Judge::Recorded(known));
    let connected = client::connect_stream(config, line, handler).await;
    let handle = connected.map_err(|stop| failure(stop, progress))?;
    progress.enter(Step::LoggingIn);
    let mut session = Session { handle, told, alive, _hangup: hangup };
    let attempt = auth::log_in(&mut session.handle, login).await;
    if let Err(auth::Unfinished { closed: true, .. }) = &attempt {
        // The reason arrives with the end.
        let _ = timeout(FAREWELL, session.closed()).await;
    }
    attempt.map_err(|unfinished| unfinished.into_error(login, &session.told, progress))?;
    Ok(session)
}

async fn within<T>(
    deadline: Instant,
    progress: &Progress,
    work: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    match tokio::time::timeout_at(deadline, work).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::TimedOut { address: progress.address(), step: progress.step() }),
    }
}

async fn known_hosts(paths: Vec<PathBuf>) -> Result<KnownHosts, ConnectError> {
    let loading = tokio::task::spawn_blocking(move || KnownHosts::load(&paths));
    Ok(loading.await.expect("reading known hosts does not panic")?)
}

fn handler(host: &str, port: u16, judge: Judge) -> (Handler, Arc<Told>, watch::Receiver<()>) {
    let told = Arc::new(Told::default());
    let (sender, receiver) = watch::channel(());
    let handler = Handler { host: host.to_owned(), port, judge, told: Arc::clone(&told), _alive: sender };
    (handler, told, receiver)
}

fn config(login: &Login, recorded: &[Algorithm]) -> client::Config {
    client::Config {
        preferred: preferred(recorded),
        channel_buffer_size: CHANNEL_MESSAGES,
        inactivity_timeout: Some((login.stall_timeout * 5).max(MIN_INACTIVITY)),
        keepalive_interval: Some(login.keepalive).filter(|interval| !interval.is_zero()),
        keepalive_max: KEEPALIVES_MISSED,
        nodelay: true,
        ..client::Config::default()
    }
}

/// Asks for a host key of a recorded kind first: a host with only an RSA line would look changed by its ed25519 key.
fn preferred(recorded: &[Algorithm]) -> Preferred {
    // Without SHA-1.
    let known: Vec<&Algorithm> =
        Preferred::DEFAULT.key.iter().filter(|one| **one != Algorithm::Rsa { hash: None }).collect();
    let first = recorded.iter().filter(|one| known.contains(one));
    let then = known.iter().copied().filter(|one| !recorded.contains(one));
    Preferred {
        key: first.chain(then).cloned().collect(),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(ciphers()),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    }
}

fn ciphers() -> &'static [cipher::Name] {
    if has_aes() {
        &[
            cipher::AES_128_GCM,
            cipher::AES_256_GCM,
            cipher::CHACHA20_POLY1305,
            cipher::AES_128_CTR,
            cipher::AES_192_CTR,
            cipher::AES_256_CTR,
        ]
    } else {
        &[
            cipher::CHACHA20_POLY1305,
            cipher::AES_128_GCM,
            cipher::AES_256_GCM,
            cipher::AES_128_CTR,
            cipher::AES_192_CTR,
            cipher::AES_256_CTR,
        ]
    }
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

fn failure(stop: Stop, progress: &Progress) -> ConnectError {
    let address = progress.address();
    match stop {
        Stop::HostKey(error) => *error,
        Stop::Learned(_) => lost(progress, "its host key was only looked at".to_owned()),
        Stop::Ssh(russh::Error::NoCommonAlgo { kind, ours, theirs }) => ConnectError::NoCommonAlgorithm {
            address,
            kind: format!("{kind:?}").to_lowercase(),
            ours,
            theirs: theirs.iter().map(|name| escaped_up_to(name.as_bytes(), MAX_SHOWN_CHARS)).collect(),
        },
        Stop::Ssh(russh::Error::Version) => ConnectError::NotSsh { address, said: progress.said() },
        Stop::Ssh(_) if progress.step() == Step::Greeting => {
            ConnectError::NotSsh { address, said: progress.said() }
        }
        Stop::Ssh(error) => lost(progress, escaped_up_to(error.to_string().as_bytes(), MAX_SHOWN_CHARS)),
    }
}

pub(super) fn lost(progress: &Progress, reason: String) -> ConnectError {
    ConnectError::Lost { address: progress.address(), step: progress.step(), reason }
}

#[cfg(test)]
mod tests;
