//! The start: who may open, and what is made of what stands there.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use rustix::fs::{FlockOperation, flock};

use super::super::JournalError;
use super::super::keys::Kind;
use super::super::side::Side;
use super::super::store::{Op, Store};
use super::super::value::seal_held;
use super::*;

fn quarantines(dir: &Path) -> usize {
    let names = fs::read_dir(dir).expect("a folder").map(|file| file.expect("a file").file_name());
    names.filter(|name| name.to_string_lossy().starts_with("journal.quarantine-")).count()
}

fn rebuilt_because(opening: &Opening) -> &str {
    match &opening.trust {
        Trust::Rebuilt { reason, quarantine } if quarantine.is_dir() => reason,
        other => panic!("{other:?}"),
    }
}

/// A value of a version that doesn't exist yet, in the frame that is for ever.
fn of_version(version: u8, payload: &[u8]) -> Vec<u8> {
    let head = [&[version], payload].concat();
    [&head, &blake3::hash(&head).as_bytes()[..8]].concat()
}

#[test]
fn the_second_opener_learns_who_is_first() {
    let dir = tempfile::tempdir().expect("a folder");
    let (_journal, _) = open(dir.path());
    match Journal::open(dir.path()) {
        Err(JournalError::Locked { holder_pid, path }) => {
            assert_eq!((holder_pid, path), (Some(std::process::id()), dir.path().to_owned()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_holder_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("lock"), "4242\n").expect("it is written");
    let file = fs::File::open(dir.path().join("lock")).expect("it opens");
    flock(&file, FlockOperation::NonBlockingLockExclusive).expect("it is locked");
    let error = Journal::open(dir.path()).expect_err("it is held").to_string();
    assert!(error.ends_with("is in use by process 4242"), "{error}");
    drop(file);
    open(dir.path());
}

#[test]
fn state_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = dir.path().join("lib/skiff");
    let (_journal, _) = open(&state);
    for folder in [state.clone(), state.join("journal")] {
        let mode = fs::metadata(&folder).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
    }
}

fn mode(state: &Path) -> u32 {
    fs::metadata(state).expect("it is there").permissions().mode() & 0o777
}

/// Somebody made it beforehand, with what the umask left. What holds other things, too, isn't ours to close.
#[test]
fn an_open_state_folder_is_closed_unless_others_use_it() {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, holds, closed) in [
        ("new", None, true),
        ("used", Some("receipts.jsonl.1"), true),
        ("kept", Some("reserve"), true),
        ("shared", Some("www"), false),
    ] {
        let state = dir.path().join(name);
        fs::create_dir(&state).expect("a new folder");
        if let Some(holds) = holds {
            fs::write(state.join(holds), "").expect("there is room");
        }
        fs::set_permissions(&state, Permissions::from_mode(0o755)).expect("it is ours");
        let (journal, _) = open(&state);
        assert_eq!(mode(&state), if closed { 0o700 } else { 0o755 }, "{name}");
        drop(journal);
    }
}

/// Whatever the journal makes in its folder is known as its own.
#[test]
fn a_state_folder_that_was_used_and_opened_is_closed_again() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    let names = fs::read_dir(dir.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let names: Vec<_> = names.collect();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("it is ours");
    close(open(dir.path()).0);
    assert_eq!(mode(dir.path()), 0o700, "{names:?}");
}

#[test]
fn a_newer_value_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    let store = Store::open(&dir.path().join("journal")).expect("a store");
    let (item, newer) = (held(1).item.bytes().to_vec(), of_version(2, b"who knows"));
    store.apply(&[Op::put(Kind::Held, item.clone(), newer.clone())]).expect("it is written");
    store.sync().expect("it is synced");
    drop(store);
    for _ in 0..4 {
        let refused = Journal::open(dir.path()).expect_err("it is newer");
        assert!(matches!(refused, JournalError::Newer { version: 2, .. }), "{refused}");
    }
    assert_eq!(quarantines(dir.path()), 0);
    let store = Store::open(&dir.path().join("journal")).expect("a store");
    assert_eq!(store.get(Kind::Held, &item).expect("it can be read").expect("it is there"), newer);
}

#[test]
fn a_newer_side_file_is_refused_before_the_store_is_touched() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    let newer = of_version(9, b"who knows");
    fs::write(dir.path().join("journal.seq"), &newer).expect("it is written");
    let refused = Journal::open(dir.path()).expect_err("it is newer");
    assert!(matches!(refused, JournalError::Newer { version: 9, .. }), "{refused}");
    assert_eq!(fs::read(dir.path().join("journal.seq")).expect("it is there"), newer);
}

#[test]
fn a_store_behind_its_side_file_was_rolled_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    deliver(&journal, "a", 0..3);
    close(journal);
    copy_folder(&dir.path().join("journal"), &dir.path().join("backup"));
    let (journal, _) = open(dir.path());
    deliver(&journal, "a", 3..4);
    close(journal);
    fs::remove_dir_all(dir.path().join("journal")).expect("it is removed");
    fs::rename(dir.path().join("backup"), dir.path().join("journal")).expect("it is renamed");

    let (journal, opening) = open(dir.path());
    assert_eq!(rebuilt_because(&opening), "it has lost the last 2 of 4 transactions");
    assert!(journal.delivered_in(folder_id("a")).expect("it can be read").is_empty());
    close(journal);
    assert_eq!(open(dir.path()).1.trust, Trust::Fresh, "still nothing was recorded");
}

#[test]
fn a_side_file_behind_its_store_is_what_a_crash_leaves() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    Side::create(&dir.path().join("journal.seq"), 5).expect("it is written");
    let (journal, opening) = open(dir.path());
    assert_eq!(opening.trust, Trust::Kept);
    close(journal);
    assert!(Side::read(&dir.path().join("journal.seq")).expect("it can be read") > Some(5));
}

