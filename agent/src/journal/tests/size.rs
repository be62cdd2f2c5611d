//! What the journal takes on the disk.

use std::thread;
use std::time::{Duration, Instant};

use super::super::MountNote;
use super::super::compact;
use super::super::completed::chunks;
use super::super::keys::Kind;
use super::super::side::Side;
use super::super::state_folder::{StateFolder, bytes_in};
use super::super::store::Store;
use super::super::verify::verify;
use super::*;

fn chunk_count(dir: &Path, folder: &str) -> usize {
    let store = Store::open(&dir.join("journal")).expect("a store");
    let count = |kind| chunks(&store, kind, folder_id(folder)).count();
    count(Kind::Recent) + count(Kind::Completed)
}

#[test]
fn a_delivered_item_takes_less_than_200_bytes() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    for commit in 0..100 {
        deliver(&journal, "a", commit * 1000..commit * 1000 + 1000);
    }
    close(journal);
    let bytes = bytes_in(&dir.path().join("journal")).expect("it can be measured");
    println!("{} bytes on disk for each of 100,000 delivered items", bytes / 100_000);
    assert!(bytes < 200 * 100_000, "{bytes}");
}

#[test]
fn lone_files_are_packed_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    for number in 0..600 {
        record(&journal, &[finished(&shipment("a", number..number + 1))]);
    }
    close(journal);
    let chunks = chunk_count(dir.path(), "a");
    assert!(chunks < 60, "{chunks} chunks");
}

#[test]
fn lone_files_rarely_make_the_log_longer() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    let log = dir.path().join("journal/db");
    let mut lengths = std::collections::BTreeSet::new();
    for number in 0..100 {
        deliver(&journal, "a", number..number + 1);
        lengths.insert(fs::metadata(&log).expect("the log is there").len());
    }
    assert!(lengths.len() <= 3, "{lengths:?}");
    close(journal);
    let (journal, opening) = open(dir.path());
    assert_eq!(opening.trust, Trust::Kept);
    assert_eq!(journal.delivered_in(folder_id("a")).expect("it can be read").len(), 100);
}

#[test]
fn an_end_and_the_next_plan_take_one_transaction() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    let seq = || Side::read(&dir.path().join("journal.seq")).expect("it can be read").expect("there is one");
    let (first, second, third) = (shipment("a", 0..1), shipment("a", 1..2), shipment("a", 2..3));
    record(&journal, &[Record::Planned(first.clone()), Record::Planned(second.clone())]);
    assert_eq!(seq(), 1);
    record(&journal, &[finished(&first), Record::Planned(third.clone())]);
    assert_eq!(seq(), 2);
    record(
        &journal,
        &[finished(&second), finished(&third), Record::Planned(first.clone()), finished(&first)],
    );
    close(journal);
    let (journal, opening) = open(dir.path());
    assert_eq!((opening.trust, opening.pending), (Trust::Kept, vec![]));
    assert_eq!(journal.delivered_in(folder_id("a")).expect("it can be read").len(), 3);
}

#[test]
fn no_value_leaves_the_synced_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    for commit in 0..40 {
        let planned: Vec<_> =
            (0..4).map(|n| shipment(&format!("{n}"), commit * 300..commit * 300 + 300)).collect();
        record(&journal, &planned.iter().cloned().map(Record::Planned).collect::<Vec<_>>());
        record(&journal, &planned.iter().skip(1).map(finished).collect::<Vec<_>>());
        let mut largest = held(commit);
        largest.reason = "€".repeat(100_000);
        largest.path = RelPath::parse(&[&[b'x'; 250][..]; 16].join(&b'/')).expect("a path");
        record(&journal, &[Record::Held(largest)]);
        let known = journal.delivered_in(folder_id("1")).expect("it can be read");
        journal.keep_only(&known, |item| item.bytes()[0] % 3 > 0).expect("they are dropped");
    }
    let blobs = fs::read_dir(dir.path().join("journal/blobs")).expect("sled's folder for large values");
    assert_eq!(blobs.count(), 0, "sled never syncs these");
    close(journal);
    assert_eq!(open(dir.path()).1.trust, Trust::Kept);
}

