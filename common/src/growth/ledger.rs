//! All logs of one watch: what was seen of them, and what is to be done next.

use std::collections::{BTreeMap, BTreeSet};

use super::names;
use super::{FileId, Log, LogId, Loss, Note, Outcome, Sighting, Step, Task};
use crate::Algorithm;
use crate::delivery::OnConflict;
use crate::digest::Hasher;
use crate::path::RelPath;

/// Looks after which something that was not seen counts as gone: one look may fall between two renames.
const LOOKS_TO_BE_SURE: u64 = 2;
/// Looks for which a copy of a followed log must hold still before it counts as a log of its own. Until then the log may be
/// truncated, and then the copy is what the log was.
const LOOKS_OF_A_TWIN: u64 = 10;
/// Looks for which a log that keeps its name must hold still before its whole copy is read back.
const LOOKS_OF_REST: u64 = 60;
/// It also must have grown by this share since, for reading back costs as much as the copy is long.
const SHARE_TO_VERIFY: u64 = 8;

/// Where a log's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// In the folder.
    Named,
    /// Held open, and no longer in the folder.
    Unnamed { written: bool },
    /// Nowhere.
    Lost,
}

/// A log, and what is known of it in this process alone.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is found out by another step")]
pub(super) struct Tracked {
    pub(super) log: Log,
    pub(super) presence: Presence,
    /// Its length, once it was seen.
    size: Option<u64>,
    /// Whether the copy is known to be as the log says.
    sure: bool,
    /// What stands under the name that it is to have is ours, by the receipts, or may be.
    taken: Option<(RelPath, bool)>,
    cut_back: bool,
    differs: bool,
    /// It had been read back whole before the start, so it had been still, and had nothing more.
    was_whole: bool,
    /// It was not compared with its copy since the start.
    recalled: bool,
    /// Files that begin as it does, and are others.
    not_in: BTreeSet<FileId>,
    /// Names that somebody else has.
    pub(super) avoid: BTreeSet<RelPath>,
    still_since: u64,
    gone_since: Option<u64>,
    refused_at: Option<u64>,
}

/// A file that is no log yet.
#[derive(Debug, Clone)]
struct Newcomer {
    path: RelPath,
    size: u64,
    still_since: u64,
    /// It has the name that a log had, so it is no copy.
    succeeds: bool,
    differs_from: BTreeSet<LogId>,
    /// Looks like one, as long as both were.
    twin_at: Option<u64>,
}

/// All logs of one watch.
#[derive(Debug)]
pub struct Ledger {
    sender: String,
    policy: OnConflict,
    /// Whether the records are all that there were; else what stands at the destination may be ours.
    trusted: bool,
    pub(super) logs: BTreeMap<LogId, Tracked>,
    newcomers: BTreeMap<FileId, Newcomer>,
    served: Option<LogId>,
    look: u64,
}

impl Ledger {
    /// A ledger that goes on with `logs`. `sender` names this machine in names that it makes up.
    pub fn new(sender: &str, policy: OnConflict, trusted: bool, logs: Vec<Log>) -> Self {
        let logs = logs.into_iter().map(|log| (log.id, Tracked::recalled(log))).collect();
        let sender = sender.to_owned();
        Self { sender, policy, trusted, logs, newcomers: BTreeMap::new(), served: None, look: 0 }
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
        followed.map(|tracked| tracked.log.file).chain(self.newcomers.keys().copied())
    }

    /// Takes a whole look at the folder.
    pub fn observe(&mut self, sightings: &[Sighting]) -> Vec<Note> {
        self.look += 1;
        let seen: BTreeMap<FileId, &Sighting> =
            sightings.iter().map(|sighting| (sighting.file, sighting)).collect();
        let mut notes = Vec::new();
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
        self.meet(sightings, &seen, &left);
        notes
    }

