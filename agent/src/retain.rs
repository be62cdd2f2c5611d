//! Makes room: delivered files that stayed go when they are too old, too many, or the disk is too full.
//!
//! Promises that a delivered file goes only where the journal says so of just this version, for every destination that
//! is to have it, the oldest first; an undelivered one only where the configuration allows it in words, when no
//! delivered one is left, and after it was written down. Works while no destination can be reached, for that is when
//! disks fill. Blocks: runs in a thread of its own.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use skiff_common::{ItemId, RelPath, Stamp};
use skiff_config::WhenFull;

use crate::clock;
use crate::context::WatchContext;
use crate::finish;
use crate::ignores::Ignores;
use crate::journal::{DeliveredFolder, Journal, JournalError};
use crate::receipts::{self, Loss};
use crate::route;
use crate::source::{Look, Root, SourceError};
use crate::status::Status;

/// What is told of, by these names.
const DISK: &str = "the disk";
const ROOM: &str = "making room";
/// How often the disk is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// A disk that stays too full is gone over so often.
const AGAIN: Duration = Duration::from_secs(30);
/// The oldest files that one walk over the folder finds; the next one finds more. 2 MiB.
const OLDEST: usize = 16 << 10;

/// Makes room in one watched folder.
pub struct Keeper {
    context: Arc<WatchContext>,
    journal: Journal,
    status: Arc<Status>,
    losses: PathBuf,
}

/// A file that may go; the oldest is the least.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    changed_ns: i64,
    path: RelPath,
    stamp: Stamp,
    delivered: bool,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.changed_ns, &self.path).cmp(&(other.changed_ns, &other.path))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What one walk found.
#[derive(Default)]
struct Walk {
    ignores: Ignores,
    delivered: Oldest,
    others: Oldest,
    delivered_bytes: u64,
    /// Whether some folder could not be looked into: delivered files may be left there.
    is_partial: bool,
}

/// The oldest of all that were shown to it.
#[derive(Default)]
struct Oldest {
    kept: BinaryHeap<Candidate>,
    /// Whether some of what was shown isn't kept.
    is_cut: bool,
}

impl Oldest {
    fn show(&mut self, candidate: Candidate) {
        self.kept.push(candidate);
        if self.kept.len() > OLDEST {
            self.kept.pop();
            self.is_cut = true;
        }
    }

    fn in_order(self) -> impl Iterator<Item = Candidate> {
        let mut order: BinaryHeap<_> = self.kept.into_iter().map(Reverse).collect();
        std::iter::from_fn(move || order.pop().map(|Reverse(oldest)| oldest))
    }
}

impl Keeper {
    /// A keeper for this watch; `None` where nothing is limited, or where another leg of the watch has it.
    pub fn of(
        context: &Arc<WatchContext>,
        journal: Option<&Journal>,
        status: &Arc<Status>,
        state_dir: &Path,
    ) -> Option<Self> {
        let is_first = route::siblings(&context.settings).first() == Some(&context.settings.name);
        let wanted = context.settings.makes_room() && is_first && !context.once;
        let (context, status) = (Arc::clone(context), Arc::clone(status));
        let losses = state_dir.join("losses.jsonl");
        wanted.then(|| Some(Self { context, journal: journal?.clone(), status, losses })).flatten()
    }

    /// Makes room until it is told to stop.
    pub fn run(self) {
        let settings = &self.context.settings;
        let (mut rested, mut rest) = (settings.rescan, settings.rescan);
        while !self.context.waker.is_stopped() {
            let is_due = settings.retain.is_limited() && rested >= settings.rescan;
            let is_full = self.is_too_full();
            if !is_full {
                self.context.remark(DISK, None);
            }
            let too_full = rested >= rest && is_full;
            // One that is not watched yet, or is away, is looked at as soon as it is there.
            if let Some(root) = (is_due || too_full).then(|| self.context.root()).flatten() {
                let made = self.make_room(&root);
                if let Err(error) = &made {
                    tracing::warn!(watch = %settings.name, %error, "cannot make room");
                }
                rested = Duration::ZERO;
                rest = if matches!(made, Ok(true)) { Duration::ZERO } else { AGAIN };
            }
            let pause = LOOK.min(settings.rescan);
            self.context.waker.wait_for_stop(pause);
            rested += pause;
        }
    }

