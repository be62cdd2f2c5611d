//! What happens on a connection without our asking: the host key to judge, banners, and the end.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use russh::Names;
use russh::client::{self, DisconnectReason};
use russh::keys::{Certificate, PublicKey, PublicKeyOrCertificate};
use skiff_common::escape::escaped_up_to;
use tokio::sync::watch;

use super::error::ConnectError;
use crate::remote::host_key::{KnownHosts, Recorded, Verdict, append, fingerprint, recorded_name};
use crate::remote::key_file::quoted;

const MAX_SHOWN_CHARS: usize = 300;

/// Why the handshake is given up.
#[derive(Debug)]
pub(super) enum GivenUp {
    /// The host key won't do.
    HostKey(Box<ConnectError>),
    /// The host key is all that was wanted.
    Learned(Box<PublicKey>),
    /// The protocol failed.
    Ssh(russh::Error),
}

impl From<russh::Error> for GivenUp {
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
pub(super) struct Told {
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
    pub(super) fn why_lost(&self) -> Option<&str> {
        self.farewell.get().map(|farewell| farewell.text.as_str())
    }

    /// What the server said when it ended the connection.
    pub(super) fn dismissal(&self) -> Option<&str> {
        self.farewell.get().filter(|farewell| farewell.by_server).map(|farewell| farewell.text.as_str())
    }

    /// What the server said to whoever logs in.
    pub(super) fn banner(&self) -> Option<&str> {
        self.banner.get().map(String::as_str)
    }
}

#[derive(Debug)]
pub(super) struct Handler {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) judge: Judge,
    /// Where to record a new host's key.
    pub(super) record: Option<PathBuf>,
    /// What a person would have it recorded by.
    pub(super) trust: String,
    pub(super) told: Arc<Told>,
    /// Dropped with the handler, when the connection has ended.
    pub(super) _alive: watch::Sender<()>,
}

impl Handler {
    fn judge(&self, key: &PublicKey) -> Result<(), GivenUp> {
        match &self.judge {
            Judge::Learn => Err(GivenUp::Learned(Box::new(key.clone()))),
            Judge::Recorded(known) => {
                let verdict = known.check(&self.host, self.port, key);
                tracing::debug!("the server's host key: {} {}", key.algorithm(), fingerprint(key));
                tracing::debug!("{} in the known hosts: {verdict}", recorded_name(&self.host, self.port));
                if let (true, Some(file)) = (verdict.is_open(), &self.record) {
                    return self.record(file, key);
                }
                self.refusal(verdict, key).map_or(Ok(()), |error| Err(GivenUp::HostKey(Box::new(error))))
            }
        }
    }

    fn record(&self, file: &Path, key: &PublicKey) -> Result<(), GivenUp> {
        append(file, &self.host, self.port, key).map_err(|error| GivenUp::HostKey(Box::new(error.into())))?;
        tracing::warn!(
            host = self.host, port = self.port, fingerprint = fingerprint(key), file = %file.display(),
            "the key of a new host is recorded"
        );
        Ok(())
    }

    /// A certificate counts if an authority that is recorded for the host has signed it; else only the key in it does.
    fn judge_certificate(&self, certificate: &Certificate) -> Result<PublicKey, GivenUp> {
        let key = PublicKey::new(certificate.public_key().clone(), "");
        let Judge::Recorded(known) = &self.judge else {
            return self.judge(&key).map(|()| key);
        };
        let refused = |why: String| {
            let (host, port) = (self.host.clone(), self.port);
            GivenUp::HostKey(Box::new(ConnectError::HostKeyCertificate { host, port, why }))
        };
        match known.certified(&self.host, self.port, certificate, SystemTime::now()) {
            Ok(Some(at)) => {
                tracing::debug!("the host's certificate holds; its authority is recorded at {at}");
                Ok(key)
            }
            Ok(None) => self.judge(&key).map(|()| key),
            Err(why) => Err(refused(why)),
        }
    }

