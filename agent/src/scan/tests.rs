//! A scanner, step by step, in a folder of its own.

use std::fs;
use std::path::Path;

use skiff_common::delivery::record::{Delivered, Record};
use skiff_common::{Algorithm, Digest, Shipment, ShipmentKind};

use super::*;
use crate::context::context;
use crate::reach::reach;
use crate::remote::Limiter;
use crate::source::Look;

/// The folders, and a scanner of one of them; what it finds comes out at the other end.
struct Rig {
    _scratch: tempfile::TempDir,
    folder: std::path::PathBuf,
    scanner: Scanner,
    found: mpsc::Receiver<Found>,
    journal: Journal,
}

fn rig(rules: &str) -> Rig {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("in");
    fs::create_dir(&folder).expect("made");
    let (journal, _) = Journal::open(&scratch.path().join("state")).expect("it opens");
    let text = format!(
        "state_dir = '/s'\n[defaults.destination]\nknown_hosts = ['/k']\n[destination.d]\naddress = 'h'\n\
         [[watch]]\nname = 'w'\npath = '{}'\nto = 'd'\n{rules}\n",
        folder.display()
    );
    let environment = skiff_config::Environment::default();
    let settings = skiff_config::parse(&text, Path::new("skiff.toml"), &environment).expect("it is right");
    let limits = (None, Arc::new(Limiter::new(None)));
    let remotes =
        HashMap::from([("d".to_owned(), reach(&settings.destinations[0], &Arc::default(), limits))]);
    let own = (&remotes, &Arc::default());
    let context = context(&settings, &settings.watches[0], own, (0, 0), (None, false)).expect("it is right");
    let census = Arc::new(Census::of(journal.clone()));
    census.join(0);
    let (out, found) = mpsc::channel(1000);
    let both = (Some(journal.clone()), Some(census));
    let scanner = Scanner::new(context, Arc::default(), both, out);
    Rig { _scratch: scratch, folder, scanner, found, journal }
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).expect("a path")
}

impl Rig {
    fn scan(&mut self) {
        let root = self.scanner.root().expect("the folder is there");
        self.scanner.scan_all(&root).expect("the journal works");
    }

    fn look(&mut self, name: &str) {
        let root = self.scanner.root().expect("the folder is there");
        self.scanner.look(&root, &path(name)).expect("the journal works");
    }

    /// The journal has it as delivered, as it is or as it was.
    fn delivered(&self, name: &str) {
        let root = Root::open(&self.folder).expect("it opens");
        let stamp = match root.look(&path(name)) {
            Ok(Look::File { stamp, .. }) => stamp,
            _ => skiff_common::Stamp { dev: 1, ino: 1, size: 1, mtime_ns: 1, ctime_ns: 1 },
        };
        let item = Item { path: path(name), stamp, mode: 0o644 };
        let shipment = Shipment::new("w", "d", ShipmentKind::Single, vec![item]).id;
        let (item, stamp) = (ItemId::of("w", &path(name)), stamp.fingerprint());
        let folder = ItemId::of_folder("w", path(name).folder().as_ref());
        let digest = Digest::new(Algorithm::Blake3, [0; 32]);
        let delivered = vec![Delivered { item, folder, stamp, digest }];
        self.journal.record_blocking(&[Record::Finished { shipment, delivered }]).expect("recorded");
    }

    fn knows(&self, folder: Option<&str>) -> usize {
        let folder = ItemId::of_folder("w", folder.map(path).as_ref());
        self.journal.delivered_in(folder).expect("it is read").len()
    }
}

#[test]
fn what_is_no_file_any_longer_is_not_waited_for() {
    let mut rig = rig("settle = '1h'");
    for name in ["folder", "link", "gone"] {
        fs::write(rig.folder.join(name), "content").expect("written");
    }
    rig.scan();
    assert_eq!(rig.scanner.settler.len(), 3);
    for name in ["folder", "link", "gone"] {
        fs::remove_file(rig.folder.join(name)).expect("removed");
    }
    fs::create_dir(rig.folder.join("folder")).expect("made");
    std::os::unix::fs::symlink("folder", rig.folder.join("link")).expect("linked");
    for name in ["folder", "link", "gone"] {
        rig.look(name);
    }
    assert_eq!(rig.scanner.settler.len(), 0);
}

#[test]
fn a_stop_ends_the_wait_for_room() {
    let mut rig = rig("settle = '1h'");
    rig.scanner.settler = Settler::new(Duration::from_secs(3600), 1);
    fs::write(rig.folder.join("a"), "content").expect("written");
    fs::write(rig.folder.join("b"), "content").expect("written");
    let waker = Arc::clone(&rig.scanner.waker);
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        waker.stop();
    });
    // Before, it went on for ever.
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        rig.scan();
        let _ = done.send(());
    });
    ended.recv_timeout(Duration::from_secs(10)).expect("it ends");
    stopper.join().expect("it doesn't panic");
}

#[test]
fn what_was_delivered_of_a_missing_mount_is_kept_in_mind() {
    let mut rig = rig("settle = '0s'");
    rig.delivered("a");
    rig.delivered("sub/b");
    rig.journal.note_mount("w", true).expect("recorded");
    fs::write(rig.folder.join("stray"), "content").expect("written");
    rig.scan();
    assert_eq!((rig.knows(None), rig.knows(Some("sub"))), (1, 1));
    assert_eq!(rig.found.try_recv().map(|found| found.item.path).ok(), Some(path("stray")));

    // What was delivered from the folder as it is now says that it is the one.
    rig.delivered("stray");
    rig.scan();
    assert_eq!((rig.knows(None), rig.knows(Some("sub"))), (1, 0), "only what is there is known");
    assert!(!rig.journal.was_mount("w").expect("it is read"));
}

#[test]
fn what_is_gone_from_a_folder_that_was_no_mount_is_forgotten() {
    let mut rig = rig("settle = '0s'");
    rig.delivered("a");
    rig.delivered("sub/b");
    rig.scan();
    assert_eq!((rig.knows(None), rig.knows(Some("sub"))), (0, 0));
}

#[test]
fn a_file_that_is_held_open_for_long_is_told_of() {
    let mut rig = rig("settle = '0s'");
    let writer = fs::File::create(rig.folder.join("open")).expect("created");
    rig.scan();
    rig.scanner.tell_unsettled(clock::now());
    assert_eq!(rig.scanner.context.settling().0.files, 0, "not yet");
    rig.scanner.tell_unsettled(clock::now() + Duration::from_secs(90));
    let (settling, items) = rig.scanner.context.settling();
    assert_eq!((settling.files, items.len()), (1, 1));
    assert!(settling.since_ms.is_some());
    let item = &items[0];
    assert_eq!(item.path, "open");
    assert!(item.reason.as_ref().is_some_and(|reason| reason.contains("open for writing")), "{item:?}");

    drop(writer);
    std::thread::sleep(Duration::from_millis(200));
    rig.look("open");
    assert_eq!(rig.found.try_recv().map(|found| found.item.path).ok(), Some(path("open")));
    rig.scanner.tell_unsettled(clock::now() + Duration::from_secs(180));
    assert_eq!(rig.scanner.context.settling().0.files, 0);
}
