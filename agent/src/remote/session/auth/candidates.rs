//! Which keys to offer, in which order: those that are named, then those of the agent, then the usual files.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::Certificate;
use russh::keys::{PrivateKey, PublicKey};

use super::agent::Agent;
use super::signer::FileSigner;
use super::{AGENT, shown};
use crate::remote::host_key::fingerprint;
use crate::remote::key_file::{self, Content, KeyFileError};
use crate::remote::session::credentials::{AgentUse, Credentials};
use crate::remote::session::progress::Progress;

const USUAL_FILES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// A key to offer.
pub(super) struct Candidate {
    /// How it is called in messages.
    pub(super) name: String,
    /// The permissions of its file, where it is in one.
    pub(super) mode: Option<u32>,
    pub(super) public: PublicKey,
    pub(super) certificate: Option<Certificate>,
    pub(super) holder: Holder,
}

impl Candidate {
    /// What a person needs to find it at both ends.
    pub(super) fn shown(&self) -> String {
        let mode = self.mode.map(|mode| format!("mode {mode:04o}, ")).unwrap_or_default();
        format!("{} ({mode}{} {})", self.name, self.public.algorithm(), fingerprint(&self.public))
    }
}

/// Who signs.
pub(super) enum Holder {
    File(FileSigner),
    Agent,
}

/// What there is to offer, and what could not be.
#[derive(Default)]
pub(super) struct Candidates {
    pub(super) all: Vec<Candidate>,
    /// What was looked at in vain.
    pub(super) vain: Vec<String>,
    pub(super) unusable: Vec<(PathBuf, KeyFileError)>,
}

/// A key file that was looked into, and its certificate.
type LookedAt = (PathBuf, Result<Content, KeyFileError>, Option<Certificate>);

impl Candidates {
    /// Looks at all files first: one that others can read is an error even if another would do.
    pub(super) async fn find(
        credentials: &Credentials,
        agent: Option<&Agent>,
        progress: &Arc<Progress>,
    ) -> Self {
        let mut candidates = Self::default();
        let named = !credentials.identities.is_empty();
        let paths = if named { credentials.identities.clone() } else { usual_files() };
        let (files, certificates) = look_at(paths, credentials, &mut candidates).await;
        let all_of_agent = credentials.agent == AgentUse::All || !named;
        if !named && let Some(agent) = agent {
            candidates.add_agents(agent);
        }
        for (path, found, beside) in files {
            let mut fitting = certificates.iter().chain(beside.as_ref());
            match found {
                Ok(found) => {
                    let certificate = found.public().and_then(|public| {
                        fitting.find(|one| one.public_key() == public.key_data()).cloned()
                    });
                    candidates.add_file(&path, found, certificate, agent, credentials, progress);
                }
                Err(error) => candidates.unusable.push((path, error)),
            }
        }
        if named
            && all_of_agent
            && let Some(agent) = agent
        {
            candidates.add_agents(agent);
        }
        candidates
    }

    fn add_file(
        &mut self,
        path: &Path,
        found: Content,
        certificate: Option<Certificate>,
        agent: Option<&Agent>,
        credentials: &Credentials,
        progress: &Arc<Progress>,
    ) {
        let name = path.display().to_string();
        let mode = std::fs::metadata(path).ok().map(|facts| facts.mode() & 0o7777);
        let with_agent = |public: &PublicKey| agent.is_some_and(|agent| agent.has(public));
        match found {
            Content::Key(key) => {
                let public = key.public_key().clone();
                self.add((name, mode), &public, certificate, || Holder::File(FileSigner::Ready(Arc::from(PrivateKey::clone(&key)))));
            }
            Content::Locked(Some(public)) | Content::Public(public) if with_agent(&public) => {
                self.add((format!("{name}, in {AGENT}"), mode), &public, certificate, || Holder::Agent);
            }
            Content::Public(_) => self.vain.push(format!("{name} (only a public key, and {AGENT} has no private one)")),
            Content::Locked(public) => match (public, &credentials.asker) {
                (Some(public), Some(asker)) => self.add((name, mode), &public, certificate, || {
                    let (asker, progress) = (asker.clone(), Arc::clone(progress));
                    Holder::File(FileSigner::Locked { path: path.to_owned(), asker, progress })
                }),
                (None, Some(_)) => self.vain.push(format!(
                    "{name} (encrypted in an old form; ssh-keygen -p -f {name} writes it anew, or put its {name}.pub beside it)"
                )),
                (_, None) => self.unusable.push((path.to_owned(), KeyFileError::encrypted(path))),
            },
        }
    }

