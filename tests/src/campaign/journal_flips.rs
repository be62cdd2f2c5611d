//! Every bit of rot: each byte of a populated journal is flipped, or its file ends there. It is whole then, or it is set
//! aside and says so; never something between, and it always takes records again.
//!
//! Judged in a process of its own (`journal-judge`), since sled may die of what it reads; a death is no verdict, and
//! the start after two of them sets the journal aside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ::skiff::journal::Journal;
use tempfile::TempDir;

use super::chance::Chance;
use super::{Campaign, Order, Tally};
use crate::{shipments, skiff, tree};

/// The campaign.
pub(super) const CAMPAIGN: Campaign = Campaign {
    name: "journal-flips",
    about: "every byte of a populated journal flipped, or the file cut off there",
    run,
};

/// Enough for large chunks beside small ones.
const SHIPMENTS: u64 = 120;
/// Starts that may die before the one that answers.
const DEATHS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Flip,
    Cut,
}

/// A journal to be harmed, and where.
struct Place<'a> {
    healthy: &'a Path,
    file: &'a Path,
    byte: usize,
    harm: Harm,
}

fn run(order: &Order) -> Tally {
    let (written, opened) = (populated(), populated());
    // Opening it once more has sled write a snapshot, and rely on that.
    assert_eq!(verdict(opened.path()), Ok("kept".to_owned()), "a journal that nobody harmed");
    let healthy = [&written, &opened].map(|dir| (dir.path(), files(dir.path())));
    let places: Vec<Place> = healthy
        .iter()
        .flat_map(|(healthy, files)| files.iter().map(|(file, length)| (*healthy, file.as_path(), *length)))
        .flat_map(|(healthy, file, length)| (0..length).map(move |byte| (healthy, file, byte)))
        .flat_map(|(healthy, file, byte)| {
            [Harm::Flip, Harm::Cut].map(|harm| Place { healthy, file, byte, harm })
        })
        .collect();
    let mut tally = Tally::default();
    for place in Chance::new(order.seed).sample(places, order.count) {
        let outcome = place.harmed();
        let noticed = outcome.as_deref() == Ok("set aside");
        let failure = outcome.err().map(|why| {
            let Place { file, byte, harm, .. } = place;
            format!("{harm:?} at byte {byte} of {}: {why}", file.display())
        });
        tally.add(noticed, failure);
        if tally.is_enough() {
            break;
        }
    }
    tally
}

impl Place<'_> {
    /// The verdict on a copy with this harm.
    fn harmed(&self) -> Result<String, String> {
        let dir = TempDir::new().expect("there is room for a temporary folder");
        tree::copy(self.healthy, dir.path());
        let path = dir.path().join(self.file);
        let mut bytes = fs::read(&path).expect("what was copied can be read");
        match self.harm {
            Harm::Flip => bytes[self.byte] ^= 1 << (self.byte % 8),
            Harm::Cut => bytes.truncate(self.byte),
        }
        fs::write(&path, bytes).expect("what was copied can be written");
        verdict(dir.path())
    }
}

fn populated() -> TempDir {
    let dir = TempDir::new().expect("there is room for a temporary folder");
    let (journal, _) = Journal::open(dir.path()).expect("a new journal opens");
    for number in 0..SHIPMENTS {
        shipments::deliver(&journal, number).expect("it takes records");
    }
    journal.close_blocking().expect("it closes");
    dir
}

/// The files of the journal, and their lengths without the padding at the end.
fn files(state: &Path) -> Vec<(PathBuf, usize)> {
    let folder = fs::read_dir(state.join("journal")).expect("there is a journal");
    let names = folder.map(|file| Path::new("journal").join(file.expect("it can be listed").file_name()));
    let names = names.chain([PathBuf::from("journal.seq")]).filter(|name| state.join(name).is_file());
    let used = |name: &Path| {
        let bytes = fs::read(state.join(name)).expect("it can be read");
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    };
    names.map(|name| (name.clone(), used(&name))).collect()
}

/// What the journal is taken for, once a start has lived long enough to say.
fn verdict(state: &Path) -> Result<String, String> {
    for _ in 0..=DEATHS {
        let mut judge = Command::new(skiff::built("journal-judge"));
        let judge = judge.arg(state).arg(SHIPMENTS.to_string()).stdin(Stdio::null());
        let said = judge.output().expect("the judge can be started");
        match said.status.code() {
            Some(0) => return Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned()),
            // A panic where they unwind; without, a signal.
            None | Some(101) => {}
            Some(_) => return Err(String::from_utf8_lossy(&said.stderr).trim().to_owned()),
        }
    }
    Err(format!("{} starts in a row have died", DEATHS + 1))
}
