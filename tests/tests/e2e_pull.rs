//! `skiff pull`: what it fetches, what it leaves alone, and the exit codes that scripts rely on.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use skiff_tests::fault_proxy::{Fault, FaultProxy, Plan};
use skiff_tests::pull::{Pull, bytes};
use skiff_tests::skiff::contents_of;
use skiff_tests::{Sshd, Tmpfs, Toolbox, Tree, process, tree, wait};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const DIGESTS: &[&str] = &["b3sum", "openssl", "sha256sum", "shasum"];

fn scratch() -> TempDir {
    TempDir::new().expect("there is room for a temporary folder")
}

/// All that a usual server has, for skiff's pull.
fn tools() -> Toolbox {
    Toolbox::usual().and(&["dd", "stat"])
}

/// Small and large files, odd names, empty ones.
fn mixed(root: &Path, seed: u64) -> Tree {
    let mut source = Tree::new(root, seed);
    source.small_files(60, 5);
    for name in [
        &b"new\nline"[..],
        b"not-utf8-\xff\xfe",
        b"-leading",
        b"it's \"quoted\" \\ `id` $(id)",
        b"*",
        b" a b ",
    ] {
        source.file(bytes(name), 300);
    }
    source.file("deep/er/and/deeper/x", 10);
    source.file("empty", 0);
    source.file("large.bin", 9 * MIB + 17);
    source
}

#[test]
fn folder_is_pulled_and_the_second_time_nothing() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let source = mixed(&sshd.root().join("data"), 1);
    fs::create_dir_all(source.root().join("nothing/in/it")).expect("the server's folder is writable");
    let target = scratch.path().join("here");
    let pull = Pull::from(&sshd).with(&["--json", "-r"]);

    let ended = pull.run(source.root(), &target).expect_code(0);
    assert_eq!(ended.number("fetched_files"), tree::count(source.root()) as u64);
    tree::assert_equal(source.root(), &target.join("data"));
    assert!(target.join("data/nothing/in/it").is_dir(), "empty folders come too");
    assert!(!target.join(tree::STAGING).exists(), "nothing of ours stays");

    let before = tree::writings(&target);
    let ended = pull.run(source.root(), &target).expect_code(0);
    assert_eq!((ended.number("fetched_files"), ended.number("received_bytes")), (0, 0));
    assert!(tree::writings(&target) == before, "the second pull wrote something");
}

/// As rsync has it: a slash behind means what is in the folder. Without `-r` all the same.
#[test]
fn a_slash_behind_means_what_is_in_it() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let source = mixed(&sshd.root().join("data"), 2);

    Pull::from(&sshd).run(contents_of(source.root()), scratch.path()).expect_code(0);

    tree::assert_equal(source.root(), scratch.path());
}

/// Times to the nanosecond and modes are kept, of files and folders; setuid never is, and the umask holds.
#[test]
fn times_and_modes_are_kept() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let source = dressed(&sshd);

    Pull::from(&sshd).run(source.root(), scratch.path()).expect_code(0);

    let here = scratch.path().join("data");
    assert_dressed(&here, 123_456_789);
}

/// By SFTP a time has whole seconds.
#[test]
fn times_and_modes_are_kept_by_sftp() {
    let (sshd, scratch) = (Sshd::start_with("ForceCommand internal-sftp"), scratch());
    let _source = dressed(&sshd);

    Pull::from(&sshd).run(sshd.root().join("data"), scratch.path()).expect_code(0);

    assert_dressed(&scratch.path().join("data"), 0);
}

/// Files and a folder with modes and times of their own.
fn dressed(sshd: &Sshd) -> Tree {
    let mut source = Tree::new(sshd.root().join("data"), 3);
    let (plain, odd) = (source.file("sub/plain", 5), source.file("sub/odd", 5));
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o640)).expect("ours");
    fs::set_permissions(&odd, fs::Permissions::from_mode(0o6777)).expect("ours");
    for path in [&plain, &source.root().join("sub")] {
        process::run(Command::new("touch").args(["-d", "2001-02-03 04:05:06.123456789 UTC"]).arg(path));
    }
    source
}

fn assert_dressed(here: &Path, nanoseconds: i64) {
    let meta = |name: &str| fs::metadata(here.join(name)).expect("it is here");
    assert_eq!(meta("sub/plain").permissions().mode() & 0o7777, 0o640);
    assert_eq!(meta("sub/odd").permissions().mode() & 0o7022, 0, "no setuid, and nobody else writes");
    for name in ["sub/plain", "sub"] {
        assert_eq!((meta(name).mtime(), meta(name).mtime_nsec()), (981_173_106, nanoseconds), "{name}");
    }
}

