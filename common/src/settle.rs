//! When a file is complete: its stamp held still for the quiet time.
//!
//! Owns the files that were seen and haven't settled, at most as many as it was told; who sees more has to wait.
//! Whether some process still has the file open for writing is for the caller to find out ([`Settler::postpone`]).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use crate::moment::Moment;
use crate::path::RelPath;
use crate::stamp::Stamp;

/// What an observation means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// Its stamp held still for the quiet time. It stays known until it is forgotten.
    Settled,
    /// Look again then.
    Waits(Moment),
    /// Too many files are waiting: show it again after some have settled.
    Full,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    stamp: Stamp,
    settles: Moment,
    since: Moment,
    /// Since when it has looked like that.
    still: Moment,
    open: bool,
}

/// A file that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// The file.
    pub path: RelPath,
    /// What it looked like last.
    pub stamp: Stamp,
    /// When it was seen first.
    pub since: Moment,
    /// Whether it held still, but a writer has it open.
    pub open: bool,
}

/// Watches stamps hold still.
#[derive(Debug)]
pub struct Settler {
    quiet: Duration,
    capacity: usize,
    seen: HashMap<RelPath, Seen>,
    // May hold stale entries, for paths that were postponed or forgotten: `seen` decides.
    order: BinaryHeap<Reverse<(Moment, RelPath)>>,
}

impl Settler {
    /// A settler that wants `quiet` and keeps at most `capacity` files in mind.
    pub fn new(quiet: Duration, capacity: usize) -> Self {
        Self { quiet, capacity, seen: HashMap::new(), order: BinaryHeap::new() }
    }

    /// `path` looks like `stamp` at `now`.
    pub fn observe(&mut self, path: &RelPath, stamp: Stamp, now: Moment) -> Observation {
        match self.seen.get(path) {
            Some(seen) if seen.stamp == stamp && seen.settles <= now => Observation::Settled,
            Some(seen) if seen.stamp == stamp => Observation::Waits(seen.settles),
            None if self.quiet.is_zero() => Observation::Settled,
            None if self.is_full() => Observation::Full,
            Some(_) | None => self.wait(path, stamp, now),
        }
    }

    /// `path` held still but isn't complete, for a writer has it open: look again after the quiet time.
    pub fn postpone(&mut self, path: &RelPath, stamp: Stamp, now: Moment) -> Moment {
        let wait = self.quiet.max(Duration::from_millis(100));
        let since = self.since(path, now);
        self.schedule(path, Seen { stamp, settles: now + wait, since, still: now, open: true });
        now + wait
    }

    /// As [`observe`](Self::observe), for a file of which nothing else tells that it is complete: it has to hold still
    /// for `least`, even if no quiet time is wanted.
    pub fn insist(&mut self, path: &RelPath, stamp: Stamp, least: Duration, now: Moment) -> Observation {
        let seen = self.seen.get(path).copied();
        if seen.is_none() && self.is_full() {
            return Observation::Full;
        }
        let still = seen.filter(|seen| seen.stamp == stamp).map_or(now, |seen| seen.still);
        if now.since(still) >= least {
            return Observation::Settled;
        }
        let (settles, since) = (still + least, self.since(path, now));
        self.schedule(path, Seen { stamp, settles, since, still, open: false });
        Observation::Waits(settles)
    }

    /// `path` is on its way, or gone.
    pub fn forget(&mut self, path: &RelPath) {
        self.seen.remove(path);
    }

    /// None of them is waited for any longer.
    pub fn clear(&mut self) {
        self.seen.clear();
        self.order.clear();
    }

    /// When to look again at the next one.
    pub fn next_due(&mut self) -> Option<Moment> {
        self.drop_stale();
        self.order.peek().map(|Reverse((due, _))| *due)
    }

    /// A path that is to be looked at now; each is returned once and then wants another [`observe`](Self::observe).
    pub fn take_due(&mut self, now: Moment) -> Option<RelPath> {
        self.drop_stale();
        let Reverse((due, _)) = self.order.peek()?;
        if *due > now {
            return None;
        }
        self.order.pop().map(|Reverse((_, path))| path)
    }

    /// Whether no further file can be kept in mind.
    pub fn is_full(&self) -> bool {
        self.seen.len() >= self.capacity
    }

    /// Whether this file is being waited for.
    pub fn waits_for(&self, path: &RelPath) -> bool {
        self.seen.contains_key(path)
    }

    /// How many files are being waited for.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether nothing is being waited for.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// The files that have been waited for for longer than `wait` beyond the quiet time, in no order.
    pub fn late(&self, wait: Duration, now: Moment) -> impl Iterator<Item = Unsettled> {
        let limit = self.quiet + wait;
        let late = self.seen.iter().filter(move |(_, seen)| now.since(seen.since) > limit);
        late.map(|(path, seen)| {
            let Seen { stamp, since, open, .. } = *seen;
            Unsettled { path: path.clone(), stamp, since, open }
        })
    }

    fn wait(&mut self, path: &RelPath, stamp: Stamp, now: Moment) -> Observation {
        let settles = now + self.quiet;
        let since = self.since(path, now);
        self.schedule(path, Seen { stamp, settles, since, still: now, open: false });
        Observation::Waits(settles)
    }

    fn since(&self, path: &RelPath, now: Moment) -> Moment {
        self.seen.get(path).map_or(now, |seen| seen.since)
    }

