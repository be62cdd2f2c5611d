//! What a key file holds, as far as it can be told without a passphrase.

use std::path::{Path, PathBuf};

use russh::keys::ssh_key::Certificate;
use russh::keys::{PrivateKey, PublicKey};

use super::{KeyFileError, Problem, decode_plain, read_checked};

/// What is in a key file.
#[derive(Debug)]
pub enum Content {
    /// A key, ready for use.
    Key(Box<PrivateKey>),
    /// An encrypted key; its public half, if it is known.
    Locked(Option<PublicKey>),
    /// Only a public key: its private half may be with an agent.
    Public(PublicKey),
}

impl Content {
    /// The public half.
    pub fn public(&self) -> Option<&PublicKey> {
        match self {
            Self::Key(key) => Some(key.public_key()),
            Self::Locked(public) => public.as_ref(),
            Self::Public(public) => Some(public),
        }
    }
}

/// Looks what is in a key file. A private key has to be as private as for [`load`](super::load). Blocks.
pub fn look(path: &Path) -> Result<Content, KeyFileError> {
    // A public key is for everyone to read, so its text comes before its mode.
    if let Some(public) = public_key(path) {
        return Ok(Content::Public(public));
    }
    let (text, mode) = read_checked(path)?;
    let problem = |problem: Problem| problem.of(path, mode);
    let text = str::from_utf8(&text)
        .map_err(|_| problem(Problem::Malformed(russh::keys::Error::CouldNotReadKey)))?;
    match decode_plain(text) {
        Ok(key) => Ok(Content::Key(Box::new(key))),
        Err(russh::keys::Error::KeyIsEncrypted) => {
            let within = PrivateKey::from_openssh(text).ok().map(|key| key.public_key().clone());
            Ok(Content::Locked(within.or_else(|| public_key(&beside(path, ".pub")))))
        }
        Err(error) => Err(problem(Problem::Malformed(error))),
    }
}

/// The certificate in a file. Nothing where there is no such file. Blocks.
pub fn certificate(path: &Path) -> Result<Option<Certificate>, KeyFileError> {
    let malformed = |why: String| KeyFileError::Certificate { path: path.to_owned(), why };
    match small_text(path) {
        Ok(text) => {
            Certificate::from_openssh(text.trim()).map(Some).map_err(|error| malformed(error.to_string()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(malformed(error.to_string())),
    }
}

/// `KEY-cert.pub`, where `ssh-keygen -s` puts a key's certificate.
pub fn usual_certificate(key: &Path) -> PathBuf {
    // A public key in the place of a private one: `KEY.pub` and `KEY-cert.pub`.
    match key.to_str().and_then(|text| text.strip_suffix(".pub")) {
        Some(stem) => PathBuf::from(format!("{stem}-cert.pub")),
        None => beside(key, "-cert.pub"),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn public_key(path: &Path) -> Option<PublicKey> {
    let text = small_text(path).ok()?;
    if text.contains("PRIVATE KEY-----") { None } else { PublicKey::from_openssh(text.trim()).ok() }
}

fn small_text(path: &Path) -> std::io::Result<zeroize::Zeroizing<String>> {
    let bytes = super::read(super::open(path)?)?.ok_or(std::io::ErrorKind::FileTooLarge)?;
    let text = str::from_utf8(&bytes).map_err(|_| std::io::ErrorKind::InvalidData)?;
    Ok(zeroize::Zeroizing::new(text.to_owned()))
}
