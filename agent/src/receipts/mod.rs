//! Receipts: one JSON line a delivered file, durable before its source goes.
//!
//! Several processes may append. Kept for people and for one question: did this source bring that digest under that name?
//!
//! That question has to be answered too where a crash or a lost answer came between a file's publishing and its receipt.
//! So what is about to be published is claimed before, in a file of its own, for a claim proves nothing.

mod earlier;
mod file;

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_common::delivery::{Placement, Receipt, Stood};
use skiff_common::digest::Digests;
use skiff_common::growth::Log;
use skiff_common::{Algorithm, Digest, RelPath, Stamp};
use skiff_config::ReceiptFiles;

use crate::clock;

pub(crate) use earlier::Earlier;
use file::{Backwards, append, append_within};

/// Losses are for people, who read no more of them than this.
const LOSSES: ReceiptFiles = ReceiptFiles { rotate_bytes: 64 << 20, keep: NonZeroUsize::MIN };
/// The version of a line.
const VERSION: u8 = 1;
/// The version of a claim: the first was a line for each name.
const CLAIMS_VERSION: u8 = 2;

/// The receipts of a state folder.
#[derive(Debug)]
pub struct Receipts {
    path: PathBuf,
    claims: PathBuf,
    files: ReceiptFiles,
}

impl Receipts {
    /// Opens or makes `path`, readable by its owner alone.
    pub fn open(path: &Path, files: ReceiptFiles) -> io::Result<Self> {
        file::make(path)?;
        Ok(Self { path: path.to_owned(), claims: path.with_file_name("claims.jsonl"), files })
    }

    /// Claims the names that these are about to get; durable when this returns. Blocks.
    pub fn claim(&self, watch: &str, destination: &str, placements: &[Placement]) -> io::Result<()> {
        append_within(&self.claims, self.files, &claim_line(watch, destination, placements))
    }

    /// Appends one line for each receipt; they are durable when this returns. Blocks.
    pub fn append(&self, watch: &str, destination: &str, receipts: &[Receipt]) -> io::Result<()> {
        let time = clock::written(Timestamp::now());
        let lines = receipts.iter().map(|receipt| line(receipt, watch, destination, &time));
        append(&self.path, self.files, lines)
    }

    /// What was delivered lately, the oldest first: the receipts as they were written. Blocks.
    pub fn recent(&self, most: usize) -> io::Result<Vec<Value>> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut recent = latest(folder, most, |_| true)?;
        recent.reverse();
        Ok(recent)
    }

    /// Claims the name that the copy of a log is about to get; durable when this returns. Blocks.
    pub(crate) fn claim_grown(
        &self,
        watch: &str,
        destination: &str,
        name: &RelPath,
        digests: &Digests,
    ) -> io::Result<()> {
        let line = json!({
            "v": VERSION,
            "watch": watch,
            "name": name.to_string(),
            "digest": digests.blake3.to_string(),
            "theirs": digests.sha256.unwrap_or(digests.blake3).to_string(),
            "destination": destination,
        });
        append_within(&self.claims, self.files, &line)
    }

    /// Appends the receipt of a log; it is durable when this returns. Blocks.
    pub(crate) fn append_grown(&self, grown: &Grown<'_>) -> io::Result<()> {
        append(&self.path, self.files, std::iter::once(grown_line(grown)))
    }

    /// To be asked what these names had before.
    pub(crate) fn earlier(
        &self,
        destination: &str,
        watch: &str,
        names: impl Iterator<Item = RelPath>,
    ) -> Earlier {
        let names = names.map(|name| name.to_string());
        Earlier::new([self.path.clone(), self.claims.clone()], destination, watch, names)
    }

    /// Whether a version of this source with this digest was delivered under `name`, or was about to be. Blocks.
    pub fn delivered_before(
        &self,
        destination: &str,
        watch: &str,
        name: &RelPath,
        digest: &Digest,
    ) -> io::Result<bool> {
        self.earlier(destination, watch, std::iter::once(name.clone())).had(name, digest)
    }
}

/// A log whose whole copy was verified.
pub(crate) struct Grown<'a> {
    /// Its watch.
    pub(crate) watch: &'a str,
    /// Where its copy is.
    pub(crate) destination: &'a str,
    /// The log.
    pub(crate) log: &'a Log,
    /// What its copy is called.
    pub(crate) name: &'a RelPath,
}

/// A file that is about to be deleted undelivered.
pub struct Loss<'a> {
    /// Its watch.
    pub watch: &'a str,
    /// Where it stands in the watched folder.
    pub path: &'a RelPath,
    /// What it looks like.
    pub stamp: &'a Stamp,
}

