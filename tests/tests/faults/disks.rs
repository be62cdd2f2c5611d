//! Faults of the destination's file system that take one of a special kind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{RenameFlags, renameat_with};
use rustix::io::Errno;
use skiff_tests::machine::{self, Mounted};
use skiff_tests::sshd::sftp_only;
use skiff_tests::{Agent, Between, Sshd, Toolbox, Tree, process, tree, wait};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn image(scratch: &TempDir, bytes: u64) -> PathBuf {
    let image = scratch.path().join("image");
    File::create(&image).and_then(|file| file.set_len(bytes)).expect("a sparse file needs no room");
    image
}

/// A file system at `at` for which names that differ by case are one.
fn case_blind(scratch: &TempDir, at: &Path) -> Option<Mounted> {
    ntfs(scratch, at, &["-o", "ignore_case"], "names that differ by case")
}

fn ntfs(scratch: &TempDir, at: &Path, options: &[&str], what: &str) -> Option<Mounted> {
    if !machine::is_root(what) || !machine::has("lowntfs-3g", "ntfs-3g", what) {
        return None;
    }
    if !Path::new("/dev/fuse").exists() {
        machine::not_shown(what, "there is no /dev/fuse");
        return None;
    }
    let image = image(scratch, 16 * MIB);
    process::run(Command::new("mkntfs").args(["-F", "-q"]).arg(&image));
    process::run(Command::new("lowntfs-3g").args(options).arg(&image).arg(at));
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
    let (there, here) = (sshd.root().join("sub/moved"), sent.join("sub/moved~1"));
    agent.wait_until("it is moved", || tree::same_bytes(&here, &there));
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
    let _disk = Mounted::tmpfs(&disk, "size=1m");
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

/// A folder with a quota, in the place of the destination's.
struct Quota {
    disk: PathBuf,
    _bound: Mounted,
    _disk: Mounted,
}

impl Quota {
    /// Of 2 MiB; `None` where there can be none.
    fn over(sshd: &Sshd, scratch: &TempDir) -> Option<Self> {
        let what = "a quota";
        if !machine::is_root(what) || !machine::has("btrfs", "btrfs-progs", what) {
            return None;
        }
        let disk = scratch.path().join("disk");
        fs::create_dir(&disk).expect("a new folder is writable");
        process::run(Command::new("mkfs.btrfs").arg("-q").arg(image(scratch, 128 * MIB)));
        process::run(Command::new("mount").args(["-o", "loop"]).arg(scratch.path().join("image")).arg(&disk));
        let mounted = Mounted::already(&disk);
        let folder = disk.join("quota");
        process::run(Command::new("btrfs").args(["subvolume", "create"]).arg(&folder));
        process::run(Command::new("btrfs").args(["quota", "enable"]).arg(&disk));
        process::run(Command::new("mount").arg("--bind").arg(&folder).arg(sshd.root()));
        let quota = Quota { disk, _bound: Mounted::already(&sshd.root()), _disk: mounted };
        quota.limit("2M");
        Some(quota)
    }

    fn limit(&self, size: &str) {
        // Asked of the disk, for in the folder even that has no room; its first subvolume has this number.
        process::run(Command::new("btrfs").args(["qgroup", "limit", size, "0/256"]).arg(&self.disk));
    }
}

/// A quota is told by its name, what is staged goes, and what waits arrives when there is more.
#[test]
fn fault_63_quota_is_named_and_gets_the_files_when_it_is_raised() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let Some(quota) = Quota::over(&sshd, &scratch) else { return };
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
    quota.limit("64M");
    agent.wait_until("it arrives", || tree::is_empty(source.root()));
    assert_eq!(tree::total_bytes(&sshd.root()), 6 * MIB);
}

