//! Power cuts of the disk that holds the journal, while it takes records: what it has acknowledged is there afterwards.
//!
//! The journal itself, in a process of its own (`journal-writer`), without an agent, whose other memories would hide what
//! it lost.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::chance::Chance;
use super::disk::Disk;
use super::{Campaign, Order, Tally};
use crate::skiff;

/// The campaign.
pub(super) const CAMPAIGN: Campaign = Campaign {
    name: "power-journal",
    about: "power cuts of the disk with the journal while it takes records (root)",
    run,
};

const CUTS_EACH: u64 = 25;
const LONGEST_LIFE: Duration = Duration::from_millis(250);

/// Counts cuts as runs.
fn run(order: &Order) -> Tally {
    let mut tally = Tally::default();
    let cuts = order.count.unwrap_or(500);
    let mut seed = order.seed;
    while tally.runs < cuts && !tally.is_enough() {
        match Disk::new() {
            Ok(disk) => one_disk(seed, disk, CUTS_EACH.min(cuts - tally.runs), &mut tally),
            Err(why) => return Tally::skipped(why),
        }
        seed += 1;
    }
    tally
}

fn one_disk(seed: u64, mut disk: Disk, cuts: u64, tally: &mut Tally) {
    let mut chance = Chance::new(seed);
    let mut acknowledged = 0;
    for cut in 1..=cuts {
        let before = acknowledged;
        let outcome = one_life(&mut disk, acknowledged, chance.time(LONGEST_LIFE));
        acknowledged = *outcome.as_ref().unwrap_or(&before);
        let failed = outcome.is_err();
        tally.add(acknowledged > before, outcome.err().map(|why| format!("seed {seed}, cut {cut}: {why}")));
        if failed {
            return;
        }
    }
}

/// Has the writer check what was acknowledged and go on, for so long, and cuts the power. How many are acknowledged then.
fn one_life(disk: &mut Disk, acknowledged: u64, life: Duration) -> Result<u64, String> {
    let mut writer = writer(&disk.root().join("state"), acknowledged);
    let mut said = BufReader::new(writer.stdout.take().expect("it was piped")).lines();
    if said.next().is_none() {
        let output = writer.wait_with_output().expect("a child can be waited for");
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("of {acknowledged} acknowledged: {why}"));
    }
    let last = thread::spawn(move || said.map_while(Result::ok).last());
    thread::sleep(life);
    disk.cut();
    let _gone = writer.kill();
    writer.wait().expect("a child can be waited for");
    let last = last.join().expect("the reader ends with the writer");
    disk.revive(|| {});
    Ok(last.and_then(|number| number.parse().ok()).unwrap_or(acknowledged))
}

fn writer(state: &Path, acknowledged: u64) -> std::process::Child {
    let mut command = Command::new(skiff::built("journal-writer"));
    command.arg(state).arg(acknowledged.to_string());
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the writer can be started")
}
