//! What is recorded is there, now and after a restart.

use std::sync::Arc;

use super::super::side::Side;
use super::super::slot::Slot;
use super::super::store::Store;
use super::super::writer::{QUEUE, Request, Work};
use super::super::{DeliveredFolder, JournalError};
use super::*;

fn seq(dir: &Path) -> u64 {
    Side::read(&dir.join("journal.seq")).expect("the side file can be read").expect("there is one")
}

#[test]
fn what_is_pending_and_held_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, opening) = open(dir.path());
    assert_eq!(
        opening,
        Opening { pending: vec![], held: vec![], trust: Trust::Fresh, doubt: Some(String::new()) }
    );
    let (small, large, done) = (shipment("a", 0..1), shipment("a", 1..5000), shipment("b", 0..2));
    record(&journal, &[Record::Planned(small.clone()), Record::Planned(done.clone())]);
    record(&journal, &[Record::Planned(large.clone()), Record::Held(held(1)), Record::Held(held(2))]);
    record(&journal, &[finished(&done), Record::Released(held(1).item)]);
    close(journal);

    let (_journal, mut opening) = open(dir.path());
    assert_eq!(opening.trust, Trust::Kept);
    assert_eq!(opening.held, [held(2)]);
    opening.pending.sort_by_key(|shipment| shipment.items.len());
    assert_eq!(opening.pending, [small, large]);
}

#[test]
fn a_shipment_planned_again_in_fewer_parts_replaces_itself() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut large = shipment("a", 0..1000);
    let mut small = large.clone();
    large.items.iter_mut().for_each(|item| item.mode = u32::MAX);
    small.items.iter_mut().for_each(|item| item.mode = 0);
    let (journal, _) = open(dir.path());
    record(&journal, &[Record::Planned(large), Record::Planned(small.clone())]);
    close(journal);
    let (journal, opening) = open(dir.path());
    assert_eq!(opening.pending, [small.clone()]);
    record(&journal, &[finished(&small)]);
    close(journal);
    assert_eq!(open(dir.path()).1.pending, []);
}

#[test]
fn an_unacknowledged_part_of_a_shipment_is_no_shipment() {
    use super::super::keys::{Kind, part_key};
    use super::super::store::Op;
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    record(&journal, &[Record::Planned(shipment("a", 0..1))]);
    close(journal);
    let store = Store::open(&dir.path().join("journal")).expect("a store");
    let key = part_key(&shipment("b", 0..1).id, 3, 0);
    let part = super::super::value::seal(b"the first of three");
    store.apply(&[Op::put(Kind::Pending, key.clone(), part)]).expect("it is written");
    store.sync().expect("it is synced");
    drop(store);

    let (journal, opening) = open(dir.path());
    assert_eq!((opening.trust, opening.pending), (Trust::Kept, vec![shipment("a", 0..1)]));
    close(journal);
    let store = Store::open(&dir.path().join("journal")).expect("a store");
    assert_eq!(store.get(Kind::Pending, &key).expect("it can be read"), None);
}

#[test]
fn delivered_versions_are_known_and_no_others() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    let (journal, _) = open(dir.path());
    for (folder, count) in [("a", 210), ("b", 1000), ("c", 1)] {
        let known = journal.delivered_in(folder_id(folder)).expect("it can be read");
        assert_eq!(known.len(), usize::try_from(count).expect("small"));
        for item in (0..count).map(|number| item(folder, number)) {
            assert!(known.has(id(&item), item.stamp.fingerprint()));
            assert!(!known.has(id(&item), item.stamp.fingerprint() ^ 1));
            assert_eq!(known.digest_of(id(&item)).expect("it can be read"), Some(digest(&item)));
        }
        let other = item(folder, count);
        assert!(!known.has(id(&other), other.stamp.fingerprint()));
        assert_eq!(known.digest_of(id(&other)).expect("it can be read"), None);
    }
    assert!(journal.delivered_in(folder_id("d")).expect("it can be read").is_empty());
}

