//! One log, and what is known of it in this process alone: what was seen of its file, and what came of its tasks.
//!
//! Promises to say what of it has to be recorded. Lacks the other logs, and the choice of what is done next.

use std::collections::BTreeSet;

use super::{FileId, Log, Loss, Note, Outcome, Sighting, Task};
use crate::Algorithm;
use crate::delivery::OnConflict;
use crate::digest::{Digests, Hasher};
use crate::path::RelPath;

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
    pub(super) size: Option<u64>,
    /// Whether the copy is known to be as the log says.
    pub(super) sure: bool,
    /// What stands under the name that it is to have is ours, by the receipts, or may be.
    pub(super) taken: Option<(RelPath, bool)>,
    pub(super) cut_back: bool,
    pub(super) differs: bool,
    /// It had been read back whole before the start, so it had been still, and had nothing more.
    was_whole: bool,
    /// It was not compared with its copy since the start.
    pub(super) recalled: bool,
    /// Files that begin as it does, and are others.
    pub(super) not_in: BTreeSet<FileId>,
    /// Names that somebody else has.
    pub(super) avoid: BTreeSet<RelPath>,
    pub(super) still_since: u64,
    pub(super) gone_since: Option<u64>,
    pub(super) refused_at: Option<u64>,
}

impl Tracked {
    /// One that the records tell of, and nothing more.
    pub(super) fn recalled(log: Log) -> Self {
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

    /// One that begins now, in a file of `size` bytes.
    pub(super) fn begun(log: Log, size: u64, look: u64) -> Self {
        Self {
            presence: Presence::Named,
            size: Some(size),
            sure: true,
            recalled: false,
            still_since: look,
            ..Self::recalled(log)
        }
    }

    /// It goes on in another file, of `size` bytes: that one is followed from now on.
    pub(super) fn goes_on_in(&mut self, file: FileId, path: RelPath, size: u64, look: u64) {
        (self.log.file, self.log.path) = (file, path);
        (self.log.ended, self.log.unproven) = (false, true);
        self.log.renamed = true;
        (self.presence, self.size, self.gone_since) = (Presence::Named, Some(size), None);
        (self.sure, self.still_since) = (false, look);
    }

    /// Whether its own file can't be followed any more, or not by name.
    pub(super) fn is_orphan(&self) -> bool {
        self.log.ended || self.presence != Presence::Named
    }

    /// Whether its record changed.
    pub(super) fn see(&mut self, sighting: Option<&Sighting>, look: u64) -> bool {
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
    pub(super) fn on(
        &mut self,
        task: &Task,
        outcome: &Outcome,
        rules: (OnConflict, bool),
        look: u64,
    ) -> Vec<Note> {
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

    /// What of its end is not at the destination.
    pub(super) fn loss(&self) -> Loss {
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

    /// So much of it is at the destination now.
    pub(super) fn ship(&mut self, length: u64, digests: Digests) {
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
        (same, recorded_is_same): (Option<Digests>, bool),
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
