//! One simulated world: who writes, who follows, and who judges, in turns.

mod follower;
mod judge;
mod work;
mod writers;

use std::collections::{BTreeMap, BTreeSet};

use crate::delivery::OnConflict;
use crate::digest::{Digests, Hasher};
use crate::growth::{FileId, Ledger, Log, LogId};
use crate::{Algorithm, RelPath};

/// A follower with something done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    /// Bytes are put behind what is there, wherever that ends.
    AppendsBlindly,
    /// A new name is not recorded before it is taken.
    RecordsLate,
    /// Files are known by their number alone.
    TrustsNumbers,
    /// What is about to be begun is not claimed.
    ClaimsNothing,
    /// A rename overwrites what has the name.
    RenamesOver,
}

impl Defect {
    pub(super) const ALL: [Self; 5] = [
        Self::AppendsBlindly,
        Self::RecordsLate,
        Self::TrustsNumbers,
        Self::ClaimsNothing,
        Self::RenamesOver,
    ];
}

#[derive(Debug, Clone)]
struct Inode {
    stream: usize,
    bytes: Vec<u8>,
    born: i64,
}

pub(super) struct World {
    random: u64,
    defect: Option<Defect>,
    tells_birth: bool,
    /// What was written to each log, ever.
    streams: Vec<Vec<u8>>,
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<RelPath, u64>,
    clock: i64,
    /// The number of the device that holds all files.
    device: u64,
    /// A copy that is to be followed by a truncation.
    copied: bool,
    // The follower.
    ledger: Ledger,
    held: BTreeMap<FileId, u64>,
    records: BTreeMap<LogId, Log>,
    soon: BTreeMap<LogId, Log>,
    receipts: BTreeSet<(RelPath, String)>,
    /// What was begun, and under which name.
    begun: BTreeSet<(RelPath, Vec<u8>)>,
    reported: BTreeSet<usize>,
    /// Logs whose copy was begun and nobody heard: when one is truncated in that moment, what was begun stays beside it.
    unheard: BTreeSet<usize>,
    /// Logs that begin like one of which no more than that had been shipped when it was truncated or vanished, and that one:
    /// nobody can tell.
    doubtful: BTreeSet<usize>,
    /// What the logs of the ledger hold, and when the files were made that hold it.
    held_by: BTreeMap<LogId, (usize, i64)>,
    /// Logs that are just as long as what was shipped of the one that their file held before, and that one. That a log was
    /// truncated shows by its length, or when it grows; to see it otherwise all would have to be read again at each look.
    as_long: BTreeMap<usize, Option<usize>>,
    /// Logs that were recorded.
    recorded: BTreeSet<usize>,
    /// Logs whose copy somebody emptied. That is seen when they grow.
    emptied: BTreeSet<usize>,
    // The destination.
    there: BTreeMap<RelPath, Vec<u8>>,
    foreign: BTreeMap<RelPath, Vec<u8>>,
    /// Names under which nothing can be done for now.
    denies: BTreeSet<RelPath>,
    calm: bool,
    /// What happened, for whoever has to understand a failure.
    story: Vec<String>,
}

fn path(name: &str) -> RelPath {
    RelPath::parse(name.as_bytes()).expect("a path")
}

fn digests(bytes: &[u8]) -> Digests {
    let mut hasher = Hasher::for_destination(Algorithm::Sha256);
    hasher.update(bytes);
    hasher.digests()
}

/// Looks until all is at rest, what was refused again and again in the looks before included.
const CALM_LOOKS: usize = 110;

/// So many bytes are the same at the beginning of all logs.
const ALIKE: usize = 5;

impl World {
    /// Runs a seed; panics where a promise is broken.
    pub(super) fn run(seed: u64, defect: Option<Defect>) {
        let mut world = Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03,
            defect,
            tells_birth: !seed.is_multiple_of(4),
            streams: Vec::new(),
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            clock: 0,
            device: 1,
            copied: false,
            ledger: Ledger::new("us", OnConflict::KeepBoth, true, Vec::new()),
            held: BTreeMap::new(),
            records: BTreeMap::new(),
            soon: BTreeMap::new(),
            receipts: BTreeSet::new(),
            begun: BTreeSet::new(),
            reported: BTreeSet::new(),
            unheard: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            held_by: BTreeMap::new(),
            as_long: BTreeMap::new(),
            recorded: BTreeSet::new(),
            emptied: BTreeSet::new(),
            denies: BTreeSet::new(),
            there: BTreeMap::new(),
            foreign: BTreeMap::new(),
            calm: false,
            story: Vec::new(),
        };
        if seed.is_multiple_of(5) {
            let theirs = b"somebody else's".to_vec();
            world.foreign.insert(path("a"), theirs.clone());
            world.there.insert(path("a"), theirs);
        }
        for _ in 0..60 {
            for _ in 0..world.below(4) {
                world.write();
            }
            world.meddle();
            world.follow();
            if world.percent(6) {
                world.die();
            }
        }
        if world.copied {
            world.truncate();
        }
        world.be_calm();
        for _ in 0..CALM_LOOKS {
            world.follow();
        }
        world.judge_end(seed);
    }

    fn below(&mut self, bound: u64) -> u64 {
        // xorshift: as good as any for choosing.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
