//! What may stand at a destination, and what is wrong with what does.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use blake3::Hash;

use crate::tree;

/// The versions of each file that may stand under its name. The last one has to stand there in the end.
#[derive(Debug, Default, Clone)]
pub struct Expected(BTreeMap<PathBuf, Vec<Hash>>);

/// What is wrong at a destination.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Files that are neither at the destination nor in the source.
    pub lost: Vec<PathBuf>,
    /// Files whose content is no version of theirs: a part, or mangled.
    pub corrupt: Vec<PathBuf>,
    /// Names that nobody gave.
    pub extra: Vec<PathBuf>,
    /// Files that have not arrived in their last version, but are still in the source.
    pub waiting: Vec<PathBuf>,
}

impl Expected {
    /// What is in a folder now, below the name that it has at the destination.
    pub fn of(root: &Path) -> io::Result<Self> {
        let mut expected = Expected::default();
        expected.also(root)?;
        Ok(expected)
    }

    /// What is in the folder now is the newest version of it.
    pub fn also(&mut self, root: &Path) -> io::Result<()> {
        for path in tree::files(root)?.into_keys() {
            self.add(&path, blake3::hash(&fs::read(root.join(&path))?));
        }
        Ok(())
    }

    /// A file of this content comes under this name.
    pub fn add(&mut self, path: &Path, digest: Hash) {
        self.0.entry(path.to_owned()).or_default().push(digest);
    }

    /// A file is out of play: it has arrived, and been taken away there.
    pub fn forget(&mut self, path: &Path) {
        self.0.remove(path);
    }

    /// The names that are in play.
    pub fn names(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// Whether the last version of a file stands at `destination`.
    pub fn has_arrived(&self, path: &Path, destination: &Path) -> bool {
        let last = self.0.get(path).and_then(|versions| versions.last());
        last.is_some() && digest(&destination.join(path)).as_ref() == last
    }

    /// These bytes are the newest version of `path`.
    pub fn version(&mut self, path: impl Into<PathBuf>, bytes: &[u8]) {
        self.0.entry(path.into()).or_default().push(blake3::hash(bytes));
    }

    /// The newest version of each file, as hexadecimal digits.
    pub fn last(&self) -> impl Iterator<Item = (&Path, String)> {
        let last =
            |versions: &[Hash]| versions.last().expect("every name has a version").to_hex().to_string();
        self.0.iter().map(move |(path, versions)| (path.as_path(), last(versions)))
    }

    /// Whether that is a version of `path`.
    pub fn knows(&self, path: &Path, hex: &str) -> bool {
        self.0.get(path).is_some_and(|versions| versions.iter().any(|digest| digest.to_hex().as_str() == hex))
    }

    /// The files that are no longer in `source`.
    pub fn gone_from(&self, source: &Path) -> Vec<PathBuf> {
        self.0
            .keys()
            .filter(|path| !source.join(path).exists() && !leaving(source, path).exists())
            .cloned()
            .collect()
    }

    /// Compares what stands at `destination`, with what `source` still has. May be asked at any moment.
    pub fn judge(&self, source: &Path, destination: &Path) -> Verdict {
        let mut verdict = Verdict::default();
        for (path, versions) in &self.0 {
            let last = versions.last().expect("every name has a version");
            let is_last = |at: &Path| digest(at).is_some_and(|digest| digest == *last);
            let waits = || is_last(&source.join(path)) || is_last(&leaving(source, path));
            // The source first: while the agent works, a file goes from there only after it has arrived.
            let (waits, arrived) = (waits(), digest(&destination.join(path)));
            match arrived {
                Some(digest) if digest == *last => {}
                Some(digest) if !versions.contains(&digest) => verdict.corrupt.push(path.clone()),
                _ if waits => verdict.waiting.push(path.clone()),
                _ => verdict.lost.push(path.clone()),
            }
        }
        let there = tree::files_if_there(destination);
        let is_final = |path: &PathBuf| !self.0.contains_key(path) && !is_beside(path);
        verdict.extra.extend(there.into_keys().filter(is_final));
        verdict
    }
}

/// Whether it lies beside final names in a folder of skiff's own, where what goes to another file system is brought for a
/// moment. After a crash it goes with its staging, so in the end there is none.
pub fn is_beside(path: &Path) -> bool {
    let is_own = |name: &str| name.strip_prefix(".skiff-").is_some_and(|nonce| nonce.len() == 24);
    path.parent().is_some_and(|folder| folder.iter().any(|name| name.to_str().is_some_and(is_own)))
}

/// Where a source stands while it is being disposed of. After a crash there the next start puts it back.
fn leaving(source: &Path, path: &Path) -> PathBuf {
    source.join(".skiff/leaving").join(path)
}

fn digest(path: &Path) -> Option<Hash> {
    fs::read(path).ok().map(|bytes| blake3::hash(&bytes))
}

impl Verdict {
    /// Whether nothing is lost, mangled or doubled: what has to hold at every moment.
    pub fn is_sound(&self) -> bool {
        self.lost.is_empty() && self.corrupt.is_empty() && self.extra.is_empty()
    }

    /// Whether all has arrived as well.
    pub fn is_complete(&self) -> bool {
        self.is_sound() && self.waiting.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { lost, corrupt, extra, waiting } = self;
        write!(f, "lost {lost:?}, corrupt {corrupt:?}, under a second name {extra:?}, waiting {waiting:?}")
    }
}