#[test]
fn the_latest_version_wins_however_the_chunks_lie() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    let version = |size| {
        let mut item = item("a", 7);
        item.stamp.size = size;
        item
    };
    for size in 0..300 {
        let mut among = shipment("a", 1000..1001 + size % 60);
        among.items.push(version(size));
        record(&journal, &[finished(&among)]);
        let known = journal.delivered_in(folder_id("a")).expect("it can be read");
        assert!(known.has(id(&version(0)), version(size).stamp.fingerprint()), "version {size}");
        assert_eq!(known.digest_of(id(&version(0))).expect("it can be read"), Some(digest(&version(size))));
        assert!(size == 0 || !known.has(id(&version(0)), version(size - 1).stamp.fingerprint()));
    }
}

#[test]
fn a_digest_is_found_after_its_chunk_moved() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    deliver(&journal, "a", 0..3);
    let known = journal.delivered_in(folder_id("a")).expect("it can be read");
    deliver(&journal, "a", 3..500);
    assert_eq!(known.digest_of(id(&item("a", 1))).expect("it can be read"), Some(digest(&item("a", 1))));
}

#[test]
fn what_is_gone_is_dropped_and_what_came_meanwhile_stays() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    deliver(&journal, "a", 0..730);
    deliver(&journal, "a", 730..740);
    let known = journal.delivered_in(folder_id("a")).expect("it can be read");
    let mut again = item("a", 5);
    again.stamp.size += 1;
    let newer = Shipment::new(WATCH, "collector", ShipmentKind::Single, vec![again.clone()]);
    record(&journal, &[finished(&newer)]);
    deliver(&journal, "a", 800..801);

    let even = |number: u64| number.is_multiple_of(2);
    let kept: Vec<_> = (0..740).filter(|number| even(*number)).map(|number| id(&item("a", number))).collect();
    let dropped = journal.keep_only(&known, |item| kept.contains(&item)).expect("they are dropped");
    assert_eq!(dropped, 370);
    let known = journal.delivered_in(folder_id("a")).expect("it can be read");
    for number in 0..740 {
        let item = item("a", number);
        assert_eq!(known.has(id(&item), item.stamp.fingerprint()), even(number), "item {number}");
    }
    assert!(known.has(id(&again), again.stamp.fingerprint()), "delivered after the folder was read");
    assert!(known.has(id(&item("a", 800)), item("a", 800).stamp.fingerprint()));
    assert_eq!(known.len(), 372);

    close(journal);
    let before = seq(dir.path());
    let (journal, _) = open(dir.path());
    let known = journal.delivered_in(folder_id("a")).expect("it can be read");
    assert_eq!(journal.keep_only(&known, |_| true).expect("nothing happens"), 0);
    close(journal);
    assert_eq!(seq(dir.path()), before, "nothing to drop, nothing written");
}

#[test]
fn replaced_versions_do_not_pile_up() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    for size in 0..40 {
        let mut grown = shipment("a", 0..150);
        grown.items.iter_mut().for_each(|item| item.stamp.size = size);
        record(&journal, &[finished(&grown)]);
    }
    let known = journal.delivered_in(folder_id("a")).expect("it can be read");
    assert!(journal.keep_only(&known, |_| true).expect("they are dropped") > 150);
    let known = journal.delivered_in(folder_id("a")).expect("it can be read");
    assert_eq!(known.len(), 150);
    assert_eq!(journal.keep_only(&known, |_| true).expect("nothing happens"), 0);
}

