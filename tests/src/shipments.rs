//! A sequence of shipments that anybody can make again from their numbers, for who writes a journal and who judges it.

use ::skiff::journal::{Journal, JournalError};
use skiff_common::delivery::record::{Delivered, Record};
use skiff_common::{Algorithm, Digest, Item, ItemId, RelPath, Shipment, ShipmentKind, Stamp};

const WATCH: &str = "in";
/// Files of one shipment.
const FILES: u64 = 5;

/// Plans and finishes the shipment of this number; durable on return.
pub fn deliver(journal: &Journal, number: u64) -> Result<(), JournalError> {
    let shipment = shipment(number);
    let delivered = shipment.items.iter().map(delivered).collect();
    let finished = Record::Finished { shipment: shipment.id.clone(), delivered };
    journal.record_blocking(&[Record::Planned(shipment)])?;
    journal.record_blocking(&[finished])
}

/// How many files of the first `count` shipments the journal knows as delivered.
pub fn known(journal: &Journal, count: u64) -> Result<u64, JournalError> {
    let mut known = 0;
    for number in 0..count {
        let shipment = shipment(number);
        let folder = journal.delivered_in(folder(&shipment.items[0]))?;
        for item in &shipment.items {
            let has = folder.has(id(item), item.stamp.fingerprint())
                && folder.digest_of(id(item))? == Some(delivered(item).digest);
            known += u64::from(has);
        }
    }
    Ok(known)
}

/// How many files `count` shipments have.
pub fn files(count: u64) -> u64 {
    count * FILES
}

fn shipment(number: u64) -> Shipment {
    let items = (0..FILES).map(|file| item(number, file)).collect();
    Shipment::new(WATCH, "collector", ShipmentKind::Batch, items)
}

fn item(number: u64, file: u64) -> Item {
    let path = RelPath::parse(format!("day-{}/{number}-{file}", number % 10).as_bytes()).expect("a path");
    let time_ns = i64::try_from(number * FILES + file).expect("small");
    let stamp = Stamp { dev: 1, ino: number * FILES + file, size: 9, mtime_ns: time_ns, ctime_ns: time_ns };
    Item { path, stamp, mode: 0o644 }
}

fn folder(item: &Item) -> ItemId {
    ItemId::of_folder(WATCH, item.path.folder().as_ref())
}

fn id(item: &Item) -> ItemId {
    ItemId::of(WATCH, &item.path)
}

fn delivered(item: &Item) -> Delivered {
    let digest = Digest::new(Algorithm::Blake3, *blake3::hash(item.path.as_bytes()).as_bytes());
    Delivered { folder: folder(item), item: id(item), stamp: item.stamp.fingerprint(), digest }
}
