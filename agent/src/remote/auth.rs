//! Logging in with a key: from named files, or from ssh-agent and the usual files.
//!
//! It owns finding keys and offering them in order. It promises to name a key file that others can read, even where
//! another key would do, and to report other unusable files only when nothing works. Deliberately absent: passwords,
//! passphrases, certificates from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg};
use russh::{AgentAuthError, MethodKind, MethodSet};
use skiff_common::escape::escaped_up_to;
use tokio::net::UnixStream;

use super::key_file::{self, KeyFileError};
use super::session::{ConnectError, Handler, Login, Progress, Told, lost};

const USUAL_FILES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];
const AGENT: &str = "ssh-agent";
const MAX_SHOWN_CHARS: usize = 100;

/// How far a failed login came.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// Whether the server ended the connection.
    pub(super) closed: bool,
    offered_keys: usize,
    tried: Vec<String>,
    methods: Vec<String>,
    unusable: Option<KeyFileError>,
    dangerous: bool,
}

impl Unfinished {
    /// What to call it, once the connection's last words are known.
    pub(super) fn into_error(self, login: &Login, told: &Told, progress: &Progress) -> ConnectError {
        match self.unusable {
            Some(error) if self.dangerous || (self.offered_keys == 0 && !self.closed) => {
                return ConnectError::KeyFile(Box::new(error));
            }
            _ if self.offered_keys == 0 && !self.closed => return ConnectError::NoKeys { tried: self.tried },
            _ => {}
        }
        if self.closed && (told.dismissal().is_none() || self.offered_keys == 0) {
            return lost(progress, told.why_lost().unwrap_or("the server ended it").to_owned());
        }
        ConnectError::LoginRefused {
            user: login.user.clone(),
            host: login.host.clone(),
            tried: self.tried,
            offered: self.methods,
            message: told.dismissal().or(told.banner()).map(Into::into),
        }
    }
}

/// Offers one key after the other until the server accepts one.
pub(super) async fn log_in(handle: &mut Handle<Handler>, login: &Login) -> Result<(), Unfinished> {
    let mut attempt = Attempt { handle, user: &login.user, so_far: Unfinished::default() };
    match attempt.with_all(&login.identities).await {
        Outcome::Accepted => Ok(()),
        Outcome::Refused | Outcome::Over => Err(attempt.so_far),
    }
}

/// What a key led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Accepted,
    /// Another may do.
    Refused,
    /// No other will.
    Over,
}

struct Attempt<'a> {
    handle: &'a mut Handle<Handler>,
    user: &'a str,
    so_far: Unfinished,
}