/// Names are literal: the server's shell expands nothing and runs nothing, and a hint is given.
#[test]
fn patterns_are_not_expanded_and_names_run_nothing() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root(), 4);
    source.file("a.csv", 5);
    let odd = b"x'; touch ran; \" $(touch ran) `touch ran`\n& *";
    source.file(bytes(odd), 7);

    let pull = Pull::from(&sshd);
    pull.run(sshd.root().join("*.csv"), scratch.path())
        .expect_code(1)
        .expect_said("patterns are not expanded");
    assert_eq!(tree::count(scratch.path()), 0);
    pull.run(sshd.root().join(bytes(odd)), scratch.path()).expect_code(0);
    assert!(tree::same_bytes(&sshd.root().join(bytes(odd)), &scratch.path().join(bytes(odd))));
    let ran = [sshd.root(), sshd.root().join(".."), scratch.path().to_owned()];
    assert!(ran.iter().all(|folder| !folder.join("ran").exists()));
}

/// Exit 1: what is missing is named, what is there arrives.
#[test]
fn missing_source_fails_and_the_other_arrives() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root(), 5);
    let there = source.file("there", 100);

    let sources = [sshd.root().join("missing"), there.clone()];
    Pull::from(&sshd).run_all(&sources, scratch.path()).expect_code(1).expect_said("missing: no such file");

    assert!(tree::same_bytes(&there, &scratch.path().join("there")));
}

/// Exit 1: a file that the login may not read is named, as is a folder; the others arrive.
#[test]
fn unreadable_files_are_named_and_the_others_arrive() {
    // Root reads everything, so somebody else asks.
    let drop =
        "ForceCommand HOME=/ exec setpriv --reuid=65534 --clear-groups sh -c \"$SSH_ORIGINAL_COMMAND\"";
    let (sshd, scratch) = (Sshd::start_with(drop), scratch());
    let mut source = Tree::new(scratch.path().join("data"), 6);
    source.small_files(20, 2);
    let secret = source.file("folder-000/secret", 5);
    let large = source.file("large", 6 * MIB);
    source.file("closed/inside", 5);
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    for (path, mode) in [(&secret, 0o600), (&large, 0o600), (&source.root().join("closed"), 0o700)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    }
    let target = scratch.path().join("here");

    let ended = Pull::from(&sshd).with(&["--json"]).run(source.root(), &target).expect_code(1);

    ended.expect_said("data/folder-000/secret").expect_said("data/large").expect_said("closed");
    assert_eq!(tree::count(&target), 20, "the others arrive");
}

/// Another file that stands here is left alone unless `--replace` is given; a folder or a symlink always is.
#[test]
fn another_file_is_left_alone_unless_it_is_to_be_replaced() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 7);
    for name in ["longer", "alike", "new", "folder", "link"] {
        source.file(name, 100);
    }
    let here = scratch.path().join("data");
    let victim = scratch.path().join("victim");
    fs::create_dir_all(here.join("folder")).expect("the scratch folder is writable");
    fs::write(&victim, "somebody else's").expect("the scratch folder is writable");
    symlink(&victim, here.join("link")).expect("the scratch folder is writable");
    fs::write(here.join("longer"), [b'x'; 1000]).expect("the scratch folder is writable");
    fs::write(here.join("alike"), [b'x'; 100]).expect("the scratch folder is writable");

    let pull = Pull::from(&sshd);
    let ended = pull.run(source.root(), scratch.path()).expect_code(1);
    ended
        .expect_said("data/longer stands here")
        .expect_said("data/alike stands here")
        .expect_said("--replace");
    assert!(tree::same_bytes(&source.root().join("new"), &here.join("new")));
    assert_eq!(fs::read(here.join("alike")).expect("it is there"), [b'x'; 100]);

    let ended = pull.with(&["-q", "--replace"]).run(source.root(), scratch.path()).expect_code(1);
    ended.expect_said("a folder stands there").expect_said("a symlink stands there");
    for name in ["longer", "alike"] {
        assert!(tree::same_bytes(&source.root().join(name), &here.join(name)), "{name}");
    }
    assert_eq!(fs::read(&victim).expect("it is there"), b"somebody else's");
}

