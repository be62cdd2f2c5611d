//! What goes, what stays because it isn't what was delivered, and what a crash left half-way.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::private::{LEAVING, SET_ASIDE, put_back, restore_entry, take_out};
use super::*;
use crate::not_shown::not_shown;
use crate::source::{Look, OWN_FOLDER};
use skiff_common::delivery::{Command, Delivery, Event, Placed, Staged};
use skiff_common::digest::Hasher;
use skiff_common::{Algorithm, Item, Shipment, ShipmentKind};

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).expect("a path")
}

/// A receipt as deliveries make them: through the machine.
fn receipt(root: &Root, name: &str) -> Receipt {
    let open = root.open_item(&path(name)).expect("it opens");
    let item = Item { path: path(name), stamp: open.stamp, mode: open.mode };
    let mut hasher = Hasher::for_destination(Algorithm::Blake3);
    hasher.update(&fs::read(root.path().join(name)).expect("it reads"));
    let digests = hasher.digests();
    let shipment = Shipment::new("w", "d", ShipmentKind::Single, vec![item]);
    let (mut delivery, _) = Delivery::plan(shipment, false);
    delivery.on(Event::Staged(vec![Staged::Landed { digests, theirs: digests.blake3 }]));
    match delivery.on(Event::Published(vec![Placed::At(path(name))])).command {
        Some(Command::Finish(receipts)) => receipts.into_iter().next().expect("one member"),
        other => panic!("{other:?}"),
    }
}

fn root() -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("sub")).expect("made");
    fs::write(folder.path().join("sub/a"), "content").expect("written");
    let root = Root::open(folder.path()).expect("it opens");
    (folder, root)
}

#[test]
fn what_was_delivered_is_deleted_and_a_second_time_is_no_error() {
    let (folder, root) = root();
    let receipt = receipt(&root, "sub/a");
    assert_eq!(dispose(&root, &receipt, &After::Delete, None), Disposal::Removed);
    assert!(!folder.path().join("sub/a").exists());
    assert_eq!(dispose(&root, &receipt, &After::Delete, None), Disposal::Removed);
}

#[test]
fn a_changed_source_stays() {
    let (folder, root) = root();
    let receipt = receipt(&root, "sub/a");
    fs::write(folder.path().join("sub/a"), "CONTENT").expect("rewritten");
    assert_eq!(dispose(&root, &receipt, &After::Delete, None), Disposal::Left(Trouble::Changed));
    assert_eq!(fs::read(folder.path().join("sub/a")).expect("there"), b"CONTENT");
}

#[test]
fn a_source_that_somebody_writes_to_stays() {
    let (folder, root) = root();
    let receipt = receipt(&root, "sub/a");
    let writer = File::options().append(true).open(folder.path().join("sub/a")).expect("it opens");
    assert_eq!(dispose(&root, &receipt, &After::Delete, None), Disposal::Left(Trouble::Changed));
    drop(writer);
    assert_eq!(fs::read(folder.path().join("sub/a")).expect("there"), b"content");
}

#[test]
fn a_hard_link_of_it_stays() {
    let (folder, root) = root();
    fs::hard_link(folder.path().join("sub/a"), folder.path().join("b")).expect("linked");
    let receipt = receipt(&root, "sub/a");
    assert_eq!(dispose(&root, &receipt, &After::Delete, None), Disposal::Removed);
    assert_eq!(fs::read(folder.path().join("b")).expect("there"), b"content");
}

#[test]
fn it_moves_with_its_folders_and_never_over_another_file() {
    let (_folder, root) = root();
    let sent = tempfile::tempdir().expect("a folder");
    fs::create_dir(sent.path().join("sub")).expect("made");
    fs::write(sent.path().join("sub/a"), "other").expect("written");
    let receipt = receipt(&root, "sub/a");
    assert_eq!(dispose(&root, &receipt, &After::Move(sent.path().to_owned()), None), Disposal::Removed);
    assert_eq!(fs::read(sent.path().join("sub/a")).expect("there"), b"other");
    assert_eq!(fs::read(sent.path().join("sub/a~1")).expect("there"), b"content");
}

