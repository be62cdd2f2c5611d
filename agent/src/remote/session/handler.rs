//! What happens on a connection without our asking: the host key to judge, banners, and the end.

use std::sync::{Arc, OnceLock};

use russh::client::{self, DisconnectReason};
use russh::keys::PublicKey;
use russh::keys::PublicKeyOrCertificate;
use skiff_common::escape::escaped_up_to;
use tokio::sync::watch;

use super::error::ConnectError;
use crate::remote::host_key::{KnownHosts, Recorded, Verdict, fingerprint};

const MAX_SHOWN_CHARS: usize = 300;

/// Why the handshake is given up.
#[derive(Debug)]
pub(in crate::remote) enum Stop {
    /// The host key won't do.
    HostKey(Box<ConnectError>),
    /// The host key is all that was wanted.
    Learned(Box<PublicKey>),
    /// The protocol failed.
    Ssh(russh::Error),
}

impl From<russh::Error> for Stop {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

/// What to do with the host key.
#[derive(Debug)]
pub(super) enum Judge {
    /// Go on only with a recorded one.
    Recorded(KnownHosts),
    /// Return it, and stop.
    Learn,
}

/// What a connection has told so far.
#[derive(Debug, Default)]
pub(in crate::remote) struct Told {
    pub(super) host_key: OnceLock<PublicKey>,
    banner: OnceLock<String>,
    farewell: OnceLock<Farewell>,
}

#[derive(Debug)]
struct Farewell {
    text: String,
    by_server: bool,
}

impl Told {
    /// Why the connection ended.
    pub(in crate::remote) fn why_lost(&self) -> Option<&str> {
        self.farewell.get().map(|farewell| farewell.text.as_str())
    }

    /// What the server said when it ended the connection.
    pub(in crate::remote) fn dismissal(&self) -> Option<&str> {
        self.farewell.get().filter(|farewell| farewell.by_server).map(|farewell| farewell.text.as_str())
    }

    /// What the server said to whoever logs in.
    pub(in crate::remote) fn banner(&self) -> Option<&str> {
        self.banner.get().map(String::as_str)
    }
}

#[derive(Debug)]
pub(in crate::remote) struct Handler {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) judge: Judge,
    pub(super) told: Arc<Told>,
    /// Dropped with the handler, when the connection has ended.
    pub(super) _alive: watch::Sender<()>,
}

impl Handler {
    fn judge(&self, key: &PublicKey) -> Result<(), Stop> {
        match &self.judge {
            Judge::Learn => Err(Stop::Learned(Box::new(key.clone()))),
            Judge::Recorded(known) => match self.refusal(known.check(&self.host, self.port, key), key) {
                None => Ok(()),
                Some(error) => Err(Stop::HostKey(Box::new(error))),
            },
        }
    }

    fn refusal(&self, verdict: Verdict, key: &PublicKey) -> Option<ConnectError> {
        let (host, port, fingerprint) = (self.host.clone(), self.port, fingerprint(key));
        match verdict {
            Verdict::Trusted { .. } => None,
            Verdict::Unknown | Verdict::NeedsCertificate { .. } => {
                let algorithm = key.algorithm().to_string();
                Some(ConnectError::HostKeyUnknown { host, port, fingerprint, algorithm })
            }
            Verdict::Changed { recorded } | Verdict::OtherKind { recorded } => {
                let recorded = shown(&recorded);
                Some(ConnectError::HostKeyChanged { host, port, fingerprint, recorded })
            }
            Verdict::Revoked { at } => {
                Some(ConnectError::HostKeyRevoked { host, port, fingerprint, at: at.to_string() })
            }
        }
    }
}

impl client::Handler for Handler {
    type Error = Stop;

    async fn check_server_key(&mut self, presented: &PublicKeyOrCertificate) -> Result<bool, Stop> {
        match presented {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.judge(key)?;
                let first = self.told.host_key.get_or_init(|| key.clone());
                // Keys are exchanged again and again; the host stays the same.
                Ok(first.key_data() == key.key_data())
            }
            PublicKeyOrCertificate::Certificate(_) => {
                let (host, port) = (self.host.clone(), self.port);
                Err(Stop::HostKey(Box::new(ConnectError::HostKeyCertificate { host, port })))
            }
        }
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut client::Session) -> Result<(), Stop> {
        let banner = escaped_up_to(banner.trim().as_bytes(), MAX_SHOWN_CHARS);
        tracing::debug!(host = self.host, banner, "the server's banner");
        // The first one is enough.
        let _ = self.told.banner.set(banner);
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Stop>) -> Result<(), Stop> {
        let farewell = Farewell::new(&reason);
        tracing::debug!(host = self.host, reason = farewell.text, "disconnected");
        let _ = self.told.farewell.set(farewell);
        Ok(())
    }
}

impl Farewell {
    fn new(reason: &DisconnectReason<Stop>) -> Self {
        let (text, by_server) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => (info.message.clone(), true),
            DisconnectReason::Error(Stop::Ssh(error)) => (error.to_string(), false),
            DisconnectReason::Error(Stop::HostKey(error)) => (error.to_string(), false),
            DisconnectReason::Error(Stop::Learned(_)) => ("the host key is learned".to_owned(), false),
        };
        Self { text: escaped_up_to(text.trim().as_bytes(), MAX_SHOWN_CHARS), by_server }
    }
}

fn shown(recorded: &[Recorded]) -> String {
    let one = |key: &Recorded| format!("{} {} at {}", key.algorithm, key.fingerprint, key.at);
    recorded.iter().map(one).collect::<Vec<_>>().join(", ")
}