    fn meet(&mut self, sightings: &[Sighting], seen: &BTreeMap<FileId, &Sighting>, left: &BTreeSet<RelPath>) {
        let followed: BTreeSet<FileId> =
            self.logs.values().filter(|tracked| !tracked.log.ended).map(|tracked| tracked.log.file).collect();
        self.newcomers.retain(|file, _| seen.contains_key(file) && !followed.contains(file));
        for sighting in sightings.iter().filter(|sighting| !followed.contains(&sighting.file)) {
            let look = self.look;
            let Some(newcomer) = self.newcomers.get_mut(&sighting.file) else {
                let Some(path) = sighting.path.clone() else { continue };
                let was = |tracked: &Tracked| tracked.log.ended && tracked.log.file == sighting.file;
                let succeeds = left.contains(&path) || self.logs.values().any(was);
                let newcomer = Newcomer {
                    path,
                    size: sighting.size,
                    still_since: look,
                    succeeds,
                    differs_from: BTreeSet::new(),
                    twin_at: None,
                };
                self.newcomers.insert(sighting.file, newcomer);
                continue;
            };
            if newcomer.size != sighting.size {
                (newcomer.size, newcomer.still_since) = (sighting.size, look);
            }
            if let Some(path) = &sighting.path {
                newcomer.path.clone_from(path);
            }
        }
    }

    /// What is to be done next; `None`: nothing before the next look.
    pub fn next_step(&mut self) -> Option<Step> {
        let is_between = |tracked: &Tracked| tracked.log.name.is_some() && tracked.log.moving.is_some();
        if self.logs.values().any(|tracked| tracked.recalled && is_between(tracked))
            && let Some((id, to)) = names::next(self)
        {
            return Some(self.rename(id, to));
        }
        // Whether a log is still what it was comes before the question which files may be its copies.
        let recalled = self.logs.values().filter(|tracked| tracked.recalled).map(|tracked| tracked.log.id);
        let doubtful =
            recalled.filter_map(|id| self.of(id)).find(|task| matches!(task, Task::Measure { .. }));
        if let Some(task) = doubtful.or_else(|| self.about_newcomers()) {
            return Some(Step { record: None, task });
        }
        if let Some((id, to)) = names::next(self) {
            return Some(self.rename(id, to));
        }
        let after = self.served.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let later = self.logs.range((after, std::ops::Bound::Unbounded)).map(|(id, _)| *id);
        let order: Vec<LogId> = later.chain(self.logs.keys().copied()).collect();
        let (id, task) = order.into_iter().find_map(|id| Some((id, self.of(id)?)))?;
        self.served = Some(id);
        let tracked = self.logs.get_mut(&id).expect("it was just looked at");
        let record = match &task {
            Task::Create { name, .. } if tracked.log.moving.as_ref() != Some(name) => {
                tracked.log.moving = Some(name.clone());
                Some(tracked.log.clone())
            }
            _ => None,
        };
        Some(Step { record, task })
    }

    /// Whether a log waits for something that only another look can tell.
    pub(super) fn rests(&self, tracked: &Tracked) -> bool {
        tracked.refused_at == Some(self.look)
    }

    pub(super) fn sender(&self) -> &str {
        &self.sender
    }

    fn rename(&mut self, log: LogId, to: RelPath) -> Step {
        let tracked = self.logs.get_mut(&log).expect("names are given to logs");
        let from = tracked.log.name.clone().expect("it has one");
        if let Some((name, true)) = &tracked.taken
            && *name == to
        {
            return Step { record: None, task: Task::Evict { log, name: to } };
        }
        let record = (tracked.log.moving.as_ref() != Some(&to)).then(|| {
            tracked.log.moving = Some(to.clone());
            tracked.log.clone()
        });
        Step { record, task: Task::Rename { log, from, to } }
    }