fn stamp_of(root: &Root, name: &str) -> Stamp {
    match root.look(&path(name)).expect("it is there") {
        Look::File { stamp, .. } => stamp,
        other => panic!("{other:?}"),
    }
}

/// Waits until the clock by which files are stamped has moved on from when this one was.
fn wait_for_tick(root: &Root, than: Stamp) {
    let ticked = || {
        fs::write(root.path().join("tick"), "tick").expect("written");
        stamp_of(root, "tick").ctime_ns > than.ctime_ns
    };
    while !ticked() {}
}

/// A folder on another file system than `folder`, if there is one.
fn elsewhere(folder: &Path) -> Option<tempfile::TempDir> {
    let other = tempfile::tempdir_in("/dev/shm").ok();
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let other = other.filter(|other| device(other.path()) != device(folder));
    if other.is_none() {
        not_shown("a move to another file system", "/dev/shm is none");
    }
    other
}

/// There the kernel says so before it looks whether the name is taken.
#[test]
fn it_moves_to_another_file_system_beside_files_of_its_name() {
    let (folder, root) = root();
    let Some(sent) = elsewhere(folder.path()) else { return };
    fs::create_dir(sent.path().join("sub")).expect("made");
    for name in ["a", "a~1"] {
        fs::write(sent.path().join("sub").join(name), "other").expect("written");
    }
    let receipt = receipt(&root, "sub/a");
    assert_eq!(dispose(&root, &receipt, &After::Move(sent.path().to_owned()), None), Disposal::Removed);
    assert!(!folder.path().join("sub/a").exists());
    assert_eq!(fs::read(sent.path().join("sub/a~1")).expect("there"), b"other");
    assert_eq!(fs::read(sent.path().join("sub/a~2")).expect("there"), b"content");
    assert_eq!(fs::read_dir(sent.path().join("sub")).expect("read").count(), 3, "nothing else stays there");
}

#[test]
fn what_cannot_move_is_not_touched() {
    let (folder, root) = root();
    let receipt = receipt(&root, "sub/a");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let disposal = dispose(&root, &receipt, &After::Move(file), None);
    assert!(matches!(disposal, Disposal::Left(Trouble::Failed { .. })), "{disposal:?}");
    assert_eq!(stamp_of(&root, "sub/a"), receipt.item().stamp);
}

/// As with a target that is full, or a disk that fails.
#[test]
fn what_cannot_be_copied_is_not_touched() {
    let (folder, root) = root();
    let Some(sent) = elsewhere(folder.path()) else { return };
    let receipt = receipt(&root, "sub/a");
    let open = root.open_item(&path("sub/a")).expect("it opens");
    let wrong = Digest::new(Algorithm::Blake3, [0; 32]);
    let target = Target::open(sent.path(), &path("sub/a")).expect("made");
    let mut leave = Leave::Moved { target, digest: &wrong };
    let stays = remove(&root, &path("sub/a"), &open, &mut leave, None).expect_err("the copy differs");
    assert!(matches!(stays, Stays { why: Why::Failed(_), stamp: None }), "{stays:?}");
    assert_eq!(stamp_of(&root, "sub/a"), receipt.item().stamp);
}

/// To a folder that was removed, in which nothing gets a name.
fn to_nowhere(digest: &Digest) -> Leave<'_> {
    let sent = tempfile::tempdir().expect("a folder");
    Leave::Moved { target: Target::open(sent.path(), &path("sub/a")).expect("made"), digest }
}

/// Otherwise it would be taken for a new version, each time.
#[test]
fn what_was_out_and_is_back_has_the_stamp_that_is_told() {
    let (_folder, root) = root();
    let open = root.open_item(&path("sub/a")).expect("it opens");
    let digest = *receipt(&root, "sub/a").digests();
    let mut leave = to_nowhere(&digest.blake3);
    wait_for_tick(&root, open.stamp);
    let stays = remove(&root, &path("sub/a"), &open, &mut leave, None).expect_err("it can't move");
    assert!(matches!(stays.why, Why::Failed(_)), "{stays:?}");
    assert_eq!(stays.stamp, Some(stamp_of(&root, "sub/a")));
    assert_ne!(stays.stamp, Some(open.stamp), "or this shows nothing");
}

