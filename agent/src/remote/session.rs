//! One authenticated SSH connection.
//!
//! It owns making the connection, judging the host by its recorded keys, logging in (`auth`) and opening channels. It
//! promises that connecting ends by its deadline wherever the server stops answering, that nothing is said to a host whose
//! key is not recorded, and that letting go of a session ends it. Deliberately absent: retrying, pooling, recording host keys.

mod algorithm;
mod auth;
mod credentials;
mod error;
mod exec;
mod handler;
mod hint;
mod line;
mod login;
mod preferences;
mod progress;
mod proposal;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use russh::Disconnect;
use russh::client::{self, Handle};
use russh::keys::PublicKey;
use skiff_common::escape::escaped_up_to;
use tokio::io::BufReader;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

pub use self::algorithm::Kind;
pub use self::credentials::{AgentUse, Asker, Credentials};
pub use self::error::{ChannelError, ConnectError};
pub use self::exec::{ExecChannel, ExecReader, ExecWriter, Said};
pub use self::login::{Login, NewHosts};
pub(crate) use self::preferences::WINDOW_BYTES;
pub use self::preferences::{cipher, ciphers};
pub use self::progress::Step;

#[cfg(any(test, fuzzing))]
pub(crate) use self::progress::any_greeting;

use self::handler::{GivenUp, Handler, Judge, Told};
use self::line::{Hangup, Line};
use self::progress::Progress;
use super::host_key::{KnownHosts, fingerprint};

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);
const MAX_SHOWN_CHARS: usize = 100;

/// An authenticated connection. Dropping it cuts the connection, also for its channels; [`Session::disconnect`] says
/// goodbye first.
pub struct Session {
    handle: Handle<Handler>,
    told: Arc<Told>,
    alive: watch::Receiver<()>,
    _hangup: Option<Hangup>,
    /// What it goes through; cut after it.
    via: Option<Box<Session>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("told", &self.told).finish_non_exhaustive()
    }
}

impl Session {
    /// Connects, judges the host key, logs in, at every server on the way; all of it within `connect_timeout`, the time
    /// apart that a person takes to answer.
    pub async fn connect(login: &Login) -> Result<Self, ConnectError> {
        let progress = Arc::new(Progress::new(&login.host, login.port));
        let deadline = Deadline::after(login.connect_timeout);
        within(deadline, &progress, connect(login, deadline, &progress)).await
    }

    /// Starts a command; does not wait for the server's consent, which [`ExecReader::next`] would report missing.
    pub async fn open_exec(&self, command: &str, deadline: Duration) -> Result<ExecChannel, ChannelError> {
        let opening = async {
            let channel = self.open().await?;
            channel.write.exec(true, command).await?;
            tracing::debug!("channel {}: open, a command is asked for", channel.write.id());
            tracing::trace!("channel {}: command: {command}", channel.write.id());
            Ok(channel)
        };
        self.within(deadline, opening).await
    }

    /// Starts a subsystem; as [`open_exec`](Self::open_exec).
    pub async fn open_subsystem(&self, name: &str, deadline: Duration) -> Result<ExecChannel, ChannelError> {
        let opening = async {
            let channel = self.open().await?;
            channel.write.request_subsystem(true, name).await?;
            tracing::debug!(name, "a channel is open, its subsystem is asked for");
            Ok(channel)
        };
        self.within(deadline, opening).await
    }

    async fn open(&self) -> Result<ExecChannel, russh::Error> {
        let channel = self.handle.channel_open_session().await?;
        // In the guard at once, so that it is closed if the deadline comes now.
        Ok(ExecChannel::new(channel, Arc::clone(&self.told)))
    }

    async fn within(
        &self,
        deadline: Duration,
        opening: impl Future<Output = Result<ExecChannel, russh::Error>>,
    ) -> Result<ExecChannel, ChannelError> {
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
        if let Some(via) = &self.via {
            Box::pin(via.disconnect()).await;
        }
    }

