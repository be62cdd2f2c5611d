//! Writes into a journal until it is killed: `journal-writer STATE_DIR ACKNOWLEDGED`. First it sees whether all that was
//! acknowledged is there. Says each number that is acknowledged, on a line.

use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use skiff::journal::{Journal, Trust};
use skiff_common::delivery::record::{Delivered, Record};
use skiff_common::{Algorithm, Digest, Item, ItemId, RelPath, Shipment, ShipmentKind, Stamp};

const WATCH: &str = "in";
/// Files of one shipment.
const FILES: u64 = 5;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [state, acknowledged] = words.as_slice() else { return ExitCode::from(2) };
    let acknowledged = acknowledged.parse().expect("a number");
    match look(Path::new(state), acknowledged) {
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
        Ok(journal) => {
            say(acknowledged);
            write(&journal, acknowledged);
            ExitCode::SUCCESS
        }
    }
}

fn say(acknowledged: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{acknowledged}").and_then(|()| out.flush()).expect("somebody listens");
}

/// Opens the journal, and sees whether all that it acknowledged is in it.
fn look(state: &Path, acknowledged: u64) -> Result<Journal, String> {
    let (journal, opening) = Journal::open(state).map_err(|error| error.to_string())?;
    if matches!(opening.trust, Trust::Rebuilt { .. }) || (opening.trust == Trust::Fresh && acknowledged > 0) {
        return Err(format!("with {acknowledged} shipments acknowledged: {:?}", opening.trust));
    }
    for number in 0..acknowledged {
        let shipment = shipment(number);
        let folder = folder(&shipment.items[0]);
        let known = journal.delivered_in(folder).map_err(|error| error.to_string())?;
        let missing = shipment.items.iter().find(|item| !known.has(id(item), item.stamp.fingerprint()));
        if let Some(item) = missing {
            return Err(format!("{} of {acknowledged} acknowledged shipments is lost", item.path));
        }
    }
    Ok(journal)
}

/// Records shipments until the disk is gone, and says how many were acknowledged.
fn write(journal: &Journal, acknowledged: u64) {
    for number in acknowledged.. {
        let shipment = shipment(number);
        let delivered = shipment.items.iter().map(delivered).collect();
        let finished = Record::Finished { shipment: shipment.id.clone(), delivered };
        let planned = journal.record_blocking(vec![Record::Planned(shipment)]);
        if planned.and_then(|()| journal.record_blocking(vec![finished])).is_err() {
            return;
        }
        say(number + 1);
    }
}

fn shipment(number: u64) -> Shipment {
    let files: Range<u64> = 0..FILES;
    let items = files.map(|file| item(number, file)).collect();
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
