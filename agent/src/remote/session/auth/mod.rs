//! Logging in: with keys from files or ssh-agent, with certificates, and with a password where one is given.
//!
//! It owns finding what there is to offer and offering it in order, until the server is content; one that wants two
//! proofs gets two. It promises to name a key file that others can read, even where another key would do, to report
//! other unusable files only when nothing works, and to ask a person only for what the server would take. Deliberately
//! absent: asking a person for passwords, and remembering which key worked.

mod agent;
mod candidates;
mod password;
mod signer;

use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::{Algorithm, HashAlg};
use russh::{AgentAuthError, MethodKind, MethodSet};
use skiff_common::escape::escaped_up_to;
use zeroize::Zeroizing;

use self::agent::Agent;
use self::candidates::{Candidate, Candidates, Holder};
use self::password::Answer;
use self::signer::SignError;
use super::credentials::{AgentUse, Credentials};
use super::error::ConnectError;
use super::handler::{Handler, Told};
use super::login::Login;
use super::progress::Progress;
use crate::remote::key_file::{self, KeyFileError};

const AGENT: &str = "ssh-agent";
const MAX_SHOWN_CHARS: usize = 100;

/// How far a failed login came.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// Whether the server ended the connection.
    pub(super) closed: bool,
    offered: usize,
    tried: Vec<String>,
    methods: Vec<String>,
    unusable: Option<KeyFileError>,
    dangerous: bool,
}

impl Unfinished {
    /// What to call it, once the connection's last words are known.
    pub(super) fn into_error(self, login: &Login, told: &Told, progress: &Progress) -> ConnectError {
        match self.unusable {
            Some(error) if self.dangerous || (self.offered == 0 && !self.closed) => {
                return ConnectError::KeyFile(Box::new(error));
            }
            _ if self.offered == 0 && !self.closed => {
                let address = progress.address();
                return ConnectError::NoKeys { address, tried: self.tried, offered: self.methods };
            }
            _ => {}
        }
        if self.closed && (told.dismissal().is_none() || self.offered == 0) {
            let reason = told.why_lost().unwrap_or("the server ended it");
            return ConnectError::lost(progress, reason.to_owned());
        }
        ConnectError::LoginRefused {
            user: login.user.as_str().into(),
            address: progress.address().into(),
            install: login.install_command().into(),
            tried: self.tried,
            offered: self.methods,
            message: told.dismissal().or(told.banner()).map(Into::into),
        }
    }
}

/// Offers one thing after the other until the server is content; gives the one that it took.
pub(super) async fn log_in(
    handle: &mut Handle<Handler>,
    login: &Login,
    progress: &Arc<Progress>,
) -> Result<String, Unfinished> {
    let credentials = &login.credentials;
    let mut attempt = Attempt { handle, user: &login.user, accepts: None, so_far: Unfinished::default() };
    match attempt.with_all(credentials, progress).await {
        Outcome::Accepted => {
            let with = attempt.so_far.tried.pop();
            Ok(with.unwrap_or_else(|| "nothing, for it asks for nothing".to_owned()))
        }
        Outcome::Refused | Outcome::Over => Err(attempt.so_far),
    }
}

/// What an offer led to.
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
    /// The methods that the server would go on with, once it has said them.
    accepts: Option<MethodSet>,
    so_far: Unfinished,
}