/// Writes a loss down in the file `losses`; durable when this returns. Blocks.
pub fn lose(losses: &Path, loss: &Loss<'_>) -> io::Result<()> {
    append(losses, LOSSES, std::iter::once(loss_line(loss, "deleted_undelivered")))
}

/// Writes down how a log ended whose end may be missing at the destination; durable when this returns. Blocks.
pub(crate) fn ended(losses: &Path, loss: &Loss<'_>, what: &str) -> io::Result<()> {
    append(losses, LOSSES, std::iter::once(loss_line(loss, what)))
}

/// What was written down before didn't come to pass: the file is still there. Blocks.
pub fn kept(losses: &Path, loss: &Loss<'_>) -> io::Result<()> {
    append(losses, LOSSES, std::iter::once(loss_line(loss, "kept_after_all")))
}

fn loss_line(Loss { watch, path, stamp }: &Loss<'_>, what: &str) -> Value {
    let modified = Timestamp::from_nanosecond(stamp.mtime_ns.into()).unwrap_or(Timestamp::UNIX_EPOCH);
    json!({
        "v": VERSION,
        "time": clock::written(Timestamp::now()),
        "what": what,
        "watch": watch,
        "path": path.to_string(),
        "size": stamp.size,
        "modified": clock::written(modified),
    })
}

/// One line for all of a shipment, since each byte of it is written for nothing but a crash: name, our BLAKE3, and what the
/// destination computed if that is another digest.
fn claim_line(watch: &str, destination: &str, placements: &[Placement]) -> Value {
    let claim = |Placement { item, digests, theirs }: &Placement| {
        let (name, ours) = (item.path.to_string(), digests.blake3.hex());
        if *theirs == digests.blake3 { json!([name, ours]) } else { json!([name, ours, theirs.to_string()]) }
    };
    let names: Vec<Value> = placements.iter().map(claim).collect();
    json!({ "v": CLAIMS_VERSION, "watch": watch, "destination": destination, "names": names })
}

/// The receipts as they are written, for others than the file.
pub fn lines(watch: &str, destination: &str, receipts: &[Receipt]) -> Vec<u8> {
    let time = clock::written(Timestamp::now());
    let lines = receipts.iter().map(|receipt| line(receipt, watch, destination, &time).to_string() + "\n");
    lines.collect::<String>().into_bytes()
}

/// What stood at the destination by this receipt, if its name can be said again: odd bytes are shown escaped.
pub(crate) fn stood(receipt: &Value) -> Option<Stood> {
    let (name, digest) = (receipt["name"].as_str()?, receipt["digest"].as_str()?);
    let digest = Digest::from_hex(Algorithm::Blake3, digest.strip_prefix("blake3:")?.as_bytes())?;
    let name = Some(name).filter(|name| !name.contains('\\'))?;
    Some(Stood { size: receipt["size"].as_u64()?, digest, name: RelPath::parse(name.as_bytes()).ok()? })
}

/// The latest receipts for which `wanted` holds, the latest first. Blocks.
pub fn latest(state_dir: &Path, most: usize, wanted: impl Fn(&Value) -> bool) -> io::Result<Vec<Value>> {
    let mut found = Vec::new();
    each(state_dir, |receipt| {
        if wanted(&receipt) {
            found.push(receipt);
        }
        found.len() < most
    })?;
    Ok(found)
}

