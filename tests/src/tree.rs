//! Trees of files whose content follows from a seed, and their comparison byte for byte.

#![expect(clippy::unnecessary_debug_formatting, reason = "odd names have to be legible")]

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use blake3::{Hash, Hasher, OutputReader};

/// The folder at a destination that is skiff's own.
pub const STAGING: &str = ".skiff";

/// A folder that is being filled.
pub struct Tree {
    root: PathBuf,
    random: OutputReader,
}

impl Tree {
    /// Makes the folder `root` and its parents. Equal seeds give equal content.
    pub fn new(root: impl Into<PathBuf>, seed: u64) -> Self {
        let root = root.into();
        fs::create_dir_all(&root).unwrap_or_else(|error| panic!("cannot make {}: {error}", root.display()));
        let random = Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
        Tree { root, random }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file of `size_bytes` random bytes, with the folders above it, and returns its path.
    pub fn file(&mut self, path: impl AsRef<Path>, size_bytes: u64) -> PathBuf {
        let path = self.root.join(path);
        let parent = path.parent().expect("a file has a parent");
        fs::create_dir_all(parent)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", parent.display()));
        let mut file =
            File::create(&path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        io::copy(&mut (&mut self.random).take(size_bytes), &mut file).expect("there is room for test files");
        path
    }

    /// Writes `count` files of up to 8 KiB, spread over `folders` folders; the first is empty.
    pub fn small_files(&mut self, count: u64, folders: u64) {
        for number in 0..count {
            let size_bytes = number * 2_654_435_761 % 8192;
            self.file(format!("folder-{:03}/file-{number:05}.dat", number % folders), size_bytes);
        }
    }

    /// Replaces a file the safe way: written beside the tree, then renamed over it.
    pub fn replace(&mut self, path: impl AsRef<Path>, size_bytes: u64) {
        let beside = self.root.with_extension("next");
        let mut file = File::create(&beside).expect("there is room beside the tree");
        io::copy(&mut (&mut self.random).take(size_bytes), &mut file).expect("there is room for test files");
        file.flush().expect("there is room for test files");
        fs::rename(&beside, self.root.join(path)).expect("a rename on one file system works");
    }
}

/// All files below `root` with their metadata, by relative path, without skiff's own folder. What goes while it is
/// read isn't among them.
pub fn files(root: &Path) -> io::Result<BTreeMap<PathBuf, Metadata>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(root.join(&folder)) {
            Err(error) if error.kind() == ErrorKind::NotFound && !folder.as_os_str().is_empty() => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if !metadata.is_dir() {
                found.insert(path, metadata);
            } else if entry.file_name() != STAGING {
                folders.push(path);
            }
        }
    }
    Ok(found)
}

/// The same, and nothing where `root` is missing. Panics where it is there and can't be listed: that is not nothing.
#[track_caller]
pub fn files_if_there(root: &Path) -> BTreeMap<PathBuf, Metadata> {
    match files(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
        files => files.unwrap_or_else(|error| panic!("cannot list {}: {error}", root.display())),
    }
}

/// How many files stand below `root`; none if it is missing.
#[track_caller]
pub fn count(root: &Path) -> usize {
    files_if_there(root).len()
}

/// Whether no file stands below `root`, which is there.
pub fn is_empty(root: &Path) -> bool {
    files(root).is_ok_and(|files| files.is_empty())
}

/// All bytes of the files below `root`; none if it is missing.
#[track_caller]
pub fn total_bytes(root: &Path) -> u64 {
    files_if_there(root).values().map(Metadata::len).sum()
}

/// How many bytes wait in skiff's own folder at the destination `root`.
pub fn staged_bytes(root: &Path) -> u64 {
    total_bytes(&root.join(STAGING))
}

/// What tells one writing of a file from the next: inode and time of change, by relative path.
pub fn writings(root: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let files = files(root).expect("a folder at rest can be read");
    files.into_iter().map(|(path, file)| (path, (file.ino(), file.mtime(), file.mtime_nsec()))).collect()
}

/// The first difference between two trees, in words. A tree that cannot be read is one.
pub fn difference(left: &Path, right: &Path) -> Option<String> {
    compare(left, right).unwrap_or_else(|error| Some(format!("cannot compare: {error}")))
}

/// Whether both trees hold the same files with the same bytes.
pub fn equal(left: &Path, right: &Path) -> bool {
    difference(left, right).is_none()
}

/// Panics with the first difference, if there is one.
#[track_caller]
pub fn assert_equal(left: &Path, right: &Path) {
    if let Some(difference) = difference(left, right) {
        panic!("{} and {} differ: {difference}", left.display(), right.display());
    }
}

/// Copies the files below one folder to another, which is made; contents alone.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the folder can be listed") {
        let path = entry.expect("the folder can be listed").path();
        let copy = to.join(path.file_name().expect("a listed file has a name"));
        if path.is_dir() {
            self::copy(&path, &copy);
        } else {
            fs::copy(&path, &copy).expect("a file can be copied");
        }
    }
}

/// Whether both are files with the same bytes.
pub fn same_bytes(left: &Path, right: &Path) -> bool {
    matches!((digest(left), digest(right)), (Ok(left), Ok(right)) if left == right)
}

fn compare(left: &Path, right: &Path) -> io::Result<Option<String>> {
    let (ours, theirs) = (files(left)?, files(right)?);
    if let Some(path) = ours.keys().find(|path| !theirs.contains_key(*path)) {
        return Ok(Some(format!("{} of {} files: {path:?} is missing", theirs.len(), ours.len())));
    }
    if let Some(path) = theirs.keys().find(|path| !ours.contains_key(*path)) {
        return Ok(Some(format!("{path:?} is there, but was never sent")));
    }
    for (path, metadata) in &ours {
        let other = &theirs[path];
        if !metadata.is_file() || !other.is_file() {
            return Ok(Some(format!("{path:?} is not a plain file")));
        }
        // Sizes first: most unfinished trees are told apart without reading them.
        if metadata.len() != other.len() {
            return Ok(Some(format!("{path:?} has {} bytes, not {}", other.len(), metadata.len())));
        }
    }
    for path in ours.keys() {
        if digest(&left.join(path))? != digest(&right.join(path))? {
            return Ok(Some(format!("{path:?} has other bytes")));
        }
    }
    Ok(None)
}

fn digest(path: &Path) -> io::Result<Hash> {
    let mut hasher = Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}