impl Attempt<'_> {
    async fn with_all(&mut self, credentials: &Credentials, progress: &Arc<Progress>) -> Outcome {
        let mut agent = match Agent::find(credentials).await {
            Ok(agent) => Some(agent),
            Err(why) => {
                if let Some(why) =
                    why.filter(|_| credentials.identities.is_empty() || asks_agent(credentials))
                {
                    self.so_far.tried.push(format!("{AGENT} ({why})"));
                }
                None
            }
        };
        let Candidates { all, vain, unusable } =
            Candidates::find(credentials, agent.as_ref(), progress).await;
        for what in &vain {
            tracing::debug!("nothing to offer: {what}");
        }
        self.so_far.tried.extend(vain);
        for candidate in &all {
            tracing::trace!("to be offered: {}", candidate.shown());
        }
        if tracing::enabled!(tracing::Level::TRACE) {
            // As ssh does: it shows the methods, even where the first key is taken.
            match self.ask_for_methods().await {
                Outcome::Refused => {}
                end => return end,
            }
        }
        for (path, error) in unusable {
            if self.unusable(&path.display().to_string(), error) {
                return Outcome::Over;
            }
        }
        match self.with_keys(all, agent.as_mut()).await {
            Outcome::Refused => {}
            end => return end,
        }
        if credentials.password_file.is_some() {
            return self.with_password(credentials).await;
        }
        self.ask_for_methods().await
    }

    async fn with_keys(&mut self, candidates: Vec<Candidate>, mut agent: Option<&mut Agent>) -> Outcome {
        for candidate in candidates {
            if !self.may(MethodKind::PublicKey) {
                break;
            }
            match self.with_key(candidate, agent.as_deref_mut()).await {
                Outcome::Refused => {}
                end => return end,
            }
        }
        Outcome::Refused
    }

    /// Whether it ends the login.
    fn unusable(&mut self, name: &str, error: KeyFileError) -> bool {
        let dangerous = matches!(error, KeyFileError::TooOpen { .. } | KeyFileError::ForeignOwner { .. });
        tracing::debug!(file = name, %error, "unusable key file");
        self.so_far.tried.push(format!("{name} (unusable: {error})"));
        if dangerous || self.so_far.unusable.is_none() {
            self.so_far.unusable = Some(error);
        }
        self.so_far.dangerous |= dangerous;
        dangerous
    }

    async fn with_key(&mut self, candidate: Candidate, agent: Option<&mut Agent>) -> Outcome {
        let shown = candidate.shown();
        let Candidate { name, public, certificate, holder, .. } = candidate;
        let Some(hash) = self.hash_for(&public.algorithm()).await else { return self.ended() };
        self.offer(&shown, "publickey");
        let user = self.user;
        match (holder, agent) {
            (Holder::File(mut signer), _) => {
                let answer = match certificate {
                    Some(one) => {
                        self.handle.authenticate_certificate_with(user, one, hash, &mut signer).await
                    }
                    None => self.handle.authenticate_publickey_with(user, public, hash, &mut signer).await,
                };
                match answer {
                    Ok(answer) => self.heard(&answer),
                    Err(SignError::Lost) => self.ended(),
                    Err(SignError::Key(error)) => {
                        if self.unusable(&name, error) {
                            Outcome::Over
                        } else {
                            Outcome::Refused
                        }
                    }
                    Err(SignError::Failed(why)) => self.did_not_sign(&name, &why),
                }
            }
            (Holder::Agent, Some(agent)) => {
                let client = &mut agent.client;
                let answer = match certificate {
                    Some(one) => self.handle.authenticate_certificate_with(user, one, hash, client).await,
                    None => self.handle.authenticate_publickey_with(user, public, hash, client).await,
                };
                match answer {
                    Ok(answer) => self.heard(&answer),
                    Err(AgentAuthError::Key(error)) => self.did_not_sign(AGENT, &error.to_string()),
                    Err(AgentAuthError::Send(_)) => self.ended(),
                }
            }
            (Holder::Agent, None) => Outcome::Refused,
        }
    }

    fn did_not_sign(&mut self, who: &str, why: &str) -> Outcome {
        self.so_far.tried.push(format!("{who} did not sign ({})", shown(why)));
        Outcome::Refused
    }

    async fn with_password(&mut self, credentials: &Credentials) -> Outcome {
        let Some(path) = credentials.password_file.clone() else { return Outcome::Refused };
        let name = path.display().to_string();
        let reading = tokio::task::spawn_blocking(move || key_file::secret(&path));
        let password: Zeroizing<String> = match reading.await.expect("reading a file does not panic") {
            Ok(password) => password,
            Err(error) => {
                self.unusable(&name, error);
                return Outcome::Over;
            }
        };
        // Whoever names a password means it: the server's list decides which way it goes.
        match self.ask_for_methods().await {
            Outcome::Refused => {}
            end => return end,
        }
        let mut answered = false;
        for method in [MethodKind::Password, MethodKind::KeyboardInteractive] {
            // A wrong one is not said twice, but a server may want both.
            if answered || !self.may(method) {
                continue;
            }
            self.offer(&format!("the password in {name}"), <&str>::from(&method));
            let answer = match method {
                MethodKind::Password => password::plain(self.handle, self.user, &password).await,
                _ => password::interactive(self.handle, self.user, &password).await,
            };
            match self.heard_of_password(answer, &mut answered) {
                Outcome::Refused => {}
                end => return end,
            }
        }
        Outcome::Refused
    }

    fn heard_of_password(&mut self, answer: Answer, answered: &mut bool) -> Outcome {
        match answer {
            Answer::Accepted => {
                tracing::debug!("accepted");
                Outcome::Accepted
            }
            Answer::Refused { methods, partly } => {
                *answered = !partly;
                self.heard(&AuthResult::Failure { remaining_methods: methods, partial_success: partly })
            }
            Answer::Asks(what) => {
                self.so_far.tried.push(format!("keyboard-interactive (it asks: {what})"));
                Outcome::Refused
            }
            Answer::Lost => self.ended(),
        }
    }

    /// Learns what the server would take, if it has not been said yet. Some let one in without anything.
    async fn ask_for_methods(&mut self) -> Outcome {
        if self.accepts.is_some() {
            return Outcome::Refused;
        }
        tracing::debug!("asking {}'s methods by \"none\"", self.user);
        match self.handle.authenticate_none(self.user).await {
            Ok(answer) => self.heard(&answer),
            Err(_) => self.ended(),
        }
    }

    fn may(&self, method: MethodKind) -> bool {
        self.accepts.as_ref().is_none_or(|methods| methods.contains(&method))
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

    fn offer(&mut self, name: &str, method: &'static str) {
        tracing::debug!("offering to {}: {method}, {name}", self.user);
        self.so_far.tried.push(name.to_owned());
        self.so_far.offered += 1;
    }

    fn heard(&mut self, answer: &AuthResult) -> Outcome {
        match answer {
            AuthResult::Success => {
                tracing::debug!("accepted");
                Outcome::Accepted
            }
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
        let word = if partly { "accepted, but not enough" } else { "refused" };
        tracing::debug!("{word}; the server goes on with: {}", self.so_far.methods.join(","));
        self.accepts = Some(methods.clone());
        Outcome::Refused
    }

    fn ended(&mut self) -> Outcome {
        self.so_far.closed = true;
        Outcome::Over
    }
}

fn asks_agent(credentials: &Credentials) -> bool {
    credentials.agent == AgentUse::All
}

fn shown(text: &str) -> String {
    escaped_up_to(text.as_bytes(), MAX_SHOWN_CHARS)
}