/// Shows each receipt, the latest first, until `more` is false. Blocks.
pub fn each(state_dir: &Path, mut more: impl FnMut(Value) -> bool) -> io::Result<()> {
    for file in file::all(&state_dir.join("receipts.jsonl"))? {
        let mut lines = Backwards::new(file)?;
        while let Some(line) = lines.line()? {
            // A torn line is no receipt.
            if !serde_json::from_slice(&line).map_or(true, &mut more) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn line(receipt: &Receipt, watch: &str, destination: &str, time: &str) -> Value {
    let item = receipt.item();
    json!({
        "v": VERSION,
        "time": time,
        "watch": watch,
        "path": item.path.to_string(),
        "name": receipt.name().to_string(),
        "size": item.stamp.size,
        "digest": receipt.digests().blake3.to_string(),
        "theirs": receipt.theirs().to_string(),
        "destination": destination,
        "shipment": receipt.shipment().as_str(),
        "sent": receipt.sent(),
    })
}

fn grown_line(Grown { watch, destination, log, name }: &Grown<'_>) -> Value {
    json!({
        "v": VERSION,
        "time": clock::written(Timestamp::now()),
        "watch": watch,
        "path": log.path.to_string(),
        "name": name.to_string(),
        "size": log.shipped,
        "digest": log.digests.blake3.to_string(),
        "theirs": log.digests.sha256.unwrap_or(log.digests.blake3).to_string(),
        "destination": destination,
        "shipment": "",
        "sent": true,
        "grown": true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documented::assert_documented;
    use skiff_common::delivery::{Command, Delivery, Event, Placed, Staged};
    use skiff_common::growth::{FileId, LogId};
    use skiff_common::{Item, Shipment, ShipmentKind, Stamp};

    /// A receipt as deliveries make them: through the machine.
    fn receipt(item: Item, digests: Digests) -> Receipt {
        let path = item.path.clone();
        let shipment = Shipment::new("w", "d", ShipmentKind::Single, vec![item]);
        let (mut delivery, _) = Delivery::plan(shipment, false);
        delivery.on(Event::Staged(vec![Staged::Landed { digests, theirs: digests.blake3 }]));
        match delivery.on(Event::Published(vec![Placed::At(path)])).command {
            Some(Command::Finish(mut receipts)) => receipts.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_key_is_documented() {
        let path = RelPath::parse(b"a").expect("a path");
        let stamp = Stamp { dev: 1, ino: 1, size: 1, mtime_ns: 0, ctime_ns: 0 };
        let digests = Digests { blake3: Digest::new(Algorithm::Blake3, [7; 32]), sha256: None };
        let receipt = receipt(Item { path: path.clone(), stamp, mode: 0o644 }, digests);
        let mut of_file = line(&receipt, "w", "d", "");
        assert!(of_file.get("grown").is_none());
        of_file["grown"] = true.into();
        assert_documented("receipts.jsonl", &of_file);

        let file = FileId { dev: 1, ino: 1, born_ns: 0 };
        let log = Log {
            id: LogId::of(file, 0),
            file,
            round: 0,
            path: path.clone(),
            name: Some(path.clone()),
            moving: None,
            shipped: 1,
            digests,
            verified: 1,
            renamed: false,
            unproven: false,
            ended: false,
        };
        let grown = Grown { watch: "w", destination: "d", log: &log, name: &path };
        assert_documented("receipts.jsonl", &grown_line(&grown));

        let loss = Loss { watch: "w", path: &path, stamp: &stamp };
        assert_documented("losses.jsonl", &loss_line(&loss, "truncated"));
    }

    /// Of the first version there was a line for each name.
    #[test]
    fn claims_of_version_1_stay_readable() {
        let folder = tempfile::tempdir().expect("a folder");
        let receipts =
            Receipts::open(&folder.path().join("receipts.jsonl"), ReceiptFiles::default()).expect("made");
        let digest = Digest::new(Algorithm::Sha256, [7; 32]);
        let line = format!(
            r#"{{"destination":"d","digest":"blake3:{}","name":"a","theirs":"{digest}","v":1,"watch":"w"}}"#,
            "08".repeat(32)
        );
        std::fs::write(folder.path().join("claims.jsonl"), line + "\n").expect("written");
        let name = RelPath::parse(b"a").expect("a path");
        assert!(receipts.delivered_before("d", "w", &name, &digest).expect("read"));
    }

    #[test]
    fn what_was_claimed_counts_as_ours_and_is_no_receipt() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("receipts.jsonl");
        let receipts = Receipts::open(&path, ReceiptFiles::default()).expect("made");
        let name = RelPath::parse(b"a").expect("a path");
        let theirs = Digest::new(Algorithm::Blake3, [7; 32]);
        let before = || receipts.delivered_before("d", "w", &name, &theirs).expect("read");
        assert!(!before());
        let stamp = Stamp { dev: 1, ino: 1, size: 1, mtime_ns: 0, ctime_ns: 0 };
        let item = |path: &RelPath| Item { path: path.clone(), stamp, mode: 0o644 };
        let other = RelPath::parse(b"b").expect("a path");
        let (blake3, sha256) =
            (Digest::new(Algorithm::Blake3, [8; 32]), Digest::new(Algorithm::Sha256, [9; 32]));
        let placements = [
            Placement {
                item: item(&other),
                digests: Digests { blake3, sha256: Some(sha256) },
                theirs: sha256,
            },
            Placement { item: item(&name), digests: Digests { blake3: theirs, sha256: None }, theirs },
        ];
        receipts.claim("w", "d", &placements).expect("written");
        assert!(before());
        let has = |watch, name, digest| receipts.delivered_before("d", watch, name, digest).expect("read");
        assert!(has("w", &other, &blake3) && has("w", &other, &sha256));
        assert!(!has("w", &other, &theirs) && !has("w", &name, &blake3) && !has("v", &name, &theirs));
        assert_eq!(std::fs::read(&path).expect("there"), b"");
    }
}
