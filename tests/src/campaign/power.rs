//! Power cuts of either side: what was not synced is gone, and nobody had the time to say so.

use std::time::Duration;

use super::chance::Chance;
use super::disk::Disk;
use super::rig::{After, Rig};
use super::writer::Writer;
use super::{Order, Tally};

/// Cuts of one disk, before all has to arrive and another takes its place.
const CUTS_EACH: u64 = 25;
const LONGEST_LIFE: Duration = Duration::from_millis(900);
const PACE: Duration = Duration::from_millis(30);
const LAST_LIMIT: Duration = Duration::from_secs(40);

/// Who loses power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// Cuts of the disk that holds the watched folder and the agent's memory.
pub(super) fn client(order: &Order) -> Tally {
    run(Side::Client, order)
}

/// Cuts of the disk that holds the destination.
pub(super) fn server(order: &Order) -> Tally {
    run(Side::Server, order)
}

/// Counts cuts as runs.
fn run(side: Side, order: &Order) -> Tally {
    let mut tally = Tally::default();
    let cuts = order.count.unwrap_or(500);
    let mut seed = order.seed;
    while tally.runs < cuts && !tally.is_enough() {
        let disk = match Disk::new() {
            Ok(disk) => disk,
            Err(why) => return Tally::skipped(why),
        };
        one_disk(side, seed, disk, CUTS_EACH.min(cuts - tally.runs), &mut tally);
        seed += 1;
    }
    tally
}

fn one_disk(side: Side, seed: u64, mut disk: Disk, cuts: u64, tally: &mut Tally) {
    let mut chance = Chance::new(seed);
    let rig = Rig::new(if seed % 4 == 3 { After::Keep } else { After::Delete });
    let mut rig = match side {
        Side::Client => rig.client_on(&disk.root()),
        Side::Server => rig.server_on(&disk.root()),
    };
    // The folders themselves are not what a cut is to take: somebody made them long ago.
    disk.sync();
    let writer = Writer::new(&rig.source);
    let mut writer = if side == Side::Client { writer.durable() } else { writer };
    for cut in 1..=cuts {
        if !rig.is_running() {
            rig.start();
        }
        writer.work(&mut chance, LONGEST_LIFE, PACE);
        let met = !rig.is_done(&writer.expected);
        match side {
            Side::Client => cut_client(&mut rig, &mut disk),
            Side::Server => cut_server(&mut rig, &mut disk),
        }
        let wrong = rig.wrong(&writer.expected);
        let failed = wrong.is_some();
        tally.add(met, wrong.map(|wrong| format!("seed {seed}, {:?}, cut {cut}: {wrong}", rig.after)));
        if failed {
            return;
        }
        if side == Side::Server {
            rig.sshd.start_again();
        }
    }
    if !rig.is_running() {
        rig.start();
    }
    let end = rig.conclude(&writer.expected, LAST_LIMIT);
    tally.resent_bytes += rig.resent_bytes();
    tally.failures.extend(end.map(|wrong| format!("seed {seed}, {:?}, at the end: {wrong}", rig.after)));
    // Before the disk, on which they work.
    drop(rig);
}

/// Frozen first: without power nobody sees an error and acts on it.
fn cut_client(rig: &mut Rig, disk: &mut Disk) {
    rig.freeze();
    disk.cut();
    rig.kill();
    disk.revive(|| ());
}

/// The agent goes on, and finds nobody for a while. The server is frozen first: after the cut the kernel takes a sync for
/// done, which without power nobody could report.
fn cut_server(rig: &mut Rig, disk: &mut Disk) {
    rig.sshd.freeze();
    disk.cut();
    rig.sshd.stop();
    disk.revive(|| ());
}