    /// Compares files that were not there before with logs that may go on in them; the others become logs.
    fn about_newcomers(&mut self) -> Option<Task> {
        let mut begun = Vec::new();
        let mut asked = None;
        for (file, newcomer) in &self.newcomers {
            if newcomer.size == 0 {
                continue;
            }
            let new_to = |tracked: &&Tracked| {
                tracked.log.shipped > 0
                    && tracked.log.file != *file
                    // What has its name is what came after it, however it begins.
                    && tracked.log.path != newcomer.path
                    && !tracked.not_in.contains(file)
                    && !newcomer.differs_from.contains(&tracked.log.id)
            };
            // One that can still be read is known better once it is delivered: a few bytes many files begin with.
            let is_known = |tracked: &&Tracked| {
                let is_readable = !tracked.log.ended && tracked.presence != Presence::Lost;
                !is_readable || tracked.size == Some(tracked.log.shipped)
            };
            let orphans = self.logs.values().filter(|tracked| tracked.is_orphan()).filter(is_known);
            if let Some(Tracked { log, .. }) =
                orphans.filter(new_to).find(|tracked| tracked.log.shipped <= newcomer.size)
            {
                let (length, digests) = (log.shipped, log.digests);
                asked = Some(Task::Match { file: *file, log: log.id, length, digests });
                break;
            }
            let inside =
                |tracked: &&Tracked| tracked.log.ended && is_nearly_all(newcomer.size, tracked.log.shipped);
            let longer = self.logs.values().filter(inside).filter(new_to);
            if let Some(log) =
                longer.map(|tracked| &tracked.log).find(|log| log.name.is_some() && log.moving.is_none())
            {
                let name = log.name.clone().expect("it has one");
                asked = Some(Task::Inside { file: *file, log: log.id, name });
                break;
            }
            if newcomer.succeeds || self.look >= newcomer.still_since + LOOKS_OF_A_TWIN {
                begun.push(*file);
                continue;
            }
            if newcomer.twin_at == Some(self.look) {
                continue;
            }
            let live = self.logs.values().filter(|tracked| !tracked.is_orphan());
            if let Some(Tracked { log, .. }) =
                live.filter(new_to).find(|tracked| tracked.log.path != newcomer.path)
            {
                asked = Some(Task::Twin { file: *file, with: log.file, log: log.id });
                break;
            }
            begun.push(*file);
        }
        for file in begun {
            self.begin(file);
        }
        asked
    }

    fn begin(&mut self, file: FileId) {
        let Some(newcomer) = self.newcomers.remove(&file) else { return };
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
        let tracked = Tracked {
            presence: Presence::Named,
            size: Some(newcomer.size),
            sure: true,
            recalled: false,
            still_since: self.look,
            ..Tracked::recalled(log)
        };
        self.logs.insert(id, tracked);
    }

    /// What is to be done for one log.
    fn of(&self, id: LogId) -> Option<Task> {
        let tracked = &self.logs[&id];
        if self.rests(tracked) {
            return None;
        }
        let log = &tracked.log;
        if log.name.is_some() && log.moving.is_some() {
            // Nobody knows which of the two names its copy has.
            return None;
        }
        let readable = !log.ended && tracked.presence != Presence::Lost;
        let grown = readable && tracked.size.is_some_and(|size| size > log.shipped);
        match (&log.name, &log.moving, &tracked.taken) {
            (None, _, Some((name, _))) if readable && !tracked.sure => {
                return Some(Task::Measure { log: id, name: name.clone() });
            }
            (None, _, Some((name, true))) if grown => {
                return Some(Task::Evict { log: id, name: name.clone() });
            }
            (None, Some(name), _) if readable && !tracked.sure => {
                return Some(Task::Measure { log: id, name: name.clone() });
            }
            (None, _, _) if grown => {
                let name = names::to_begin(self, tracked);
                return names::is_free(self, id, &name).then_some(Task::Create { log: id, name });
            }
            (Some(_), ..) if tracked.cut_back => return Some(Task::CutBack { log: id, length: log.shipped }),
            (Some(name), ..) if grown && !tracked.sure => {
                return Some(Task::Measure { log: id, name: name.clone() });
            }
            (Some(_), ..) if grown => return Some(Task::Append(id)),
            _ => {}
        }
        self.last_of(tracked)
    }

