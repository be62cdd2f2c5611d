//! All logs of one watch: what was seen of them, and what came of what was done.
//!
//! Owns which log is served next and how many looks there were. Lacks the choice of what is done: that is `step`'s.

use std::collections::{BTreeMap, BTreeSet};

use super::came::Rules;
use super::newcomer::Newcomers;
use super::tracked::{Presence, Tracked};
use super::{FileId, Log, LogId, Note, Outcome, Sighting, Task};
use crate::Algorithm;
use crate::delivery::OnConflict;
use crate::digest::Hasher;

/// All logs of one watch.
#[derive(Debug)]
pub struct Ledger {
    sender: String,
    policy: OnConflict,
    /// Whether the records are all that there were; else what stands at the destination may be ours.
    trusted: bool,
    pub(super) logs: BTreeMap<LogId, Tracked>,
    newcomers: Newcomers,
    pub(super) served: Option<LogId>,
    pub(super) look: u64,
}

impl Ledger {
    /// A ledger that goes on with `logs`. `sender` names this machine in names that it makes up.
    pub fn new(sender: &str, policy: OnConflict, trusted: bool, logs: Vec<Log>) -> Self {
        let logs = logs.into_iter().map(|log| (log.id, Tracked::recalled(log))).collect();
        let sender = sender.to_owned();
        Self { sender, policy, trusted, logs, newcomers: Newcomers::default(), served: None, look: 0 }
    }

    /// All that is known of a log.
    pub fn log(&self, id: LogId) -> Option<&Log> {
        self.logs.get(&id).map(|tracked| &tracked.log)
    }

    /// All logs, and how long each was when it was seen last.
    pub fn all(&self) -> impl Iterator<Item = (&Log, Option<u64>)> {
        self.logs.values().map(|tracked| (&tracked.log, tracked.size))
    }

