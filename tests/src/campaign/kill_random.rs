//! Deaths at random moments, one after the other, while somebody keeps adding and replacing files.

use std::time::Duration;

use super::chance::Chance;
use super::rig::{After, Rig};
use super::writer::Writer;
use super::{Order, Tally};

/// Kills of one agent, before all has to arrive and another takes its place.
const KILLS_EACH: u64 = 40;
/// A start, a login and a delivery take about half of this.
const LONGEST_LIFE: Duration = Duration::from_millis(600);
/// Between one file and the next.
const PACE: Duration = Duration::from_millis(25);
/// How long the last start may take to deliver the rest.
const LAST_LIMIT: Duration = Duration::from_secs(40);

/// Counts kills as runs.
pub(super) fn run(order: &Order) -> Tally {
    let mut tally = Tally::default();
    let kills = order.count.unwrap_or(2_000);
    let mut seed = order.seed;
    while tally.runs < kills && !tally.is_enough() {
        one_agent(seed, KILLS_EACH.min(kills - tally.runs), &mut tally);
        seed += 1;
    }
    tally
}

fn one_agent(seed: u64, kills: u64, tally: &mut Tally) {
    let mut chance = Chance::new(seed);
    let mut rig =
        Rig::new([After::Keep, After::Delete, After::Move][usize::try_from(seed % 3).expect("below 3")]);
    let mut writer = Writer::new(&rig.source);
    for kill in 1..=kills {
        rig.start();
        writer.work(&mut chance, LONGEST_LIFE, PACE);
        let under_way = !rig.is_done(&writer.expected);
        let met = rig.kill() && under_way;
        let wrong = rig.wrong(&writer.expected);
        let failed = wrong.is_some();
        tally.add(met, wrong.map(|wrong| format!("seed {seed}, {:?}, kill {kill}: {wrong}", rig.after)));
        if failed {
            return;
        }
    }
    rig.start();
    let end = rig.conclude(&writer.expected, LAST_LIMIT);
    tally.resent_bytes += rig.resent_bytes();
    tally.failures.extend(end.map(|wrong| format!("seed {seed}, {:?}, at the end: {wrong}", rig.after)));
}
