//! Private keys from files, if nobody else could have read them.
//!
//! It owns opening such a file once, judging what was opened, and decoding it. It promises never to return a key from a
//! file that a third party owns or may read, wherever a symlink led, and to wipe its copy of the text. The same goes for
//! files of passphrases and passwords. The files of a service's credentials, which systemd lets its group read, are as
//! private as the folder that they are in. Deliberately absent: agents, asking for passphrases, and looking at the
//! folders on the way.

mod content;
mod secret;

pub use content::{Content, certificate, look, usual_certificate};
pub use secret::secret;

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use russh::keys::{PrivateKey, decode_secret_key};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// No key takes as much: 16,384 bits of RSA are 13 KiB.
const MAX_FILE_BYTES: usize = 64 << 10;
const ROOT: u32 = 0;
const ACCESS_BY_OTHERS: u32 = 0o077;
const GROUP_READS: u32 = 0o040;
const WRITE_BY_OTHERS: u32 = 0o022;
const PERMISSIONS: u32 = 0o7777;

/// Why a private key could not be had from a file. Where a command would help, the text ends with it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system refused.
    #[error("cannot {attempt} the key file {}: {source}", .path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// A folder, a pipe, a device.
    #[error(
        "the key file {} (mode {mode:o}) is not a regular file; look at it: ls -lL {}",
        .path.display(), quoted(.path)
    )]
    NotRegular {
        /// The file.
        path: PathBuf,
        /// Its type and permissions.
        mode: u32,
    },
    /// Whoever owns it can replace the key.
    #[error(
        "the key file {} (mode {mode:04o}) belongs to user {owner}, not to user {us}; run: {}",
        .path.display(), mend(.path, *.us)
    )]
    ForeignOwner {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// The user it belongs to.
        owner: u32,
        /// The user we run as.
        us: u32,
    },
    /// Its group, or everybody, may read or change it.
    #[error("the file {} (mode {mode:04o}) is open to other users; run: {command}", .path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What closes it.
        command: String,
    },
    /// It can't be a key.
    #[error(
        "the key file {} (mode {mode:04o}) is larger than {MAX_FILE_BYTES} bytes; \
         look at it: ssh-keygen -lf {}",
        .path.display(), quoted(.path)
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It needs a passphrase, and there is none.
    #[error(
        "the key file {} (mode {mode:04o}) needs a passphrase; \
         to remove it, run: ssh-keygen -p -f {}",
        .path.display(), quoted(.path)
    )]
    Encrypted {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The passphrase doesn't open it, or its cipher is not supported.
    #[error(
        "the passphrase does not open the key file {} (mode {mode:04o}): {source}; \
         to try it, run: ssh-keygen -y -f {}",
        .path.display(), quoted(.path)
    )]
    Passphrase {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What the decoder made of it.
        source: russh::keys::Error,
    },
    /// Not a private key, or not in a form that is read here.
    #[error(
        "no usable private key in {} (mode {mode:04o}): {source}; \
         to convert it, run: ssh-keygen -p -f {}",
        .path.display(), quoted(.path)
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What the decoder made of it.
        source: russh::keys::Error,
    },
    /// Its first line holds no secret.
    #[error(
        "the first line of {} (mode {mode:04o}) is no passphrase or password; look at it: head -n 1 {}",
        .path.display(), quoted(.path)
    )]
    NoSecret {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Not a certificate.
    #[error("no usable certificate in {}: {why}; look at it: ssh-keygen -Lf {}", .path.display(), quoted(.path))]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl KeyFileError {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooOpen { .. } | Self::ForeignOwner { .. } => "key-file-open",
            Self::Encrypted { .. } | Self::Passphrase { .. } => "key-passphrase",
            Self::Io { .. }
            | Self::NotRegular { .. }
            | Self::TooLarge { .. }
            | Self::NoSecret { .. }
            | Self::Certificate { .. }
            | Self::Malformed { .. } => "key-file",
        }
    }

    /// It is encrypted, and nobody knows its passphrase.
    pub(super) fn encrypted(path: &Path) -> Self {
        let mode = std::fs::metadata(path).map_or(0, |facts| facts.mode() & PERMISSIONS);
        Self::Encrypted { path: path.to_owned(), mode }
    }
}

/// Reads a private key: ed25519, ECDSA or RSA, in OpenSSH's form, PKCS#8 or PKCS#1. The passphrase is used where the key
/// is encrypted. Blocks.
pub fn load(path: &Path, passphrase: Option<&str>) -> Result<PrivateKey, KeyFileError> {
    let (text, mode) = read_checked(path)?;
    decode(&text, passphrase).map_err(|problem| problem.of(path, mode))
}

