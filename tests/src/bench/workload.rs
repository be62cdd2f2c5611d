//! What is sent: made once, the same bytes each time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ::skiff::size::number;
use blake3::{Hash, Hasher};
use clap::ValueEnum;

use super::workload::log_lines::LogLines;
use crate::tree::{self, Tree};

mod log_lines;

/// A kind of folder to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Workload {
    /// One large file of random bytes
    Large,
    /// Many files of 4 KiB in 100 folders
    Small,
    /// Very many files of 1 KiB in 100 folders
    Tiny,
    /// Text logs, which compress well
    Logs,
    /// One file each 100 ms, through `skiff run`: how long each takes
    Trickle,
}

/// How much of each.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Bytes of the large file.
    pub large_bytes: u64,
    /// Files of 4 KiB.
    pub small_files: u64,
    /// Files of 1 KiB.
    pub tiny_files: u64,
    /// Bytes of logs.
    pub logs_bytes: u64,
    /// Files that trickle in.
    pub trickle_files: u64,
}

impl Sizes {
    /// What the budgets speak of.
    pub fn full() -> Self {
        let (large_bytes, logs_bytes) = (1 << 30, 512 << 20);
        Sizes { large_bytes, small_files: 10_000, tiny_files: 100_000, logs_bytes, trickle_files: 300 }
    }

    /// What a line of 1.5 Mbit/s carries in some 10 s each.
    pub fn slow() -> Self {
        let (large_bytes, logs_bytes) = (2 << 20, 4 << 20);
        Sizes { large_bytes, small_files: 250, tiny_files: 1000, logs_bytes, trickle_files: 50 }
    }

    /// Enough to see that the benchmark works.
    pub fn quick() -> Self {
        let (large_bytes, logs_bytes) = (8 << 20, 4 << 20);
        Sizes { large_bytes, small_files: 20, tiny_files: 15, logs_bytes, trickle_files: 10 }
    }
}

impl Workload {
    /// All, in the order in which they are shown.
    pub const ALL: [Workload; 5] =
        [Workload::Large, Workload::Small, Workload::Tiny, Workload::Logs, Workload::Trickle];

    /// What it is, with its size.
    pub fn title(self, sizes: &Sizes) -> String {
        match self {
            Workload::Large => format!("{} random file", bytes_in_words(sizes.large_bytes)),
            Workload::Small => format!("{} × 4 KiB", number(sizes.small_files)),
            Workload::Tiny => format!("{} × 1 KiB", number(sizes.tiny_files)),
            Workload::Logs => format!("{} of text logs", bytes_in_words(sizes.logs_bytes)),
            Workload::Trickle => format!("{} files, one each 100 ms", number(sizes.trickle_files)),
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Workload::Large => "large",
            Workload::Small => "small",
            Workload::Tiny => "tiny",
            Workload::Logs => "logs",
            Workload::Trickle => "trickle",
        }
    }

    /// Makes it in a folder of its own below `dir`.
    pub(super) fn make(self, sizes: &Sizes, dir: &Path) -> Source {
        let root = dir.join(self.folder());
        let mut tree = Tree::new(&root, 1);
        match self {
            Workload::Large => drop(tree.file("large.bin", sizes.large_bytes)),
            Workload::Small => many_files(&mut tree, sizes.small_files, 4096),
            Workload::Tiny => many_files(&mut tree, sizes.tiny_files, 1024),
            Workload::Logs => write_logs(&root, sizes.logs_bytes).expect("there is room for the workload"),
            // Made while it is measured.
            Workload::Trickle => {}
        }
        Source::of(root)
    }
}

/// A workload that was made, and what is in it.
pub(super) struct Source {
    /// The folder to send.
    pub(super) root: PathBuf,
    /// All bytes.
    pub(super) bytes: u64,
    content: BTreeMap<PathBuf, Hash>,
}

impl Source {
    /// Reads all of it, so that it is in the cache for everybody.
    pub(super) fn of(root: PathBuf) -> Self {
        let content = digests(&root).expect("the workload can be read");
        let bytes = tree::total_bytes(&root);
        Source { root, bytes, content }
    }

    /// How many files it has.
    pub(super) fn files(&self) -> usize {
        self.content.len()
    }

    /// The first way in which what arrived is something else.
    pub(super) fn difference(&self, arrived: &Path) -> Option<String> {
        let theirs = match digests(arrived) {
            Ok(theirs) => theirs,
            Err(error) => return Some(format!("cannot read what arrived: {error}")),
        };
        if let Some(path) = theirs.keys().find(|path| !self.content.contains_key(*path)) {
            return Some(format!("{} was never sent", path.display()));
        }
        self.content.iter().find_map(|(path, digest)| match theirs.get(path) {
            None => Some(format!("{} did not arrive", path.display())),
            Some(other) if other != digest => Some(format!("{} has other bytes", path.display())),
            Some(_) => None,
        })
    }
}

fn digests(root: &Path) -> io::Result<BTreeMap<PathBuf, Hash>> {
    let mut found = BTreeMap::new();
    for path in tree::files(root)?.into_keys() {
        let mut hasher = Hasher::new();
        hasher.update_reader(File::open(root.join(&path))?)?;
        found.insert(path, hasher.finalize());
    }
    Ok(found)
}

fn many_files(tree: &mut Tree, count: u64, size_bytes: u64) {
    for number in 0..count {
        tree.file(format!("folder-{:02}/file-{number:06}.dat", number % 100), size_bytes);
    }
}

/// Eight machines' logs.
fn write_logs(root: &Path, bytes: u64) -> io::Result<()> {
    for machine in 0..8 {
        let folder = root.join(format!("edge-{machine:02}"));
        fs::create_dir_all(&folder)?;
        let mut file = BufWriter::new(File::create(folder.join("gateway.log"))?);
        let (mut lines, mut written) = (LogLines::of(machine), 0);
        while written < bytes / 8 {
            let line = lines.next_line();
            written += line.len() as u64;
            file.write_all(line.as_bytes())?;
        }
        file.flush()?;
    }
    Ok(())
}

fn bytes_in_words(bytes: u64) -> String {
    match bytes {
        0x4000_0000.. => format!("{} GiB", bytes >> 30),
        0x10_0000.. => format!("{} MiB", bytes >> 20),
        0.. => format!("{} KiB", bytes >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([200, 1000, 10_000, 100_000].map(number), ["200", "1,000", "10,000", "100,000"]);
    }
}
