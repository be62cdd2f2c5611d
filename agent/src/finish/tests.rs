//! What goes, what stays because it isn't what was delivered, and what a crash left half-way.

use super::*;
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