impl Attempt<'_> {
    async fn with_all(&mut self, named: &[PathBuf]) -> Outcome {
        if !named.is_empty() {
            return self.with_files(named.to_vec()).await;
        }
        match self.with_agent().await {
            Outcome::Refused => self.with_files(usual_files()).await,
            end => end,
        }
    }

    async fn with_files(&mut self, paths: Vec<PathBuf>) -> Outcome {
        // All of them first: one that others can read is an error even if an earlier one would do.
        let mut keys = Vec::new();
        for path in paths {
            match load(path.clone()).await {
                Ok(key) => keys.push((path, key)),
                Err(error) => {
                    if self.unusable(&path, error) {
                        return Outcome::Over;
                    }
                }
            }
        }
        for (path, key) in keys {
            match self.with_key(&path, key).await {
                Outcome::Refused => {}
                end => return end,
            }
        }
        Outcome::Refused
    }

    /// Whether it ends the login.
    fn unusable(&mut self, path: &Path, error: KeyFileError) -> bool {
        let dangerous = matches!(error, KeyFileError::TooOpen { .. } | KeyFileError::ForeignOwner { .. });
        tracing::debug!(path = %path.display(), %error, "unusable key file");
        self.so_far.tried.push(format!("{} (unusable: {error})", path.display()));
        if dangerous || self.so_far.unusable.is_none() {
            self.so_far.unusable = Some(error);
        }
        self.so_far.dangerous |= dangerous;
        dangerous
    }

    async fn with_key(&mut self, path: &Path, key: PrivateKey) -> Outcome {
        let Some(hash) = self.hash_for(&key.algorithm()).await else { return self.ended() };
        self.offer(path.display().to_string());
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        match self.handle.authenticate_publickey(self.user, key).await {
            Ok(answer) => self.heard(&answer),
            Err(_) => self.ended(),
        }
    }

    async fn with_agent(&mut self) -> Outcome {
        if std::env::var_os("SSH_AUTH_SOCK").is_none() {
            self.so_far.tried.push(format!("{AGENT} (SSH_AUTH_SOCK is not set)"));
            return Outcome::Refused;
        }
        match agent().await {
            Ok((_, identities)) if identities.is_empty() => {
                self.so_far.tried.push(format!("{AGENT} (it has no keys)"));
                Outcome::Refused
            }
            Ok((mut client, identities)) => self.with_agents_keys(&mut client, &identities).await,
            Err(error) => {
                self.so_far.tried.push(format!("{AGENT} ({})", shown(&error.to_string())));
                Outcome::Refused
            }
        }
    }

    async fn with_agents_keys(
        &mut self,
        client: &mut AgentClient<UnixStream>,
        identities: &[AgentIdentity],
    ) -> Outcome {
        for identity in identities {
            match self.with_agents_key(client, identity).await {
                Outcome::Refused => {}
                end => return end,
            }
        }
        Outcome::Refused
    }

    async fn with_agents_key(
        &mut self,
        client: &mut AgentClient<UnixStream>,
        identity: &AgentIdentity,
    ) -> Outcome {
        let Some(hash) = self.hash_for(&identity.public_key().algorithm()).await else { return self.ended() };
        self.offer(format!("{AGENT}: {}", shown(identity.comment())));
        let answer = match identity {
            AgentIdentity::PublicKey { key, .. } => {
                self.handle.authenticate_publickey_with(self.user, key.clone(), hash, client).await
            }
            AgentIdentity::Certificate { certificate, .. } => {
                self.handle.authenticate_certificate_with(self.user, certificate.clone(), hash, client).await
            }
        };
        match answer {
            Ok(answer) => self.heard(&answer),
            Err(AgentAuthError::Key(error)) => {
                self.so_far.tried.push(format!("{AGENT} did not sign ({})", shown(&error.to_string())));
                Outcome::Refused
            }
            Err(AgentAuthError::Send(_)) => self.ended(),
        }
    }

    /// With which hash to sign; `None` in the second place for kinds that have their own. Never SHA-1. Nothing when the
    /// connection is lost.
    async fn hash_for(&self, kind: &Algorithm) -> Option<Option<HashAlg>> {
        if !matches!(kind, Algorithm::Rsa { .. }) {
            return Some(None);
        }
        // A server that doesn't say may know it all the same.
        let best = self.handle.best_supported_rsa_hash().await.ok()?;
        Some(best.flatten().or(Some(HashAlg::Sha512)))
    }

    fn offer(&mut self, name: String) {
        self.so_far.tried.push(name);
        self.so_far.offered_keys += 1;
    }

    fn heard(&mut self, answer: &AuthResult) -> Outcome {
        match answer {
            AuthResult::Success => Outcome::Accepted,
            // So russh tells the end of the connection.
            AuthResult::Failure { remaining_methods, .. }
                if remaining_methods.is_empty() && self.handle.is_closed() =>
            {
                self.ended()
            }
            AuthResult::Failure { remaining_methods, partial_success } => {
                self.refused(remaining_methods, *partial_success)
            }
        }
    }

    fn refused(&mut self, methods: &MethodSet, partly: bool) -> Outcome {
        if partly {
            self.so_far.tried.push("(accepted, but the server wants more)".to_owned());
        }
        self.so_far.methods = methods.iter().map(|method| String::from(<&str>::from(method))).collect();
        if methods.contains(&MethodKind::PublicKey) { Outcome::Refused } else { Outcome::Over }
    }

    fn ended(&mut self) -> Outcome {
        self.so_far.closed = true;
        Outcome::Over
    }
}

async fn load(path: PathBuf) -> Result<PrivateKey, KeyFileError> {
    let loading = tokio::task::spawn_blocking(move || key_file::load(&path, None));
    loading.await.expect("reading a key file does not panic")
}

async fn agent() -> Result<(AgentClient<UnixStream>, Vec<AgentIdentity>), russh::keys::Error> {
    let mut client = AgentClient::connect_env().await?;
    let identities = client.request_identities().await?;
    Ok((client, identities))
}

fn usual_files() -> Vec<PathBuf> {
    let Some(home) = std::env::home_dir() else { return Vec::new() };
    USUAL_FILES.iter().map(|name| home.join(".ssh").join(name)).filter(|path| path.exists()).collect()
}

fn shown(text: &str) -> String {
    escaped_up_to(text.as_bytes(), MAX_SHOWN_CHARS)
}