/// The text of a file that nobody else could have read or written, and its permissions.
fn read_checked(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), KeyFileError> {
    let io = |attempt| move |source| KeyFileError::Io { attempt, path: path.to_owned(), source };
    let file = open(path).map_err(io("open"))?;
    // Of the opened file: nobody can swap it between the look and the use.
    let facts = Facts::of(&file.metadata().map_err(io("look at"))?);
    let shut = if is_credential(path) { ACCESS_BY_OTHERS & !GROUP_READS } else { ACCESS_BY_OTHERS };
    facts.judge(path, rustix::process::geteuid().as_raw(), shut)?;
    let text = read(file).map_err(io("read"))?;
    let mode = facts.permissions();
    let text = text.ok_or_else(|| KeyFileError::TooLarge { path: path.to_owned(), mode })?;
    Ok((text, mode))
}

/// Whether the service manager put it there for us alone: below `$CREDENTIALS_DIRECTORY`, which others cannot enter or
/// cannot write to. Where systemd grants access by a list, the group's bits of the file show the list's widest.
fn is_credential(path: &Path) -> bool {
    let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from) else { return false };
    let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
    let ours = |facts: Metadata| {
        let owner = facts.uid() == ROOT || facts.uid() == rustix::process::geteuid().as_raw();
        owner && facts.is_dir() && facts.mode() & WRITE_BY_OTHERS == 0
    };
    folder.is_absolute() && plain && path.starts_with(&folder) && std::fs::metadata(&folder).is_ok_and(ours)
}

/// Without waiting for a writer, should it be a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// What decides whether others could have read or put there a key.
#[derive(Debug, Clone, Copy)]
struct Facts {
    is_regular: bool,
    mode: u32,
    owner: u32,
}

impl Facts {
    fn of(metadata: &Metadata) -> Self {
        Self { is_regular: metadata.is_file(), mode: metadata.mode(), owner: metadata.uid() }
    }

    fn permissions(self) -> u32 {
        self.mode & PERMISSIONS
    }

    /// `shut` are the permissions that it must not grant.
    fn judge(self, path: &Path, us: u32, shut: u32) -> Result<(), KeyFileError> {
        let mode = self.permissions();
        if !self.is_regular {
            return Err(KeyFileError::NotRegular { path: path.to_owned(), mode: self.mode });
        }
        if self.owner != us && self.owner != ROOT {
            return Err(KeyFileError::ForeignOwner { path: path.to_owned(), mode, owner: self.owner, us });
        }
        if mode & shut != 0 {
            // Closing root's file alone would shut us out.
            let command = if self.owner == us { close(path) } else { mend(path, us) };
            return Err(KeyFileError::TooOpen { path: path.to_owned(), mode, command });
        }
        Ok(())
    }
}

/// Nothing where there is too much. Into memory that never moves, so that wiping it wipes the only copy.
fn read(mut file: File) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut buffer = Zeroizing::new(vec![0; MAX_FILE_BYTES + 1]);
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..])? {
            0 => {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            more => length += more,
        }
    }
    Ok(None)
}

enum Problem {
    Encrypted,
    Passphrase(russh::keys::Error),
    Malformed(russh::keys::Error),
}

impl Problem {
    fn of(self, path: &Path, mode: u32) -> KeyFileError {
        let path = path.to_owned();
        match self {
            Self::Encrypted => KeyFileError::Encrypted { path, mode },
            Self::Passphrase(source) => KeyFileError::Passphrase { path, mode, source },
            Self::Malformed(source) => KeyFileError::Malformed { path, mode, source },
        }
    }
}

fn decode(text: &[u8], passphrase: Option<&str>) -> Result<PrivateKey, Problem> {
    let text = str::from_utf8(text).map_err(|_| Problem::Malformed(russh::keys::Error::CouldNotReadKey))?;
    match decode_plain(text) {
        Ok(key) => Ok(key),
        Err(russh::keys::Error::KeyIsEncrypted) => {
            let passphrase = passphrase.ok_or(Problem::Encrypted)?;
            decode_secret_key(text, Some(passphrase)).map_err(Problem::Passphrase)
        }
        Err(error) => Err(Problem::Malformed(error)),
    }
}

/// Never with a passphrase: russh fails on a plain PKCS#8 key that comes with one, and without one doesn't call an
/// encrypted PKCS#8 key encrypted.
fn decode_plain(text: &str) -> Result<PrivateKey, russh::keys::Error> {
    let encrypted = |line: &str| {
        line == "-----BEGIN ENCRYPTED PRIVATE KEY-----" || line.starts_with("Proc-Type: 4,ENCRYPTED")
    };
    if text.lines().any(encrypted) {
        return Err(russh::keys::Error::KeyIsEncrypted);
    }
    decode_secret_key(text, None)
}

fn mend(path: &Path, us: u32) -> String {
    format!("chown {us} {} && {}", quoted(path), close(path))
}

fn close(path: &Path) -> String {
    format!("chmod 600 {}", quoted(path))
}

/// As one word of a shell command.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = if text.starts_with('-') { format!("./{text}") } else { text.into_owned() };
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests;
