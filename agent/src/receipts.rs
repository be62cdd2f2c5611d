//! Receipts: one JSON line a delivered file, durable before its source goes.
//!
//! Several processes may append. Kept for people and for one question: did this source bring that digest under that name?

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use skiff_common::delivery::Receipt;
use skiff_common::{Digest, RelPath};

/// A file of receipts is set aside at this size; three are kept.
const ROTATE_BYTES: u64 = 64 << 20;
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
        if receipts.is_empty() {
            return Ok(());
        }
        let time = humantime::format_rfc3339_millis(now()).to_string();
        let mut lines = Vec::new();
        for receipt in receipts {
            serde_json::to_writer(&mut lines, &line(receipt, watch, destination, &time))?;
            lines.push(b'\n');
        }
        let mut file = self.file()?;
        flock(&file, FlockOperation::LockExclusive)?;
        if file.metadata()?.len() > ROTATE_BYTES {
            self.rotate()?;
            file = self.file()?;
        }
        if self.ends_torn()? {
            lines.insert(0, b'\n');
        }
        file.write_all(&lines)?;
        file.sync_data()
    }

    /// Whether a version of this source with this digest was delivered under `name`. Reads all receipts. Blocks.
    pub fn delivered_before(
        &self,
        destination: &str,
        watch: &str,
        name: &RelPath,
        digest: &Digest,
    ) -> io::Result<bool> {
        let (name, digest) = (name.to_string(), digest.to_string());
        for path in [self.path.clone(), self.aside(1), self.aside(2)] {
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
        File::options().append(true).create(true).mode(0o600).open(&self.path)
    }

    fn ends_torn(&self) -> io::Result<bool> {
        use std::os::unix::fs::FileExt as _;
        let file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1)?;
        }
        Ok(last != [b'\n'])
    }

    fn rotate(&self) -> io::Result<()> {
        match fs::rename(self.aside(1), self.aside(2)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(&self.path, self.aside(1))
    }

    fn aside(&self, number: u8) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

/// A clock that was never set may stand before 1970, which has no form of its own.
fn now() -> SystemTime {
    SystemTime::now().max(SystemTime::UNIX_EPOCH)
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
