//! One simulated world.

use std::collections::{BTreeMap, BTreeSet};

use crate::delivery::OnConflict;
use crate::digest::{Digests, Hasher};
use crate::growth::{FileId, Ledger, Log, LogId, Loss, Note, Outcome, Sighting, Task};
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
    // The destination.
    there: BTreeMap<RelPath, Vec<u8>>,
    foreign: BTreeMap<RelPath, Vec<u8>>,
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

const KEPT: usize = 3;
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
            world.follow();
            if world.percent(6) {
                world.die();
            }
        }
        if world.copied {
            world.truncate();
        }
        world.calm = true;
        for _ in 0..40 {
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

    // The writers.

    fn write(&mut self) {
        let name = if self.percent(70) { "a" } else { "b" };
        if self.copied {
            return self.truncate();
        }
        match self.below(12) {
            0 => self.rotate(name),
            1 => self.copy(),
            2 => self.pack(name),
            3 => self.make(&path(&format!("c{}", self.clock))),
            _ => self.grow(&path(name)),
        }
    }

    fn make(&mut self, at: &RelPath) {
        self.clock += 1;
        let ino = self.free_number();
        self.streams.push(Vec::new());
        let inode = Inode { stream: self.streams.len() - 1, bytes: Vec::new(), born: self.clock };
        self.inodes.insert(ino, inode);
        self.names.insert(at.clone(), ino);
        self.tell(format!("{at} is made, file {ino}, log {}", self.streams.len() - 1));
        self.grow(at);
    }

    /// The lowest, so that they are given out again soon.
    fn free_number(&self) -> u64 {
        let taken = |ino: &u64| self.inodes.contains_key(ino) || self.held.values().any(|held| held == ino);
        (1..10_000).find(|ino| !taken(ino)).expect("there is one")
    }

    fn grow(&mut self, at: &RelPath) {
        let Some(ino) = self.names.get(at).copied() else { return self.make(at) };
        let more = 1 + self.below(9);
        let inode = self.inodes.get_mut(&ino).expect("names lead somewhere");
        for _ in 0..more {
            // All begin alike.
            let at = inode.bytes.len();
            let byte = if at < 5 {
                b"log 1"[at]
            } else {
                u8::try_from((inode.stream * 31 + at * 7 + at / 9) % 256).expect("a byte")
            };
            inode.bytes.push(byte);
            self.streams[inode.stream].push(byte);
        }
    }

    fn rotate(&mut self, name: &str) {
        self.tell(format!("{name} is rotated"));
        self.unlink(&path(&format!("{name}.{KEPT}")));
        for number in (0..KEPT).rev() {
            let from = if number == 0 { path(name) } else { path(&format!("{name}.{number}")) };
            if let Some(ino) = self.names.remove(&from) {
                self.names.insert(path(&format!("{name}.{}", number + 1)), ino);
            }
        }
        if self.percent(80) {
            self.make(&path(name));
        }
    }

    fn copy(&mut self) {
        let Some(ino) = self.names.get(&path("b")).copied() else { return };
        self.clock += 1;
        self.unlink(&path("b.copy"));
        let other = self.free_number();
        let copy = Inode { born: self.clock, ..self.inodes[&ino].clone() };
        self.inodes.insert(other, copy);
        self.names.insert(path("b.copy"), other);
        self.tell(format!("b is copied, file {other}"));
        self.copied = true;
    }

    fn truncate(&mut self) {
        self.tell("b is truncated");
        self.copied = false;
        let ino = self.names[&path("b")];
        self.streams.push(Vec::new());
        let stream = self.streams.len() - 1;
        let inode = self.inodes.get_mut(&ino).expect("names lead somewhere");
        (inode.stream, inode.bytes) = (stream, Vec::new());
        self.grow(&path("b"));
    }

    fn pack(&mut self, name: &str) {
        let number = 1 + self.below(3);
        self.unlink(&path(&format!("{name}.{number}")));
    }

    fn unlink(&mut self, at: &RelPath) {
        let Some(ino) = self.names.remove(at) else { return };
        self.tell(format!("{at} is deleted"));
        if !self.held.values().any(|held| *held == ino) {
            self.inodes.remove(&ino);
        }
    }

    // The follower.

    fn die(&mut self) {
        self.tell("it dies");
        let soon = std::mem::take(&mut self.soon);
        for (id, log) in soon {
            if self.percent(50) && self.records.contains_key(&id) {
                self.records.insert(id, log);
            }
        }
        self.held.clear();
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|ino, _| named.contains(ino));
        self.ledger = Ledger::new("us", OnConflict::KeepBoth, true, self.records.values().cloned().collect());
        // Some time passes before it is started again.
        for _ in 0..self.below(4) {
            self.write();
        }
    }

    fn id(&self, ino: u64) -> FileId {
        let tells = self.tells_birth && self.defect != Some(Defect::TrustsNumbers);
        FileId { dev: 1, ino, born_ns: if tells { self.inodes[&ino].born } else { 0 } }
    }

    fn follow(&mut self) {
        let mut seen: Vec<Sighting> = Vec::new();
        for (path, ino) in &self.names {
            let size = self.inodes[ino].bytes.len() as u64;
            seen.push(Sighting { file: self.id(*ino), path: Some(path.clone()), size, written: true });
        }
        for (file, ino) in &self.held {
            if !self.names.values().any(|named| named == ino) {
                let size = self.inodes[ino].bytes.len() as u64;
                seen.push(Sighting { file: *file, path: None, size, written: false });
            }
        }
        for ino in self.names.values() {
            self.held.insert(self.id(*ino), *ino);
        }
        self.compare_lengths();
        let notes = self.ledger.observe(&seen);
        self.note(notes);
        let followed: BTreeSet<FileId> = self.ledger.files().collect();
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.held.retain(|file, ino| followed.contains(file) || named.contains(ino));
        self.inodes.retain(|ino, _| named.contains(ino) || self.held.values().any(|held| held == ino));
        for round in 0..200 {
            self.expect(round < 190, || "it does not come to rest".to_owned());
            let Some(step) = self.ledger.next_step() else { return };
            if let Some(record) = step.record.filter(|_| self.defect != Some(Defect::RecordsLate)) {
                self.remember(record);
            }
            let fails = !self.calm && self.percent(4);
            let unheard = !self.calm && self.percent(4);
            let outcome = if fails { Outcome::Failed } else { self.work(&step.task, unheard) };
            self.tell(format!("{:?} -> {outcome:?}{}", step.task, if unheard { ", unheard" } else { "" }));
            self.judge(&step.task);
            if let Task::Create { log, .. } = &step.task
                && unheard
            {
                let file = self.ledger.log(*log).expect("it is known").file;
                self.unheard.extend(self.stream_of(file));
            }
            let outcome = if unheard { Outcome::Failed } else { outcome };
            if unheard && self.percent(50) {
                return self.die();
            }
            let notes = self.ledger.on(&step.task, &outcome);
            self.note(notes);
            if outcome == Outcome::Failed {
                return;
            }
        }
    }

    /// Notes which logs are in the ledger, and which can't be told from those that their files held before.
    fn compare_lengths(&mut self) {
        let followed: Vec<Log> =
            self.ledger.all().filter(|(log, _)| !log.ended).map(|(log, _)| log.clone()).collect();
        for log in followed {
            let (Some(stream), Some(bytes)) = (self.stream_of(log.file), self.bytes(log.file)) else {
                continue;
            };
            let shipped = usize::try_from(log.shipped).expect("it is small");
            let begins = bytes.len() >= shipped && digests(&bytes[..shipped]) == log.digests;
            let born = self.inodes[&self.held[&log.file]].born;
            // Another file is told from it by its birth.
            let before = self.held_by.get(&log.id).filter(|before| before.1 == born).map(|before| before.0);
            if bytes.len() == shipped && !begins && before.is_some() {
                self.as_long.insert(stream, before);
            } else {
                self.as_long.remove(&stream);
            }
            if begins {
                self.held_by.insert(log.id, (stream, born));
                // So few bytes had been shipped of it that what its file holds now begins with them, too.
                self.doubtful.extend(before.filter(|before| *before != stream));
            }
        }
    }

    fn note(&mut self, notes: Vec<Note>) {
        for note in notes {
            match note {
                Note::Keep(log) => {
                    self.soon.remove(&log.id);
                    self.remember(log);
                }
                Note::Soon(log) => drop(self.soon.insert(log.id, log)),
                Note::Forget(id) => {
                    self.soon.remove(&id);
                    self.records.remove(&id);
                    self.held_by.remove(&id);
                }
            }
        }
    }

    fn remember(&mut self, log: Log) {
        let ino = self.held.get(&log.file).copied();
        if let Some(inode) = ino.and_then(|ino| self.inodes.get(&ino)).filter(|_| !log.ended) {
            // A record may still be of what the file held before it was truncated.
            let (stream, born) = (inode.stream, inode.born);
            if self.held_by.entry(log.id).or_insert((stream, born)).0 == stream {
                self.recorded.insert(stream);
            }
        }
        self.records.insert(log.id, log);
    }

    fn stream_of(&self, file: FileId) -> Option<usize> {
        let ino = self.held.get(&file)?;
        self.inodes.get(ino).map(|inode| inode.stream)
    }

    fn bytes(&self, file: FileId) -> Option<&[u8]> {
        let held = self.held.get(&file).copied();
        let named = || self.names.values().copied().find(|ino| self.id(*ino) == file);
        self.inodes.get(&held.or_else(named)?).map(|inode| &inode.bytes[..])
    }

    #[expect(clippy::too_many_lines, reason = "an arm for each task, which is what the follower does")]
    fn work(&mut self, task: &Task, unheard: bool) -> Outcome {
        let log = self.ledger.log(task.log()).expect("it is known").clone();
        let shipped = usize::try_from(log.shipped).expect("it is small");
        match task {
            Task::Match { file, length, digests: theirs, .. } => {
                let length = usize::try_from(*length).expect("it is small");
                let Some(bytes) = self.bytes(*file) else { return Outcome::Refused };
                let same = bytes.len() >= length && digests(&bytes[..length]) == *theirs;
                if same && length <= ALIKE {
                    self.doubtful.extend(self.stream_of(*file));
                    self.doubtful.extend(self.held_by.get(&log.id).map(|(stream, _)| stream));
                }
                Outcome::Same(same)
            }
            Task::Twin { file, with, .. } => {
                let (Some(one), Some(other)) = (self.bytes(*file), self.bytes(*with)) else {
                    return Outcome::Refused;
                };
                let common = one.len().min(other.len());
                Outcome::Same(common > 0 && one[..common] == other[..common])
            }
            Task::Inside { file, name, .. } => {
                let (Some(bytes), Some(copy)) = (self.bytes(*file), self.there.get(name)) else {
                    return Outcome::Refused;
                };
                if copy.starts_with(bytes) {
                    Outcome::Shipped { length: bytes.len() as u64, digests: digests(bytes) }
                } else {
                    Outcome::Same(false)
                }
            }
            Task::Rename { from, to, .. } => self.rename(from, to),
            Task::Evict { name, .. } => {
                let Some(bytes) = self.there.get(name) else { return Outcome::Moved };
                let to = name.with_suffix(&format!("~{}", &digests(bytes).blake3.hex()[..12]));
                self.rename(name, &to)
            }
            Task::Measure { name, .. } => {
                let Some(bytes) = self.bytes(log.file) else { return Outcome::Refused };
                if bytes.len() < shipped || (shipped > 0 && digests(&bytes[..shipped]) != log.digests) {
                    return Outcome::Truncated;
                }
                let Some(copy) = self.there.get(name) else { return Outcome::Absent };
                if copy.len() > bytes.len() && copy.starts_with(bytes) {
                    return Outcome::Shipped { length: bytes.len() as u64, digests: digests(bytes) };
                }
                let same = bytes.starts_with(copy).then(|| digests(copy));
                let recorded_is_same = copy.len() >= shipped && digests(&copy[..shipped]) == log.digests;
                Outcome::Standing { size: copy.len() as u64, same, recorded_is_same }
            }
            Task::Create { name, .. } => {
                let Some(bytes) = self.bytes(log.file).map(<[u8]>::to_vec) else { return Outcome::Refused };
                if let Some(copy) = self.there.get(name) {
                    let known = (name.clone(), digests(copy).blake3.hex());
                    let ours = self.receipts.contains(&known);
                    // It would keep the name for good, as somebody else's does.
                    self.expect(ours || !self.begun.contains(&(name.clone(), copy.clone())), || {
                        format!("{name} counts as somebody else's, and was begun here")
                    });
                    return Outcome::Taken { ours };
                }
                let some = bytes.len().min(6);
                if self.defect != Some(Defect::ClaimsNothing) {
                    self.receipts.insert((name.clone(), digests(&bytes[..some]).blake3.hex()));
                }
                self.begun.insert((name.clone(), bytes[..some].to_vec()));
                self.there.insert(name.clone(), bytes[..some].to_vec());
                Outcome::Shipped { length: some as u64, digests: digests(&bytes[..some]) }
            }
            Task::Append(_) => {
                let Some(bytes) = self.bytes(log.file).map(<[u8]>::to_vec) else { return Outcome::Refused };
                if bytes.len() < shipped || digests(&bytes[..shipped]) != log.digests {
                    return Outcome::Truncated;
                }
                let name = log.name.clone().expect("it has a copy");
                let some = bytes.len().min(shipped + 7);
                let stops = if unheard {
                    shipped + usize::try_from(self.below((some - shipped) as u64 + 1)).expect("it is small")
                } else {
                    some
                };
                let blind = self.defect == Some(Defect::AppendsBlindly);
                let Some(copy) = self.there.get_mut(&name) else { return Outcome::Changed };
                if copy.len() != shipped && !blind {
                    return Outcome::Changed;
                }
                copy.extend(&bytes[shipped..stops]);
                Outcome::Shipped { length: some as u64, digests: digests(&bytes[..some]) }
            }
            Task::CutBack { length, .. } => {
                let name = log.name.clone().expect("it has a copy");
                let length = usize::try_from(*length).expect("it is small");
                match self.there.get_mut(&name) {
                    Some(copy)
                        if copy.len() >= length
                            && digests(&copy[..length]) == log.digests
                            && copy[length..].iter().all(|byte| *byte == 0) =>
                    {
                        copy.truncate(length);
                        Outcome::Shipped { length: length as u64, digests: log.digests }
                    }
                    _ => Outcome::Changed,
                }
            }
            Task::Verify(_) => {
                let name = log.name.clone().expect("it has a copy");
                let right = self
                    .there
                    .get(&name)
                    .is_some_and(|copy| copy.len() >= shipped && digests(&copy[..shipped]) == log.digests);
                if right {
                    self.receipts.insert((name, log.digests.blake3.hex()));
                }
                Outcome::Verified(right)
            }
            Task::Finish { loss, .. } => {
                if *loss != Loss::None {
                    let of_it =
                        |stream: &Vec<u8>| digests(&stream[..shipped.min(stream.len())]) == log.digests;
                    self.reported
                        .extend((0..self.streams.len()).filter(|stream| of_it(&self.streams[*stream])));
                }
                Outcome::Finished
            }
        }
    }

    fn rename(&mut self, from: &RelPath, to: &RelPath) -> Outcome {
        if !self.there.contains_key(from) {
            return if self.there.contains_key(to) { Outcome::Moved } else { Outcome::Absent };
        }
        if let Some(copy) = self.there.get(to)
            && self.defect != Some(Defect::RenamesOver)
        {
            let known = (to.clone(), digests(copy).blake3.hex());
            return Outcome::Taken { ours: self.receipts.contains(&known) };
        }
        let copy = self.there.remove(from).expect("it is there");
        self.there.insert(to.clone(), copy);
        Outcome::Moved
    }

    // The judge.

    #[track_caller]
    fn expect(&self, right: bool, wrong: impl Fn() -> String) {
        assert!(right, "{}, after\n{}", wrong(), self.story.join("\n"));
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.story.push(what.into());
    }

    /// At any time each copy is the beginning of a log, and foreign files are as they were.
    fn judge(&self, after: &Task) {
        for (name, copy) in &self.there {
            let right = self.foreign.get(name) == Some(copy)
                || self.streams.iter().any(|stream| stream.starts_with(copy));
            self.expect(right, || format!("{name} is no beginning after {after:?}"));
        }
        for (name, theirs) in &self.foreign {
            self.expect(self.there.get(name) == Some(theirs), || {
                format!("{name}, which is foreign, changed after {after:?}")
            });
        }
    }

    /// In the end each log is there whole and once.
    fn judge_end(&self, seed: u64) {
        for (number, stream) in self.streams.iter().enumerate() {
            let of_it: Vec<_> = self
                .there
                .iter()
                .filter(|(_, copy)| copy.len() > 5 && stream.starts_with(copy))
                .map(|(name, copy)| (name.to_string(), copy.len()))
                .collect();
            if self.reported.contains(&number) || stream.len() <= 5 {
                continue;
            }
            // What came and went before it was recorded can't be missed.
            let gone =
                !self.recorded.contains(&number) && !self.inodes.values().any(|inode| inode.stream == number);
            let whole = of_it.iter().filter(|(_, length)| *length == stream.len()).count();
            let nobody_can_tell = self.unheard.contains(&number)
                || self.doubtful.contains(&number)
                || self.as_long.iter().any(|(log, before)| *log == number || *before == Some(number));
            if nobody_can_tell || !self.tells_birth {
                continue;
            }
            self.expect(of_it.len() <= 1, || {
                format!("seed {seed}: log {number} is there more than once: {of_it:?}")
            });
            let missing =
                || format!("seed {seed}: log {number} of {} bytes is there as {of_it:?}", stream.len());
            self.expect(whole == 1 || gone, missing);
        }
    }
}
