//! Every file system call of the agent fails once, or from then on.

use std::time::Duration;

use rustix::process::geteuid;

use super::chance::Chance;
use super::rig::{After, Rig};
use super::strace::{Point, points};
use super::writer::Writer;
use super::{Order, Tally};

const CALLS: &[&str] = &[
    "openat",
    "openat2",
    "read",
    "pread64",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "rename",
    "renameat2",
    "unlink",
    "unlinkat",
    "link",
    "linkat",
    "statx",
    "newfstatat",
    "fstat",
    "getdents64",
    "ftruncate",
    "mkdir",
    "mkdirat",
    "fcntl",
    "flock",
    "lseek",
];
/// An agent that goes on in spite of the error gets so long; what it left then waits for a rescan or a retry.
const GO_ON_LIMIT: Duration = Duration::from_secs(3);
const RESTART_LIMIT: Duration = Duration::from_secs(40);

/// One run a point and kind of error. `--whole` is each point with both errors, once and for good.
pub(super) fn run(order: &Order) -> Tally {
    if !geteuid().is_root() {
        // And all that it fails are of paths.
        return Tally::skipped(
            "of a process that may not be dumped, only root's strace sees paths".to_owned(),
        );
    }
    let mut tally = Tally::default();
    let mut rig = Rig::new(After::Delete);
    let writer = rig.fresh_delivery(order.seed);
    let all = match points(&mut rig, &writer.expected, CALLS) {
        Ok(all) => all,
        Err(why) => {
            tally.add(false, Some(format!("undisturbed: {why}")));
            return tally;
        }
    };
    let kinds = ["error=EIO", "error=ENOSPC"];
    let ours = all.into_iter().filter(|point| is_ours(&rig, point));
    let all =
        ours.flat_map(|point| kinds.map(|kind| [(point.clone(), kind, ""), (point.clone(), kind, "+")]));
    for (point, kind, for_good) in Chance::new(order.seed).sample(all.flatten().collect(), order.count) {
        if tally.is_enough() {
            break;
        }
        let writer = rig.fresh_delivery(order.seed);
        let mut arguments = point.inject(kind);
        arguments
            .iter_mut()
            .filter(|argument| argument.starts_with("--inject"))
            .for_each(|argument| *argument += for_good);
        let (met, wrong) = one_error(&mut rig, &writer, &arguments);
        tally.add(met, wrong.map(|wrong| format!("{kind}{for_good}, {point:?}: {wrong}")));
        tally.resent_bytes += rig.resent_bytes();
    }
    tally
}

/// What the dynamic linker and the kernel's own files say is not what is tested.
fn is_ours(rig: &Rig, point: &Point) -> bool {
    point.path.as_ref().is_some_and(|path| path.starts_with(&*rig.home().to_string_lossy()))
}

fn one_error(rig: &mut Rig, writer: &Writer, arguments: &[String]) -> (bool, Option<String>) {
    let mark = rig.home().join("injected");
    let mut arguments = arguments.to_vec();
    // Into a file: that the call was met stands there.
    arguments
        .iter_mut()
        .filter(|argument| *argument == "/dev/null")
        .for_each(|argument| *argument = mark.display().to_string());
    rig.start_traced(&arguments);
    let went_on = rig.wait_until_done(&writer.expected, GO_ON_LIMIT).is_ok();
    let ended = rig.terminate();
    let met = std::fs::read_to_string(&mark).is_ok_and(|trace| trace.contains("(INJECTED)"));
    if let Some(wrong) = rig.wrong_but_journal(&writer.expected).or(ended.clone().err()) {
        return (met, Some(format!("with the error: {wrong}")));
    }
    if ended.as_ref().is_ok_and(|status| !status.success()) && rig.log().trim().is_empty() {
        return (met, Some(format!("it ended with {ended:?} and said nothing (all delivered: {went_on})")));
    }
    rig.start();
    let done = rig.wait_until_done(&writer.expected, RESTART_LIMIT);
    let ended = rig.terminate();
    let wrong = done.err().or(ended.err()).or_else(|| rig.wrong_but_journal(&writer.expected));
    (met, wrong.map(|wrong| format!("after the restart: {wrong}")))
}
