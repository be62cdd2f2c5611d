//! What goes along with a file's content: owners, and what symlinks stand for.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

use skiff_tests::{Agent, Sshd, Tree, machine, tree};
use tempfile::TempDir;

/// Small files, a large one and a copy get the numbers of user and group that they have here.
#[test]
fn owners_are_preserved_by_number_where_root_logs_in() {
    if !machine::is_root("files of several owners") {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    let files = [
        ("a", 10, 1234, 4321),
        ("odd\nname", 10, 1234, 4321),
        ("sub/b", 10, 77, 0),
        ("large", 3 << 20, 5, 6),
    ];
    for (name, bytes, user, group) in files {
        chown(source.file(name, bytes), Some(user), Some(group)).expect("root may");
    }
    let mut agent =
        Agent::with_destination(&sshd, "owner = 'preserve'").watch("in", source.root(), "").started();
    let owner = |name: &str| fs::metadata(sshd.root().join(name)).map(|file| (file.uid(), file.gid())).ok();
    agent.wait_until("all arrive", || tree::equal(source.root(), &sshd.root()));
    for (name, _, user, group) in files {
        assert_eq!(owner(name), Some((user, group)), "{name:?}");
    }
    assert!(!agent.ask(&["check"]).said.contains("has no effect"));
}

/// Anybody else can't give files away: they are delivered all the same.
#[test]
fn owners_stay_the_login_users_where_it_is_not_root_and_that_is_told() {
    if !machine::is_root("files of several owners") {
        return;
    }
    let (sshd, scratch) = (
        Sshd::start_for("nobody", Some(Path::new("/bin/sh")), ""),
        TempDir::new().expect("a temporary folder"),
    );
    fs::set_permissions(sshd.root(), Permissions::from_mode(0o777)).expect("ours");
    let mut source = Tree::new(scratch.path().join("in"), 1);
    chown(source.file("a", 10), Some(1234), Some(4321)).expect("root may");
    source.file("large", 3 << 20);
    let mut agent =
        Agent::with_destination(&sshd, "owner = 'preserve'").watch("in", source.root(), "").started();
    agent.wait_until("all arrive", || tree::equal(source.root(), &sshd.root()));
    let there = fs::metadata(sshd.root().join("a")).expect("there");
    assert_eq!(there.uid(), fs::metadata(sshd.root().join("large")).expect("there").uid());
    assert!(there.uid() != 1234 && there.uid() != 0);
    assert_eq!(agent.log().matches("has no effect").count(), 1, "{}", agent.log());
    agent.ask(&["check"]).expect_said("owner = \"preserve\" has no effect");
}

/// By default a symlink stands for nothing, and that is told. Where it is followed, it is only to a file inside.
#[test]
fn symlinks_are_skipped_or_followed_inside() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    let file = source.file("sub/file", 100);
    fs::write(scratch.path().join("outside"), "outside").expect("there is room");
    for (target, link) in
        [("sub/file", "link"), ("../outside", "out"), ("sub", "folder"), ("/etc/passwd", "abs")]
    {
        symlink(target, source.root().join(link)).expect("there is room");
    }
    let rules = "rescan = '1s'";
    let mut agent = Agent::to(&sshd).watch("in", source.root(), rules).started();
    agent.wait_until_logged("it is told", |line| line.contains("left_out") && line.contains("4 × symlink"));
    agent.wait_until("the file arrives", || sshd.root().join("sub/file").exists());
    assert_eq!(tree::count(&sshd.root()), 1);

    let text = fs::read_to_string(agent.config()).expect("it is there");
    fs::write(agent.config(), format!("{text}symlinks = 'follow_inside'\n")).expect("there is room");
    agent.ask(&["reload"]).expect_code(0);
    agent.wait_until("what it leads to arrives under its name", || {
        tree::same_bytes(&file, &sshd.root().join("link"))
    });
    source.replace("sub/file", 200);
    agent.wait_until("and its next version", || tree::same_bytes(&file, &sshd.root().join("link")));
    agent.wait_until("nothing else is there", || {
        let names = tree::files(&sshd.root()).expect("it can be read").into_keys();
        names.eq([Path::new("link"), Path::new("sub/file")])
    });
    assert!(sshd.root().join("link").symlink_metadata().expect("there").is_file());
}

/// Folders that hold nothing are made at the destination where that is asked for, also such as come later; never through a
/// symlink there.
#[test]
fn empty_folders_are_made_if_asked_for() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 3);
    source.file("full/file", 10);
    let at = |name: &str| source.root().join(name);
    for name in ["empty", "deep/er/empty", "odd\n name", "link/inside"] {
        fs::create_dir_all(at(name)).expect("there is room");
    }
    let outside = TempDir::new().expect("a temporary folder");
    symlink(outside.path(), sshd.root().join("link")).expect("there is room");
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "empty_folders = 'deliver'").started();
    let is_made = |name: &str| sshd.root().join(name).is_dir();
    agent.wait_until("they are made", || {
        ["empty", "deep/er/empty", "odd\n name"].iter().all(|name| is_made(name)) && is_made("full")
    });
    agent.wait_until_logged("what can't be is told", |line| {
        line.contains("empty folder") && line.contains("symlink")
    });
    assert!(!outside.path().join("inside").exists());
    fs::create_dir(at("later")).expect("there is room");
    agent.wait_until("a new one as well", || is_made("later"));
}

skiff_tests::by_sftp_too! {
    owners_are_preserved_by_number_where_root_logs_in,
    owners_stay_the_login_users_where_it_is_not_root_and_that_is_told,
    symlinks_are_skipped_or_followed_inside,
    empty_folders_are_made_if_asked_for,
}
