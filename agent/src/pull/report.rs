//! What a pull tells: how far it is, and how it ended.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use skiff_common::RelPath;

/// How far it is. A sink: nothing decides by it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files to fetch, as far as is known.
    pub found_files: AtomicU64,
    /// Their bytes.
    pub found_bytes: AtomicU64,
    /// Bytes that came.
    pub received_bytes: AtomicU64,
    /// Files that are here, verified, under their final names.
    pub fetched_files: AtomicU64,
    /// Their bytes.
    pub fetched_bytes: AtomicU64,
    /// Files that stood here already.
    pub standing_files: AtomicU64,
}

impl Progress {
    pub(super) fn add(count: &AtomicU64, more: u64) {
        count.fetch_add(more, Ordering::Relaxed);
    }

    /// Files and bytes to fetch, to be told [again](Self::has_found) where some are to be found once more.
    pub(super) fn found(&self) -> [u64; 2] {
        [&self.found_files, &self.found_bytes].map(|count| count.load(Ordering::Relaxed))
    }

    /// What was found since then counts no longer.
    pub(super) fn has_found(&self, [files, bytes]: [u64; 2]) {
        self.found_files.store(files, Ordering::Relaxed);
        self.found_bytes.store(bytes, Ordering::Relaxed);
    }

    /// All is found once more, after a lost connection; also what is here.
    pub(super) fn starts_over(&self) {
        self.has_found([0, 0]);
    }

    /// From now on so much is to come, beside what is here; of that, `kept` bytes are here in parts. It may be the same
    /// again, after a lost connection or because it has changed.
    pub(super) fn goes_for(&self, files: u64, bytes: u64, kept: u64) {
        let (here_files, here) =
            [&self.fetched_files, &self.fetched_bytes].map(|n| n.load(Ordering::Relaxed)).into();
        self.found_files.store(here_files + files, Ordering::Relaxed);
        self.found_bytes.store(here + bytes, Ordering::Relaxed);
        self.received_bytes.fetch_max(here + kept, Ordering::Relaxed);
    }
}

/// How it ended.
#[derive(Debug, Default)]
pub struct Report {
    /// What went wrong, one line each, escaped.
    pub problems: Vec<String>,
    /// Files that are not here.
    pub failed_files: u64,
    /// Things at the server that are no files or folders: left out.
    pub left_out: u64,
    /// Sources that are folders.
    pub folders: Vec<String>,
    /// Why it ended before its end.
    pub failure: Option<Failure>,
    /// What a dry run would have fetched, with sizes.
    pub would_fetch: Vec<(RelPath, u64)>,
    pub(super) settled: HashSet<RelPath>,
    /// By source, what its last pass by `scp` left out.
    skipped: HashMap<String, u64>,
    pub(super) kept_bytes: u64,
    said: HashSet<String>,
}

/// Why a pull ended early.
#[derive(Debug)]
pub struct Failure {
    /// What and why.
    pub what: String,
    /// What to do.
    pub hint: String,
    /// A stable word for programs.
    pub code: &'static str,
}

impl Report {
    /// Once for each thing, however often the connection was made again.
    pub(super) fn problem(&mut self, what: String) {
        if self.said.insert(what.clone()) {
            self.problems.push(what);
        }
    }

    /// This file is not to be had; it is not tried again.
    pub(super) fn give_up(&mut self, to: &RelPath, what: String) {
        if self.settled.insert(to.clone()) {
            self.failed_files += 1;
        }
        self.problem(what);
    }

    /// So many files of this source can't be had, as its last pass had it.
    pub(super) fn skips(&mut self, source: String, files: u64) {
        let before = self.skipped.insert(source, files).unwrap_or(0);
        self.failed_files = self.failed_files - before + files;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_again_is_counted_once() {
        let progress = Progress::default();
        progress.goes_for(10, 1000, 0);
        Progress::add(&progress.received_bytes, 900);
        Progress::add(&progress.fetched_files, 3);
        Progress::add(&progress.fetched_bytes, 300);
        // After a lost connection: three are here, and a part of another.
        progress.goes_for(7, 700, 500);
        let counts = [&progress.found_files, &progress.found_bytes, &progress.received_bytes];
        assert_eq!(counts.map(|count| count.load(Ordering::Relaxed)), [10, 1000, 900]);

        // Where nobody can ask for the rest of it, all ten come once more.
        progress.starts_over();
        Progress::add(&progress.found_files, 10);
        assert_eq!(progress.found(), [10, 0]);

        let mut report = Report::default();
        report.skips("a".to_owned(), 2);
        report.skips("b".to_owned(), 1);
        report.skips("a".to_owned(), 2);
        assert_eq!(report.failed_files, 3);
    }
}
