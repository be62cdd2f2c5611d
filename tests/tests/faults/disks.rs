//! Faults of the destination's file system that take one of a special kind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use skiff_tests::machine::{self, Mounted};
use skiff_tests::{Agent, Sshd, Tmpfs, Toolbox, Tree, process, tree};
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
    if !machine::is_root(what)
        || !machine::has("lowntfs-3g", "ntfs-3g", what)
        || !Path::new("/dev/fuse").exists()
    {
        return None;
    }
    let image = image(scratch, 16 * MIB);
    process::run(Command::new("mkntfs").args(["-F", "-q"]).arg(&image));
    process::run(Command::new("lowntfs-3g").args(["-o", "ignore_case"]).arg(&image).arg(at));
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

/// What stands under the folder's name by then gets the files: a disk that is mounted late, or a new folder.
#[test]
fn a_folder_that_another_one_takes_the_place_of_is_entered_anew() {
    for mounted in [true, false] {
        if mounted && !machine::is_root("a disk that is mounted late") {
            continue;
        }
        let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
        let mut source = Tree::new(scratch.path().join("in"), 5);
        let rules = "after_delivery = 'delete'\nretry_first = '100ms'\nretry_max = '200ms'";
        let mut agent = Agent::to(&sshd).watch("in", source.root(), rules).started();
        let mut deliver = |names: &[&str], bytes: u64| {
            let content: BTreeSet<_> = names
                .iter()
                .map(|name| fs::read(source.file(name, bytes)).expect("it was just written"))
                .collect();
            agent.wait_until("it is delivered", || tree::is_empty(source.root()));
            let there = contents(&sshd.root());
            assert!(content.is_subset(&there), "of {names:?} not all are there:\n{}", agent.log());
        };
        deliver(&["before"], 2 * MIB);
        let _disk = mounted.then(|| Tmpfs::over(&sshd.root(), "size=64m"));
        if !mounted {
            fs::rename(sshd.root(), scratch.path().join("away")).expect("it is ours");
            fs::create_dir(sshd.root()).expect("it is ours");
        }
        // Somebody has delivered there before.
        fs::create_dir(sshd.root().join(tree::STAGING)).expect("it is writable");
        deliver(&["large"], 2 * MIB);
        deliver(&["small-1", "small-2"], 100);
        assert_eq!(tree::count(&sshd.root()), 3, "what came before is not there");
    }
}

/// A server with a disk of its own for the folder `sub`.
fn disk_below(toolbox: &Toolbox) -> (Sshd, Tmpfs) {
    let sshd = Sshd::start_with(&toolbox.lines());
    let sub = sshd.root().join("sub");
    fs::create_dir(&sub).expect("the root is writable");
    let disk = Tmpfs::over(&sub, "size=64m");
    (sshd, disk)
}

/// Ours before they are overwritten and after, alone and in a batch; what somebody else put there stays.
#[test]
fn a_folder_that_is_another_disk_gets_whole_files() {
    if !machine::is_root("a disk below the destination's folder") {
        return;
    }
    let toolbox = Toolbox::usual();
    let (sshd, _disk) = disk_below(&toolbox);
    let scratch = TempDir::new().expect("a temporary folder");
    let mut source = Tree::new(scratch.path().join("in"), 3);
    let fill = |source: &mut Tree| {
        source.file("sub/large.bin", 3 * MIB);
        for number in 0..40 {
            source.file(format!("sub/a b/{number}"), 500 + number);
            source.file(format!("sub/{number}"), 600 + number);
            source.file(format!("{number}"), 700 + number);
        }
    };
    fs::create_dir(sshd.root().join("sub/a b")).expect("it is writable");
    fs::write(sshd.root().join("sub/a b/theirs"), "somebody else's").expect("it is writable");
    source.file("sub/a b/theirs", 100);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    for _rewritten in 0..2 {
        fill(&mut source);
        let mut wanted = contents(source.root());
        wanted.insert(b"somebody else's".to_vec());
        agent.wait_until("all stand there", || contents(&sshd.root()) == wanted);
    }
    let theirs = fs::read(sshd.root().join("sub/a b/theirs")).expect("there");
    assert_eq!((theirs, tree::count(&sshd.root())), (b"somebody else's".to_vec(), 1 + 120 + 2));
}

/// What is written to another disk when the session dies has no final name, and goes with the next one.
#[test]
fn a_death_while_a_file_goes_to_another_disk_leaves_no_part() {
    if !machine::is_root("a disk below the destination's folder") {
        return;
    }
    let half = r#"from='' to=''; for word; do from=$to; to=$word; done
case $to in ./sub/* | */sub/.skiff-*) if [ ! -e "$HOME/met" ]; then
if [ -d "$to" ]; then /bin/cp -p -- "$from" "$to"; else head -c 1000 "$from" >"$to"; fi
: >"$HOME/met"; exec sleep 60; fi ;; esac
exec "$REAL" "$@""#;
    for files in [1, 30] {
        let toolbox = Toolbox::usual().and(&["head", "sleep"]).with("cp", half).with("mv", half);
        let (sshd, _disk) = disk_below(&toolbox);
        let scratch = TempDir::new().expect("a temporary folder");
        let mut source = Tree::new(scratch.path().join("in"), 4);
        for number in 0..files {
            source.file(format!("sub/{number}"), 2 * MIB / files);
        }
        let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
        agent.wait_until("it is on its way", || toolbox.note("met").exists());
        sshd.kill_sessions();
        let names = fs::read_dir(sshd.root().join("sub")).expect("it can be read").flatten();
        let names: Vec<_> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        assert!(names.iter().all(|name| name.starts_with(".skiff-")), "{names:?} stand there");
        agent.wait_until("all arrive, and nothing else", || tree::equal(source.root(), &sshd.root()));
        let left = || fs::read_dir(sshd.root().join("sub")).expect("it can be read").count();
        agent.wait_until("nothing of it stays", || left() as u64 == files);
    }
}
