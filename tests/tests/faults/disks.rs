//! Faults of the destination's file system that take one of a special kind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use rustix::fs::{RenameFlags, renameat_with};
use rustix::io::Errno;
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
    ntfs(scratch, at, &["-o", "ignore_case"], "names that differ by case")
}

fn ntfs(scratch: &TempDir, at: &Path, options: &[&str], what: &str) -> Option<Mounted> {
    if !machine::is_root(what)
        || !machine::has("lowntfs-3g", "ntfs-3g", what)
        || !Path::new("/dev/fuse").exists()
    {
        return None;
    }
    let image = image(scratch, 16 * MIB);
    process::run(Command::new("mkntfs").args(["-F", "-q"]).arg(&image));
    process::run(Command::new("lowntfs-3g").args(options).arg(&image).arg(at));
    Some(Mounted::already(at))
}

fn contents(folder: &Path) -> BTreeSet<Vec<u8>> {
    let files = tree::files(folder).unwrap_or_default();
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

/// NFS and many by FUSE don't know how to rename without overwriting: what is delivered goes all the same, and what moves
/// overwrites nothing.
#[test]
fn sources_go_where_nothing_is_renamed_without_overwriting() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let disk = scratch.path().join("disk");
    fs::create_dir(&disk).expect("a new folder is writable");
    let what = "a source where nothing is renamed without overwriting";
    let Some(_ntfs) = ntfs(&scratch, &disk, &[], what) else { return };
    fs::write(disk.join("file"), "").expect("it is writable");
    let folder = File::open(&disk).expect("it is there");
    if renameat_with(&folder, "file", &folder, "other", RenameFlags::NOREPLACE) != Err(Errno::INVAL) {
        return machine::not_shown(what, "this NTFS knows how");
    }
    drop(folder);
    let [deleted, moved] = ["deleted", "moved"].map(|name| disk.join(name));
    let (mut gone, mut kept) = (Tree::new(&deleted, 1), Tree::new(&moved, 2));
    gone.small_files(20, 3);
    gone.file("sub/large.bin", 2 * MIB);
    kept.file("sub/moved", 1_000);
    let sent = disk.join("sent");
    fs::create_dir_all(sent.join("sub")).expect("it is writable");
    fs::write(sent.join("sub/moved"), "somebody else's").expect("it is writable");
    let mut agent = Agent::to(&sshd)
        .watch("deleted", &deleted, "after_delivery = 'delete'")
        .watch("moved", &moved, &format!("after_delivery = {{ move = '{}' }}", sent.display()))
        .started();
    agent.wait_until("all sources go", || tree::is_empty(&deleted) && tree::is_empty(&moved));
    assert_eq!(tree::count(&sshd.root()), 22);
    assert_eq!(fs::read(sent.join("sub/moved")).expect("it stands"), b"somebody else's");
    assert!(tree::same_bytes(&sent.join("sub/moved~1"), &sshd.root().join("sub/moved")));
}

/// To another file system, and to another mount of the same one, as the service has them: where the name is taken there,
/// another is found.
#[test]
fn what_moves_to_another_mount_takes_a_free_name() {
    if !machine::is_root("a move to another mount") {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let [disk, bound] = ["disk", "bound"].map(|name| scratch.path().join(name));
    let _disk = Mounted::tmpfs(&disk, MIB);
    fs::create_dir(&bound).expect("a new folder is writable");
    process::run(Command::new("mount").arg("--bind").arg(&bound).arg(&bound));
    let _bound = Mounted::already(&bound);
    let mut agent = Agent::to(&sshd);
    for target in [&disk, &bound] {
        let name = target.file_name().and_then(|name| name.to_str()).expect("a plain name");
        let mut source = Tree::new(scratch.path().join(format!("in-{name}")), 1);
        source.file(name, 1_000);
        fs::write(target.join(name), "somebody else's").expect("it is writable");
        let rules = format!("after_delivery = {{ move = '{}' }}", target.display());
        agent = agent.watch(name, source.root(), &rules);
    }
    agent.start();
    for target in [&disk, &bound] {
        let name = target.file_name().and_then(|name| name.to_str()).expect("a plain name");
        let moved = target.join(format!("{name}~1"));
        agent.wait_until("it is moved", || tree::same_bytes(&moved, &sshd.root().join(name)));
        assert_eq!(fs::read(target.join(name)).expect("it stands"), b"somebody else's");
        agent.wait_until("it is gone", || tree::is_empty(&scratch.path().join(format!("in-{name}"))));
        assert_eq!(tree::count(target), 2, "nothing else stays there");
    }
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