#[test]
fn its_marker_comes_back_if_it_stays() {
    let (folder, root) = root();
    fs::write(folder.path().join("sub/a.done"), "").expect("written");
    let open = root.open_item(&path("sub/a")).expect("it opens");
    let digest = *receipt(&root, "sub/a").digests();
    let mut leave = to_nowhere(&digest.blake3);
    remove(&root, &path("sub/a"), &open, &mut leave, Some(".done")).expect_err("it can't move");
    assert!(folder.path().join("sub/a").exists() && folder.path().join("sub/a.done").exists());
}

#[test]
fn the_marker_of_what_expires_goes_with_it() {
    let (folder, root) = root();
    fs::write(folder.path().join("sub/a.done"), "").expect("written");
    let stamp = stamp_of(&root, "sub/a");
    let changed = Stamp { size: 99, ..stamp };
    assert!(!expire(&root, &path("sub/a"), changed, Some(".done")).expect("it is looked at"));
    assert!(folder.path().join("sub/a.done").exists(), "another version may be what it is of");
    assert!(expire(&root, &path("sub/a"), stamp, Some(".done")).expect("it goes"));
    assert!(!folder.path().join("sub/a.done").exists());
}

/// A death between the two: with it the next file of that name would count as complete from its first byte.
#[test]
fn a_marker_that_was_left_half_way_goes_where_its_file_has_gone() {
    let (folder, root) = root();
    let leaving = folder.path().join(OWN_FOLDER).join(LEAVING).join("sub");
    fs::create_dir_all(&leaving).expect("made");
    for name in ["a.done", "gone.done", "left.done", "left", "note"] {
        fs::write(leaving.join(name), "").expect("written");
    }
    assert_eq!(restore(&root, Some(".done")).expect("restored"), 4);
    for (name, is_back) in [("a.done", true), ("gone.done", false), ("left.done", true), ("note", true)] {
        assert_eq!(folder.path().join("sub").join(name).exists(), is_back, "{name}");
    }
    assert!(!leaving.exists(), "nothing stays");
}

/// A reload: who restores puts it back under the hands of who removes.
#[test]
fn a_marker_that_another_put_back_goes_unless_a_file_came() {
    let (folder, root) = root();
    let (marker, item) = (folder.path().join("sub/a.done"), path("sub/a"));
    let from = root.folder_of(&item).expect("it opens");
    for file_came in [false, true] {
        fs::write(&marker, "").expect("written");
        fs::write(folder.path().join("sub/a"), "content").expect("written");
        let taken =
            Marker::take_out(&root, &from, &item, ".done").expect("taken out").expect("it stands there");
        assert!(!marker.exists());
        assert_eq!(restore(&root, Some(".done")).expect("restored"), 1);
        if !file_came {
            fs::remove_file(folder.path().join("sub/a")).expect("it is there");
        }
        taken.end();
        assert_eq!(marker.exists(), file_came);
    }
}

#[test]
fn what_is_set_aside_is_told_of_as_long_as_it_is() {
    let (folder, root) = root();
    assert_eq!(told_aside(&root), None);
    for name in ["one", "two"] {
        let leaving = folder.path().join(OWN_FOLDER).join(LEAVING);
        fs::create_dir_all(&leaving).expect("made");
        fs::write(leaving.join(name), "left").expect("written");
        fs::write(folder.path().join(name), "new").expect("written");
        assert_eq!(restore(&root, None).expect("restored"), 0);
    }
    let told = told_aside(&root).expect("two are set aside");
    let aside = folder.path().join(OWN_FOLDER).join(SET_ASIDE);
    assert!(told.starts_with("2 ") && told.contains(&aside.display().to_string()), "{told}");
    for folder in fs::read_dir(&aside).expect("it is there") {
        for file in fs::read_dir(folder.expect("read").path()).expect("a folder") {
            fs::remove_file(file.expect("read").path()).expect("it is ours");
        }
    }
    assert_eq!(told_aside(&root), None);
}

