//! A death at every system call of a delivery that changes the world.

use std::time::Duration;

use super::chance::Chance;
use super::rig::{After, Rig};
use super::strace::{Point, points};
use super::writer::Writer;
use super::{Order, Tally};

/// Calls that change files or that others hear of. Between two of them a death leaves what the first one left.
const CALLS: &[&str] = &[
    "openat",
    "openat2",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "ftruncate",
    "fallocate",
    "flock",
    "sendto",
    "sendmsg",
    "shutdown",
    "close",
];
/// How long a run waits for the death, or for the end of a delivery that passed it by.
const DEATH_LIMIT: Duration = Duration::from_secs(30);
const RESTART_LIMIT: Duration = Duration::from_secs(40);

/// One run a point: half of them keep the sources, half delete them.
pub(super) fn run(order: &Order) -> Tally {
    let mut tally = Tally::default();
    for after in [After::Delete, After::Keep] {
        let share =
            order.count.map(|count| if after == After::Delete { count.div_ceil(2) } else { count / 2 });
        let mut rig = Rig::new(after);
        let mut writer = rig.fresh_delivery(order.seed);
        let all = match points(&mut rig, &writer.expected, CALLS) {
            Ok(all) => all,
            Err(why) => {
                tally.add(false, Some(format!("undisturbed, {after:?}: {why}")));
                continue;
            }
        };
        for point in Chance::new(order.seed).sample(all, share) {
            if tally.is_enough() {
                break;
            }
            writer = rig.fresh_delivery(order.seed);
            let (met, wrong) = one_death(&mut rig, &writer, &point);
            tally.add(met, wrong.map(|wrong| format!("{after:?}, {point:?}: {wrong}")));
            tally.resent_bytes += rig.resent_bytes();
        }
    }
    tally
}

fn one_death(rig: &mut Rig, writer: &Writer, point: &Point) -> (bool, Option<String>) {
    rig.start_traced(&point.inject("signal=KILL"));
    let done = rig.wait_until_done(&writer.expected, DEATH_LIMIT);
    let neither = done.err().filter(|_| rig.is_running());
    // The orderly end has its calls too.
    let ended = rig.terminate();
    let met = ended.as_ref().is_ok_and(|status| !status.success());
    let hangs = neither.map(|why| format!("it neither dies nor delivers: {why}")).or(ended.err());
    if let Some(wrong) = rig.wrong(&writer.expected).or(hangs) {
        return (met, Some(format!("after the death: {wrong}")));
    }
    rig.start();
    let end = rig.conclude(&writer.expected, RESTART_LIMIT);
    (met, end.map(|wrong| format!("after the restart: {wrong}")))
}
