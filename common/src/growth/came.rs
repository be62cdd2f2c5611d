//! What came of a task about one log: what is known of it then, and what of that has to be recorded.
//!
//! Each task says for itself what its outcomes mean. After one that says nothing, nobody knows how the copy stands, so it is
//! measured after the next look. Lacks the choice of what is done next.

use super::tracked::{Refused, Tracked};
use super::{Note, Outcome, Task};
use crate::delivery::OnConflict;
use crate::digest::Digests;
use crate::path::RelPath;

/// What an outcome is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) policy: OnConflict,
    /// Whether the records are all that there were.
    pub(super) trusted: bool,
    pub(super) look: u64,
}

impl Tracked {
    /// What came of a task about it; returns what is to be recorded.
    pub(super) fn on(&mut self, task: &Task, outcome: &Outcome, rules: Rules) -> Vec<Note> {
        self.recalled &= !matches!(task, Task::Measure { .. });
        if *outcome == Outcome::Truncated {
            self.end(rules.look);
            return self.keep();
        }
        match task {
            Task::Rename { to, .. } => self.renamed(to, outcome, rules),
            Task::Evict { .. } => self.evicted(outcome, rules),
            Task::Measure { name, .. } => self.measured(name, outcome, rules),
            Task::Create { name, .. } => self.created(name, outcome, rules),
            Task::Append(_) => self.appended(outcome, rules),
            Task::CutBack { .. } => self.was_cut_back(outcome, rules),
            Task::Verify(_) => self.was_read_back(outcome, rules),
            // Of these the ledger takes what tells anything.
            Task::Match { .. } | Task::Inside { .. } | Task::Twin { .. } | Task::Finish { .. } => {
                self.unclear(rules)
            }
        }
    }

    /// The destination refused the task, and may do others: it is asked again later, and nothing waits for that. Returns
    /// what is to be recorded.
    pub(super) fn refused(&mut self, task: &Task, look: u64) -> Vec<Note> {
        self.refused_at = Some(look);
        match task {
            Task::Rename { to, .. } => {
                self.deny(to, look);
                // Its copy has the name that it had, and goes on there.
                self.log.moving = None;
                self.keep()
            }
            Task::Evict { name, .. } => {
                self.deny(name, look);
                if self.log.name.is_some() {
                    self.log.moving = None;
                    return self.keep();
                }
                self.hindered.again(look);
                Vec::new()
            }
            Task::Match { .. }
            | Task::Inside { .. }
            | Task::Twin { .. }
            | Task::Measure { .. }
            | Task::Create { .. }
            | Task::Append(_)
            | Task::CutBack { .. }
            | Task::Verify(_)
            | Task::Finish { .. } => {
                (self.sure, self.cut_back) = (false, false);
                self.hindered.again(look);
                Vec::new()
            }
        }
    }

    fn keep(&self) -> Vec<Note> {
        vec![Note::Keep(self.log.clone())]
    }

    /// Nobody knows how its copy stands; that waits for the next look.
    fn unclear(&mut self, rules: Rules) -> Vec<Note> {
        (self.sure, self.cut_back) = (false, false);
        self.refused_at = Some(rules.look);
        Vec::new()
    }

    fn renamed(&mut self, to: &RelPath, outcome: &Outcome, rules: Rules) -> Vec<Note> {
        match outcome {
            Outcome::Moved => {
                self.log.name = Some(to.clone());
                (self.log.moving, self.taken) = (None, None);
                self.denied.remove(to);
            }
            Outcome::Absent => self.begin_anew(),
            Outcome::Taken { ours } => {
                if *ours {
                    self.taken = Some((to.clone(), true));
                } else {
                    self.conflict(to, rules);
                }
            }
            _ => return self.unclear(rules),
        }
        self.keep()
    }

    fn evicted(&mut self, outcome: &Outcome, rules: Rules) -> Vec<Note> {
        if *outcome != Outcome::Moved {
            return self.unclear(rules);
        }
        self.taken = None;
        self.sure |= self.log.name.is_none();
        Vec::new()
    }

    fn measured(&mut self, name: &RelPath, outcome: &Outcome, rules: Rules) -> Vec<Note> {
        match outcome {
            Outcome::Absent => self.begin_anew(),
            Outcome::Standing { size, same, recorded_is_same } => {
                self.compared(name, *size, (*same, *recorded_is_same), rules);
            }
            // The copy holds more than the file: whether that is the same log shows when it grows.
            Outcome::Shipped { length, digests } => {
                if self.claims(name) {
                    (self.log.name, self.log.moving) = (Some(name.clone()), None);
                }
                self.ship(*length, *digests);
                self.log.unproven = true;
            }
            _ => return self.unclear(rules),
        }
        self.keep()
    }

