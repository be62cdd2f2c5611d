//! Receipts: one JSON line a delivered file, durable before its source goes.
//!
//! Several processes may append. Kept for people and for one question: did this source bring that digest under that name?
//! A crash between publishing and the receipt would leave it open, so beside the receipts stands what was about to be
//! published, durable before it is.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use skiff_common::delivery::{Placement, Receipt};
use skiff_common::{Digest, RelPath};

/// A file of receipts is set aside at this size; three are kept.
const ROTATE_BYTES: u64 = 64 << 20;
/// The same of what was about to be published: nobody reads it but after a crash, about the last minutes.
const ROTATE_INTENTS_BYTES: u64 = 8 << 20;
const INTENTS: &str = "publishing.jsonl";
/// The version of a line.
const VERSION: u8 = 1;

/// The receipts of a state folder.
#[derive(Debug)]
pub struct Receipts {
    path: PathBuf,
}

impl Receipts {
    /// Opens or makes `path`, readable by its owner alone.
    pub fn open(path: &Path) -> io::Result<Self> {
        let receipts = Self { path: path.to_owned() };
        receipts.file().map(|_| receipts)
    }

    /// Appends one line for each receipt; they are durable when this returns. Blocks.
    pub fn append(&self, watch: &str, destination: &str, receipts: &[Receipt]) -> io::Result<()> {
        let time = humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string();
        let lines = receipts.iter().map(|receipt| line(receipt, watch, destination, &time));
        append(&self.path, ROTATE_BYTES, lines)
    }

    /// Appends one line for each file that is about to be published; durable when this returns. Blocks.
    pub fn announce(&self, watch: &str, destination: &str, placements: &[Placement]) -> io::Result<()> {
        let lines = placements.iter().map(|placement| intent(placement, watch, destination));
        append(&self.intents(), ROTATE_INTENTS_BYTES, lines)
    }

    /// Whether a version of this source with this digest was delivered under `name`, or was about to be when something
    /// stopped us. Reads all receipts. Blocks.
    pub fn delivered_before(
        &self,
        destination: &str,
        watch: &str,
        name: &RelPath,
        digest: &Digest,
    ) -> io::Result<bool> {
        let (name, digest) = (name.to_string(), digest.to_string());
        let (receipts, intents) = (&self.path, &self.intents());
        for path in
            [receipts, intents].into_iter().flat_map(|path| [path.clone(), aside(path, 1), aside(path, 2)])
        {
            let file = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            for line in BufReader::new(file).split(b'\n') {
                // A torn line proves nothing.
                let Ok(receipt) = serde_json::from_slice::<Value>(&line?) else { continue };
                let is = |key: &str, value: &str| receipt[key] == value;
                let same = is("destination", destination) && is("watch", watch) && is("name", &name);
                if same && (is("digest", &digest) || is("theirs", &digest)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn file(&self) -> io::Result<File> {
        file(&self.path)
    }

    fn intents(&self) -> PathBuf {
        self.path.with_file_name(INTENTS)
    }
}

fn append(path: &Path, rotate_bytes: u64, values: impl Iterator<Item = Value>) -> io::Result<()> {
    let mut lines = Vec::new();
    for value in values {
        serde_json::to_writer(&mut lines, &value)?;
        lines.push(b'\n');
    }
    if lines.is_empty() {
        return Ok(());
    }
    let mut open = file(path)?;
    flock(&open, FlockOperation::LockExclusive)?;
    if open.metadata()?.len() > rotate_bytes {
        rotate(path)?;
        open = file(path)?;
    }
    if ends_torn(path)? {
        lines.insert(0, b'\n');
    }
    open.write_all(&lines)?;
    open.sync_data()
}

fn file(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o600).open(path)
}

fn ends_torn(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::FileExt as _;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last != [b'\n'])
}

fn rotate(path: &Path) -> io::Result<()> {
    match fs::rename(aside(path, 1), aside(path, 2)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(path, aside(path, 1))
}

fn aside(path: &Path, number: u8) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{number}"));
    name.into()
}

fn intent(placement: &Placement, watch: &str, destination: &str) -> Value {
    json!({
        "v": VERSION,
        "watch": watch,
        "name": placement.item.path.to_string(),
        "digest": placement.digests.blake3.to_string(),
        "theirs": placement.theirs.to_string(),
        "destination": destination,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_common::digest::Digests;
    use skiff_common::{Algorithm, Item, Stamp};

    #[test]
    fn what_was_about_to_be_published_is_ours() {
        let folder = tempfile::tempdir().expect("a folder");
        let receipts = Receipts::open(&folder.path().join("receipts.jsonl")).expect("it opens");
        let path = RelPath::parse(b"a").expect("a path");
        let stamp = Stamp { dev: 1, ino: 1, size: 1, mtime_ns: 0, ctime_ns: 0 };
        let digest = |byte| Digest::new(Algorithm::Blake3, [byte; 32]);
        let placement = Placement {
            item: Item { path: path.clone(), stamp, mode: 0o644 },
            digests: Digests { blake3: digest(1), sha256: None },
            theirs: digest(1),
        };
        let ours = |watch: &str, byte| {
            receipts.delivered_before("d", watch, &path, &digest(byte)).expect("it can be read")
        };

        assert!(!ours("w", 1));
        receipts.announce("w", "d", &[placement]).expect("written");

        assert!(ours("w", 1), "published and killed before the receipt");
        assert!(!ours("w", 2) && !ours("other", 1), "somebody else's");
        assert!(fs::read(folder.path().join("receipts.jsonl")).is_ok_and(|text| text.is_empty()), "no proof");
    }
}
