//! The start: lock, space, leftovers, open, verify, make smaller. What isn't to be trusted is moved away.

use std::fs;
use std::path::Path;

use super::compact::copy_if_bloated;
use super::deadline::{self, in_time};
use super::error::JournalError;
use super::side::Side;
use super::state_folder::{StateFolder, sync_folder};
use super::store::Store;
use super::trust::{self, Opening, Trust};
use super::verify::{Verified, verify};

/// How many openings may die in a row. A release build can't catch a panic of sled's, so the next start has to know
/// of it; a kill leaves the same trace, and one of those is common enough.
const DEAD_OPENINGS: u8 = 2;

/// An open journal, before its writer.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) side: Side,
    pub(super) opening: Opening,
}

/// Opens the journal at `place`, whose lock the caller holds, or a fresh one where it can't be trusted.
pub(super) fn open_or_rebuild(place: &StateFolder) -> Result<Opened, JournalError> {
    match open(place) {
        Err(JournalError::Broken { reason, .. }) if place.has_journal() => rebuild(place, reason),
        opened => opened,
    }
}

/// Opens the journal at `place`, and only if it can be trusted.
pub(super) fn open(place: &StateFolder) -> Result<Opened, JournalError> {
    place.require_space("open", 0)?;
    place.mend_swap()?;
    let acknowledged = if place.has_journal() {
        Side::read(&place.side())?
    } else {
        // The side file first: one of an earlier journal would accuse an empty store.
        Side::create(&place.side(), 0)?;
        make_store(place)?;
        Some(0)
    };
    let (store, verified) = open_marked(place, acknowledged)?;
    let side = Side::create(&place.side(), verified.head.seq)?;
    let trust = if verified.head.seq == 0 { Trust::Fresh } else { Trust::Kept };
    let mut doubt = trust::doubt_of(&store)?;
    if trust == Trust::Fresh && doubt.is_none() {
        trust::note_doubt(&store, "")?;
        doubt = Some(String::new());
    }
    let opening = Opening { pending: verified.pending, held: verified.held, trust, doubt };
    Ok(Opened { store, side, opening })
}

/// An empty store, made beside its place: one that a death left half-made would look like damage.
fn make_store(place: &StateFolder) -> Result<(), JournalError> {
    let copy = place.make_copy()?;
    let made = copy.clone();
    ask_for_time();
    in_time("open", &copy, deadline::OPEN, move || Store::open(&made)?.sync())??;
    place.adopt_copy()
}

fn rebuild(place: &StateFolder, reason: String) -> Result<Opened, JournalError> {
    let quarantine = place.quarantine()?;
    tracing::error!(reason, quarantine = %quarantine.display(), "the journal can't be trusted; starting a fresh one");
    let mut opened = open(place)?;
    let doubt = format!("{reason}; what was there is in {}", quarantine.display());
    // Whoever opens it next may be somebody else, and has to know.
    trust::note_doubt(&opened.store, &doubt)?;
    opened.store.sync()?;
    opened.opening.doubt = Some(doubt);
    opened.opening.trust = Trust::Rebuilt { reason, quarantine };
    Ok(opened)
}

/// Leaves the marker behind where the process dies, or sled hangs, within.
fn open_marked(place: &StateFolder, acknowledged: Option<u64>) -> Result<(Store, Verified), JournalError> {
    let (dir, marker) = (place.journal(), place.marker());
    let died = fs::read(&marker).map_or(0, |count| count.first().copied().unwrap_or(0));
    if died >= DEAD_OPENINGS {
        unmark(&marker)?;
        return Err(JournalError::broken("open", &dir, format!("skiff died {died} times while opening it")));
    }
    fs::write(&marker, [died + 1]).map_err(|error| JournalError::io("write", &marker, error))?;
    let own = place.clone();
    ask_for_time();
    let opened = in_time("open", &dir, deadline::OPEN, move || open_trusted(&own, acknowledged));
    if !matches!(opened, Err(JournalError::Stalled { .. })) {
        unmark(&marker)?;
    }
    opened?
}

/// Has systemd wait as long as an opening may take: a kill in it would count against a sound journal.
fn ask_for_time() {
    let most = deadline::OPEN + deadline::COMMIT;
    let usec = u32::try_from(most.as_micros()).expect("minutes");
    // Without systemd there is nobody to ask.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::ExtendTimeoutUsec(usec)]);
}

fn unmark(marker: &Path) -> Result<(), JournalError> {
    fs::remove_file(marker).map_err(|error| JournalError::io("remove", marker, error))
}

fn open_trusted(place: &StateFolder, acknowledged: Option<u64>) -> Result<(Store, Verified), JournalError> {
    let (store, verified) = open_verified(place)?;
    let seq = verified.head.seq;
    match acknowledged {
        None if seq > 0 => return Err(untrusted(place, "its side file is missing".to_owned())),
        Some(acknowledged) if acknowledged > seq => {
            let lost = format!("it has lost the last {} of {acknowledged} transactions", acknowledged - seq);
            return Err(untrusted(place, lost));
        }
        _ => {}
    }
    if !copy_if_bloated(&store, verified.logical_bytes, place) {
        return Ok((store, verified));
    }
    drop(store);
    place.swap()?;
    open_verified(place)
}

/// What a killed process had written but not synced becomes durable here, before the side file tells of it.
fn open_verified(place: &StateFolder) -> Result<(Store, Verified), JournalError> {
    let dir = place.journal();
    place.prepare_journal()?;
    let store = Store::open(&dir)?;
    let verified = verify(&store)?;
    store.sync()?;
    sync_folder(&dir).map_err(|error| JournalError::io("sync", &dir, error))?;
    Ok((store, verified))
}

fn untrusted(place: &StateFolder, reason: String) -> JournalError {
    JournalError::broken("open", &place.journal(), reason)
}
