//! What a part takes and what it doesn't, whatever somebody plants or flips meanwhile.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use rustix::fs::{RenameFlags, renameat_with};

use super::*;

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).expect("a path")
}

fn target() -> (tempfile::TempDir, Target) {
    let folder = tempfile::tempdir().expect("a folder");
    let target = Target::open(folder.path()).expect("it opens");
    (folder, target)
}

/// A part that is whole, and let go.
fn staged<'a>(target: &Target, token: &'a str) -> Whole<'a> {
    let part = target.part(token, true).expect("it opens").expect("nobody is at it");
    (&part.file).write_all(b"new").expect("there is room");
    Whole { token, stamp: part.stamp().expect("it is open"), mode: 0o6777, mtime_ns: Some(7_500_000_000) }
}

#[test]
fn a_part_comes_under_its_name_and_takes_it_from_nobody() {
    let (folder, target) = target();
    let whole = staged(&target, "pull-1");
    assert_eq!(target.publish(&whole, &path("a/b/c"), false).expect("it works"), Published::Done);
    let meta = fs::metadata(folder.path().join("a/b/c")).expect("it is there");
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (7, 500_000_000));
    assert_eq!(meta.permissions().mode() & 0o7000, 0, "no setuid");
    fs::write(folder.path().join("mine"), "mine").expect("written");
    let whole = staged(&target, "pull-1");
    assert_eq!(target.publish(&whole, &path("mine"), false).expect("it works"), Published::Taken);
    assert_eq!(fs::read(folder.path().join("mine")).expect("it is there"), b"mine");
    let whole = staged(&target, "pull-1");
    assert_eq!(target.publish(&whole, &path("mine"), true).expect("it works"), Published::Done);
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
    for replace in [false, true] {
        let whole = staged(&target, "pull-1");
        assert!(target.publish(&whole, &path("link/x"), replace).is_err());
        assert_eq!(target.publish(&whole, &path("file"), replace).expect("seen"), Published::Taken);
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

/// Nobody holds it between the last byte and the publication, which waits for the server's digest and for other files.
#[test]
fn a_part_that_another_pull_began_anew_is_not_published() {
    for fresh in [true, false] {
        let (folder, first) = target();
        let second = Target::open(folder.path()).expect("it opens");
        let whole = staged(&first, "pull-1");
        let part = second.part("pull-1", fresh).expect("it opens").expect("nobody is at it");
        (&part.file).write_all(if fresh { b"n" } else { b"" }).expect("there is room");

        let is_lost = |whole: &Whole<'_>| {
            let published = first.publish(whole, &path("a"), false).expect("it works");
            published == Published::Lost && !folder.path().join("a").exists()
        };
        assert!(is_lost(&whole), "the other is at it");
        drop(part);
        assert_eq!(is_lost(&whole), fresh, "the other has gone");
        if fresh {
            second.drop_part("pull-1");
            assert!(is_lost(&whole), "the other has removed it");
        }
    }
}

/// Of whoever is at it, or else what is renamed could be what somebody has begun after that.
#[test]
fn a_part_that_somebody_is_at_is_not_removed_by_others() {
    let (folder, target) = target();
    let part = target.part("pull-1", true).expect("it opens").expect("nobody is at it");
    target.drop_part("pull-1");
    assert!(folder.path().join(".skiff/pull-1").exists());
    drop(part);
    target.drop_part("pull-1");
    assert!(!folder.path().join(".skiff/pull-1").exists());
}

/// Whoever comes next has to be able to write to it.
#[test]
fn a_part_of_a_read_only_file_that_was_not_published_is_its_owners_to_write() {
    let (folder, target) = target();
    fs::write(folder.path().join("mine"), "mine").expect("written");
    let whole = Whole { mode: 0o444, ..staged(&target, "pull-1") };
    assert_eq!(target.publish(&whole, &path("mine"), false).expect("it works"), Published::Taken);
    let meta = fs::metadata(folder.path().join(".skiff/pull-1")).expect("it is there");
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    assert_eq!(
        target.publish(&staged(&target, "pull-1"), &path("b"), false).expect("it works"),
        Published::Done
    );
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
            let whole = staged(&target, "pull-1");
            done += usize::from(target.publish(&whole, &path(&format!("sub/{number}")), false).is_ok());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(done > 0, "the race never let anybody in, so it shows nothing");
    });
    assert_eq!(fs::read_dir(outside.path()).expect("it reads").count(), 0);
}