#[test]
fn chunks_join_when_their_items_go() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    deliver(&journal, "a", 0..5000);
    let known = journal.delivered_in(folder_id("a")).expect("it can be read");
    let kept: Vec<_> = (0..5000).step_by(200).map(|number| id(&item("a", number))).collect();
    journal.keep_only(&known, |item| kept.contains(&item)).expect("they are dropped");
    close(journal);
    assert_eq!(chunk_count(dir.path(), "a"), 1);
}

#[test]
fn a_copy_is_smaller_and_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    let (journal, opening) = open(dir.path());
    for commit in 0..100 {
        deliver(&journal, "churn", commit * 1000..commit * 1000 + 1000);
    }
    journal.forget(&[folder_id("churn")]).expect("it is forgotten");
    let mount = Some(MountNote::new(Path::new("/data"), false));
    journal.note_mount(WATCH, mount).expect("it is recorded");
    let before = contents(&journal, &opening);
    close(journal);

    let place = StateFolder::make(dir.path()).expect("a folder");
    let store = Store::open(&place.journal()).expect("a store");
    let bytes = bytes_in(&place.journal()).expect("it can be measured");
    let logical_bytes = verify(&store).expect("it is whole").logical_bytes;
    assert!(!compact::copy_if_bloated(&store, logical_bytes, &place), "not worth it yet");
    compact::copy(&store, logical_bytes, &place).expect("it is copied");
    drop(store);
    place.swap().expect("they are swapped");

    let (journal, opening) = open(dir.path());
    assert_eq!(opening.trust, Trust::Kept);
    assert_eq!(contents(&journal, &opening), before);
    assert_eq!(journal.mount(WATCH).expect("it is read"), mount);
    let copied = bytes_in(&place.journal()).expect("it can be measured");
    assert!(copied * 4 < bytes, "{copied} of {bytes} bytes");
}

/// Delivers until a copy would save much.
fn bloat(dir: &Path, journal: &Journal) {
    for commit in 0.. {
        deliver(journal, "churn", commit * 1000..commit * 1000 + 1000);
        if bytes_in(&dir.join("journal")).expect("it can be measured") > 65 << 20 {
            break;
        }
    }
}

fn wait_until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "it takes too long");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Opened again, it would be read whole, which takes a poor card longer than a commit may take.
#[test]
fn the_copy_is_made_while_the_store_is_open() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    bloat(dir.path(), &journal);
    // It can't be closed meanwhile.
    let store = journal.slot.store().expect("it is open");
    journal.forget(&[folder_id("churn")]).expect("it is forgotten");
    wait_until(|| dir.path().join("journal.copy").exists());
    drop(store);
    wait_until(|| bytes_in(&dir.path().join("journal")).is_ok_and(|bytes| bytes < 16 << 20));
    deliver(&journal, "a", 0..1);
}

#[test]
fn a_store_that_cannot_be_copied_goes_on_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    bloat(dir.path(), &journal);
    fs::write(dir.path().join("journal.copy"), "in the way").expect("there is room");
    for round in 0..3 {
        deliver(&journal, "churn", round..round + 1);
        journal.forget(&[folder_id("churn")]).expect("it is forgotten");
    }
    deliver(&journal, "a", 0..1);
    assert_eq!(journal.delivered_in(folder_id("a")).expect("it can be read").len(), 1);
}

#[test]
fn a_bloated_store_gets_smaller_while_it_is_open() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    let (journal, opening) = open(dir.path());
    bloat(dir.path(), &journal);
    let before = contents(&journal, &opening);
    journal.forget(&[folder_id("churn")]).expect("it is forgotten");
    wait_until(|| bytes_in(&dir.path().join("journal")).is_ok_and(|bytes| bytes <= 16 << 20));
    assert_eq!(contents(&journal, &opening), before);
    deliver(&journal, "churn", 0..1);
    close(journal);
    let (journal, opening) = open(dir.path());
    assert_eq!(opening.trust, Trust::Kept);
    assert_eq!(contents(&journal, &opening), before);
    assert_eq!(journal.delivered_in(folder_id("churn")).expect("it can be read").len(), 1);
}
