//! Secrets that stand in files: a passphrase or a password in the first line.

use std::path::Path;

use zeroize::Zeroizing;

use super::{KeyFileError, read_checked};

/// The first line of a file that has to be as private as a key. Blocks.
pub fn secret(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let (text, mode) = read_checked(path)?;
    let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match str::from_utf8(line) {
        Ok(line) if !line.is_empty() => Ok(Zeroizing::new(line.to_owned())),
        _ => Err(KeyFileError::NoSecret { path: path.to_owned(), mode }),
    }
}
