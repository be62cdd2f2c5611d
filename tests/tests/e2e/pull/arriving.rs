//! What arrives, and how soon: the same files with their times and modes, and nothing the second time.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use skiff_tests::fault_proxy::{FaultProxy, Plan};
use skiff_tests::pull::Pull;
use skiff_tests::skiff::contents_of;
use skiff_tests::{Sshd, Tree, process, tree};

use super::{MIB, mixed, scratch};

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

skiff_tests::by_sftp_too! {
    folder_is_pulled_and_the_second_time_nothing,
    a_slash_behind_means_what_is_in_it,
    a_dry_run_says_what_it_would_fetch_and_writes_nothing,
    many_small_files_come_quickly_over_a_long_link,
    a_large_file_comes_whole,
    a_limit_holds,
}