    /// Reads back what is complete, and ends what is over.
    fn last_of(&self, tracked: &Tracked) -> Option<Task> {
        let (id, log) = (tracked.log.id, &tracked.log);
        let still = self.look >= tracked.still_since + LOOKS_TO_BE_SURE;
        let gone = tracked.gone_since.is_some_and(|since| self.look >= since + LOOKS_TO_BE_SURE);
        let over = match tracked.presence {
            Presence::Unnamed { written } if !log.ended => gone && still && !written,
            _ => gone,
        };
        let grown_enough = log.shipped - log.verified.min(log.shipped) > log.shipped / SHARE_TO_VERIFY;
        let closed = over
            || (tracked.presence == Presence::Named
                && !log.ended
                && still
                && (tracked.log.renamed
                    || (grown_enough && self.look >= tracked.still_since + LOOKS_OF_REST)));
        if closed
            && log.name.is_some()
            && log.moving.is_none()
            && log.verified != log.shipped
            && !tracked.differs
        {
            return Some(Task::Verify(id));
        }
        over.then(|| Task::Finish { log: id, loss: tracked.loss() })
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
                let (policy, trusted, look) = (self.policy, self.trusted, self.look);
                let Some(tracked) = self.logs.get_mut(&task.log()) else { return Vec::new() };
                match outcome {
                    Outcome::Failed => tracked.sure = false,
                    Outcome::Refused => tracked.refused_at = Some(look),
                    _ => return tracked.on(task, outcome, (policy, trusted), look),
                }
                Vec::new()
            }
        }
    }

    fn compared(&mut self, file: FileId, task: &Task, outcome: &Outcome) -> Vec<Note> {
        let (look, log) = (self.look, task.log());
        match (task, outcome) {
            (Task::Match { .. }, Outcome::Same(true)) => self.goes_on_in(file, log),
            (Task::Inside { .. }, Outcome::Shipped { length, digests }) => {
                self.goes_on_in(file, log);
                let Some(tracked) = self.logs.get_mut(&log) else { return Vec::new() };
                tracked.ship(*length, *digests);
                vec![Note::Keep(tracked.log.clone())]
            }
            (_, Outcome::Same(same)) => {
                if let Some(newcomer) = self.newcomers.get_mut(&file) {
                    if *same {
                        newcomer.twin_at = Some(look);
                    } else {
                        newcomer.differs_from.insert(log);
                    }
                }
                Vec::new()
            }
            _ => {
                // Met again at the next look.
                self.newcomers.remove(&file);
                Vec::new()
            }
        }
    }

    /// A log goes on in another file: that one is followed from now on.
    fn goes_on_in(&mut self, file: FileId, id: LogId) -> Vec<Note> {
        let Some(newcomer) = self.newcomers.remove(&file) else { return Vec::new() };
        let Some(tracked) = self.logs.get_mut(&id) else { return Vec::new() };
        tracked.log.file = file;
        tracked.log.path = newcomer.path;
        (tracked.log.ended, tracked.log.unproven) = (false, true);
        tracked.presence = Presence::Named;
        tracked.size = Some(newcomer.size);
        tracked.gone_since = None;
        tracked.log.renamed = true;
        tracked.sure = false;
        tracked.still_since = self.look;
        vec![Note::Keep(tracked.log.clone())]
    }
}

/// Whether a file of `size` bytes can be a copy that was made of a log just before the last of its `shipped` bytes came.
const fn is_nearly_all(size: u64, shipped: u64) -> bool {
    // More than what logs begin with alike, and all but what is written while a copy is made.
    const LEAST: u64 = 4096;
    size >= LEAST && size < shipped && shipped - size <= shipped / 8
}

