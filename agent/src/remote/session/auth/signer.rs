//! Signing with a key from a file. A key that is still locked is opened when the server has said that it would take it,
//! so nobody is asked for a passphrase in vain.

use std::path::PathBuf;
use std::sync::Arc;

use russh::Signer;
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::{self, Signature};
use russh::keys::{HashAlg, PrivateKey};

use crate::remote::key_file::{self, KeyFileError};
use crate::remote::session::credentials::Asker;
use crate::remote::session::progress::Progress;

/// A private key, or how to get at it.
#[derive(Debug)]
pub(super) enum FileSigner {
    Ready(Arc<PrivateKey>),
    Locked { path: PathBuf, asker: Asker, progress: Arc<Progress> },
}

/// Why there is no signature.
#[derive(Debug)]
pub(super) enum SignError {
    /// The connection is gone.
    Lost,
    /// The key stayed locked.
    Key(KeyFileError),
    /// The key can't sign.
    Failed(String),
}

impl From<russh::SendError> for SignError {
    fn from(_: russh::SendError) -> Self {
        Self::Lost
    }
}

impl Signer for FileSigner {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        let key = self.open().await?;
        let signature = sign(&key, hash, &to_sign).map_err(|error| SignError::Failed(error.to_string()))?;
        signature.as_slice().encode(&mut to_sign).map_err(|error| SignError::Failed(error.to_string()))?;
        Ok(to_sign)
    }
}

impl FileSigner {
    async fn open(&mut self) -> Result<Arc<PrivateKey>, SignError> {
        if let Self::Locked { path, asker, progress } = self {
            let (path, asker) = (path.clone(), asker.clone());
            let _waits = progress.ask();
            let asking = tokio::task::spawn_blocking(move || {
                asker.unlock(&path, |passphrase| key_file::load(&path, passphrase))
            });
            let key = asking.await.expect("asking does not panic").map_err(SignError::Key)?;
            *self = Self::Ready(Arc::new(key));
        }
        match self {
            Self::Ready(key) => Ok(Arc::clone(key)),
            Self::Locked { .. } => unreachable!("it was just opened"),
        }
    }
}

fn sign(key: &PrivateKey, hash: Option<HashAlg>, data: &[u8]) -> ssh_key::Result<Vec<u8>> {
    let signature: Signature = match key.key_data() {
        KeypairData::Rsa(rsa) => (rsa, hash).try_sign(data)?,
        other => other.try_sign(data)?,
    };
    let mut encoded = Vec::new();
    signature.encode(&mut encoded)?;
    Ok(encoded)
}
