//! What has to hold: after every step, at every disposal, and when all is quiet.

use super::agent::Agent;
use super::blob::Blob;
use super::disk::Proof;
use super::names::{MOST, PLACES, owner, places};
use super::world::World;
use skiff_common::delivery::OnConflict;

/// What stood under a final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    blob: Blob,
    /// Which version of ours it is, the first and the last of that content; `None`: somebody else's.
    version: Option<(usize, usize)>,
}

impl World<'_> {
    /// Notes what is wrong, unless something was before.
    pub(super) fn expect(&mut self, holds: bool, what: &str) {
        if !holds && self.wrong.is_none() {
            self.wrong = Some(format!("at {} ms: {what}", self.now_ms));
        }
    }

    /// Looks at all final names that may have changed.
    pub(super) fn inspect(&mut self) {
        if !std::mem::take(&mut self.destination.touched) {
            return;
        }
        for place in 0..PLACES {
            let now = self.destination.at(place).map(|blob| self.see(place, blob));
            let before = std::mem::replace(&mut self.seen[place], now);
            if before != now {
                self.judge_change(place, before, now);
            }
        }
    }

    /// What a power cut does to final names is no step of ours; that no part appears is looked at all the same.
    pub(super) fn forget_seen(&mut self) {
        self.seen = [None; PLACES];
    }

    fn see(&self, place: usize, blob: Blob) -> Seen {
        Seen { blob, version: self.source.versions_with(owner(place), blob) }
    }

    fn judge_change(&mut self, place: usize, before: Option<Seen>, now: Option<Seen>) {
        let name = owner(place);
        let stranger = self.touched_ms[place].is_some();
        self.tell_change(place, now);
        let whole = now.is_none_or(|now| now.version.is_some());
        self.expect(whole || (stranger && before.is_none()), "what no version is stands under a final name");
        let Some(before) = before else {
            let allowed = place < MOST || self.may_double[name];
            return self.expect(allowed, "a file stands under a second name");
        };
        let replaces = self.scenario.policy == OnConflict::Replace;
        match (before.version, now) {
            (_, None) => self.expect(false, "what stood under a final name was taken away"),
            (None, Some(_)) => self.expect(replaces, "somebody else's file was overwritten"),
            (Some((old, _)), Some(Seen { version: Some((_, new)), .. })) => {
                self.expect(new >= old, "an older version was put over a newer one");
            }
            (Some(_), Some(_)) => {}
        }
    }

    fn tell_change(&mut self, place: usize, now: Option<Seen>) {
        self.tell(|| format!("final name {place}: {now:?}"));
    }

    /// A source goes: it must be proven that it has arrived.
    pub(super) fn dispose(&mut self, name: usize, place: usize, began_ms: u64) {
        let now_ms = self.now_ms;
        let Some(file) = self.source.remove(name, now_ms) else { return };
        self.tell(|| format!("source {name} goes: {:?}", file.blob));
        let proof = Proof { place, blob: file.blob };
        self.expect(self.receipts.contains(&proof), "a source goes without a receipt of what it holds");
        // What somebody else did there since it was verified is not ours to prevent.
        if self.touched_ms[place].is_none_or(|at| at < began_ms.saturating_sub(30_000)) {
            let stands = self.destination.at(place) == Some(file.blob);
            self.expect(stands, "a source goes that doesn't stand under its final name");
            self.expect(self.destination.is_safe(place), "a source goes before its final name is synced");
        }
    }

    /// When nothing is left to do: each file is delivered, or quarantined with its reason.
    pub(super) fn judge_end(&mut self, agent: &Agent) {
        for name in 0..MOST {
            let Some(file) = self.source.files[name] else { continue };
            let stamp = file.stamp.fingerprint();
            if agent.quarantined[name] == Some(stamp) && agent.ignores(self.names.items[name], stamp) {
                let why = self.scenario.attempts.is_some() || self.scenario.policy == OnConflict::Park;
                self.expect(why, "it is quarantined, though nothing is wrong any longer");
                continue;
            }
            let delivered = agent.has_delivered(name, stamp) && !self.scenario.delete;
            self.expect(delivered, &format!("file {name} is neither delivered nor held: it is forgotten"));
            let taken = places(name).iter().any(|place| self.touched_ms[*place].is_some());
            let there = places(name).iter().any(|place| self.destination.at(*place) == Some(file.blob));
            self.expect(there || taken, &format!("file {name} counts as delivered and is not there"));
        }
        for name in 0..MOST {
            self.expect(self.source.leaving[name].is_none(), "a source is left half-way out of its folder");
        }
    }

    /// Where nothing was held back and no stranger came, the same stands there as in another end of the same story.
    pub(super) fn judge_same(&mut self, end: &Agent, other: &World<'_>, other_end: &Agent) {
        for place in 0..PLACES {
            let name = owner(place);
            let held = end.quarantined[name].is_some() || other_end.quarantined[name].is_some();
            let same = self.destination.at(place) == other.destination.at(place);
            let stranger = places(name).iter().any(|place| self.touched_ms[*place].is_some());
            self.expect(same || held || stranger, "another end than before");
        }
    }
}