    fn schedule(&mut self, path: &RelPath, seen: Seen) {
        self.seen.insert(path.clone(), seen);
        self.order.push(Reverse((seen.settles, path.clone())));
        // A file that is written without end is scheduled again and again; its old entries must not pile up.
        if self.order.len() > 2 * self.seen.len() + 64 {
            self.order = self.seen.iter().map(|(path, seen)| Reverse((seen.settles, path.clone()))).collect();
        }
    }

    fn drop_stale(&mut self) {
        while let Some(Reverse((due, path))) = self.order.peek() {
            if self.seen.get(path).is_some_and(|seen| seen.settles == *due) {
                return;
            }
            self.order.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Moment {
        Moment::since_start(Duration::from_secs(seconds))
    }

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).expect("a path")
    }

    fn size(size: u64) -> Stamp {
        // mtimes of 1970 or of the future are as good as any: only a change counts.
        Stamp { dev: 1, ino: 1, size, mtime_ns: -1, ctime_ns: i64::MAX }
    }

    #[test]
    fn a_file_settles_when_its_stamp_held_still() {
        let mut settler = Settler::new(QUIET, 10);
        assert_eq!(settler.observe(&path("a"), size(1), at(0)), Observation::Waits(at(1)));
        assert_eq!(settler.next_due(), Some(at(1)));
        assert_eq!(settler.take_due(at(0)), None);
        assert_eq!(settler.take_due(at(1)), Some(path("a")));
        assert_eq!(settler.observe(&path("a"), size(1), at(1)), Observation::Settled);
    }

    #[test]
    fn a_change_starts_the_wait_again() {
        let mut settler = Settler::new(QUIET, 10);
        settler.observe(&path("a"), size(1), at(0));
        assert_eq!(settler.observe(&path("a"), size(2), at(1)), Observation::Waits(at(2)));
        assert_eq!(settler.take_due(at(1)), None, "the old wait no longer counts");
        assert_eq!(settler.take_due(at(2)), Some(path("a")));
    }

    #[test]
    fn an_open_writer_postpones() {
        let mut settler = Settler::new(QUIET, 10);
        settler.observe(&path("a"), size(1), at(0));
        assert_eq!(settler.postpone(&path("a"), size(1), at(1)), at(2));
        assert_eq!(settler.observe(&path("a"), size(1), at(1)), Observation::Waits(at(2)));
    }

    #[test]
    fn what_never_settles_is_late_since_it_was_seen_first() {
        let mut settler = Settler::new(QUIET, 10);
        settler.observe(&path("open"), size(1), at(0));
        settler.observe(&path("grows"), size(1), at(0));
        for second in 1..=60 {
            settler.postpone(&path("open"), size(1), at(second));
            settler.observe(&path("grows"), size(second + 1), at(second));
        }
        settler.observe(&path("new"), size(1), at(60));
        let late = |settler: &Settler, seconds| {
            let mut late: Vec<_> = settler.late(Duration::from_secs(59), at(seconds)).collect();
            late.sort_by(|a, b| a.path.cmp(&b.path));
            late.into_iter().map(|late| (late.path, late.since, late.open)).collect::<Vec<_>>()
        };
        assert_eq!(late(&settler, 60), []);
        assert_eq!(late(&settler, 61), [(path("grows"), at(0), false), (path("open"), at(0), true)]);
        settler.forget(&path("open"));
        settler.observe(&path("open"), size(1), at(61));
        assert_eq!(late(&settler, 61), [(path("grows"), at(0), false)]);
    }

    #[test]
    fn memory_is_bounded_by_the_capacity() {
        let mut settler = Settler::new(QUIET, 1);
        settler.observe(&path("a"), size(1), at(0));
        assert_eq!(settler.observe(&path("b"), size(1), at(0)), Observation::Full);
        for round in 0..10_000 {
            settler.observe(&path("a"), size(round), at(round));
        }
        assert!(settler.order.len() <= 66, "{} entries", settler.order.len());
        settler.forget(&path("a"));
        assert_eq!(settler.next_due(), None);
        assert_eq!(settler.observe(&path("b"), size(1), at(0)), Observation::Waits(at(1)));
    }

    #[test]
    fn what_has_to_hold_still_does_so_without_a_quiet_time() {
        let mut settler = Settler::new(Duration::ZERO, 1);
        assert_eq!(settler.insist(&path("a"), size(1), QUIET, at(0)), Observation::Waits(at(1)));
        assert_eq!(settler.insist(&path("b"), size(1), QUIET, at(0)), Observation::Full);
        assert_eq!(
            settler.observe(&path("a"), size(2), at(1)),
            Observation::Waits(at(1)),
            "it was written to"
        );
        assert_eq!(settler.take_due(at(1)), Some(path("a")));
        assert_eq!(settler.observe(&path("a"), size(2), at(1)), Observation::Settled);
        assert_eq!(settler.insist(&path("a"), size(2), QUIET, at(1)), Observation::Waits(at(2)));
        assert_eq!(settler.take_due(at(1)), None);
        assert_eq!(settler.take_due(at(2)), Some(path("a")));
        assert_eq!(settler.observe(&path("a"), size(2), at(2)), Observation::Settled);
        assert_eq!(settler.insist(&path("a"), size(2), QUIET, at(2)), Observation::Settled);
    }

    #[test]
    fn without_a_quiet_time_everything_is_settled() {
        assert_eq!(Settler::new(Duration::ZERO, 0).observe(&path("a"), size(1), at(0)), Observation::Settled);
    }
}