#[test]
fn its_marker_goes_with_it() {
    let (folder, root) = root();
    fs::write(folder.path().join("sub/a.done"), "").expect("written");
    let receipt = receipt(&root, "sub/a");
    assert_eq!(dispose(&root, &receipt, &After::Delete, Some(".done")), Disposal::Removed);
    assert!(!folder.path().join("sub/a.done").exists());
}

#[test]
fn what_a_crash_left_half_way_goes_back() {
    let (folder, root) = root();
    let private = folder.path().join(".skiff/leaving/sub");
    fs::create_dir_all(&private).expect("made");
    fs::rename(folder.path().join("sub/a"), private.join("a")).expect("renamed");
    fs::write(private.join("taken"), "old").expect("written");
    fs::write(folder.path().join("sub/taken"), "new").expect("written");
    assert_eq!(restore(&root, None).expect("restored"), 1);
    assert_eq!(fs::read(folder.path().join("sub/a")).expect("back"), b"content");
    assert_eq!(fs::read(folder.path().join("sub/taken")).expect("untouched"), b"new");
}

#[test]
fn what_cannot_go_back_is_set_aside_and_keeps_nothing_from_leaving() {
    let (folder, root) = root();
    // A crash came between the renaming and the deletion, and then another file of that name.
    let leaving = folder.path().join(OWN_FOLDER).join(LEAVING).join("sub");
    fs::create_dir_all(&leaving).expect("made");
    fs::write(leaving.join("a"), "before").expect("written");
    assert_eq!(restore(&root, None).expect("restored"), 0);
    let aside = folder.path().join(OWN_FOLDER).join(SET_ASIDE).join("0/a");
    assert_eq!(fs::read(aside).expect("it is kept"), b"before");
    let receipt = receipt(&root, "sub/a");
    assert_eq!(dispose(&root, &receipt, &After::Delete, None), Disposal::Removed);
}

#[test]
fn what_is_planted_is_not_followed_when_a_removal_is_undone() {
    use std::os::unix::fs::symlink;
    let (folder, root) = root();
    let outside = tempfile::tempdir().expect("a folder");
    fs::create_dir(outside.path().join("journal")).expect("made");
    fs::write(outside.path().join("journal/db"), "state").expect("written");
    let own = folder.path().join(OWN_FOLDER);
    fs::create_dir(&own).expect("made");
    symlink(outside.path(), own.join(LEAVING)).expect("planted");
    assert!(restore(&root, None).is_err());
    assert!(!folder.path().join("journal").exists(), "nothing comes in");

    // Nor out, where a folder that was left became a symlink.
    fs::remove_file(own.join(LEAVING)).expect("removed");
    fs::create_dir_all(own.join(LEAVING).join("link")).expect("made");
    fs::write(own.join(LEAVING).join("link/f"), "left").expect("written");
    symlink(outside.path(), folder.path().join("link")).expect("planted");
    assert_eq!(restore(&root, None).expect("it is done"), 0);
    assert!(!outside.path().join("f").exists(), "nothing goes out");
    assert_eq!(fs::read(own.join(SET_ASIDE).join("0/f")).expect("it is kept"), b"left");

    fs::remove_dir_all(&own).expect("removed");
    symlink(outside.path(), &own).expect("planted");
    fs::create_dir(outside.path().join(LEAVING)).expect("made");
    fs::write(outside.path().join(LEAVING).join("secret"), "").expect("written");
    assert!(restore(&root, None).is_err());
    assert!(!folder.path().join("secret").exists());
}

