//! Files of the folder that are no logs yet.
//!
//! Owns what comparing them with the logs has told so far. Promises that a file begins no log of its own while it may hold what
//! another log goes on with. Lacks the logs, which come in, and the comparing, which is a task.

use std::collections::{BTreeMap, BTreeSet};

use super::tracked::{Presence, Tracked};
use super::{FileId, LogId, Sighting, Task};
use crate::path::RelPath;

/// Looks for which a copy of a followed log must hold still before it counts as a log of its own. Until then the log may be
/// truncated, and then the copy is what the log was.
const LOOKS_OF_A_TWIN: u64 = 10;

/// All logs.
type Logs = BTreeMap<LogId, Tracked>;

/// A file that is no log yet.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) path: RelPath,
    pub(super) size: u64,
    still_since: u64,
    /// It has the name that a log had, so it is no copy.
    succeeds: bool,
    differs_from: BTreeSet<LogId>,
    /// Looks like one, as long as both were.
    twin_at: Option<u64>,
}

/// What a newcomer is, as far as is known.
enum Fate {
    /// A log of its own.
    Begins,
    /// Something that this task will tell.
    Asks(Task),
    /// Something that only another look can tell.
    Waits,
}

/// The files of a folder that are no logs yet.
#[derive(Debug, Default)]
pub(super) struct Newcomers(BTreeMap<FileId, Newcomer>);

impl Newcomers {
    pub(super) fn files(&self) -> impl Iterator<Item = FileId> + '_ {
        self.0.keys().copied()
    }

    /// Takes one out: it becomes a log, part of one, or is met again at the next look.
    pub(super) fn remove(&mut self, file: FileId) -> Option<Newcomer> {
        self.0.remove(&file)
    }

    /// Meets the files of a look that no log follows. Names in `left` are those that logs had before it.
    pub(super) fn meet(&mut self, sightings: &[Sighting], left: &BTreeSet<RelPath>, logs: &Logs, look: u64) {
        let seen: BTreeSet<FileId> = sightings.iter().map(|sighting| sighting.file).collect();
        let followed: BTreeSet<FileId> =
            logs.values().filter(|tracked| !tracked.log.ended).map(|tracked| tracked.log.file).collect();
        self.0.retain(|file, _| seen.contains(file) && !followed.contains(file));
        for sighting in sightings.iter().filter(|sighting| !followed.contains(&sighting.file)) {
            if let Some(newcomer) = self.0.get_mut(&sighting.file) {
                newcomer.see(sighting, look);
                continue;
            }
            let Some(path) = sighting.path.clone() else { continue };
            let was = |tracked: &Tracked| tracked.log.ended && tracked.log.file == sighting.file;
            let newcomer = Newcomer {
                succeeds: left.contains(&path) || logs.values().any(was),
                path,
                size: sighting.size,
                still_since: look,
                differs_from: BTreeSet::new(),
                twin_at: None,
            };
            self.0.insert(sighting.file, newcomer);
        }
    }

    /// Those that are logs of their own, and the next comparison, if any is needed.
    pub(super) fn sorted_out(&self, logs: &Logs, look: u64) -> (Vec<FileId>, Option<Task>) {
        let mut begun = Vec::new();
        for (file, newcomer) in &self.0 {
            match newcomer.fate(*file, logs, look) {
                Fate::Begins => begun.push(*file),
                Fate::Asks(task) => return (begun, Some(task)),
                Fate::Waits => {}
            }
        }
        (begun, None)
    }

    /// Whether `file` looks like what `log` holds.
    pub(super) fn compared(&mut self, file: FileId, log: LogId, same: bool, look: u64) {
        let Some(newcomer) = self.0.get_mut(&file) else { return };
        if same {
            newcomer.twin_at = Some(look);
        } else {
            newcomer.differs_from.insert(log);
        }
    }
}

impl Newcomer {
    fn see(&mut self, sighting: &Sighting, look: u64) {
        if self.size != sighting.size {
            (self.size, self.still_since) = (sighting.size, look);
        }
        if let Some(path) = &sighting.path {
            self.path.clone_from(path);
        }
    }

    fn fate(&self, file: FileId, logs: &Logs, look: u64) -> Fate {
        if self.size == 0 {
            return Fate::Waits;
        }
        if let Some(task) = self.asked_of_those_left(file, logs) {
            // Where the copy can't be looked into it is no log of its own either, until that is known.
            let waits = matches!(task, Task::Inside { .. }) && logs[&task.log()].is_hindered(look);
            return if waits { Fate::Waits } else { Fate::Asks(task) };
        }
        if self.succeeds || look >= self.still_since + LOOKS_OF_A_TWIN {
            return Fate::Begins;
        }
        if self.twin_at == Some(look) {
            return Fate::Waits;
        }
        let mut live = self.new_to(file, logs).filter(|tracked| !tracked.is_orphan());
        live.next().map_or(Fate::Begins, |Tracked { log, .. }| {
            Fate::Asks(Task::Twin { file, with: log.file, log: log.id })
        })
    }

    /// Logs that it was not compared with, and may go on with.
    fn new_to<'a>(&'a self, file: FileId, logs: &'a Logs) -> impl Iterator<Item = &'a Tracked> {
        logs.values().filter(move |tracked| {
            tracked.log.shipped > 0
                && tracked.log.file != file
                // What has its name is what came after it, however it begins.
                && tracked.log.path != self.path
                && !tracked.not_in.contains(&file)
                && !self.differs_from.contains(&tracked.log.id)
        })
    }

    /// Whether it holds what a log went on with that can't be followed any more.
    fn asked_of_those_left(&self, file: FileId, logs: &Logs) -> Option<Task> {
        // One that can still be read is known better once it is delivered: a few bytes many files begin with.
        let is_known = |tracked: &&Tracked| {
            let is_readable = !tracked.log.ended && tracked.presence != Presence::Lost;
            !is_readable || tracked.size == Some(tracked.log.shipped)
        };
        let mut orphans = self.new_to(file, logs).filter(|tracked| tracked.is_orphan()).filter(is_known);
        if let Some(Tracked { log, .. }) = orphans.find(|tracked| tracked.log.shipped <= self.size) {
            let (length, digests) = (log.shipped, log.digests);
            return Some(Task::Match { file, log: log.id, length, digests });
        }
        let mut longer = self
            .new_to(file, logs)
            .map(|tracked| &tracked.log)
            .filter(|log| log.ended && is_nearly_all(self.size, log.shipped) && log.moving.is_none());
        longer.find_map(|log| Some(Task::Inside { file, log: log.id, name: log.name.clone()? }))
    }
}

/// Whether a file of `size` bytes can be a copy that was made of a log just before the last of its `shipped` bytes came.
const fn is_nearly_all(size: u64, shipped: u64) -> bool {
    // More than what logs begin with alike, and all but what is written while a copy is made.
    const LEAST: u64 = 4096;
    size >= LEAST && size < shipped && shipped - size <= shipped / 8
}
