//! What copies are to be called: as their source is, unless somebody else has that name.

use super::LogId;
use super::ledger::Ledger;
use super::tracked::{Presence, Tracked};
use crate::path::RelPath;

/// The next copy that is to have another name, and that name, which no other copy of ours has.
pub(super) fn next(ledger: &Ledger) -> Option<(LogId, RelPath)> {
    let named =
        || ledger.logs.values().filter(|tracked| tracked.log.name.is_some() && !ledger.rests(tracked));
    // What was begun is ended first: nobody knows which of the two names it has.
    if let Some(tracked) = named().find(|tracked| tracked.log.moving.is_some()) {
        return tracked.log.moving.clone().map(|to| (tracked.log.id, to));
    }
    let mut blocked = Vec::new();
    for tracked in ledger.logs.values().filter(|tracked| !ledger.rests(tracked)) {
        let to = wanted(ledger, tracked);
        if tracked.log.name.as_ref() == Some(&to) {
            continue;
        }
        match holder(ledger, tracked.log.id, &to) {
            None if tracked.log.name.is_some() => return Some((tracked.log.id, to)),
            Some(other) => match aside(ledger, other) {
                Some(aside) => return Some((other.log.id, aside)),
                None if tracked.log.name.is_some() => blocked.push(tracked),
                None => {}
            },
            None => {}
        }
    }
    // Each waits for another one, so the names go round in a circle.
    let first = blocked.into_iter().find(|first| goes_round(ledger, first))?;
    let beside = beside(ledger, first, &first.log.path);
    (!first.is_denied(&beside, ledger.look)).then_some((first.log.id, beside))
}

/// The name by which a copy makes room for another one: that of a log which nobody names any more, or that has it only because the
/// destination does not give it its own.
fn aside(ledger: &Ledger, holder: &Tracked) -> Option<RelPath> {
    let name = holder.log.name.as_ref()?;
    let is_left = holder.is_orphan() || holder.is_denied(&own(ledger, holder), ledger.look);
    let aside = beside(ledger, holder, name);
    (is_left && !ledger.rests(holder) && !holder.is_denied(&aside, ledger.look)).then_some(aside)
}

/// What the copy is to be called.
pub(super) fn wanted(ledger: &Ledger, tracked: &Tracked) -> RelPath {
    let Tracked { log, .. } = tracked;
    let own = own(ledger, tracked);
    match &log.name {
        Some(name) if log.ended || tracked.presence != Presence::Named => name.clone(),
        Some(name) if tracked.is_denied(&own, ledger.look) => name.clone(),
        _ => own,
    }
}

/// What the copy of a file that is called as it is would be called, if there were nothing in the way.
fn own(ledger: &Ledger, tracked: &Tracked) -> RelPath {
    let path = &tracked.log.path;
    if tracked.avoid.contains(path) { beside(ledger, tracked, path) } else { path.clone() }
}

/// What a copy is to be called that is about to be begun. A file that has no name any more waits for none: another one may
/// have the name that it had for good.
pub(super) fn to_begin(ledger: &Ledger, tracked: &Tracked) -> RelPath {
    let name = wanted(ledger, tracked);
    if tracked.presence != Presence::Named && !is_free(ledger, tracked.log.id, &name) {
        return beside(ledger, tracked, &tracked.log.path);
    }
    name
}

/// Whether no other copy of ours has the name, or is about to.
pub(super) fn is_free(ledger: &Ledger, log: LogId, name: &RelPath) -> bool {
    holder(ledger, log, name).is_none()
}

fn holder<'a>(ledger: &'a Ledger, log: LogId, name: &RelPath) -> Option<&'a Tracked> {
    let others = ledger.logs.values().filter(|other| other.log.id != log);
    others
        .into_iter()
        .find(|other| other.log.name.as_ref() == Some(name) || other.log.moving.as_ref() == Some(name))
}

/// Whether those that stand in the way of a copy, one of the other, come back to it.
fn goes_round(ledger: &Ledger, first: &Tracked) -> bool {
    let mut at = first;
    for _ in 0..ledger.logs.len() {
        let to = wanted(ledger, at);
        match holder(ledger, at.log.id, &to) {
            Some(next) if next.log.id == first.log.id => return true,
            Some(next) if at.log.name.as_ref() != Some(&to) => at = next,
            Some(_) | None => return false,
        }
    }
    false
}

/// A name that belongs to this log of this machine alone. One whose file was truncated before, and which was forgotten since,
/// may have had it: then another one.
fn beside(ledger: &Ledger, tracked: &Tracked, path: &RelPath) -> RelPath {
    let mut hasher = blake3::Hasher::new();
    hasher.update(ledger.sender().as_bytes()).update(b"\0").update(tracked.log.id.bytes());
    loop {
        let name = path.with_suffix(&format!("~{}", &hasher.finalize().to_hex()[..12]));
        if !tracked.avoid.contains(&name) {
            return name;
        }
        hasher.update(b"\0");
    }
}
