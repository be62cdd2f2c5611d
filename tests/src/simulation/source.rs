//! The watched folder and those who write in it.

use skiff_common::Stamp;

use super::blob::Blob;
use super::chance::Chance;
use super::names::MOST;

/// How long after a removal a power cut may still undo it, in milliseconds: the commit interval of ext4.
const UNDONE_WITHIN_MS: u64 = 5000;

/// A file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct File {
    pub(super) stamp: Stamp,
    pub(super) blob: Blob,
    /// Whether somebody has it open for writing.
    pub(super) writer: bool,
}

/// What a writer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Makes a file, or replaces it by another that was written elsewhere.
    Replace(u32),
    /// Opens it, empties it and writes some bytes.
    Begin(u32),
    /// Adds some bytes; the file stays open.
    Add(u32),
    /// Adds some bytes and closes it.
    Append(u32),
    /// Closes it.
    Close,
    /// Writes as many other bytes in place.
    Rewrite,
    /// Makes it shorter.
    Truncate,
    /// Changes its mode.
    Touch,
    /// Deletes it.
    Delete,
}

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) files: [Option<File>; MOST],
    /// The agent's private folder for what is leaving.
    pub(super) leaving: [Option<File>; MOST],
    /// Whether the kernel tells who has a file open for writing.
    pub(super) leases: bool,
    versions: [Vec<Blob>; MOST],
    removed: Vec<(u64, usize, File)>,
    streams: u32,
    ticks: i64,
}

impl Source {
    pub(super) fn new(leases: bool) -> Self {
        Self {
            files: [None; MOST],
            leaving: [None; MOST],
            leases,
            versions: Default::default(),
            removed: Vec::new(),
            streams: 0,
            ticks: 0,
        }
    }

    /// A stream that nobody has written before.
    pub(super) const fn stream(&mut self) -> u32 {
        self.streams += 1;
        self.streams
    }

    /// When the file held this, whole, with nobody known to be writing it: first and last, counted in versions.
    pub(super) fn versions_with(&self, name: usize, blob: Blob) -> Option<(usize, usize)> {
        let is = |version: &Blob| *version == blob;
        let versions = &self.versions[name];
        versions.iter().position(is).zip(versions.iter().rposition(is))
    }

    /// What the file held first.
    pub(super) fn first_version(&self, name: usize) -> Option<Blob> {
        self.versions[name].first().copied()
    }

    /// Something happens to a file; `wall` is what the wall clock says, in milliseconds.
    pub(super) fn act(&mut self, name: usize, act: Act, wall: i64) {
        let time = self.time(wall);
        let leaving = self.files[name].is_none() && self.leaving[name].is_some_and(|file| file.writer);
        let before = if leaving { self.leaving[name] } else { self.files[name] };
        let after = match (act, before) {
            (Act::Replace(len), _) | (Act::Append(len), None) => Some(self.make(len, time, false)),
            (Act::Begin(len) | Act::Add(len), None) => Some(self.make(len, time, true)),
            (Act::Begin(len), Some(file)) => {
                let blob = Blob::new(self.stream(), len);
                Some(changed(file, blob, time, true))
            }
            (Act::Add(len), Some(file)) => Some(changed(file, self.longer(file, len), time, true)),
            (Act::Append(len), Some(file)) => Some(changed(file, self.longer(file, len), time, false)),
            (Act::Close, Some(file)) => Some(File { writer: false, ..file }),
            (Act::Rewrite, Some(file)) => {
                Some(changed(file, Blob::new(self.stream(), file.blob.len), time, false))
            }
            (Act::Truncate, Some(file)) => Some(changed(file, file.blob.cut(file.blob.len / 2), time, false)),
            (Act::Touch, Some(file)) => Some(File { stamp: Stamp { ctime_ns: time, ..file.stamp }, ..file }),
            (Act::Delete | Act::Close | Act::Rewrite | Act::Truncate | Act::Touch, _) => None,
        };
        match (leaving, act) {
            // Whoever opens a name anew can't find what is leaving.
            (true, Act::Add(_) | Act::Append(_) | Act::Close) => self.leaving[name] = after,
            _ => self.files[name] = after,
        }
        self.note(name, after);
    }

    /// Renames a file out of its place; `None` where that can't be.
    pub(super) fn take_out(&mut self, name: usize, wall: i64) -> Option<File> {
        if self.leaving[name].is_some() {
            return None;
        }
        let file = self.files[name].take()?;
        let file = self.renamed(file, wall);
        self.leaving[name] = Some(file);
        Some(file)
    }

    /// Renames it back. Where the name is taken again, it is set aside: to whoever took it, it was overwritten.
    pub(super) fn put_back(&mut self, name: usize, wall: i64) {
        if let Some(file) = self.leaving[name].take()
            && self.files[name].is_none()
        {
            self.files[name] = Some(self.renamed(file, wall));
        }
    }

    /// Unlinks what is leaving.
    pub(super) fn remove(&mut self, name: usize, now_ms: u64) -> Option<File> {
        let file = self.leaving[name].take()?;
        self.removed.push((now_ms, name, file));
        Some(file)
    }

    /// The machine loses power: a removal that wasn't on the disk yet is undone. A name that was taken again since is
    /// left alone, though a disk could lose that too.
    pub(super) fn power_cut(&mut self, now_ms: u64, chance: &mut Chance) {
        for (at, name, file) in std::mem::take(&mut self.removed) {
            let newest = self.versions[name].last() == Some(&file.blob);
            if at + UNDONE_WITHIN_MS > now_ms && newest && chance.one_in(2) && self.files[name].is_none() {
                self.leaving[name] = Some(File { writer: false, ..file });
            }
        }
        for name in 0..MOST {
            if let Some(file) = &mut self.files[name] {
                file.writer = false;
            }
            self.note(name, self.files[name]);
        }
    }

    fn time(&mut self, wall: i64) -> i64 {
        // No two changes within one tick: what a coarse clock can't tell apart is not this model's.
        self.ticks += 1;
        wall * 1_000_000 + self.ticks
    }

    fn make(&mut self, len: u32, time: i64, writer: bool) -> File {
        let ino = u64::from(self.streams) + 1;
        let blob = Blob::new(self.stream(), len);
        let stamp = Stamp { dev: 1, ino, size: u64::from(len), mtime_ns: 0, ctime_ns: time };
        File { stamp, blob, writer }
    }

    const fn longer(&mut self, file: File, len: u32) -> Blob {
        // What is added to an empty file is no continuation of anything.
        let stream = if file.blob.len == 0 { self.stream() } else { file.blob.stream };
        Blob::new(stream, file.blob.len + len)
    }

    fn renamed(&mut self, file: File, wall: i64) -> File {
        File { stamp: Stamp { ctime_ns: self.time(wall), ..file.stamp }, ..file }
    }

    fn note(&mut self, name: usize, file: Option<File>) {
        if let Some(File { blob, writer, .. }) = file
            && !(writer && self.leases)
            && self.versions[name].last() != Some(&blob)
        {
            self.versions[name].push(blob);
        }
    }
}

const fn changed(file: File, blob: Blob, time: i64, writer: bool) -> File {
    let stamp = Stamp { size: blob.len as u64, mtime_ns: time, ctime_ns: time, ..file.stamp };
    File { stamp, blob, writer }
}