/// By SFTP, whose server says no more than that it failed: what could not be written is not held open there, be it small or
/// large, or the server could soon open nothing any longer. All arrive when the quota is raised.
#[test]
fn fault_63_by_sftp_a_full_quota_leaves_nothing_open() {
    let (sshd, scratch) = sftp_only(|| (Sshd::start(), TempDir::new().expect("a temporary folder")));
    let Some(quota) = Quota::over(&sshd, &scratch) else { return };
    let mut source = Tree::new(scratch.path().join("in"), 3);
    // More than fits, in one batch.
    (0..400).for_each(|number| drop(source.file(format!("small/{number:03}.csv"), 8_000)));
    // Nothing is tried again by itself: a channel that fails as a whole takes along what it holds open.
    let rules = "after_delivery = 'delete'\nretry_first = '1d'\nretry_max = '1d'";
    let mut agent = Agent::to(&sshd).watch("in", source.root(), rules).started();
    agent.wait_until_logged("the reason is logged", |line| line.contains("cannot send small/"));
    agent.wait_until("nothing is held open", || sshd.open_files().is_empty());
    let said = agent.log().lines().count();
    source.file("large.bin", 6 * MIB);
    agent.wait_until_logged_after(said, "a large one fails, too", |line| line.contains("failure"));
    agent.wait_until("it keeps nothing from the others", || {
        sshd.open_files().is_empty() && tree::staged_bytes(&sshd.root()) < MIB
    });

    quota.limit("64M");

    // Again and again, for one may fail only now of what was on its way.
    let all_arrive = wait::came_true(wait::LIMIT, || {
        agent.ask(&["retry", "--all"]);
        tree::is_empty(source.root())
    });
    assert!(all_arrive, "{}", agent.log());
    assert_eq!(tree::total_bytes(&sshd.root()), 6 * MIB + 400 * 8_000);
    agent.wait_until("nothing is held open", || sshd.open_files().is_empty());
}

/// A server that copies what it can't rename, as there are: until it is done, a part stands under the new name.
const COPIES: &str = "
def instead(words):
    if words[0] not in (b'rename', b'posix-rename@openssh.com'):
        return None
    try:
        shutil.copyfile(words[1], words[2])
        os.remove(words[1])
    except OSError:
        return 4
    return 0
";

/// Another file system is mounted in the destination's folder, by SFTP: what belongs into it waits with its reason, and
/// nothing is put there that comes in parts. Others go on.
fn a_file_system_below_the_folder(sshd: &Sshd) {
    let scratch = TempDir::new().expect("a temporary folder");
    let (delete, below) = ("after_delivery = 'delete'", sshd.root().join("below"));
    let mut source = Tree::new(scratch.path().join("in"), 4);
    let ours = fs::read(source.file("below/ours.csv", 1_000)).expect("it was written");
    let by_sftp = "transport = 'sftp'";
    let mut agent = Agent::with_destination(sshd, by_sftp).watch("in", source.root(), delete).started();
    agent.wait_until("the first is delivered", || tree::is_empty(source.root()));
    let mounted = Mounted::tmpfs(&below, "size=16m");
    fs::write(below.join("ours.csv"), &ours).expect("there is room");

    source.file("below/ours.csv", 2_000);
    source.file("below/new.csv", 3_000);
    source.file("below/large.bin", 2 * MIB);
    source.file("beside.csv", 4_000);

    for what in ["replace below/ours.csv", "write below/new.csv", "write below/large.bin"] {
        let told = format!("cannot {what} at the destination: another file system is mounted");
        agent.wait_until_logged("the reason is told", |line| line.contains(&told));
    }
    agent.wait_until("others go on", || sshd.root().join("beside.csv").exists());
    let names: Vec<_> = tree::files(&below).expect("it can be read").into_keys().collect();
    assert_eq!(names, [Path::new("ours.csv")]);
    assert_eq!(fs::read(below.join("ours.csv")).expect("it is there"), ours);

    drop(mounted);

    agent.wait_until("all arrive where they can", || tree::is_empty(source.root()));
    assert_eq!(tree::count(&sshd.root()), 4);
}

#[test]
fn by_sftp_what_belongs_into_another_file_system_waits_with_its_reason() {
    if machine::is_root("a file system below the destination's folder") {
        a_file_system_below_the_folder(&Sshd::start());
    }
}

#[test]
fn by_sftp_no_server_is_made_to_copy_into_another_file_system() {
    if !machine::is_root("a file system below the destination's folder") {
        return;
    }
    let Some(between) = Between::start(COPIES) else {
        return machine::not_shown("a server that copies", "there is no python3");
    };
    a_file_system_below_the_folder(&between.sshd);
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
        let _disk = mounted.then(|| Mounted::tmpfs(&sshd.root(), "size=64m"));
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
fn disk_below(toolbox: &Toolbox) -> (Sshd, Mounted) {
    let sshd = Sshd::start_with(&toolbox.lines());
    let sub = sshd.root().join("sub");
    fs::create_dir(&sub).expect("the root is writable");
    let disk = Mounted::tmpfs(&sub, "size=64m");
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