#[test]
fn folders_that_are_gone_are_forgotten() {
    let dir = tempfile::tempdir().expect("a folder");
    populate(dir.path());
    let (journal, _) = open(dir.path());
    journal.forget(&[folder_id("a"), folder_id("c")]).expect("they are forgotten");
    assert_eq!(journal.folders().expect("they can be read"), [folder_id("b")]);
    assert!(journal.delivered_in(folder_id("a")).expect("it can be read").is_empty());
    assert!(journal.delivered_in(folder_id("c")).expect("it can be read").is_empty());
    assert_eq!(journal.delivered_in(folder_id("b")).expect("it can be read").len(), 1000);
    close(journal);
    assert_eq!(open(dir.path()).1.trust, Trust::Kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_record_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200 {
        let journal = journal.clone();
        tasks.spawn(async move {
            let shipment = shipment("a", number..number + 1);
            journal.record(&[Record::Planned(shipment.clone())]).await.expect("planned");
            journal.record(&[finished(&shipment)]).await.expect("finished");
        });
    }
    tasks.join_all().await;
    assert_eq!(journal.delivered_in(folder_id("a")).expect("it can be read").len(), 200);
    let clone = journal.clone();
    journal.close().await.expect("it closes");
    assert!(matches!(clone.record(&[Record::Held(held(1))]).await, Err(JournalError::Closed)));
    assert!(matches!(clone.delivered_in(folder_id("a")), Err(JournalError::Closed)));
    assert_eq!(open(dir.path()).1.pending, []);
}

/// The writer moves the small chunks into large ones while a scanner reads the folder.
#[test]
fn what_is_moved_while_a_folder_is_read_stays_the_latest() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    deliver(&journal, "a", 0..230);
    let older = item("a", 1000);
    let newer = Item { stamp: Stamp { size: 5000, ..older.stamp }, ..older.clone() };
    let finish = |journal: &Journal, delivered| {
        record(journal, &[Record::Finished { shipment: shipment("a", 0..1).id, delivered }]);
    };
    finish(&journal, vec![delivered(&older)]);
    let mut moves = vec![2000..2100, 1001..1100].into_iter();
    let meanwhile = |read| {
        if read > 0 {
            return;
        }
        let others = moves.next().into_iter().flatten().map(|number| delivered(&item("a", number)));
        finish(&journal, [delivered(&newer)].into_iter().chain(others).collect());
    };
    let known = DeliveredFolder::read_while(&journal.slot, folder_id("a"), meanwhile).expect("it is read");

    let has = |known: &DeliveredFolder, item: &Item| known.has(id(item), item.stamp.fingerprint());
    assert!(has(&known, &newer) && !has(&known, &older));
    assert_eq!(known.len(), 230 + 1 + 100 + 99);
    let gone = id(&item("a", 0));
    journal.keep_only(&known, |item| item != gone).expect("it is written");
    let known = journal.delivered_in(folder_id("a")).expect("it is read");
    assert!(has(&known, &newer), "what is left out is not the latest version");
    assert_eq!(known.len(), 229 + 1 + 100 + 99);
}

/// The reading has passed the key where the entries of all chunks are then.
#[test]
fn what_is_joined_while_a_folder_is_read_is_not_missed() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path());
    deliver(&journal, "a", 0..5000);
    let before = journal.delivered_in(folder_id("a")).expect("it is read");
    let kept: Vec<_> = (0..5000).step_by(200).map(|number| id(&item("a", number))).collect();
    let mut joined = 0;
    let meanwhile = |read| {
        if read == 1 && joined == 0 {
            joined = journal.keep_only(&before, |item| kept.contains(&item)).expect("it is written");
        }
    };
    let known = DeliveredFolder::read_while(&journal.slot, folder_id("a"), meanwhile).expect("it is read");
    assert_eq!(joined, 5000 - kept.len());
    let missed = kept.iter().enumerate().filter(|(nth, kept)| {
        let of = item("a", 200 * *nth as u64);
        !known.has(**kept, of.stamp.fingerprint())
    });
    assert_eq!(missed.count(), 0, "of {}", kept.len());
}

/// All that is held is 50,000 records.
#[test]
fn many_records_are_stored_in_several_requests() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("a store");
    let (queue, mut requests) = tokio::sync::mpsc::channel(QUEUE);
    let journal = Journal { queue, slot: Arc::new(Slot::with(store)), path: dir.path().to_owned() };
    let writer = std::thread::spawn(move || {
        let mut sizes = Vec::new();
        while let Some(Request { work: Work::Write(changes), reply }) = requests.blocking_recv() {
            sizes.push(changes.len());
            reply(Ok(()));
        }
        sizes
    });
    record(&journal, &(0..2500).map(|number| Record::Held(held(number))).collect::<Vec<_>>());
    drop(journal);
    assert_eq!(writer.join().expect("nobody closes it"), [1000, 1000, 500]);
}
