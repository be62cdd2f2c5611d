//! What is done next for the logs of a watch: names first, then each log in its turn.
//!
//! Promises a record with each step that claims a name, to be kept before it is taken. Lacks what comes of a step, which
//! [`Ledger::on`] takes.

use std::ops::Bound;

use super::ledger::Ledger;
use super::names;
use super::tracked::{Presence, Tracked};
use super::{LogId, Step, Task};
use crate::path::RelPath;

/// Looks after which something that was not seen counts as gone: one look may fall between two renames.
const LOOKS_TO_BE_SURE: u64 = 2;
/// Looks for which a log that keeps its name must hold still before its whole copy is read back.
const LOOKS_OF_REST: u64 = 60;
/// It also must have grown by this share since, for reading back costs as much as the copy is long.
const SHARE_TO_VERIFY: u64 = 8;

impl Ledger {
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
        let after = self.served.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.logs.range((after, Bound::Unbounded)).map(|(id, _)| *id);
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

    /// What is to be done for one log.
    fn of(&self, id: LogId) -> Option<Task> {
        let tracked = &self.logs[&id];
        if self.rests(tracked) || tracked.is_hindered(self.look) {
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
}
