//! A pull that was cut short goes on where it was; what can't be gone on with is thrown away.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};
use skiff_tests::fault_proxy::{Fault, FaultProxy, Plan};
use skiff_tests::machine::{self, Mounted};
use skiff_tests::pull::Pull;
use skiff_tests::{Sshd, Tree, tree, wait};

use super::{MIB, scratch};

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
    for path in tree::files_if_there(&scratch.path().join("data")).into_keys() {
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

/// A part has the mode of its final name a moment before it gets that; a pull that dies in it leaves one that may not even be
/// its owner's to write.
#[test]
fn a_pull_that_was_killed_before_a_name_was_given_is_gone_on_with() {
    // Root as any user: modes hold for it.
    let without_override = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"].map(OsString::from);
    if !machine::is_root("a file that its owner may not write to") {
        return;
    }
    for mode in [0o444, 0o200, 0o000] {
        let (sshd, scratch) = (Sshd::start(), scratch());
        let mut source = Tree::new(sshd.root().join("data"), 14);
        let file = source.file("closed", MIB);
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("ours");
        let killed = machine::inject("renameat2:signal=KILL", None);
        let killed = Pull::from(&sshd).under(without_override.iter().cloned().chain(killed));
        let ended = killed.run(source.root(), scratch.path());
        assert_eq!(ended.code, None, "{}", ended.said);
        let parts = fs::read_dir(scratch.path().join(".skiff")).expect("it is there");
        let modes =
            parts.map(|part| part.and_then(|part| part.metadata()).expect("ours").permissions().mode());
        assert_eq!(modes.map(|mode| mode & 0o777).collect::<Vec<_>>(), [mode], "it is dressed");

        // strace may have ended before it.
        let part = fs::read_dir(scratch.path().join(".skiff")).expect("it is there").next().expect("one");
        let part = File::open(part.expect("it can be read").path()).expect("root opens it");
        let is_free = || flock(&part, FlockOperation::NonBlockingLockExclusive).is_ok();
        assert!(wait::came_true(wait::LIMIT, is_free), "the killed one has it");
        drop(part);

        Pull::from(&sshd).under(without_override.clone()).run(source.root(), scratch.path()).expect_code(0);

        let here = scratch.path().join("data/closed");
        assert_eq!(fs::metadata(&here).expect("it is here").permissions().mode() & 0o777, mode);
        assert!(tree::same_bytes(&here, &file), "{mode:o}");
        assert_eq!(tree::staged_bytes(scratch.path()), 0, "nothing is left behind");
    }
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
    if !machine::is_root("a small disk") {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 13);
    source.file("large.bin", 30 * MIB);
    let disk = Mounted::tmpfs(scratch.path(), "size=10m");

    Pull::from(&sshd).run(source.root(), scratch.path()).expect_code(1).expect_said("no space left");
    assert_eq!(tree::count(scratch.path()), 0);
    assert_eq!(tree::staged_bytes(scratch.path()), 0);

    disk.set("size=80m");
    Pull::from(&sshd).run(source.root(), scratch.path()).expect_code(0);
    tree::assert_equal(source.root(), &scratch.path().join("data"));
}

skiff_tests::by_sftp_too! {
    a_part_of_an_earlier_version_is_thrown_away,
    a_full_disk_is_named,
}