impl Tracked {
    fn recalled(log: Log) -> Self {
        Self {
            gone_since: log.ended.then_some(0),
            was_whole: log.shipped > 0 && log.verified == log.shipped,
            log,
            presence: Presence::Lost,
            size: None,
            sure: false,
            taken: None,
            cut_back: false,
            differs: false,
            recalled: true,
            not_in: BTreeSet::new(),
            avoid: BTreeSet::new(),
            still_since: 0,
            refused_at: None,
        }
    }

    /// Whether its own file can't be followed any more, or not by name.
    pub(super) fn is_orphan(&self) -> bool {
        self.log.ended || self.presence != Presence::Named
    }

    /// Whether its record changed.
    fn see(&mut self, sighting: Option<&Sighting>, look: u64) -> bool {
        let Some(sighting) = sighting else {
            self.presence = Presence::Lost;
            self.gone_since.get_or_insert(look);
            return false;
        };
        if self.size != Some(sighting.size) {
            if sighting.size < self.log.shipped {
                self.end(look);
                return true;
            }
            (self.size, self.still_since) = (Some(sighting.size), look);
        }
        let Some(path) = &sighting.path else {
            self.presence = Presence::Unnamed { written: sighting.written };
            self.gone_since.get_or_insert(look);
            return false;
        };
        (self.presence, self.gone_since) = (Presence::Named, None);
        if self.log.path == *path {
            return false;
        }
        self.log.path.clone_from(path);
        self.log.renamed = true;
        self.still_since = look;
        true
    }

    /// What came of a task about it; returns what is to be recorded.
    fn on(&mut self, task: &Task, outcome: &Outcome, rules: (OnConflict, bool), look: u64) -> Vec<Note> {
        self.recalled &= !matches!(task, Task::Measure { .. });
        match (task, outcome) {
            (_, Outcome::Truncated) => self.end(look),
            (Task::Rename { to, .. } | Task::Create { name: to, .. }, Outcome::Taken { ours }) => {
                self.taken_by(to, *ours, rules, look, matches!(task, Task::Create { .. }));
            }
            (Task::Rename { to, .. }, Outcome::Moved) => {
                self.log.name = Some(to.clone());
                (self.log.moving, self.taken) = (None, None);
            }
            (Task::Evict { .. }, Outcome::Moved) => {
                self.taken = None;
                self.sure |= self.log.name.is_none();
                return Vec::new();
            }
            (Task::Rename { .. } | Task::Measure { .. }, Outcome::Absent) => self.begin_anew(),
            (Task::Measure { name, .. }, Outcome::Standing { size, same, recorded_is_same }) => {
                self.measured(name, *size, (*same, *recorded_is_same), (rules.0, look));
            }
            (Task::Create { name, .. }, Outcome::Shipped { length, digests }) => {
                self.log.name = Some(name.clone());
                self.log.moving = None;
                self.ship(*length, *digests);
            }
            // The copy holds more than the file: whether that is the same log shows when it grows.
            (Task::Measure { name, .. }, Outcome::Shipped { length, digests }) => {
                if self.log.moving.as_ref() == Some(name) && self.taken.is_none() {
                    (self.log.name, self.log.moving) = (Some(name.clone()), None);
                }
                self.ship(*length, *digests);
                self.log.unproven = true;
            }
            (Task::Append(_), Outcome::Shipped { length, digests }) => {
                self.ship(*length, *digests);
                return vec![Note::Soon(self.log.clone())];
            }
            // What follows isn't what a power cut leaves, but other content: the file was truncated and begins alike.
            (Task::CutBack { .. }, Outcome::Changed) => {
                self.cut_back = false;
                self.end(look);
            }
            // What was shipped is read again here, as nobody knows it any more.
            (Task::CutBack { .. }, Outcome::Shipped { .. }) => {
                self.cut_back = false;
                return Vec::new();
            }
            (Task::Verify(_), Outcome::Verified(true)) => {
                self.log.verified = self.log.shipped;
                self.log.renamed = false;
            }
            (Task::Verify(_), Outcome::Verified(false)) => {
                self.sure = false;
                self.log.renamed = false;
                self.differs = self.is_orphan();
                // Of one that can be read the difference is found, and mended, when it grows; so it is looked at now.
                self.size = self.size.map(|size| size.max(self.log.shipped + 1));
                return Vec::new();
            }
            (_, _) => {
                (self.sure, self.cut_back) = (false, false);
                self.refused_at = Some(look);
                return Vec::new();
            }
        }
        vec![Note::Keep(self.log.clone())]
    }

