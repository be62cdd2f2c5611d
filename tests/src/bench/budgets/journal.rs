//! What a delivery costs the disk that holds the agent's memory, by the count of that disk itself: a file system of its own in a
//! file, whose device says how many sectors were written. So what the file system adds is in it. What the kernel says of
//! a process (`write_bytes`) is of no use: for each byte it counts the folio that holds it, which has up to 512 KiB.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::{Figure, Target, per, watched};
use crate::bench::options::Options;
use crate::bench::rig::Rig;
use crate::machine::{Mounted, is_root};
use crate::{Agent, process};

const DISK_BYTES: u64 = 512 << 20;
const SECTOR_BYTES: u64 = 512;
const LIMIT_BYTES: f64 = 1024.0;

pub(super) fn measure(options: &Options, rig: &Rig) -> Vec<Figure> {
    if !is_root("bytes that the journal writes, on a disk of its own") {
        return vec![Figure::missing("journal bytes per file: takes root")];
    }
    let (many, few) = if options.is_quick() { (200, 5) } else { (10_000, 100) };
    let together = one(rig, many, |folder| watched::fill(folder, many, 4096));
    let trickling = one(rig, few, |folder| trickle(folder, few));
    let mut figures = Vec::new();
    for (how, disk, files) in [
        (format!("{many} files at once"), together, many),
        (format!("{few} files, one each 100 ms"), trickling, few),
    ] {
        let what = format!("written to the disk of the state folder, {how}");
        figures.push(Figure::new(what, per(disk, files), Target::AtMost(LIMIT_BYTES), "bytes/file"));
    }
    figures
}

/// Bytes that the disk was given for the delivery of what `make` makes.
fn one(rig: &Rig, files: u64, make: impl FnOnce(&Path)) -> u64 {
    let source = TempDir::new().expect("there is room for a temporary folder");
    let mut agent = Agent::to(rig.sshd()).watch("journal", source.path(), "");
    let image = agent.home().join("disk");
    File::create(&image).and_then(|file| file.set_len(DISK_BYTES)).expect("a sparse file needs no room");
    process::run(
        Command::new("mkfs.ext4")
            .args(["-q", "-F"])
            .args(["-E", "lazy_itable_init=0,lazy_journal_init=0"])
            .arg(&image),
    );
    fs::create_dir_all(agent.state_dir()).expect("the agent's folder is writable");
    process::run(Command::new("mount").args(["-o", "loop,noatime"]).arg(&image).arg(agent.state_dir()));
    let mounted = Mounted::already(&agent.state_dir());
    agent.start();
    watched::wait_for_rest(&mut agent);
    let before = device_bytes(&agent.state_dir());
    make(source.path());
    while watched::receipts(&agent) < files {
        watched::wait_for_rest(&mut agent);
    }
    let bytes = device_bytes(&agent.state_dir()) - before;
    agent.terminate();
    drop(mounted);
    rig.clear_root();
    bytes
}

fn trickle(folder: &Path, files: u64) {
    for number in 0..files {
        fs::write(folder.join(format!("{number}.dat")), [b'x'; 4096]).expect("the folder is writable");
        thread::sleep(Duration::from_millis(100));
    }
}

/// What the device below a folder was given so far.
fn device_bytes(folder: &Path) -> u64 {
    rustix::fs::syncfs(File::open(folder).expect("it is mounted")).expect("the disk takes it");
    let device = process::run(Command::new("findmnt").args(["-n", "-o", "SOURCE", "-T"]).arg(folder));
    let name = device.trim_start_matches("/dev/");
    let said = fs::read_to_string(format!("/sys/block/{name}/stat")).expect("the kernel counts");
    let sectors = said.split_whitespace().nth(6).and_then(|word| word.parse::<u64>().ok());
    sectors.expect("the seventh figure is sectors written") * SECTOR_BYTES
}