    fn refusal(&self, verdict: Verdict, key: &PublicKey) -> Option<ConnectError> {
        let (host, port, fingerprint) = (self.host.clone(), self.port, fingerprint(key));
        let trust = self.trust.clone();
        match verdict {
            Verdict::Trusted { .. } => None,
            Verdict::Unknown | Verdict::NeedsCertificate { .. } => {
                let algorithm = key.algorithm().to_string();
                Some(ConnectError::HostKeyUnknown { host, port, fingerprint, algorithm, trust })
            }
            Verdict::Changed { recorded } | Verdict::OtherKind { recorded } => {
                let (recorded, forget) = (shown(&recorded), forget(&recorded, &host, port).into());
                let trust = trust.into();
                Some(ConnectError::HostKeyChanged { host, port, fingerprint, recorded, forget, trust })
            }
            Verdict::Revoked { at } => {
                Some(ConnectError::HostKeyRevoked { host, port, fingerprint, at: at.to_string() })
            }
        }
    }
}

impl client::Handler for Handler {
    type Error = GivenUp;

    async fn check_server_key(&mut self, presented: &PublicKeyOrCertificate) -> Result<bool, GivenUp> {
        let key = match presented {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.judge(key)?;
                key.clone()
            }
            PublicKeyOrCertificate::Certificate(certificate) => self.judge_certificate(certificate)?,
        };
        // The first is the only one: when keys are exchanged again, russh doesn't ask about the host's. Who answers then
        // knows the keys of the session, and so is who was judged.
        let _ = self.told.host_key.set(key);
        Ok(true)
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &Names,
        _: &mut client::Session,
    ) -> Result<(), GivenUp> {
        // An AEAD cipher needs none.
        let mac = |name: &str| {
            if is_aead(names.cipher.as_ref()) { "<implicit>".to_owned() } else { name.to_owned() }
        };
        tracing::debug!("chosen: KEX algorithm {}, host key algorithm {}", names.kex.as_ref(), names.key);
        tracing::debug!(
            "chosen: cipher {}, MAC to the server {}, to us {}, compression to the server {:?}, to us {:?}, strict KEX {}",
            names.cipher.as_ref(),
            mac(names.client_mac.as_ref()),
            mac(names.server_mac.as_ref()),
            names.client_compression,
            names.server_compression,
            names.strict_kex()
        );
        Ok(())
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut client::Session) -> Result<(), GivenUp> {
        let banner = escaped_up_to(banner.trim().as_bytes(), MAX_SHOWN_CHARS);
        tracing::debug!("the server's banner: {banner}");
        // The first one is enough.
        let _ = self.told.banner.set(banner);
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<GivenUp>) -> Result<(), GivenUp> {
        let farewell = Farewell::new(&reason);
        tracing::debug!("disconnected from {}: {}", self.host, farewell.text);
        let _ = self.told.farewell.set(farewell);
        Ok(())
    }
}

fn is_aead(cipher: &str) -> bool {
    cipher.contains("gcm") || cipher.contains("poly1305")
}

impl Farewell {
    fn new(reason: &DisconnectReason<GivenUp>) -> Self {
        let (text, by_server) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => (info.message.clone(), true),
            DisconnectReason::Error(GivenUp::Ssh(error)) => (error.to_string(), false),
            DisconnectReason::Error(GivenUp::HostKey(error)) => (error.to_string(), false),
            DisconnectReason::Error(GivenUp::Learned(_)) => ("the host key is learned".to_owned(), false),
        };
        Self { text: escaped_up_to(text.trim().as_bytes(), MAX_SHOWN_CHARS), by_server }
    }
}

fn shown(recorded: &[Recorded]) -> String {
    let one = |key: &Recorded| format!("{} {} at {}", key.algorithm, key.fingerprint, key.at);
    recorded.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What takes the recorded keys of a host out of the files.
fn forget(recorded: &[Recorded], host: &str, port: u16) -> String {
    let mut files: Vec<_> = recorded.iter().map(|key| &key.at.file).collect();
    files.dedup();
    let name = recorded_name(host, port);
    let one = |file: &&PathBuf| format!("ssh-keygen -f {} -R '{name}'", quoted(file));
    files.iter().map(one).collect::<Vec<_>>().join(" && ")
}