    /// Its file holds other content from now on.
    fn end(&mut self, look: u64) {
        self.log.ended = true;
        self.presence = Presence::Lost;
        self.gone_since = Some(look);
    }

    fn loss(&self) -> Loss {
        let unshipped = self.size.map(|size| size.saturating_sub(self.log.shipped));
        match (self.log.ended, self.presence) {
            _ if self.differs => Loss::Differs,
            (true, _) => Loss::Truncated { unshipped: unshipped.unwrap_or(0) },
            (false, Presence::Lost) => {
                Loss::Vanished { unshipped: unshipped.or(self.was_whole.then_some(0)) }
            }
            (false, _) => Loss::None,
        }
    }

    fn ship(&mut self, length: u64, digests: crate::digest::Digests) {
        (self.log.shipped, self.log.digests, self.log.unproven) = (length, digests, false);
        (self.sure, self.taken) = (true, None);
        self.size = self.size.map(|size| size.max(length));
    }

    /// Its copy is not there any more.
    fn begin_anew(&mut self) {
        let empty = Hasher::for_destination(Algorithm::Sha256).digests();
        (self.log.name, self.log.moving, self.taken) = (None, None, None);
        (self.log.shipped, self.log.verified, self.log.digests) = (0, 0, empty);
        self.sure = true;
    }

    fn taken_by(
        &mut self,
        name: &RelPath,
        ours: bool,
        (policy, trusted): (OnConflict, bool),
        look: u64,
        creates: bool,
    ) {
        if ours || (creates && !trusted && self.taken.is_none()) {
            self.taken = Some((name.clone(), ours));
            if creates && trusted {
                // What this log had begun itself would have been measured first. So it is another log's copy, which
                // makes room, though the two may begin alike.
                (self.log.moving, self.sure) = (None, true);
            } else {
                // Of one that has no copy yet it may be the copy: that is looked at first.
                self.sure &= !creates;
            }
            return;
        }
        self.conflict(name, policy, look);
    }

    fn conflict(&mut self, name: &RelPath, policy: OnConflict, look: u64) {
        self.log.moving = None;
        self.taken = None;
        self.sure |= self.log.name.is_none();
        // A name that was refused before waits for the next look.
        if policy != OnConflict::KeepBoth || !self.avoid.insert(name.clone()) {
            self.refused_at = Some(look);
        }
    }

    fn measured(
        &mut self,
        name: &RelPath,
        size: u64,
        (same, recorded_is_same): (Option<crate::digest::Digests>, bool),
        (policy, look): (OnConflict, u64),
    ) {
        let claimed =
            self.log.name.is_some() || self.log.moving.as_ref() == Some(name) && self.taken.is_none();
        match same {
            // An empty file begins everything, so it proves nothing.
            Some(digests) if size > 0 || claimed => {
                self.log.name = Some(name.clone());
                self.log.moving = None;
                self.ship(size, digests);
            }
            _ if self.log.name.is_some() && recorded_is_same && (1..size).contains(&self.log.shipped) => {
                if self.log.unproven {
                    self.not_in.insert(self.log.file);
                    self.end(look);
                } else {
                    self.cut_back = true;
                }
            }
            _ if self.taken.as_ref().is_some_and(|(_, ours)| *ours) => self.sure = true,
            _ => {
                let name = name.clone();
                self.begin_anew();
                self.conflict(&name, policy, look);
            }
        }
    }
}