/// A symlink on the way to a final name is never written through.
#[test]
fn a_planted_symlink_is_not_followed() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 8);
    source.file("sub/inside", 100);
    source.file("sub/large", 5 * MIB);
    source.file("beside", 100);
    let outside = scratch.path().join("outside");
    fs::create_dir_all(&outside).expect("the scratch folder is writable");
    fs::create_dir_all(scratch.path().join("here/data")).expect("the scratch folder is writable");
    symlink(&outside, scratch.path().join("here/data/sub")).expect("the scratch folder is writable");

    let ended = Pull::from(&sshd).run(source.root(), &scratch.path().join("here")).expect_code(1);

    ended.expect_said("data/sub/inside: a symlink stands in the way");
    assert_eq!(tree::count(&outside), 0);
    assert!(scratch.path().join("here/data/beside").exists());
}

#[test]
fn a_dry_run_says_what_it_would_fetch_and_writes_nothing() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 9);
    source.file("new", 100);
    let old = source.file("old", 100);
    let target = scratch.path().join("here");
    let pull = Pull::from(&sshd).with(&["--dry-run"]);

    pull.run(source.root(), &target).expect_code(0).expect_said("data/new").expect_said("2 files");
    assert!(!target.exists());

    fs::create_dir_all(target.join("data")).expect("the scratch folder is writable");
    fs::copy(&old, target.join("data/old")).expect("the scratch folder is writable");
    let ended =
        pull.run(source.root(), &target).expect_code(0).expect_said("data/new").expect_said("1 file,");
    assert!(!ended.said.contains("data/old"), "{}", ended.said);
    assert_eq!(tree::count(&target), 1);
}

/// A connection that is cut in the middle is made again, and only the rest is fetched.
#[test]
fn a_cut_pull_goes_on_where_it_was() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 10);
    source.file("large.bin", 60 * MIB);
    let proxy = FaultProxy::to(sshd.port());
    proxy.next(Plan::down_at(40 * MIB, Fault::Reset));

    Pull::through(&proxy, &sshd).run(source.root(), scratch.path()).expect_code(0);

    tree::assert_equal(source.root(), &scratch.path().join("data"));
    let carried = proxy.carried_after(0);
    assert_eq!((carried.len(), carried[0].met), (2, true));
    assert!(carried[1].down < 45 * MIB, "{} bytes came again", carried[1].down);
}

/// The same when skiff itself is killed, and asked once more.
#[test]
fn a_killed_pull_goes_on_where_it_was() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 11);
    source.small_files(40, 4);
    source.file("large.bin", 60 * MIB);
    let proxy = FaultProxy::to(sshd.port());
    proxy.next(Plan::default().rate(40 * MIB));
    let pull = Pull::through(&proxy, &sshd).with(&["--json"]);
    let mut command = pull.command(&[source.root()], scratch.path());
    let mut child = command.stdout(Stdio::null()).spawn().expect("skiff starts");
    let under_way = || tree::staged_bytes(scratch.path()) > 20 * MIB;
    assert!(wait::came_true(wait::LIMIT, under_way), "it is under way");
    child.kill().expect("it runs");
    child.wait().expect("it is ours");
    for path in tree::files(&scratch.path().join("data")).unwrap_or_default().into_keys() {
        let (here, there) = (scratch.path().join("data").join(&path), source.root().join(&path));
        assert!(tree::same_bytes(&here, &there), "{} is not whole", path.display());
    }

    let ended = pull.run(source.root(), scratch.path()).expect_code(0);

    tree::assert_equal(source.root(), &scratch.path().join("data"));
    let last = proxy.last().1;
    assert!(last.down < 45 * MIB, "{} bytes came again", last.down);
    assert!(ended.number("fetched_files") >= 1);
    assert_eq!(tree::staged_bytes(scratch.path()), 0, "nothing is left behind");
}

/// What was fetched of an earlier version is not gone on with.
#[test]
fn a_part_of_an_earlier_version_is_thrown_away() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 12);
    source.file("large.bin", 30 * MIB);
    let proxy = FaultProxy::to(sshd.port());
    proxy.next(Plan::default().rate(20 * MIB));
    let pull = Pull::through(&proxy, &sshd);
    let mut child = pull.command(&[source.root()], scratch.path()).spawn().expect("skiff starts");
    assert!(wait::came_true(wait::LIMIT, || tree::staged_bytes(scratch.path()) > 5 * MIB), "it is under way");
    child.kill().expect("it runs");
    child.wait().expect("it is ours");
    source.replace("large.bin", 28 * MIB);

    pull.run(source.root(), scratch.path()).expect_code(0);

    tree::assert_equal(source.root(), &scratch.path().join("data"));
}

