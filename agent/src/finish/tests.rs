//! What goes, what stays because it isn't what was delivered, and what a crash left half-way.

use super::private::{LEAVING, SET_ASIDE, put_back, restore_entry, take_out};
use super::*;
use crate::source::OWN_FOLDER;
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
    assert_eq!(restore(&root).expect("restored"), 1);
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
    assert_eq!(restore(&root).expect("restored"), 0);
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
    assert!(restore(&root).is_err());
    assert!(!folder.path().join("journal").exists(), "nothing comes in");

    // Nor out, where a folder that was left became a symlink.
    fs::remove_file(own.join(LEAVING)).expect("removed");
    fs::create_dir_all(own.join(LEAVING).join("link")).expect("made");
    fs::write(own.join(LEAVING).join("link/f"), "left").expect("written");
    symlink(outside.path(), folder.path().join("link")).expect("planted");
    assert_eq!(restore(&root).expect("it is done"), 0);
    assert!(!outside.path().join("f").exists(), "nothing goes out");
    assert_eq!(fs::read(own.join(SET_ASIDE).join("0/f")).expect("it is kept"), b"left");

    fs::remove_dir_all(&own).expect("removed");
    symlink(outside.path(), &own).expect("planted");
    fs::create_dir(outside.path().join(LEAVING)).expect("made");
    fs::write(outside.path().join(LEAVING).join("secret"), "").expect("written");
    assert!(restore(&root).is_err());
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
    assert!(restore(&root).is_err());
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
    assert_eq!(restore(&root).expect("restored"), 1);
    put_back(&root, &leaving, &from, &item).expect("it is back");
    assert_eq!(fs::read(folder.path().join("sub/a")).expect("back"), b"content");

    let leaving = take_out(&root, &from, &item).expect("taken out");
    unlinkat(&leaving, "a", AtFlags::empty()).expect("it goes");
    assert_eq!(restore_entry(&root, &leaving, Some(&path("sub")), OsStr::new("a")).expect("no failure"), 0);
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