    /// Whether anything went.
    fn make_room(&self, root: &Root) -> Result<bool, JournalError> {
        let ignores = Ignores::of(self.context.settings.taken.ignore_file.as_deref());
        let mut walk = Walk { ignores, ..Walk::default() };
        self.walk(root, None, &mut walk)?;
        if !walk.is_partial {
            self.context.remark(ROOM, None);
        }
        let mut went = 0_u64;
        let mut more_delivered = walk.delivered.is_cut || walk.is_partial;
        let mut left_bytes = walk.delivered_bytes;
        for candidate in walk.delivered.in_order() {
            if self.context.waker.is_stopped() || !self.is_to_go(&candidate, left_bytes) {
                // There was room for a moment. Where somebody has filled it since, this one is still to go first.
                more_delivered = true;
                break;
            }
            if self.remove(root, &candidate) {
                left_bytes = left_bytes.saturating_sub(candidate.stamp.size);
                went += 1;
            }
        }
        if went > 0 {
            Status::add(&self.status.expired_files, went);
            tracing::info!(watch = %self.context.settings.name, files = went, "delivered files were deleted to make room");
        }
        // A later walk finds more of them; as long as there may be any, nothing else goes.
        let lost = !more_delivered && self.lose(root, walk.others);
        finish::tidy(root);
        Ok(lost || went > 0)
    }

    fn is_to_go(&self, candidate: &Candidate, delivered_bytes: u64) -> bool {
        let retain = &self.context.settings.retain;
        let too_old = retain.age.is_some_and(|age| clock::age_of(candidate.changed_ns) > age);
        let too_many = retain.bytes.is_some_and(|bytes| delivered_bytes > bytes);
        too_old || too_many || self.is_too_full()
    }

    /// Deletes what was never delivered, where that is allowed and nothing else helps. Whether anything went.
    fn lose(&self, root: &Root, others: Oldest) -> bool {
        let settings = &self.context.settings;
        if !self.is_too_full() {
            return false;
        }
        match settings.when_full {
            WhenFull::KeepUndelivered => {
                let full = "the disk is above high_water, and no delivered file is left to go";
                self.context.remark(DISK, Some(full));
                false
            }
            WhenFull::DeleteUndelivered => {
                let mut lost = false;
                for candidate in others.in_order() {
                    if self.context.waker.is_stopped() || !self.is_too_full() {
                        break;
                    }
                    lost |= self.lose_one(root, &candidate);
                }
                lost
            }
        }
    }

    fn lose_one(&self, root: &Root, candidate: &Candidate) -> bool {
        let watch = route::base(&self.context.settings.name);
        let loss = Loss { watch, path: &candidate.path, stamp: &candidate.stamp };
        if let Err(error) = receipts::lose(&self.losses, &loss) {
            tracing::warn!(watch, path = %candidate.path, %error, "not deleted, as it can't be written down");
            return false;
        }
        let gone = self.remove(root, candidate);
        if gone {
            Status::add(&self.status.lost_files, 1);
            tracing::error!(watch, path = %candidate.path, bytes = candidate.stamp.size,
                "deleted though it was never delivered: the disk is full and when_full allows it");
        } else if let Err(error) = receipts::kept(&self.losses, &loss) {
            tracing::warn!(watch, path = %candidate.path, %error, "written down as lost, but it is still there");
        }
        gone
    }

    fn remove(&self, root: &Root, candidate: &Candidate) -> bool {
        let marker = self.context.settings.settle_marker.as_deref();
        let gone = finish::expire(root, &candidate.path, candidate.stamp, marker);
        gone.unwrap_or_else(|error| {
            tracing::warn!(watch = %self.context.settings.name, path = %candidate.path, %error, "cannot delete");
            false
        })
    }

    fn is_too_full(&self) -> bool {
        let Some(mark) = self.context.settings.high_water else { return false };
        used_percent(&self.context.settings.path).is_some_and(|used| used >= f64::from(mark))
    }

