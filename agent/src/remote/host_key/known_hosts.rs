//! The files of recorded host keys, and what they say about a key.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};
use rustix::fs::OFlags;

use super::certificate;
use super::error::{KnownHostsError, MAX_FILE_BYTES};
use super::line::{self, Flaw, Line, Marker};
use super::name::HostName;
use super::verdict::{LineAt, Recorded, Verdict};

/// Enough to see what is wrong with a file; a file of garbage has millions.
const MAX_SKIPPED: usize = 1000;

/// The recorded host keys of some `known_hosts` files, as they were when they were read.
#[derive(Debug, Default)]
pub struct KnownHosts {
    entries: Vec<Entry>,
    skipped: Vec<Skipped>,
}

/// A line that could not be read, and says nothing therefore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Which.
    pub at: LineAt,
    /// Why.
    pub flaw: Flaw,
    /// Whether it was to revoke a key.
    pub revokes: bool,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revokes = if self.revokes { ", and revokes no key" } else { "" };
        write!(f, "{} can't be read ({}), so it says nothing{revokes}", self.at, self.flaw)
    }
}

#[derive(Debug)]
struct Entry {
    file: Arc<Path>,
    number: usize,
    line: Line,
}

impl KnownHosts {
    /// Reads the files, in this order. One that isn't there is empty; one that can't be read is an error, for it might
    /// revoke a key.
    pub fn load(paths: &[PathBuf]) -> Result<Self, KnownHostsError> {
        let mut known = Self::default();
        for path in paths {
            known.add_file(path, &read(path)?);
        }
        known.tell_skipped();
        Ok(known)
    }

    /// Judges the key that `host` presents on `port`. A host on an unusual port for which nothing is recorded may use
    /// the keys of its plain name, as OpenSSH has it.
    pub fn check(&self, host: &str, port: u16, key: &PublicKey) -> Verdict {
        let verdict = self.judge(&HostName::new(host, port), key.key_data());
        if verdict.is_open()
            && let Some(plain) = HostName::without_port(host, port)
        {
            let without_port = self.judge(&plain, key.key_data());
            return if without_port.names_the_key() { without_port } else { verdict };
        }
        verdict
    }

    /// The signature algorithms that the keys recorded for the host can serve, in the order of the files: ask the server
    /// for these first. RSA comes with SHA-2 only. As for OpenSSH, a kind whose first key is revoked doesn't count, and nor
    /// do keys of the name without its port.
    pub fn algorithms_for(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let lines: Vec<&Line> = self.lines_for(&HostName::new(host, port)).map(|entry| &entry.line).collect();
        let revoked =
            |key: &KeyData| lines.iter().any(|line| line.marker == Marker::Revoked && line.key == *key);
        let (mut kinds, mut algorithms) = (Vec::new(), Vec::new());
        for line in lines.iter().filter(|line| line.marker == Marker::None) {
            let kind = line.key.algorithm();
            if kinds.contains(&kind) {
                continue;
            }
            if !revoked(&line.key) {
                algorithms.extend(signatures(kind.clone()));
            }
            kinds.push(kind);
        }
        algorithms
    }

    /// Whether authorities are recorded for the host, so that it may present a certificate.
    pub fn has_authorities_for(&self, host: &str, port: u16) -> bool {
        names(host, port)
            .any(|name| self.lines_for(&name).any(|entry| entry.line.marker == Marker::Authority))
    }

    /// Where the authority is recorded for the host that signed its certificate. Nothing if none of those that are recorded
    /// has; an error if one has, but the certificate doesn't hold.
    pub fn certified(
        &self,
        host: &str,
        port: u16,
        certificate: &Certificate,
        now: SystemTime,
    ) -> Result<Option<LineAt>, String> {
        for name in names(host, port) {
            let lines: Vec<&Entry> = self.lines_for(&name).collect();
            let revoked = lines.iter().filter(|entry| entry.line.marker == Marker::Revoked).find(|entry| {
                entry.line.key == *certificate.signature_key() || entry.line.key == *certificate.public_key()
            });
            if let Some(revoked) = revoked {
                return Err(format!("it is revoked ({})", revoked.place()));
            }
            let signed = |entry: &&&Entry| {
                entry.line.marker == Marker::Authority && entry.line.key == *certificate.signature_key()
            };
            if let Some(authority) = lines.iter().find(signed) {
                certificate::check(certificate, host, now)?;
                return Ok(Some(authority.place()));
            }
        }
        Ok(None)
    }

    /// Once for each line, however often the file is read.
    fn tell_skipped(&self) {
        static TOLD: Mutex<BTreeSet<(PathBuf, usize)>> = Mutex::new(BTreeSet::new());
        let mut told = TOLD.lock().expect("nothing panics while it holds the lock");
        for skipped in &self.skipped {
            if told.len() < MAX_SKIPPED && told.insert((skipped.at.file.clone(), skipped.at.line)) {
                tracing::warn!("{skipped}");
            }
        }
    }