    /// A connection from there to another server.
    async fn pass_on(
        &self,
        host: &str,
        port: u16,
        progress: &Arc<Progress>,
    ) -> Result<BufReader<Line>, ConnectError> {
        let gate = progress.address();
        progress.pass_on_to(host, port);
        let opening = self.handle.channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0).await;
        let channel = opening.map_err(|error| ConnectError::Jump {
            gate,
            address: progress.address(),
            reason: match self.channel_error(&error) {
                ChannelError::Denied { reason } => reason,
                other => other.to_string(),
            },
        })?;
        tracing::debug!("a channel to the next server is open: {}", progress.address());
        Ok(Line::through(channel, progress))
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

/// The key that a host presents, whatever is recorded for it. Only a person can say whether it is the right one. The servers
/// on the way are logged in to as for [`Session::connect`].
pub async fn offered_key(login: &Login) -> Result<PublicKey, ConnectError> {
    let progress = Arc::new(Progress::new(&login.host, login.port));
    let deadline = Deadline::after(login.connect_timeout);
    let learning = async {
        let via = pass(login, deadline, &progress).await?;
        let (line, _hangup) = reach(login, via.as_deref(), deadline, &progress).await?;
        let config = preferences::config(login, &[], false);
        let (handler, _, _) = handler(login, &[], Judge::Learn);
        match client::connect_stream(Arc::new(config), line, handler).await {
            Err(GivenUp::Learned(key)) => Ok(*key),
            Err(stop) => Err(failure(stop, &progress)),
            Ok(_) => Err(ConnectError::lost(&progress, "it presented no host key".to_owned())),
        }
    };
    within(deadline, &progress, learning).await
}

async fn connect(
    login: &Login,
    deadline: Deadline,
    progress: &Arc<Progress>,
) -> Result<Session, ConnectError> {
    let via = pass(login, deadline, progress).await?;
    enter(login, &login.jumps, via, deadline, progress).await.map(|session| *session)
}

/// Through the servers on the way.
async fn pass(
    login: &Login,
    deadline: Deadline,
    progress: &Arc<Progress>,
) -> Result<Option<Box<Session>>, ConnectError> {
    let mut via = None;
    for (index, hop) in login.jumps.iter().enumerate() {
        via = Some(enter(hop, &login.jumps[..index], via.take(), deadline, progress).await?);
    }
    Ok(via)
}

/// Through what is open already, if anything is.
async fn reach(
    login: &Login,
    via: Option<&Session>,
    deadline: Deadline,
    progress: &Arc<Progress>,
) -> Result<(BufReader<Line>, Option<Hangup>), ConnectError> {
    if let Some(session) = via {
        return Ok((session.pass_on(&login.host, login.port, progress).await?, None));
    }
    progress.begin(&login.host, login.port);
    let (line, hangup) =
        line::dial(&login.host, login.port, deadline.at, login.stall_timeout, progress).await?;
    Ok((line, Some(hangup)))
}

/// Logs in to one server, which is behind `hops`.
async fn enter(
    login: &Login,
    hops: &[Login],
    via: Option<Box<Session>>,
    deadline: Deadline,
    progress: &Arc<Progress>,
) -> Result<Box<Session>, ConnectError> {
    let known = known_hosts(login.known_hosts.clone()).await?;
    let (name, port) = login.recorded_as();
    let config =
        preferences::config(login, &known.algorithms_for(name, port), known.has_authorities_for(name, port));
    tracing::debug!("our version: {}", client_version(&config));
    let (line, hangup) = reach(login, via.as_deref(), deadline, progress).await?;
    preferences::tell(&config.preferred);
    let (handler, told, alive) = handler(login, hops, Judge::Recorded(known));
    let connected = client::connect_stream(Arc::new(config), line, handler).await;
    let handle = connected.map_err(|stop| failure(stop, progress))?;
    progress.enter(Step::LoggingIn);
    let mut session = Box::new(Session { handle, told, alive, _hangup: hangup, via });
    let attempt = auth::log_in(&mut session.handle, login, progress).await;
    if let Err(auth::Unfinished { closed: true, .. }) = &attempt {
        // The reason arrives with the end.
        let _ = timeout(FAREWELL, session.closed()).await;
    }
    let with = attempt.map_err(|unfinished| unfinished.into_error(login, &session.told, progress))?;
    tracing::info!(
        host_key = session.host_key(),
        version = progress.version(),
        "logged in to {} as {} with {with}",
        progress.address(),
        login.user
    );
    Ok(session)
}

fn client_version(config: &client::Config) -> &str {
    match &config.client_id {
        russh::SshId::Standard(text) | russh::SshId::Raw(text) => text,
    }
}

/// When connecting has to be done, and how long that is.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    after: Duration,
}

impl Deadline {
    fn after(after: Duration) -> Self {
        Self { at: Instant::now() + after, after }
    }
}

async fn within<T>(
    deadline: Deadline,
    progress: &Progress,
    work: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let mut work = std::pin::pin!(work);
    loop {
        // A person who is asked has all the time that the server gives.
        let asked = progress.asked();
        match tokio::time::timeout_at(deadline.at + asked, &mut work).await {
            Ok(result) => return result,
            Err(_) if progress.asked() > asked => {}
            Err(_) => {
                let (address, step) = (progress.address(), progress.step());
                return Err(ConnectError::TimedOut { address, step, after: deadline.after });
            }
        }
    }
}

async fn known_hosts(paths: Vec<PathBuf>) -> Result<KnownHosts, ConnectError> {
    let loading = tokio::task::spawn_blocking(move || KnownHosts::load(&paths));
    Ok(loading.await.expect("reading known hosts does not panic")?)
}

fn handler(login: &Login, hops: &[Login], judge: Judge) -> (Handler, Arc<Told>, watch::Receiver<()>) {
    let told = Arc::new(Told::default());
    let (sender, receiver) = watch::channel(());
    let (host, port) = login.recorded_as();
    let handler = Handler {
        host: host.to_owned(),
        port,
        judge,
        record: record(login),
        trust: login.trust_command(hops),
        told: Arc::clone(&told),
        _alive: sender,
    };
    (handler, told, receiver)
}

/// Where to record the key of a new host, if that is wanted.
fn record(login: &Login) -> Option<PathBuf> {
    match login.new_hosts {
        NewHosts::Refuse => None,
        NewHosts::Record => login.known_hosts.first().cloned(),
    }
}

fn failure(stop: GivenUp, progress: &Progress) -> ConnectError {
    let address = progress.address();
    match stop {
        GivenUp::HostKey(error) => *error,
        GivenUp::Learned(_) => ConnectError::lost(progress, "its host key was only looked at".to_owned()),
        GivenUp::Ssh(russh::Error::NoCommonAlgo { kind, ours, theirs }) => ConnectError::NoCommonAlgorithm {
            address,
            kind: kind.into(),
            ours,
            theirs: theirs.iter().map(|name| escaped_up_to(name.as_bytes(), MAX_SHOWN_CHARS)).collect(),
        },
        GivenUp::Ssh(russh::Error::Version) => ConnectError::NotSsh { address, said: progress.said() },
        GivenUp::Ssh(_) if progress.step() == Step::Greeting => {
            ConnectError::NotSsh { address, said: progress.said() }
        }
        GivenUp::Ssh(error) => {
            ConnectError::lost(progress, escaped_up_to(error.to_string().as_bytes(), MAX_SHOWN_CHARS))
        }
    }
}

#[cfg(test)]
pub(in crate::remote) mod tests;
