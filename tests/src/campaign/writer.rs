//! Somebody who adds files to the watched folder and replaces them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::Expected;
use super::chance::Chance;

/// Names of small files, and of large ones.
const SMALL: u64 = 60;
const LARGE: u64 = 4;

/// Writes, and knows what may be found.
pub struct Writer {
    /// What was written.
    pub expected: Expected,
    root: PathBuf,
    durable: bool,
}

impl Writer {
    /// For the watched folder `root`.
    pub fn new(root: &Path) -> Self {
        Writer { expected: Expected::default(), root: root.to_owned(), durable: false }
    }

    /// All that it writes survives a power cut from then on: what it did not sync would be nobody's fault.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Adds or replaces one file.
    pub fn step(&mut self, chance: &mut Chance) {
        let large = chance.percent(5);
        let (name, size_bytes) = if large {
            (format!("large-{}.bin", chance.below(LARGE)), 100_000 + chance.below(1_500_000))
        } else {
            let number = chance.below(SMALL);
            (format!("folder-{}/small-{number:03}.dat", number % 4), chance.below(8192))
        };
        let bytes = chance.bytes(size_bytes);
        if self.durable || chance.percent(50) {
            self.put(&name, &bytes);
        } else {
            self.write_in_place(&name, &bytes);
        }
    }

    /// Goes on for a while, at most `longest`, with a `pace` between one file and the next.
    pub fn work(&mut self, chance: &mut Chance, longest: Duration, pace: Duration) {
        let end = Instant::now() + chance.time(longest);
        loop {
            if chance.percent(60) {
                self.step(chance);
            }
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return;
            }
            thread::sleep(rest.min(pace));
        }
    }

    /// A few small files and a large one.
    pub fn one_delivery(&mut self, chance: &mut Chance) {
        for number in 0..8 {
            let bytes = chance.bytes(number * 700);
            self.put(&format!("folder-{}/small-{number}.dat", number % 2), &bytes);
        }
        let bytes = chance.bytes(300_000);
        self.put("large.bin", &bytes);
    }

    /// The safe way: written beside the watched folder, then renamed into it.
    pub fn put(&mut self, name: &str, bytes: &[u8]) {
        let (path, beside) = (self.root.join(name), self.root.with_extension("next"));
        self.make_folder(&path);
        let mut file = File::create(&beside).expect("there is room beside the watched folder");
        file.write_all(bytes).expect("there is room beside the watched folder");
        if self.durable {
            file.sync_all().expect("the disk takes it");
        }
        drop(file);
        fs::rename(&beside, &path).expect("a rename on one file system works");
        if self.durable {
            sync_folder(path.parent().expect("it is below the root"));
        }
        self.expected.version(name, bytes);
    }

    /// The usual way: others see it grow.
    fn write_in_place(&mut self, name: &str, bytes: &[u8]) {
        let path = self.root.join(name);
        self.make_folder(&path);
        let mut file = File::create(&path).expect("the watched folder is writable");
        for piece in bytes.chunks(1 + bytes.len() / 3) {
            file.write_all(piece).expect("there is room in the watched folder");
        }
        self.expected.version(name, bytes);
    }

    fn make_folder(&self, path: &Path) {
        let folder = path.parent().expect("it is below the root");
        if folder.exists() {
            return;
        }
        fs::create_dir_all(folder).expect("the watched folder is writable");
        if self.durable {
            sync_folder(&self.root);
        }
    }
}

fn sync_folder(folder: &Path) {
    let folder = File::open(folder).expect("a folder can be opened");
    folder.sync_all().expect("the disk takes it");
}
