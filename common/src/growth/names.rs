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
    let mut blocked = None;
    for tracked in ledger.logs.values().filter(|tracked| !ledger.rests(tracked)) {
        let to = wanted(ledger, tracked);
        if tracked.log.name.as_ref() == Some(&to) {
            continue;
        }
        match holder(ledger, tracked.log.id, &to) {
            None if tracked.log.name.is_some() => return Some((tracked.log.id, to)),
            // What nobody names any more makes room.
            Some(other) if other.is_orphan() && !ledger.rests(other) => {
                return Some((other.log.id, beside(ledger, other, other.log.name.as_ref()?)));
            }
            Some(_) if tracked.log.name.is_some() => blocked = blocked.or(Some(tracked)),
            None | Some(_) => {}
        }
    }
    // Each waits for another one, so the names go round in a circle.
    let first = blocked.filter(|_| is_a_circle(ledger))?;
    Some((first.log.id, beside(ledger, first, &first.log.path)))
}

/// What the copy is to be called.
pub(super) fn wanted(ledger: &Ledger, tracked: &Tracked) -> RelPath {
    let Tracked { log, .. } = tracked;
    match &log.name {
        Some(name) if log.ended || tracked.presence != Presence::Named => name.clone(),
        _ if tracked.avoid.contains(&log.path) => beside(ledger, tracked, &log.path),
        _ => log.path.clone(),
    }
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

/// Whether every copy that stands in the way of another one is in its way itself.
fn is_a_circle(ledger: &Ledger) -> bool {
    ledger.logs.values().filter(|tracked| tracked.log.name.is_some()).all(|tracked| {
        let to = wanted(ledger, tracked);
        tracked.log.name.as_ref() == Some(&to) || holder(ledger, tracked.log.id, &to).is_some()
    })
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
