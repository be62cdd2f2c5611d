//! The throwaway keys of an embedded server, and the files from which its clients learn them.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, PrivateKey};

use super::DemoServerError;

/// The server's key, the one client's key, and where the client finds both.
#[derive(Debug)]
pub(super) struct Identity {
    host_key: PrivateKey,
    client_key: PrivateKey,
    client_key_file: PathBuf,
    known_hosts_file: PathBuf,
}

impl Identity {
    /// Makes fresh keys and writes `client_key` and `known_hosts` into `home`.
    pub(super) fn make(home: &Path, port: u16) -> Result<Self, DemoServerError> {
        let identity = Self {
            host_key: fresh_key()?,
            client_key: fresh_key()?,
            client_key_file: home.join("client_key"),
            known_hosts_file: home.join("known_hosts"),
        };
        let private = identity.client_key.to_openssh(LineEnding::LF)?;
        write_private(&identity.client_key_file, private.as_bytes())?;
        let public = identity.host_key.public_key().to_openssh()?;
        let line = format!("[127.0.0.1]:{port} {public}\n");
        write_private(&identity.known_hosts_file, line.as_bytes())?;
        Ok(identity)
    }

    pub(super) fn host_key(&self) -> &PrivateKey {
        &self.host_key
    }

    pub(super) fn client_key(&self) -> KeyData {
        self.client_key.public_key().key_data().clone()
    }

    pub(super) fn client_key_file(&self) -> &Path {
        &self.client_key_file
    }

    pub(super) fn known_hosts_file(&self) -> &Path {
        &self.known_hosts_file
    }
}

fn fresh_key() -> Result<PrivateKey, russh::keys::ssh_key::Error> {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)
}

/// Writes a file that only this user can read. One that an earlier server left is replaced, never written through.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), DemoServerError> {
    let written = remove_if_there(path).and_then(|()| {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
    });
    written.map_err(|source| DemoServerError::Write { path: path.to_owned(), source })
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
