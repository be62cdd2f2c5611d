//! What a part takes and what it doesn't, whatever somebody plants or flips meanwhile.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).expect("a path")
}

fn target() -> (tempfile::TempDir, Target) {
    let folder = tempfile::tempdir().expect("a folder");
    let target = Target::open(folder.path()).expect("it opens");
    (folder, target)
}

fn staged(target: &Target, token: &str) {
    let part = target.part(token, true).expect("it opens").expect("nobody is at it");
    (&part.file).write_all(b"new").expect("there is room");
    target.dress(&part, 0o6777, Some(7_500_000_000)).expect("it is ours");
}

#[test]
fn a_part_comes_under_its_name_and_takes_it_from_nobody() {
    let (folder, target) = target();
    staged(&target, "pull-1");
    assert_eq!(target.publish("pull-1", &path("a/b/c"), false).expect("it works"), Published::Done);
    let meta = fs::metadata(folder.path().join("a/b/c")).expect("it is there");
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (7, 500_000_000));
    assert_eq!(meta.permissions().mode() & 0o7000, 0, "no setuid");
    staged(&target, "pull-1");
    fs::write(folder.path().join("mine"), "mine").expect("written");
    assert_eq!(target.publish("pull-1", &path("mine"), false).expect("it works"), Published::Taken);
    assert_eq!(fs::read(folder.path().join("mine")).expect("it is there"), b"mine");
    assert_eq!(target.publish("pull-1", &path("mine"), true).expect("it works"), Published::Done);
    assert_eq!(fs::read(folder.path().join("mine")).expect("it is there"), b"new");
    target.close();
    assert!(!folder.path().join(".skiff").exists());
}

#[test]
fn a_planted_symlink_is_never_written_through() {
    let (folder, target) = target();
    let outside = tempfile::tempdir().expect("a folder");
    symlink(outside.path(), folder.path().join("link")).expect("planted");
    symlink(outside.path().join("victim"), folder.path().join("file")).expect("planted");
    staged(&target, "pull-1");
    for replace in [false, true] {
        assert!(target.publish("pull-1", &path("link/x"), replace).is_err());
        assert_eq!(target.publish("pull-1", &path("file"), replace).expect("seen"), Published::Taken);
    }
    assert!(target.make_folder(&path("link/new")).is_err());
    assert!(target.look(&path("link/x")).is_err());
    assert_eq!(target.look(&path("file")).expect("seen"), Standing::Other("symlink"));
    assert_eq!(fs::read_dir(outside.path()).expect("it reads").count(), 0);
}

#[test]
fn staging_that_is_a_symlink_or_anybodys_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let outside = tempfile::tempdir().expect("a folder");
    symlink(outside.path(), folder.path().join(".skiff")).expect("planted");
    assert!(Target::open(folder.path()).is_err());
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join(".skiff")).expect("made");
    let all = fs::Permissions::from_mode(0o777);
    fs::set_permissions(folder.path().join(".skiff"), all).expect("ours");
    assert!(Target::open(folder.path()).is_err());
}

#[test]
fn a_part_that_is_a_link_or_in_use_is_not_written() {
    let (folder, target) = target();
    fs::write(folder.path().join("final"), "published").expect("written");
    fs::hard_link(folder.path().join("final"), folder.path().join(".skiff/pull-1")).expect("linked");
    let first = target.part("pull-1", true).expect("it opens").expect("nobody is at it");
    assert!(target.part("pull-1", true).expect("it opens").is_none(), "somebody is at it");
    drop(first);
    assert_eq!(fs::read(folder.path().join("final")).expect("it is there"), b"published");
    symlink(folder.path().join("final"), folder.path().join(".skiff/pull-2")).expect("planted");
    assert!(target.part("pull-2", true).is_err());
}

/// A folder that turns into a symlink and back while files are published into it.
#[test]
fn flipping_a_folder_and_a_symlink_never_writes_outside() {
    let (folder, target) = target();
    let outside = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("sub")).expect("made");
    symlink(outside.path(), folder.path().join("link")).expect("planted");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (sub, link) = (folder.path().join("sub"), folder.path().join("link"));
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                renameat_with(rustix::fs::CWD, &sub, rustix::fs::CWD, &link, RenameFlags::EXCHANGE)
                    .expect("both are there");
            }
        });
        let mut done = 0;
        for number in 0..1000 {
            staged(&target, "pull-1");
            done += usize::from(target.publish("pull-1", &path(&format!("sub/{number}")), false).is_ok());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(done > 0, "the race never let anybody in, so it shows nothing");
    });
    assert_eq!(fs::read_dir(outside.path()).expect("it reads").count(), 0);
}