/// A full disk is named and not kept full; what is whole stays.
#[test]
fn a_full_disk_is_named() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 13);
    source.file("large.bin", 30 * MIB);
    let disk = Tmpfs::over(scratch.path(), "size=10m");

    Pull::from(&sshd).run(source.root(), scratch.path()).expect_code(1).expect_said("no space left");
    assert_eq!(tree::count(scratch.path()), 0);
    assert_eq!(tree::staged_bytes(scratch.path()), 0);

    disk.set("size=80m");
    Pull::from(&sshd).run(source.root(), scratch.path()).expect_code(0);
    tree::assert_equal(source.root(), &scratch.path().join("data"));
}

/// Thousands of small files cost no round trip each.
#[test]
fn many_small_files_come_quickly_over_a_long_link() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 14);
    source.small_files(5000, 50);
    let proxy = FaultProxy::to(sshd.port());
    proxy.always(Plan::default().round_trip(Duration::from_millis(100)));
    let started = Instant::now();

    Pull::through(&proxy, &sshd).run(source.root(), scratch.path()).expect_code(0);

    let took = started.elapsed();
    println!("5,000 files at 100 ms: {:.1} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(60), "a round trip for each would take 500 s; it took {took:?}");
    tree::assert_equal(source.root(), &scratch.path().join("data"));
}

#[test]
fn a_large_file_comes_whole() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 15);
    source.file("large.bin", 200 * MIB + 1);

    let ended = Pull::from(&sshd).with(&["--json"]).run(source.root(), scratch.path()).expect_code(0);

    assert_eq!(ended.number("received_bytes"), 200 * MIB + 1);
    tree::assert_equal(source.root(), &scratch.path().join("data"));
}

/// `-l` holds on average, from the first second.
#[test]
fn a_limit_holds() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 16);
    source.file("large.bin", 6 * MIB);
    source.small_files(200, 2);
    let size = 6 * MIB + 200 * 4096;
    let started = Instant::now();

    // 16 Mbit/s.
    Pull::from(&sshd).with(&["-q", "-l", "16384"]).run(source.root(), scratch.path()).expect_code(0);

    #[expect(clippy::cast_precision_loss, reason = "three digits are enough")]
    let ideal = size as f64 / (2.0 * MIB as f64);
    let took = started.elapsed().as_secs_f64();
    assert!(took > ideal * 0.9, "{took} s instead of {ideal} s");
    assert!(took < ideal * 1.6 + 2.0, "{took} s instead of {ideal} s");
}

/// A file that grows all the time is reported, and not taken half; one that rests arrives.
#[test]
fn a_file_that_changes_all_the_time_is_reported() {
    // It grows whenever it is read. With one session, the digest comes afterwards.
    let changing = "for one; do :; done\n\
                    case $one in */changing) printf x >>\"$one\" ;; esac\n\
                    \"$REAL\" \"$@\"; case $one in */changing) printf x >>\"$one\" ;; esac";
    let toolbox = tools().with("cat", changing);
    let lines = format!("MaxSessions 1\n{}", toolbox.lines());
    let (sshd, scratch) = (Sshd::start_with(&lines), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 17);
    source.file("at-rest", 100);
    source.file("changing", 100);

    let ended = Pull::from(&sshd).run(source.root(), scratch.path()).expect_code(1);

    ended.expect_said("data/changing changes at the server");
    assert!(scratch.path().join("data/at-rest").exists() && !scratch.path().join("data/changing").exists());
    assert!(!scratch.path().join(tree::STAGING).exists(), "nothing of ours stays");
}

/// Changed once between reading it and its digest: fetched again. With one session, the digest comes afterwards.
#[test]
fn a_file_that_changed_once_is_fetched_again() {
    let once = "[ -e \"$HOME/met\" ] || { : >\"$HOME/met\"; \"$REAL\" \"$@\"; echo more >>\"$2\"; exit; }\n\
                exec \"$REAL\" \"$@\"";
    let toolbox = tools().with("cat", once);
    let lines = format!("MaxSessions 1\n{}", toolbox.lines());
    let (sshd, scratch) = (Sshd::start_with(&lines), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 18);
    source.file("one", 100);

    Pull::from(&sshd).run(source.root(), scratch.path()).expect_code(0);

    assert!(toolbox.note("met").exists());
    tree::assert_equal(source.root(), &scratch.path().join("data"));
}

