//! What is asked for at once: small files many at a time, large ones block by block.
//!
//! Promises that each job is made when it is asked for: how many there are is the server's claim.

use std::collections::HashMap;

use super::Fetch;

/// The most names in one request: what fits on one command line everywhere.
pub(super) const MOST_NAMES: usize = 256;

/// What a part's size is counted in.
pub(super) const BLOCK_BYTES: u64 = 64 << 10;

/// What is asked for at once.
#[derive(Debug, Clone)]
pub(super) enum Job {
    /// Whole files, by number, size and name.
    Files(Vec<(usize, u64, Vec<u8>)>),
    /// Blocks of one file.
    Part { file: usize, name: Vec<u8>, skipped_blocks: u64, blocks: u64 },
}

/// What comes of a job.
pub(super) enum Heard<'a> {
    /// The server can't read this file.
    Unreadable(usize),
    /// A piece of the content of the readable files, one behind the other.
    Piece(&'a [u8]),
    /// All of the job has come.
    End,
}

impl Job {
    /// The number of the file that is its `number`th.
    pub(super) fn file(&self, number: usize) -> Option<usize> {
        match self {
            Self::Files(files) => files.get(number).map(|(file, ..)| *file),
            Self::Part { file, .. } => (number == 0).then_some(*file),
        }
    }
}

/// The jobs, one by one.
#[derive(Clone)]
pub(super) struct Jobs<'a> {
    fetches: &'a [Fetch],
    /// How much of a file is here already.
    skips: HashMap<usize, u64>,
    parts: bool,
    most_names: usize,
    job_bytes: u64,
    next: usize,
    /// The file that comes in parts, and its next block.
    large: Option<(usize, u64)>,
    files: Vec<(usize, u64, Vec<u8>)>,
    bytes: u64,
}

impl<'a> Jobs<'a> {
    /// For all of `fetches`; `parts`: whether the server can send parts of a file.
    pub(super) fn new(
        fetches: &'a [Fetch],
        skips: HashMap<usize, u64>,
        parts: bool,
        (most_names, job_bytes): (usize, u64),
    ) -> Self {
        let (next, large, files, bytes) = Default::default();
        Self { fetches, skips, parts, most_names, job_bytes, next, large, files, bytes }
    }

    fn part(&mut self) -> Option<Job> {
        let (file, skipped_blocks) = self.large.take()?;
        let fetch = &self.fetches[file];
        let end = fetch.size.div_ceil(BLOCK_BYTES);
        let blocks = (self.job_bytes / BLOCK_BYTES).max(1).min(end.saturating_sub(skipped_blocks));
        self.large = Some((file, skipped_blocks + blocks)).filter(|(_, next)| *next < end);
        Some(Job::Part { file, name: fetch.from.clone(), skipped_blocks, blocks })
    }

    fn take_files(&mut self) -> Job {
        self.bytes = 0;
        Job::Files(std::mem::take(&mut self.files))
    }
}

impl Iterator for Jobs<'_> {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        loop {
            if let Some(part) = self.part() {
                return Some(part);
            }
            let file = self.next;
            let Some(fetch) = self.fetches.get(file) else {
                return (!self.files.is_empty()).then(|| self.take_files());
            };
            let skip = self.skips.get(&file);
            if self.parts && (fetch.size > self.job_bytes || skip.is_some()) {
                // One part at least, that ends the file, where all of it is here already.
                self.large = Some((file, skip.map_or(0, |skip| skip / BLOCK_BYTES)));
                self.next += 1;
                continue;
            }
            let bytes = self.bytes.saturating_add(fetch.size);
            if !self.files.is_empty() && (self.files.len() >= self.most_names || bytes > self.job_bytes) {
                return Some(self.take_files());
            }
            self.bytes = bytes;
            self.files.push((file, fetch.size, fetch.from.clone()));
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use skiff_common::RelPath;

    use super::*;

    fn fetch(name: &str, size: u64) -> Fetch {
        let to = RelPath::parse(name.as_bytes()).expect("a path");
        Fetch { from: name.as_bytes().to_vec(), to, size, mtime_ns: None, mode: 0o644 }
    }

    #[test]
    fn small_files_share_a_job_and_large_ones_come_in_parts() {
        let mut fetches: Vec<_> = (0..600).map(|n| fetch(&format!("f{n}"), 10)).collect();
        fetches.push(fetch("large", 10 * BLOCK_BYTES + 1));
        let jobs = Jobs::new(&fetches, HashMap::new(), true, (MOST_NAMES, 4 * BLOCK_BYTES));
        let members: Vec<_> = jobs
            .map(|job| match job {
                Job::Files(files) => files.len() as u64,
                Job::Part { skipped_blocks, blocks, .. } => skipped_blocks * 100 + blocks,
            })
            .collect();
        assert_eq!(members, [256, 256, 4, 404, 803, 88]);
    }

    #[test]
    fn what_is_here_already_is_not_asked_for() {
        let fetches = [fetch("large", 10 * BLOCK_BYTES + 1), fetch("all", 2 * BLOCK_BYTES)];
        let skips = HashMap::from([(0, 9 * BLOCK_BYTES), (1, 2 * BLOCK_BYTES)]);
        let jobs = Jobs::new(&fetches, skips, true, (MOST_NAMES, 4 * BLOCK_BYTES));
        let parts: Vec<_> = jobs
            .map(|job| match job {
                Job::Part { file, skipped_blocks, blocks, .. } => (file, skipped_blocks, blocks),
                Job::Files(_) => panic!("both go on"),
            })
            .collect();
        assert_eq!(parts, [(0, 9, 2), (1, 2, 0)]);
    }

    /// A server may list what it likes.
    #[test]
    fn a_file_of_any_size_is_no_list_of_its_parts() {
        let fetches = [fetch("large", u64::MAX), fetch("b", u64::MAX)];
        for parts in [true, false] {
            assert!(Jobs::new(&fetches, HashMap::new(), parts, (MOST_NAMES, 4 << 20)).take(3).count() > 1);
        }
    }
}