    /// The certificate first, then the key alone, as ssh does.
    fn add(
        &mut self,
        (name, mode): (String, Option<u32>),
        public: &PublicKey,
        certificate: Option<Certificate>,
        holder: impl Fn() -> Holder,
    ) {
        if certificate.is_some() {
            let name = format!("{name} with its certificate");
            self.all.push(Candidate { name, mode, public: public.clone(), certificate, holder: holder() });
        }
        self.all.push(Candidate { name, mode, public: public.clone(), certificate: None, holder: holder() });
    }

    fn add_agents(&mut self, agent: &Agent) {
        for identity in &agent.identities {
            let name = format!("{AGENT}: {}", shown(identity.comment()));
            let (public, certificate) = match identity {
                AgentIdentity::PublicKey { key, .. } => (key.clone(), None),
                AgentIdentity::Certificate { certificate, .. } => {
                    (PublicKey::new(certificate.public_key().clone(), ""), Some(certificate.clone()))
                }
            };
            let is_same = |one: &Candidate| {
                one.public.key_data() == public.key_data() && one.certificate == certificate
            };
            if !self.all.iter().any(is_same) {
                self.all.push(Candidate { name, mode: None, public, certificate, holder: Holder::Agent });
            }
        }
    }
}

/// Looks into the files and the named certificates.
async fn look_at(
    paths: Vec<PathBuf>,
    credentials: &Credentials,
    candidates: &mut Candidates,
) -> (Vec<LookedAt>, Vec<Certificate>) {
    let (named, passphrase_file) = (credentials.certificates.clone(), credentials.passphrase_file.clone());
    let looking = tokio::task::spawn_blocking(move || {
        let certificates: Vec<_> =
            named.into_iter().map(|path| (key_file::certificate(&path), path)).collect();
        let files: Vec<LookedAt> =
            paths.into_iter().map(|path| look(path, passphrase_file.as_deref())).collect();
        (files, certificates)
    });
    let (files, named) = looking.await.expect("reading key files does not panic");
    let mut certificates = Vec::new();
    for (certificate, path) in named {
        match certificate {
            Ok(Some(certificate)) => certificates.push(certificate),
            Ok(None) => candidates.vain.push(format!("{} (no such certificate)", path.display())),
            Err(error) => candidates.unusable.push((path, error)),
        }
    }
    (files, certificates)
}

fn look(path: PathBuf, passphrase_file: Option<&Path>) -> LookedAt {
    let found = key_file::look(&path).and_then(|found| match (found, passphrase_file) {
        (Content::Locked(_), Some(file)) => {
            let passphrase = key_file::secret(file)?;
            key_file::load(&path, Some(&passphrase)).map(|key| Content::Key(Box::new(key)))
        }
        (found, _) => Ok(found),
    });
    // One that can't be read is as good as none: nobody asked for it.
    let certificate = key_file::certificate(&key_file::usual_certificate(&path)).ok().flatten();
    (path, found, certificate)
}

fn usual_files() -> Vec<PathBuf> {
    let Some(home) = std::env::home_dir() else { return Vec::new() };
    USUAL_FILES.iter().map(|name| home.join(".ssh").join(name)).filter(|path| path.exists()).collect()
}