/// A server without this or that tool still serves: without `find -printf`, without `dd`, without any digest tool,
/// with busybox for everything, and with room for one session.
#[test]
fn poor_servers_serve() {
    let no_printf = "case \"$*\" in *-printf*) exit 1 ;; esac; exec \"$REAL\" \"$@\"";
    let boxes = [
        ("no -printf", tools().with("find", no_printf), ""),
        ("no stat", Toolbox::usual().and(&["dd"]).with("find", no_printf), ""),
        ("no dd", Toolbox::usual().and(&["stat"]), ""),
        ("no digest tool", Toolbox::without(DIGESTS).and(&["dd", "stat"]), ""),
        ("busybox", Toolbox::busybox().and_busybox(&["dd", "stat"]), ""),
        ("one session", tools(), "MaxSessions 1"),
    ];
    for (what, toolbox, more) in boxes {
        println!("{what}");
        let (sshd, scratch) = (Sshd::start_with(&format!("{more}\n{}", toolbox.lines())), scratch());
        let source = mixed(&sshd.root().join("data"), 19);
        Pull::from(&sshd).run(source.root(), scratch.path()).expect_code(0);
        tree::assert_equal(source.root(), &scratch.path().join("data"));
    }
}

/// By scp alone, as for a server without a shell: the same, read twice.
#[test]
fn by_scp_alone_the_same_arrives() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 20);
    source.small_files(300, 5);
    source.file("it's \"quoted\" \\ `id` $(id) *", 300);
    source.file("large.bin", 9 * MIB + 17);
    fs::create_dir_all(source.root().join("nothing/in/it")).expect("the server's folder is writable");
    let target = scratch.path().join("here");
    let pull = Pull::from(&sshd).with(&["-q", "-O"]);

    pull.run(source.root(), &target).expect_code(0);
    tree::assert_equal(source.root(), &target.join("data"));
    assert!(target.join("data/nothing/in/it").is_dir());
    let before = tree::writings(&target);
    pull.run(source.root(), &target).expect_code(0);
    assert!(tree::writings(&target) == before, "the second pull changed something");

    let odd = source.root().join("it's \"quoted\" \\ `id` $(id) *");
    pull.run(&odd, &scratch.path().join("one")).expect_code(0);
    assert_eq!(tree::count(&scratch.path().join("one")), 1);
    pull.run(source.root().join("*"), &scratch.path().join("star")).expect_code(1);
    pull.run(contents_of(source.root()), &scratch.path().join("contents")).expect_code(0);
    tree::assert_equal(source.root(), &scratch.path().join("contents"));
    pull.run(sshd.root().join("missing"), &target).expect_code(1).expect_said("No such file");
}

/// Exit 3 and 4, as `push` has them; and a target that is a file.
#[test]
fn what_stops_a_pull_is_told() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut pull = Pull::from(&sshd);
    pull.known_hosts = sshd.empty_known_hosts();
    pull.run("x", scratch.path()).expect_code(4).expect_said("skiff trust");
    let mut pull = Pull::from(&sshd);
    pull.key = sshd.stranger_key();
    pull.run("x", scratch.path()).expect_code(3).expect_said(sshd.user());
    let file = scratch.path().join("file");
    fs::write(&file, "x").expect("the scratch folder is writable");
    Pull::from(&sshd).run("x", &file).expect_code(1).expect_said("no folder");
}

/// By SFTP all is read twice, but for what came before the cut, which has been.
#[test]
fn a_cut_pull_by_sftp_goes_on_where_it_was() {
    let sshd = Sshd::start_with("ForceCommand internal-sftp");
    let scratch = scratch();
    let mut source = Tree::new(sshd.root().join("data"), 10);
    source.file("large.bin", 60 * MIB);
    let proxy = FaultProxy::to(sshd.port());
    proxy.next(Plan::down_at(100 * MIB, Fault::Reset));

    Pull::through(&proxy, &sshd).run(source.root(), scratch.path()).expect_code(0);

    tree::assert_equal(source.root(), &scratch.path().join("data"));
    let carried = proxy.carried_after(0);
    assert_eq!((carried.len(), carried[0].met), (2, true));
    assert!(carried[1].down < 90 * MIB, "{} bytes came again", carried[1].down);
}

skiff_tests::by_sftp_too! {
    folder_is_pulled_and_the_second_time_nothing,
    a_slash_behind_means_what_is_in_it,
    patterns_are_not_expanded_and_names_run_nothing,
    missing_source_fails_and_the_other_arrives,
    another_file_is_left_alone_unless_it_is_to_be_replaced,
    a_planted_symlink_is_not_followed,
    a_dry_run_says_what_it_would_fetch_and_writes_nothing,
    a_part_of_an_earlier_version_is_thrown_away,
    a_full_disk_is_named,
    many_small_files_come_quickly_over_a_long_link,
    a_large_file_comes_whole,
    a_limit_holds,
}