#[test]
fn without_its_side_file_a_store_is_not_trusted() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    fs::remove_file(dir.path().join("journal.seq")).expect("it is removed");
    assert_eq!(rebuilt_because(&open(dir.path()).1), "its side file is missing");
}

#[test]
fn a_record_that_comes_back_from_the_past_is_noticed() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    let store = Store::open(&dir.path().join("journal")).expect("a store");
    let mut past = held(1);
    past.attempts = 1;
    let (key, value) = (held(1).item.bytes().into(), seal_held(&past).into());
    store.load_unaccounted(Kind::Held, vec![(key, value)]).expect("it is written");
    store.sync().expect("it is synced");
    drop(store);
    assert_eq!(rebuilt_because(&open(dir.path()).1), "records are missing, or of different times");
}

#[test]
fn a_lost_store_is_a_fresh_one() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    fs::remove_dir_all(dir.path().join("journal")).expect("it is removed");
    let (journal, opening) = open(dir.path());
    assert_eq!(
        opening,
        Opening { pending: vec![], held: vec![], trust: Trust::Fresh, doubt: Some(String::new()) }
    );
    deliver(&journal, "a", 0..1);
    close(journal);
    assert_eq!(open(dir.path()).1.trust, Trust::Kept);
}

/// What was there before may have delivered what this one doesn't know, until all was compared.
#[tokio::test]
async fn the_doubt_of_a_rebuilt_journal_outlives_whoever_opens_it_first() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    fs::remove_file(dir.path().join("journal.seq")).expect("it is removed");
    let (journal, opening) = open(dir.path());
    rebuilt_because(&opening);
    record(&journal, &[Record::Held(held(1))]);
    close(journal);

    let (journal, again) = open(dir.path());
    assert_eq!((again.trust, &again.doubt), (Trust::Kept, &opening.doubt));
    let why = again.doubt.expect("nothing was compared");
    assert!(why.starts_with("its side file is missing; ") && why.contains("journal.quarantine-"), "{why}");
    journal.end_doubt().await.expect("there is room");
    assert_eq!(journal.doubt().expect("it can be read"), None);
    close(journal);
    assert_eq!(open(dir.path()).1.doubt, None);
}

#[tokio::test]
async fn a_fresh_journal_doubts_until_all_is_compared() {
    let dir = tempfile::tempdir().expect("a folder");
    let nothing = Some(String::new());
    let (journal, opening) = open(dir.path());
    assert_eq!(opening.doubt, nothing);
    close(journal);
    let (journal, opening) = open(dir.path());
    assert_eq!((opening.trust, opening.doubt), (Trust::Fresh, nothing.clone()));
    deliver(&journal, "a", 0..1);
    close(journal);
    let (journal, opening) = open(dir.path());
    assert_eq!((opening.trust, opening.doubt), (Trust::Kept, nothing));
    journal.end_doubt().await.expect("there is room");
    close(journal);
    assert_eq!(open(dir.path()).1.doubt, None);
}

#[test]
fn a_stale_snapshot_is_no_obstacle() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    for name in ["snap.0000000000000001.generating", "snap.FFFFFFFFFFFFFFFF.generating"] {
        fs::write(dir.path().join("journal").join(name), b"cut").expect("it is written");
    }
    assert_eq!(open(dir.path()).1.trust, Trust::Kept);
}

#[test]
fn a_death_while_the_store_is_made_leaves_no_damage() {
    let dir = tempfile::tempdir().expect("a folder");
    Side::create(&dir.path().join("journal.seq"), 0).expect("it is written");
    fs::create_dir(dir.path().join("journal.copy")).expect("there is room");
    fs::write(dir.path().join("journal.copy/conf"), "segment_").expect("there is room");
    let (_journal, opening) = open(dir.path());
    assert_eq!(opening.trust, Trust::Fresh);
    assert_eq!(quarantines(dir.path()), 0);
    assert!(!dir.path().join("journal.copy").exists());
}

#[test]
fn one_opening_may_die_but_not_two() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    let marker = dir.path().join("journal.opening");
    fs::write(&marker, [1]).expect("it is written");
    let (journal, opening) = open(dir.path());
    assert_eq!(opening.trust, Trust::Kept);
    assert!(!marker.exists());
    close(journal);

    fs::write(&marker, [2]).expect("it is written");
    let (journal, opening) = open(dir.path());
    assert_eq!(rebuilt_because(&opening), "skiff died 2 times while opening it");
    close(journal);
    assert_eq!(open(dir.path()).1.trust, Trust::Fresh);
}

#[test]
fn two_quarantined_journals_are_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    for _ in 0..4 {
        populate(dir.path());
        fs::write(dir.path().join("journal.opening"), [2]).expect("it is written");
        let (journal, opening) = open(dir.path());
        rebuilt_because(&opening);
        close(journal);
    }
    assert_eq!(quarantines(dir.path()), 2);
}

#[test]
fn a_cut_swap_is_undone_or_ended() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    let (journal, old, copy) =
        (dir.path().join("journal"), dir.path().join("journal.old"), dir.path().join("journal.copy"));
    fs::create_dir(&copy).expect("it is made");
    fs::rename(&journal, &old).expect("it is renamed");
    let (undone, opening) = open(dir.path());
    let before = contents(&undone, &opening);
    close(undone);
    assert_eq!(opening.trust, Trust::Kept);
    assert!(!copy.exists());

    fs::create_dir(&old).expect("it is made");
    let (ended, opening) = open(dir.path());
    assert_eq!(contents(&ended, &opening), before);
    assert!(!old.exists());
}
