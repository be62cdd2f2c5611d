//! A file and a folder of the watch that turn into symlinks to the outside and back, thousands of times a second.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::chance::Chance;
use super::rig::{After, Rig};
use super::writer::Writer;
use super::{Order, Tally};

/// One run: so long with flips, then a quiet end.
const FLIPPING: Duration = Duration::from_millis(2500);
const PACE: Duration = Duration::from_millis(20);
const LAST_LIMIT: Duration = Duration::from_secs(40);
/// What is outside says this, in every file.
const CANARY: &[u8] = b"this is none of skiff's business";
const NAMES: u64 = 12;

/// Counts agents as runs; met is a run in which something was delivered while it flipped.
pub(super) fn run(order: &Order) -> Tally {
    let mut tally = Tally::default();
    for seed in order.seed..order.seed + order.count.unwrap_or(100) {
        if tally.is_enough() {
            break;
        }
        let after = if seed % 2 == 0 { After::Delete } else { After::Move };
        let (met, wrong) = one_agent(seed, after);
        tally.add(met, wrong.map(|wrong| format!("seed {seed}, {after:?}: {wrong}")));
    }
    tally
}

fn one_agent(seed: u64, after: After) -> (bool, Option<String>) {
    let mut chance = Chance::new(seed);
    let mut rig = Rig::new(after);
    let outside = rig.home().join("outside");
    let before = plant(&outside);
    let mut writer = Writer::new(&rig.source);
    writer.put("folder/kept", b"so that the folder is there");
    let (folder, link) = (rig.source.join("folder"), rig.home().join("link"));
    symlink(&outside, &link).expect("the rig's folder is writable");
    rig.start();
    let stop = AtomicBool::new(false);
    let flips = AtomicU64::new(0);
    let mut met = false;
    thread::scope(|scope| {
        scope.spawn(|| flip(&folder, &link, &stop, &flips));
        let end = Instant::now() + FLIPPING;
        // A busy machine starts late.
        while Instant::now() < end || (!met && Instant::now() < end + LAST_LIMIT) {
            add(&mut writer, &rig, &folder, &link, &mut chance);
            met |= rig.destination.join("folder").exists();
            thread::sleep(PACE);
        }
        stop.store(true, Ordering::Relaxed);
    });
    // In the end the folder stands where it belongs. What was met as a symlink may have been quarantined for it, so
    // that only another version goes.
    if flips.load(Ordering::Relaxed) % 2 == 1 {
        exchange(&folder, &link);
    }
    writer.put("folder/kept", b"another version");
    for number in 0..NAMES {
        let bytes = chance.bytes(1000 + number);
        writer.put(&format!("folder/name-{number}"), &bytes);
    }
    let leaked = leaked(&rig.destination).or_else(|| leaked(&rig.sent()));
    let touched =
        (listing(&outside) != before).then(|| "something outside was changed or removed".to_owned());
    let wrong = leaked.or(touched).or_else(|| rig.wait_until_done(&writer.expected, LAST_LIMIT).err());
    let ended = rig.terminate();
    (met, wrong.or_else(|| leaked_or_wrong(&rig, &writer, &outside, &before)).or(ended.err()))
}

fn leaked_or_wrong(rig: &Rig, writer: &Writer, outside: &Path, before: &[(PathBuf, u64)]) -> Option<String> {
    let touched = (listing(outside) != before).then(|| "something outside was changed or removed".to_owned());
    leaked(&rig.destination).or(touched).or_else(|| rig.wrong(&writer.expected))
}

/// Files of the same names as inside, so that a flip at the wrong moment finds one.
fn plant(outside: &Path) -> Vec<(PathBuf, u64)> {
    fs::create_dir(outside).expect("the rig's folder is writable");
    for number in 0..NAMES {
        fs::write(outside.join(format!("name-{number}")), CANARY).expect("the rig's folder is writable");
    }
    fs::write(outside.join("kept"), CANARY).expect("the rig's folder is writable");
    listing(outside)
}

/// Into the real folder, wherever it stands at the moment: by a descriptor of it.
fn add(writer: &mut Writer, rig: &Rig, folder: &Path, link: &Path, chance: &mut Chance) {
    let name = format!("name-{}", chance.below(NAMES));
    let size_bytes = 1 + chance.below(5000);
    let bytes = chance.bytes(size_bytes);
    let beside = rig.home().join("beside");
    fs::write(&beside, &bytes).expect("the rig's folder is writable");
    loop {
        let real =
            [folder, link].into_iter().find(|path| path.symlink_metadata().is_ok_and(|found| found.is_dir()));
        let Some(real) = real else { continue };
        let Ok(handle) = rustix::fs::open(
            real,
            rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        ) else {
            continue;
        };
        rustix::fs::renameat(CWD, &beside, &handle, &name).expect("a rename on one file system works");
        return writer.expected.version(format!("folder/{name}"), &bytes);
    }
}

fn flip(folder: &Path, link: &Path, stop: &AtomicBool, flips: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        exchange(folder, link);
        // Both states have to last a little, or the agent never gets through at all.
        if flips.fetch_add(1, Ordering::Relaxed) % 64 < 60 {
            thread::yield_now();
        } else {
            thread::sleep(Duration::from_millis(3));
        }
    }
}

fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("both stand on one file system");
}

fn listing(folder: &Path) -> Vec<(PathBuf, u64)> {
    let files = crate::tree::files(folder).expect("a folder at rest can be read");
    files.into_iter().map(|(path, file)| (path, file.len())).collect()
}

fn leaked(folder: &Path) -> Option<String> {
    let files = crate::tree::files_if_there(folder);
    let leak = files.into_keys().find(|path| fs::read(folder.join(path)).is_ok_and(|bytes| bytes == CANARY));
    leak.map(|path| format!("what is outside arrived as {}", path.display()))
}