#[test]
fn a_private_folder_that_others_may_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, root) = root();
    let own = folder.path().join(OWN_FOLDER);
    fs::create_dir_all(own.join(LEAVING)).expect("made");
    fs::write(own.join(LEAVING).join("planted"), "").expect("written");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).expect("opened");
    assert!(restore(&root, None).is_err());
    let delivered = receipt(&root, "sub/a");
    assert!(matches!(dispose(&root, &delivered, &After::Delete, None), Disposal::Left(_)));
    assert!(folder.path().join("sub/a").exists());
}

#[test]
fn what_is_not_to_go_finds_back_though_its_folder_was_removed_meanwhile() {
    let (folder, root) = root();
    let item = path("sub/a");
    let from = root.folder_of(&item).expect("it opens");
    let leaving = take_out(&root, &from, &item).expect("taken out");
    fs::remove_dir(folder.path().join("sub")).expect("it is empty");
    put_back(&root, &leaving, &from, &item).expect("put back");
    assert_eq!(fs::read(folder.path().join("sub/a")).expect("back"), b"content");

    // Something else took the folder's name.
    let from = root.folder_of(&item).expect("it opens");
    let leaving = take_out(&root, &from, &item).expect("taken out");
    fs::remove_dir(folder.path().join("sub")).expect("it is empty");
    fs::write(folder.path().join("sub"), "").expect("written");
    put_back(&root, &leaving, &from, &item).expect("set aside");
    let aside = folder.path().join(OWN_FOLDER).join(SET_ASIDE).join("0/a");
    assert_eq!(fs::read(aside).expect("it is kept"), b"content");
}

/// After a reload, who restores and who disposes meet.
#[test]
fn what_another_has_put_back_or_removed_is_no_failure() {
    let (folder, root) = root();
    let item = path("sub/a");
    let from = root.folder_of(&item).expect("it opens");
    let leaving = take_out(&root, &from, &item).expect("taken out");
    assert_eq!(restore(&root, None).expect("restored"), 1);
    put_back(&root, &leaving, &from, &item).expect("it is back");
    assert_eq!(fs::read(folder.path().join("sub/a")).expect("back"), b"content");

    let leaving = take_out(&root, &from, &item).expect("taken out");
    unlinkat(&leaving, "a", AtFlags::empty()).expect("it goes");
    assert_eq!(
        restore_entry(&root, &leaving, (Some(&path("sub")), OsStr::new("a")), None).expect("no failure"),
        0
    );
    assert!(!folder.path().join(OWN_FOLDER).join(SET_ASIDE).exists());
}

#[test]
fn nothing_stays_of_the_folders_that_files_left_through() {
    let (folder, root) = root();
    fs::create_dir_all(folder.path().join("2026/11/25")).expect("made");
    fs::write(folder.path().join("2026/11/25/f"), "content").expect("written");
    for name in ["sub/a", "2026/11/25/f"] {
        let receipt = receipt(&root, name);
        assert_eq!(dispose(&root, &receipt, &After::Delete, None), Disposal::Removed);
    }
    let stuck = folder.path().join(OWN_FOLDER).join(LEAVING).join("stuck");
    fs::create_dir_all(stuck.join("empty")).expect("made");
    fs::write(stuck.join("f"), "").expect("written");
    tidy(&root);
    let left: Vec<_> = fs::read_dir(stuck.parent().expect("it has one"))
        .expect("it is there")
        .map(|entry| entry.expect("it is read").file_name())
        .collect();
    assert_eq!(left, ["stuck"]);
    assert!(stuck.join("f").exists() && !stuck.join("empty").exists());
}

/// Those who tidy up remove folders under the hands of those who use them.
#[test]
fn many_leave_while_others_tidy_up() {
    let (folder, root) = root();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (folder, root) = (&folder, &root);
            scope.spawn(move || {
                for number in 0..200 {
                    let name = format!("sub/{worker}-{number}");
                    fs::write(folder.path().join(&name), &name).expect("written");
                    let receipt = receipt(root, &name);
                    assert_eq!(dispose(root, &receipt, &After::Delete, None), Disposal::Removed);
                    tidy(root);
                }
            });
        }
    });
}
