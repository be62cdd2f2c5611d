//! The journal as its callers see it, and as crashes and rotting disks leave it.

mod damage;
mod golden;
mod records;
mod size;
mod start;

use std::fs;
use std::path::Path;

use skiff_common::delivery::record::{Delivered, HeldItem, Record};
use skiff_common::{Algorithm, Digest, Item, ItemId, RelPath, Shipment, ShipmentKind, Stamp};

use super::{Journal, Opening, Trust};

const WATCH: &str = "sensors";

fn item(folder: &str, number: u64) -> Item {
    let path = RelPath::parse(format!("{folder}/reading-{number:06}.csv").as_bytes()).expect("a path");
    let time_ns = 1_790_000_000_000_000_000 + i64::try_from(number).expect("small");
    let stamp =
        Stamp { dev: 64_769, ino: 1_000_000 + number, size: 4096, mtime_ns: time_ns, ctime_ns: time_ns };
    Item { path, stamp, mode: 0o644 }
}

fn shipment(folder: &str, numbers: std::ops::Range<u64>) -> Shipment {
    let items = numbers.map(|number| item(folder, number)).collect();
    Shipment::new(WATCH, "collector", ShipmentKind::Batch, items)
}

fn folder_id(folder: &str) -> ItemId {
    let path = RelPath::parse(folder.as_bytes()).expect("a path");
    ItemId::of_folder(WATCH, Some(&path))
}

fn id(item: &Item) -> ItemId {
    ItemId::of(WATCH, &item.path)
}

fn delivered(item: &Item) -> Delivered {
    Delivered {
        folder: ItemId::of_folder(WATCH, item.path.folder().as_ref()),
        item: id(item),
        stamp: item.stamp.fingerprint(),
        digest: digest(item),
    }
}

fn digest(item: &Item) -> Digest {
    let bytes = [item.path.as_bytes(), &item.stamp.fingerprint().to_le_bytes()].concat();
    Digest::new(Algorithm::Blake3, *blake3::hash(&bytes).as_bytes())
}

fn finished(shipment: &Shipment) -> Record {
    let delivered = shipment.items.iter().map(delivered).collect();
    Record::Finished { shipment: shipment.id.clone(), delivered }
}

fn held(number: u64) -> HeldItem {
    let item = item("held", number);
    HeldItem {
        item: id(&item),
        watch: WATCH.to_owned(),
        path: item.path.clone(),
        stamp: item.stamp.fingerprint(),
        attempts: 3,
        reason: "the server's disk is full".to_owned(),
        quarantined: number.is_multiple_of(2),
    }
}

fn open(dir: &Path) -> (Journal, Opening) {
    Journal::open(dir).expect("the journal opens")
}

fn record(journal: &Journal, records: &[Record]) {
    journal.record_blocking(records).expect("the journal takes records");
}

fn close(journal: Journal) {
    journal.close_blocking().expect("the journal closes");
}

/// Plans and finishes a shipment.
fn deliver(journal: &Journal, folder: &str, numbers: std::ops::Range<u64>) {
    let shipment = shipment(folder, numbers);
    record(journal, &[Record::Planned(shipment.clone())]);
    record(journal, &[finished(&shipment)]);
}

/// Some of everything: chunks small and large, shipments in one part and in several, held items; in a log of several
/// segments, most of which is garbage.
fn populate(dir: &Path) {
    let (journal, _) = open(dir);
    for commit in 0..10 {
        let moved = shipment("moved", commit * 1000..commit * 1000 + 1000);
        record(&journal, &[Record::Planned(moved.clone())]);
        record(&journal, &[Record::Finished { shipment: moved.id, delivered: vec![] }]);
    }
    for commit in 0..30 {
        deliver(&journal, "a", commit * 7..commit * 7 + 7);
    }
    deliver(&journal, "b", 0..1000);
    deliver(&journal, "c", 0..1);
    record(&journal, &[Record::Planned(shipment("d", 0..1)), Record::Planned(shipment("e", 0..300))]);
    record(&journal, &(0..20).map(|number| Record::Held(held(number))).collect::<Vec<_>>());
    record(&journal, &[Record::Released(held(3).item)]);
    close(journal);
}

/// All that can be asked of what [`populate`] made.
fn contents(journal: &Journal, opening: &Opening) -> String {
    let mut lines = vec![format!("{:?}\n{:?}", opening.pending, opening.held)];
    for (folder, numbers) in [("a", 210), ("b", 1000), ("c", 1), ("d", 1), ("e", 300)] {
        let known = journal.delivered_in(folder_id(folder)).expect("the folder can be read");
        for item in (0..numbers).map(|number| item(folder, number)) {
            let has = known.has(id(&item), item.stamp.fingerprint());
            let digest = known.digest_of(id(&item)).expect("the digest can be read");
            lines.push(format!("{folder} {} {has} {digest:?}", known.len()));
        }
    }
    lines.join("\n")
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder is made");
    for file in fs::read_dir(from).expect("a folder is read") {
        let path = file.expect("a file").path();
        let copy = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            fs::copy(&path, &copy).expect("a file is copied");
        }
    }
}
