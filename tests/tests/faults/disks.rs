//! Faults of the destination's file system that take one of a special kind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use skiff_tests::machine::{self, Mounted};
use skiff_tests::{Agent, Sshd, Tree, process, tree};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn image(scratch: &TempDir, bytes: u64) -> std::path::PathBuf {
    let image = scratch.path().join("image");
    File::create(&image).and_then(|file| file.set_len(bytes)).expect("a sparse file needs no room");
    image
}

/// A file system at `at` for which names that differ by case are one.
fn case_blind(scratch: &TempDir, at: &Path) -> Option<Mounted> {
    let what = "names that differ by case";
    if !machine::is_root(what) || !machine::has("lowntfs-3g", "ntfs-3g", what) {
        return None;
    }
    if !Path::new("/dev/fuse").exists() {
        machine::not_shown(what, "there is no /dev/fuse");
        return None;
    }
    let image = image(scratch, 16 * MIB);
    process::run(Command::new("mkntfs").args(["-F", "-q"]).arg(&image));
    process::run(Command::new("lowntfs-3g").args(["-o", "ignore_case"]).arg(&image).arg(at));
    Some(Mounted::already(at))
}

fn contents(folder: &Path) -> BTreeSet<Vec<u8>> {
    let files = tree::files_if_there(folder);
    files.into_keys().filter_map(|path| fs::read(folder.join(path)).ok()).collect()
}

/// Files whose names are one at the destination, small ones in one batch and large ones: none overwrites another, nor what
/// somebody else put there.
#[test]
fn fault_31_names_that_differ_by_case_are_a_conflict() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let Some(_blind) = case_blind(&scratch, &sshd.root()) else { return };
    fs::write(sshd.root().join("foreign.csv"), "somebody else's").expect("it is writable");
    assert!(sshd.root().join("FOREIGN.csv").exists(), "it is blind for case");
    let mut source = Tree::new(scratch.path().join("in"), 1);
    for (name, bytes) in [
        ("Report.csv", 1_000),
        ("REPORT.csv", 2_000),
        ("report.csv", 3_000),
        ("Foreign.csv", 4_000),
        ("Large.bin", MIB + MIB / 2),
        ("LARGE.BIN", MIB + MIB / 4),
    ] {
        source.file(name, bytes);
    }
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    let mut wanted = contents(source.root());
    wanted.insert(b"somebody else's".to_vec());
    agent.wait_until("each stands there under a name of its own", || contents(&sshd.root()) == wanted);
    assert_eq!(tree::count(&sshd.root()), wanted.len());
    assert_eq!(fs::read(sshd.root().join("foreign.csv")).expect("there"), b"somebody else's");
}

/// A quota is told by its name, what is staged goes, and what waits arrives when there is more.
#[test]
fn fault_63_quota_is_named_and_gets_the_files_when_it_is_raised() {
    let what = "a quota";
    if !machine::is_root(what) || !machine::has("btrfs", "btrfs-progs", what) {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let disk = scratch.path().join("disk");
    fs::create_dir(&disk).expect("a new folder is writable");
    process::run(Command::new("mkfs.btrfs").arg("-q").arg(image(&scratch, 128 * MIB)));
    process::run(Command::new("mount").args(["-o", "loop"]).arg(scratch.path().join("image")).arg(&disk));
    let _disk = Mounted::already(&disk);
    let quota = disk.join("quota");
    process::run(Command::new("btrfs").args(["subvolume", "create"]).arg(&quota));
    process::run(Command::new("btrfs").args(["quota", "enable"]).arg(&disk));
    let limit = |size: &str| process::run(Command::new("btrfs").args(["qgroup", "limit", size]).arg(&quota));
    limit("2M");
    process::run(Command::new("mount").arg("--bind").arg(&quota).arg(sshd.root()));
    let _bound = Mounted::already(&sshd.root());

    let mut source = Tree::new(scratch.path().join("in"), 2);
    source.file("large.bin", 6 * MIB);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "after_delivery = 'delete'").started();
    agent.wait_until_logged("the reason is logged", |line| line.contains("quota exceeded"));
    agent.wait_until("staging is removed", || tree::staged_bytes(&sshd.root()) == 0);
    assert_eq!(
        (tree::count(&sshd.root()), tree::count(source.root())),
        (0, 1),
        "nothing is published or lost"
    );
    limit("64M");
    agent.wait_until("it arrives", || tree::is_empty(source.root()));
    assert_eq!(tree::total_bytes(&sshd.root()), 6 * MIB);
}
