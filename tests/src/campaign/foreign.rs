//! Somebody else who puts files under the same final names, while the agent delivers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::rig::{After, Rig};
use super::{Order, Tally};
use crate::{tree, wait};

const FILES: u64 = 24;
const LIMIT: Duration = Duration::from_secs(40);

/// Each run is one agent, whose files the other one races for names.
pub(super) fn run(order: &Order) -> Tally {
    let mut tally = Tally::default();
    for seed in order.seed..order.seed + order.count.unwrap_or(50) {
        if tally.is_enough() {
            break;
        }
        let (met, wrong) = one_race(seed);
        tally.add(met, wrong.map(|wrong| format!("seed {seed}: {wrong}")));
    }
    tally
}

fn one_race(seed: u64) -> (bool, Option<String>) {
    let mut chance = Chance::new(seed);
    let mut rig = Rig::new(After::Delete);
    let mut ours = BTreeMap::new();
    for number in 0..FILES {
        // Some large ones: those are published one by one, after a check, so that there is something to race.
        let size = if number % 3 == 0 { 66_000 } else { 1 + chance.below(4000) };
        let bytes = chance.bytes(size);
        let path = PathBuf::from(format!("name-{number:02}"));
        fs::write(rig.source.join(&path), &bytes).expect("the rig's folder is writable");
        ours.insert(path, bytes);
    }
    rig.start();
    let foreign = race(&rig, &mut chance);
    let gone = wait::came_true(LIMIT, || tree::is_empty(&rig.source));
    let ended = rig.terminate();
    let late = (!gone).then(|| format!("not all was delivered; the log ends:\n{}", rig.end_of_log()));
    (!foreign.is_empty(), judge(&rig.destination, &ours, &foreign).or(late).or(ended.err()))
}

/// Makes files under final names at random moments, where nothing stands yet.
fn race(rig: &Rig, chance: &mut Chance) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut foreign = BTreeMap::new();
    let mut left: Vec<u64> = chance.sample((0..FILES).collect(), Some(FILES / 2));
    let end = Instant::now() + LIMIT;
    wait::came_true(LIMIT, || tree::staged_bytes(&rig.destination) > 0 || tree::is_empty(&rig.source));
    while Instant::now() < end && !left.is_empty() {
        let next =
            left.swap_remove(usize::try_from(chance.below(left.len() as u64)).expect("it is below a length"));
        let path = PathBuf::from(format!("name-{next:02}"));
        let bytes = format!("somebody else's {next}").into_bytes();
        if let Ok(mut file) = File::create_new(rig.destination.join(&path)) {
            file.write_all(&bytes).expect("there is room at the destination");
            foreign.insert(path, bytes);
        }
        thread::sleep(chance.time(Duration::from_millis(12)));
    }
    foreign
}

/// Both are there: theirs under the name, ours under the name or beside it.
fn judge(
    root: &Path,
    ours: &BTreeMap<PathBuf, Vec<u8>>,
    foreign: &BTreeMap<PathBuf, Vec<u8>>,
) -> Option<String> {
    let there: Vec<PathBuf> = tree::files_if_there(root).into_keys().collect();
    let holds = |path: &Path, bytes: &[u8]| fs::read(root.join(path)).is_ok_and(|found| found == bytes);
    let taken: Vec<_> =
        foreign.iter().filter(|(path, bytes)| !holds(path, bytes)).map(|(path, _)| path).collect();
    if !taken.is_empty() {
        return Some(format!("somebody else's files were overwritten or removed: {taken:?}"));
    }
    let beside = |path: &Path, bytes: &[u8]| {
        let stem = path.to_string_lossy();
        there.iter().any(|other| other.to_string_lossy().starts_with(&*stem) && holds(other, bytes))
    };
    let lost: Vec<_> =
        ours.iter().filter(|(path, bytes)| !beside(path, bytes)).map(|(path, _)| path).collect();
    (!lost.is_empty()).then(|| format!("delivered, deleted here and nowhere there: {lost:?}"))
}