    /// Lines that were skipped because they could not be read, those that were to revoke a key first; at most 1,000 are
    /// remembered.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    fn add_file(&mut self, path: &Path, bytes: &[u8]) {
        let file: Arc<Path> = path.into();
        for (index, bytes) in bytes.split(|b| *b == b'\n').enumerate() {
            let number = index + 1;
            match line::parse(bytes) {
                None => {}
                Some(Ok(line)) => self.entries.push(Entry { file: Arc::clone(&file), number, line }),
                Some(Err(flaw)) => {
                    let at = LineAt { file: path.to_owned(), line: number };
                    self.skip(Skipped {
                        at,
                        flaw,
                        revokes: bytes.trim_ascii_start().starts_with(b"@revoked"),
                    });
                }
            }
        }
    }

    fn skip(&mut self, skipped: Skipped) {
        if skipped.revokes {
            self.skipped.insert(0, skipped);
            self.skipped.truncate(MAX_SKIPPED);
        } else if self.skipped.len() < MAX_SKIPPED {
            self.skipped.push(skipped);
        }
    }

    fn judge(&self, name: &HostName, key: &KeyData) -> Verdict {
        let lines: Vec<&Entry> = self.lines_for(name).collect();
        let with = |marker| lines.iter().filter(move |entry| entry.line.marker == marker);
        let first_naming_key = |marker| with(marker).find(|entry| entry.line.key == *key);
        if let Some(revoked) = first_naming_key(Marker::Revoked) {
            return Verdict::Revoked { at: revoked.place() };
        }
        if let Some(trusted) = first_naming_key(Marker::None) {
            return Verdict::Trusted { at: trusted.place() };
        }
        let recorded: Vec<Recorded> = with(Marker::None).map(|entry| entry.recorded()).collect();
        let authorities: Vec<Recorded> = with(Marker::Authority).map(|entry| entry.recorded()).collect();
        not_recorded(&key.algorithm(), recorded, authorities)
    }

    fn lines_for(&self, name: &HostName) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.line.hosts.include(name))
    }

    /// The numbers of the lines that are for the host, in whichever file.
    #[cfg(test)]
    pub(super) fn line_numbers_for(&self, name: &HostName) -> Vec<usize> {
        self.lines_for(name).map(|entry| entry.number).collect()
    }
}

impl Entry {
    fn place(&self) -> LineAt {
        LineAt { file: self.file.to_path_buf(), line: self.number }
    }

    fn recorded(&self) -> Recorded {
        Recorded {
            at: self.place(),
            algorithm: self.line.key.algorithm(),
            fingerprint: self.line.key.fingerprint(HashAlg::Sha256).to_string(),
        }
    }
}

/// The host's name, and the one that stands in for it where nothing is recorded.
fn names(host: &str, port: u16) -> impl Iterator<Item = HostName> {
    std::iter::once(HostName::new(host, port)).chain(HostName::without_port(host, port))
}

fn not_recorded(kind: &Algorithm, recorded: Vec<Recorded>, authorities: Vec<Recorded>) -> Verdict {
    if recorded.iter().any(|one| one.algorithm == *kind) {
        return Verdict::Changed {
            recorded: recorded.into_iter().filter(|one| one.algorithm == *kind).collect(),
        };
    }
    match (recorded.is_empty(), authorities.is_empty()) {
        (false, _) => Verdict::OtherKind { recorded },
        (true, false) => Verdict::NeedsCertificate { authorities },
        (true, true) => Verdict::Unknown,
    }
}

fn signatures(kind: Algorithm) -> Vec<Algorithm> {
    match kind {
        Algorithm::Rsa { .. } => {
            [HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) }).into()
        }
        kind => vec![kind],
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KnownHostsError> {
    match read_bounded(path) {
        Ok(bytes) if bytes.len() as u64 > MAX_FILE_BYTES => {
            Err(KnownHostsError::TooLarge { path: path.to_owned() })
        }
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(KnownHostsError::io("read", path, error)),
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // Never wait for whoever might write into a pipe. /dev/null is a usual choice for "none", so any file will do.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whatever stands in the file: no line trusts a key that it doesn't hold.
#[cfg(any(test, fuzzing))]
pub(crate) fn any_file(bytes: &[u8]) {
    const STRANGER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHN0cmFuZ2Vyc3RyYW5nZXJzdHJhbmdlcnN0cmFuZ2Vy";
    let stranger = PublicKey::from_openssh(STRANGER).expect("a key");
    let mut known = KnownHosts::default();
    known.add_file(Path::new("known_hosts"), bytes);
    let lines = bytes.split(|b| *b == b'\n').count();
    assert!(known.entries.len() + known.skipped.len() <= lines);
    for (host, port) in [("a.example", 22), ("a.example", 2222), ("::1", 22)] {
        let holds = |entry: &Entry| entry.line.key == *stranger.key_data();
        if let Verdict::Trusted { at } = known.check(host, port, &stranger) {
            assert!(known.entries.iter().any(|entry| entry.number == at.line && holds(entry)));
        }
        known.algorithms_for(host, port);
    }
}

#[cfg(test)]
mod tests;