    fn walk(&self, root: &Root, folder: Option<&RelPath>, walk: &mut Walk) -> Result<(), JournalError> {
        let listing = match walk.ignores.list(root, folder) {
            Ok(listing) => listing,
            // What isn't there, or isn't of this folder's own, holds nothing that was delivered from here.
            Err(SourceError::Gone { .. } | SourceError::Escapes { .. }) if folder.is_some() => return Ok(()),
            // What can't be listed now is found by a later walk.
            Err(error) => {
                self.leave_out(walk, &error);
                return Ok(());
            }
        };
        let legs = route::siblings(&self.context.settings);
        let delivered = legs.iter().map(|leg| self.journal.delivered_in(ItemId::of_folder(leg, folder)));
        let delivered = delivered.collect::<Result<Vec<_>, _>>()?;
        let mut folders = Vec::new();
        for entry in listing {
            if self.context.waker.is_stopped() {
                return Ok(());
            }
            let Ok(entry) = entry else {
                walk.is_partial = true;
                continue;
            };
            let Ok(path) = RelPath::in_folder(folder, &entry.name) else { continue };
            let is_meant = match entry.look {
                Look::Folder => self.context.enters(root, &path, &mut walk.ignores),
                Look::File { stamp, .. } => self.is_meant(root, &path, stamp, &mut walk.ignores),
                Look::Other(_) => Ok(false),
            };
            match (is_meant, entry.look) {
                (Err(error), _) => self.leave_out(walk, &error),
                (Ok(true), Look::Folder) => folders.push(path),
                (Ok(true), Look::File { stamp, .. }) => {
                    let delivered = everywhere(&legs, &delivered, &path, stamp);
                    if delivered || self.context.takes(&path, stamp) {
                        walk.add(Candidate { changed_ns: stamp.ctime_ns, path, stamp, delivered });
                    }
                }
                (Ok(_), _) => {}
            }
        }
        drop(delivered);
        folders.iter().try_for_each(|folder| self.walk(root, Some(folder), walk))
    }

    /// What isn't meant to be delivered is no business of ours.
    fn is_meant(
        &self,
        root: &Root,
        path: &RelPath,
        stamp: Stamp,
        ignores: &mut Ignores,
    ) -> Result<bool, SourceError> {
        // A done-file goes with its file.
        let named = self.context.globs.matches(path.as_bytes())
            && !self.context.is_done_file(path)
            && self.context.settings.taken.takes(path.as_bytes(), stamp.size);
        Ok(named && !ignores.ignores(root, path, false)?)
    }

    fn leave_out(&self, walk: &mut Walk, error: &SourceError) {
        walk.is_partial = true;
        let left_out = format!("a folder is left out while room is made: {error}");
        self.context.remark(ROOM, Some(&left_out));
    }
}

impl Walk {
    fn add(&mut self, candidate: Candidate) {
        if candidate.delivered {
            self.delivered_bytes += candidate.stamp.size;
            self.delivered.show(candidate);
        } else {
            self.others.show(candidate);
        }
    }
}

fn everywhere(legs: &[String], delivered: &[DeliveredFolder], path: &RelPath, stamp: Stamp) -> bool {
    let has =
        |(leg, folder): (&String, &DeliveredFolder)| folder.has(ItemId::of(leg, path), stamp.fingerprint());
    legs.iter().zip(delivered).all(has)
}

/// As `df` counts it: of what those who aren't root may use.
fn used_percent(path: &Path) -> Option<f64> {
    let space = rustix::fs::statvfs(path).ok()?;
    let used = space.f_blocks.saturating_sub(space.f_bfree);
    let all = used + space.f_bavail;
    #[expect(clippy::cast_precision_loss, reason = "a share of a disk needs no 53 bits")]
    let share = used as f64 * 100.0 / all.max(1) as f64;
    Some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(changed_ns: i64) -> Candidate {
        let stamp = Stamp { dev: 1, ino: 1, size: 1, mtime_ns: 0, ctime_ns: changed_ns };
        let path = RelPath::parse(changed_ns.to_string().as_bytes()).expect("a path");
        Candidate { changed_ns, path, stamp, delivered: true }
    }

    #[test]
    fn the_oldest_of_many_come_in_order() {
        let mut oldest = Oldest::default();
        for changed_ns in (0..40_000).rev() {
            oldest.show(candidate(changed_ns));
        }
        assert!(oldest.is_cut);
        let order: Vec<_> = oldest.in_order().map(|candidate| candidate.changed_ns).collect();
        assert_eq!(order, (0..16_384).collect::<Vec<_>>());
    }
}
