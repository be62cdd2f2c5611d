//! What somebody may plant in a watched folder, or do to it while it is read.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FileType;

use super::*;

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).expect("a path")
}

fn root() -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Root::open(folder.path()).expect("it opens");
    (folder, root)
}

#[test]
fn a_planted_symlink_leads_nowhere() {
    let (folder, root) = root();
    symlink("/etc", folder.path().join("sub")).expect("planted");
    symlink("/etc/passwd", folder.path().join("file")).expect("planted");
    assert!(matches!(root.open_item(&path("sub/passwd")), Err(SourceError::Escapes { .. })));
    assert!(matches!(root.open_item(&path("file")), Err(SourceError::Escapes { .. })));
    assert!(matches!(
        root.list(Some(&path("sub"))),
        Err(SourceError::Escapes { .. } | SourceError::Gone { .. })
    ));
    assert!(matches!(root.look(&path("file")), Ok(Look::Other("symlink"))));
    assert!(root.walk(&path("sub/passwd"), OFlags::RDONLY).is_err());
}

#[test]
fn a_symlink_that_is_followed_stays_inside() {
    let (folder, root) = root();
    let root = root.following(true);
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("sub")).expect("made");
    fs::write(at("sub/f"), "inside").expect("written");
    for (name, target) in [
        ("good", "sub/f"),
        ("sub/up", "../sub/f"),
        ("out", "../../etc/passwd"),
        ("back", "../$/sub/f"),
        ("absolute", "/etc/passwd"),
        // The folder of the package, in which tests run.
        ("proc", "/proc/self/cwd/Cargo.toml"),
        ("folder", "sub"),
        ("loop", "loop"),
        ("nowhere", "missing"),
    ] {
        // Out and in again: that it ends inside is not enough.
        let own = folder.path().file_name().expect("it has a name").to_string_lossy().into_owned();
        symlink(target.replace('$', &own), at(name)).expect("planted");
    }
    symlink(at("sub/f"), at("whole")).expect("planted");
    for name in ["good", "sub/up"] {
        let open = root.open_item(&path(name)).expect("it leads to a file inside");
        assert_eq!(io::read_to_string(&open.file).expect("it reads"), "inside");
        assert_eq!(root.look(&path(name)).ok(), root.look(&path("sub/f")).ok(), "{name}");
    }
    for name in ["out", "back", "absolute", "proc", "folder", "loop", "nowhere", "whole"] {
        assert!(root.open_item(&path(name)).is_err(), "{name}");
        assert!(matches!(root.look(&path(name)), Ok(Look::Other("symlink"))), "{name}");
    }
    assert!(root.list(Some(&path("folder"))).is_err(), "folders are not gone into by symlinks");
}

#[test]
fn a_fifo_is_refused_and_not_waited_for() {
    let (folder, root) = root();
    rustix::fs::mknodat(rustix::fs::CWD, folder.path().join("pipe"), FileType::Fifo, Mode::RWXU, 0)
        .expect("made");
    assert!(matches!(root.open_item(&path("pipe")), Err(SourceError::NotRegular { kind: "FIFO", .. })));
}

#[test]
fn an_open_writer_is_seen_until_it_closes() {
    let (folder, root) = root();
    let writer = File::create(folder.path().join("a")).expect("created");
    assert_eq!(root.open_item(&path("a")).expect("it opens").has_writer(), Some(true));
    drop(writer);
    assert_eq!(root.open_item(&path("a")).expect("it opens").has_writer(), Some(false));
}

#[test]
fn another_folder_of_the_same_name_is_another() {
    let (folder, _) = root();
    let watched = folder.path().join("w");
    let id = || Root::open(&watched).and_then(|root| root.id());
    fs::create_dir(&watched).expect("made");
    let before = id().expect("it opens");
    fs::rename(&watched, folder.path().join("elsewhere")).expect("renamed");
    assert!(matches!(id(), Err(SourceError::Gone { .. })));
    fs::create_dir(&watched).expect("made again");
    assert_ne!(id().expect("it opens"), before);
}

#[test]
fn mounts_are_told_from_folders() {
    let is_mounted = |path| Root::open(Path::new(path)).expect("it opens").is_mounted();
    assert!(is_mounted("/proc"));
    assert!(!is_mounted("/proc/self") && !is_mounted("/"));
}

#[test]
fn flipping_a_folder_and_a_symlink_never_shows_the_outside() {
    for follows in [false, true] {
        flip(follows);
    }
}

fn flip(follows: bool) {
    let (folder, root) = root();
    let root = root.following(follows);
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("f"), "canary").expect("written");
    fs::create_dir(folder.path().join("real")).expect("made");
    fs::write(folder.path().join("real/f"), "inside").expect("written");
    symlink(outside.path(), folder.path().join("link")).expect("planted");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let at = |name: &str| folder.path().join(name);
            while !stop.load(Ordering::Relaxed) {
                for name in ["real", "link"] {
                    fs::rename(at(name), at("sub")).expect("put there");
                    fs::rename(at("sub"), at(name)).expect("taken away");
                }
            }
        });
        let (mut inside, mut tries, began) = (0, 0, std::time::Instant::now());
        // On a busy machine the other thread may begin late.
        while tries < 20_000 || (inside == 0 && began.elapsed().as_secs() < 60) {
            tries += 1;
            if let Ok(open) = root.open_item(&path("sub/f")) {
                assert_eq!(io::read_to_string(open.file).expect("it reads"), "inside");
                inside += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(inside > 0, "the race never let the reader in, so it shows nothing");
    });
}