    /// Files that are followed or about to be.
    pub fn files(&self) -> impl Iterator<Item = FileId> + '_ {
        let followed = self.logs.values().filter(|tracked| !tracked.log.ended);
        followed.map(|tracked| tracked.log.file).chain(self.newcomers.files())
    }

    /// Takes a whole look at the folder.
    pub fn observe(&mut self, sightings: &[Sighting]) -> Vec<Note> {
        self.look += 1;
        let seen: BTreeMap<FileId, &Sighting> =
            sightings.iter().map(|sighting| (sighting.file, sighting)).collect();
        let mut notes = self.find_on_other_devices(sightings);
        let mut left = BTreeSet::new();
        let look = self.look;
        for tracked in self.logs.values_mut().filter(|tracked| !tracked.log.ended) {
            let before = tracked.log.path.clone();
            if tracked.see(seen.get(&tracked.log.file).copied(), look) {
                notes.push(Note::Keep(tracked.log.clone()));
            }
            if tracked.log.ended || tracked.presence != Presence::Named || tracked.log.path != before {
                left.insert(before);
            }
        }
        self.newcomers.meet(sightings, &left, &self.logs, look);
        notes
    }

    /// The number of a device may be another one since it was mounted again. A log of which no file is seen on its device is
    /// known by the rest: its file's number, and its birth or else its name. It is measured before anything relies on that.
    fn find_on_other_devices(&mut self, sightings: &[Sighting]) -> Vec<Note> {
        let devices: BTreeSet<u64> = sightings.iter().map(|sighting| sighting.file.dev).collect();
        let strange = |tracked: &Tracked| tracked.recalled && !devices.contains(&tracked.log.file.dev);
        if !self.logs.values().any(strange) {
            return Vec::new();
        }
        let followed: BTreeSet<FileId> = self.files().collect();
        let mut notes = Vec::new();
        for tracked in self.logs.values_mut().filter(|tracked| strange(tracked)) {
            let log = &mut tracked.log;
            let mut alike = sightings.iter().filter(|Sighting { file, path, .. }| {
                file.is_on_another_device(log.file)
                    && (file.born_ns != 0 || path.as_ref() == Some(&log.path))
                    && (log.ended || !followed.contains(file))
            });
            if let (Some(only), None) = (alike.next(), alike.next()) {
                log.file = only.file;
                notes.push(Note::Keep(log.clone()));
            }
        }
        notes
    }

    /// Whether a log waits for something that only another look can tell.
    pub(super) fn rests(&self, tracked: &Tracked) -> bool {
        tracked.refused_at == Some(self.look)
    }

    pub(super) fn sender(&self) -> &str {
        &self.sender
    }

    /// Compares files that were not there before with logs that may go on in them; the others become logs.
    pub(super) fn about_newcomers(&mut self) -> Option<Task> {
        let (begun, asked) = self.newcomers.sorted_out(&self.logs, self.look);
        for file in begun {
            self.begin(file);
        }
        asked
    }

    fn begin(&mut self, file: FileId) {
        let Some(newcomer) = self.newcomers.remove(file) else { return };
        let rounds = self
            .logs
            .values()
            .filter(|tracked| tracked.log.file == file)
            .map(|tracked| tracked.log.round + 1);
        let mut round = rounds.max().unwrap_or(0);
        // Those of earlier rounds are forgotten when they are over, and an id must never be used twice at a time.
        while self.logs.contains_key(&LogId::of(file, round)) {
            round += 1;
        }
        let id = LogId::of(file, round);
        let log = Log {
            id,
            file,
            round,
            path: newcomer.path,
            name: None,
            moving: None,
            shipped: 0,
            digests: Hasher::for_destination(Algorithm::Sha256).digests(),
            verified: 0,
            renamed: false,
            unproven: false,
            ended: false,
        };
        self.logs.insert(id, Tracked::begun(log, newcomer.size, self.look));
    }

    /// Takes what came of a task.
    pub fn on(&mut self, task: &Task, outcome: &Outcome) -> Vec<Note> {
        match task {
            Task::Match { file, .. } | Task::Inside { file, .. } | Task::Twin { file, .. } => {
                self.compared(*file, task, outcome)
            }
            Task::Finish { log, .. } if *outcome == Outcome::Finished => {
                self.logs.remove(log);
                vec![Note::Forget(*log)]
            }
            _ => {
                let rules = Rules { policy: self.policy, trusted: self.trusted, look: self.look };
                let Some(tracked) = self.logs.get_mut(&task.log()) else { return Vec::new() };
                match outcome {
                    Outcome::Failed => tracked.sure = false,
                    Outcome::Refused => tracked.refused_at = Some(rules.look),
                    Outcome::Denied => return tracked.refused(task, rules.look),
                    _ => return tracked.on(task, outcome, rules),
                }
                Vec::new()
            }
        }
    }

    fn compared(&mut self, file: FileId, task: &Task, outcome: &Outcome) -> Vec<Note> {
        let log = task.log();
        match (task, outcome) {
            (Task::Match { .. }, Outcome::Same(true)) => self.goes_on_in(file, log),
            (Task::Inside { .. }, Outcome::Shipped { length, digests }) => {
                self.goes_on_in(file, log);
                let Some(tracked) = self.logs.get_mut(&log) else { return Vec::new() };
                tracked.ship(*length, *digests);
                vec![Note::Keep(tracked.log.clone())]
            }
            (_, Outcome::Same(same)) => {
                self.newcomers.compared(file, log, *same, self.look);
                Vec::new()
            }
            (_, Outcome::Denied) => {
                let look = self.look;
                self.logs.get_mut(&log).map_or_else(Vec::new, |tracked| tracked.refused(task, look))
            }
            _ => {
                // Met again at the next look.
                self.newcomers.remove(file);
                Vec::new()
            }
        }
    }

    /// A log goes on in another file: that one is followed from now on.
    fn goes_on_in(&mut self, file: FileId, id: LogId) -> Vec<Note> {
        let Some(newcomer) = self.newcomers.remove(file) else { return Vec::new() };
        let Some(tracked) = self.logs.get_mut(&id) else { return Vec::new() };
        tracked.goes_on_in(file, newcomer.path, newcomer.size, self.look);
        vec![Note::Keep(tracked.log.clone())]
    }
}