    /// Whether it was about to begin its copy under that name.
    fn claims(&self, name: &RelPath) -> bool {
        self.log.moving.as_ref() == Some(name) && self.taken.is_none()
    }

    fn compared(
        &mut self,
        name: &RelPath,
        size: u64,
        (same, recorded_is_same): (Option<Digests>, bool),
        rules: Rules,
    ) {
        match same {
            // An empty file begins everything, so it proves nothing but of a copy that was there: somebody emptied it. None
            // is ever begun empty.
            Some(digests) if size > 0 || self.log.name.is_some() => {
                self.log.name = Some(name.clone());
                self.log.moving = None;
                self.ship(size, digests);
            }
            _ if self.log.name.is_some() && recorded_is_same && (1..size).contains(&self.log.shipped) => {
                if self.log.unproven {
                    self.not_in.insert(self.log.file);
                    self.end(rules.look);
                } else {
                    self.cut_back = true;
                }
            }
            _ if self.taken.as_ref().is_some_and(|(_, ours)| *ours) => self.sure = true,
            _ => {
                self.begin_anew();
                self.conflict(name, rules);
            }
        }
    }

    fn created(&mut self, name: &RelPath, outcome: &Outcome, rules: Rules) -> Vec<Note> {
        match outcome {
            Outcome::Shipped { length, digests } => {
                self.log.name = Some(name.clone());
                self.log.moving = None;
                self.goes_on(*length, *digests);
            }
            Outcome::Taken { ours } => self.taken_by(name, *ours, rules),
            _ => return self.unclear(rules),
        }
        self.keep()
    }

    fn taken_by(&mut self, name: &RelPath, ours: bool, rules: Rules) {
        if !ours && (rules.trusted || self.taken.is_some()) {
            return self.conflict(name, rules);
        }
        self.taken = Some((name.clone(), ours));
        if rules.trusted {
            // What this log had begun itself would have been measured first. So it is another log's copy, which
            // makes room, though the two may begin alike.
            (self.log.moving, self.sure) = (None, true);
        } else {
            // Of one that has no copy yet it may be the copy: that is looked at first.
            self.sure = false;
        }
    }

    fn conflict(&mut self, name: &RelPath, Rules { policy, look, .. }: Rules) {
        self.log.moving = None;
        self.taken = None;
        self.sure |= self.log.name.is_none();
        // A name that was refused before waits for the next look.
        if policy != OnConflict::KeepBoth || !self.avoid.insert(name.clone()) {
            self.refused_at = Some(look);
        }
    }

    fn appended(&mut self, outcome: &Outcome, rules: Rules) -> Vec<Note> {
        // Else measuring tells what stands there now, and what that is to this log; of one whose copy was emptied, too.
        let Outcome::Shipped { length, digests } = outcome else { return self.unclear(rules) };
        self.goes_on(*length, *digests);
        vec![Note::Soon(self.log.clone())]
    }

    /// The destination took more of it.
    fn goes_on(&mut self, length: u64, digests: Digests) {
        self.ship(length, digests);
        self.hindered = Refused::default();
    }

    fn was_cut_back(&mut self, outcome: &Outcome, rules: Rules) -> Vec<Note> {
        match outcome {
            // What follows isn't what a power cut leaves, but other content: the file was truncated and begins alike.
            Outcome::Changed => {
                self.cut_back = false;
                self.end(rules.look);
                self.keep()
            }
            // What was shipped is read again here, as nobody knows it any more.
            Outcome::Shipped { .. } => {
                self.cut_back = false;
                Vec::new()
            }
            _ => self.unclear(rules),
        }
    }

    fn was_read_back(&mut self, outcome: &Outcome, rules: Rules) -> Vec<Note> {
        match outcome {
            Outcome::Verified(true) => {
                self.log.verified = self.log.shipped;
                self.log.renamed = false;
                self.hindered = Refused::default();
                self.keep()
            }
            Outcome::Verified(false) => {
                self.sure = false;
                self.log.renamed = false;
                self.differs = self.is_orphan();
                // Of one that can be read the difference is found, and mended, when it grows; so it is looked at now.
                self.size = self.size.map(|size| size.max(self.log.shipped + 1));
                Vec::new()
            }
            _ => self.unclear(rules),
        }
    }
}
