//! A scanner, step by step, in a folder of its own.

use std::fs;
use std::path::Path;

use skiff_common::delivery::record::{Delivered, Record};
use skiff_common::{Algorithm, Digest, Shipment, ShipmentKind};

use super::*;
use crate::context::context;
use crate::journal::MountNote;
use crate::reach::reach;
use crate::remote::Limiter;
use crate::source::{Look, SourceError};

/// The folders, and a scanner of one of them; what it finds comes out at the other end.
struct Rig {
    _scratch: tempfile::TempDir,
    folder: std::path::PathBuf,
    scanner: Scanner,
    found: mpsc::Receiver<Settled>,
    journal: Journal,
}

fn rig(rules: &str) -> Rig {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("in");
    fs::create_dir(&folder).expect("made");
    rig_at(scratch, folder, rules)
}

fn rig_at(scratch: tempfile::TempDir, folder: std::path::PathBuf, rules: &str) -> Rig {
    let (journal, _) = Journal::open(&scratch.path().join("state")).expect("it opens");
    let (scanner, found) = scanner(&folder, rules, &journal);
    Rig { _scratch: scratch, folder, scanner, found, journal }
}

fn scanner(folder: &Path, rules: &str, journal: &Journal) -> (Scanner, mpsc::Receiver<Settled>) {
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
    (Scanner::new(context, Arc::default(), (Some(journal.clone()), Some(census)), out), found)
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).expect("a path")
}

impl Rig {
    /// As after a start, with the same journal.
    fn start_again(&mut self, rules: &str) {
        (self.scanner, self.found) = scanner(&self.folder, rules, &self.journal);
    }

    fn root(&mut self) -> Option<Root> {
        self.scanner.root().expect("the journal works")
    }

    fn scan(&mut self) {
        let root = self.root().expect("the folder is there");
        self.scanner.scan_all(&root).expect("the journal works");
    }

    fn look(&mut self, name: &str) {
        let root = self.root().expect("the folder is there");
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
fn what_another_skiff_has_on_its_way_is_left_out() {
    let mut rig = rig("settle = '1h'");
    for folder in [".skiff-0123456789abcdef01234567", "sub/.skiff-0123456789abcdef01234567", "sub/.skiff-x"] {
        fs::create_dir_all(rig.folder.join(folder)).expect("made");
        fs::write(rig.folder.join(folder).join("new"), "content").expect("written");
    }
    rig.scan();
    assert_eq!(rig.scanner.settler.len(), 1);
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

/// Nor is it forgotten when something of the folder below it is delivered, as no mount is that folder.
#[test]
fn what_was_delivered_of_a_missing_mount_is_kept_in_mind() {
    let mut rig = rig("settle = '0s'");
    rig.delivered("a");
    rig.delivered("sub/b");
    rig.journal.note_mount("w", Some(MountNote::new(&rig.folder, false))).expect("recorded");
    fs::write(rig.folder.join("stray"), "content").expect("written");
    rig.scan();
    assert_eq!((rig.knows(None), rig.knows(Some("sub"))), (1, 1));
    assert_eq!(rig.found.try_recv().map(|found| found.item.path).ok(), Some(path("stray")));
    let trouble = rig.scanner.context.trouble().expect("a file system is missing");
    assert!(trouble.contains("give the watch another path"), "{trouble}");

    rig.delivered("stray");
    for _ in 0..2 {
        rig.scan();
        assert_eq!((rig.knows(None), rig.knows(Some("sub"))), (2, 1));
        assert!(rig.scanner.context.trouble().is_some());
        rig.start_again("settle = '0s'");
    }
    assert!(rig.journal.mount("w").expect("it is read").is_some());
}

/// What was mounted is reached another way now, by a symlink for instance.
#[test]
fn files_that_stand_as_they_were_delivered_say_that_no_mount_is_missing() {
    let mut rig = rig("settle = '0s'");
    fs::create_dir(rig.folder.join("sub")).expect("made");
    fs::write(rig.folder.join("sub/b"), "content").expect("written");
    rig.delivered("a");
    rig.delivered("sub/b");
    rig.journal.note_mount("w", Some(MountNote::new(&rig.folder, false))).expect("recorded");
    rig.scan();
    assert_eq!((rig.knows(None), rig.knows(Some("sub"))), (0, 1), "only what is there is known");
    assert_eq!(rig.journal.mount("w").expect("it is read"), None);
    assert_eq!(rig.scanner.context.trouble(), None);
}

#[test]
fn a_watch_with_another_path_misses_no_mount() {
    let mut rig = rig("settle = '0s'");
    rig.delivered("a");
    rig.journal.note_mount("w", Some(MountNote::new(Path::new("/elsewhere"), true))).expect("recorded");
    rig.scan();
    assert_eq!(rig.knows(None), 0);
    assert_eq!(rig.journal.mount("w").expect("it is read"), None);
}

/// A mount that came back is there, whatever was noted; any will do.
#[test]
fn a_mount_that_is_there_is_noted_and_not_missed() {
    let at = Path::new("/proc");
    for before in [None, Some(MountNote::new(at, true)), Some(MountNote::new(Path::new("/elsewhere"), false))]
    {
        let rig = rig_at(tempfile::tempdir().expect("a folder"), at.to_owned(), "");
        rig.journal.note_mount("w", before).expect("recorded");
        let mut watched = WatchedFolder::of(&rig.scanner.context, Some(&rig.journal));
        assert!(matches!(watched.look(), Ok(crate::watched::Sight::Other(..))));
        assert!(!watched.misses_mount());
        assert_eq!(rig.journal.mount("w").expect("it is read"), Some(MountNote::new(at, false)));
    }
}

#[test]
fn what_is_gone_from_a_folder_that_was_no_mount_is_forgotten() {
    let mut rig = rig("settle = '0s'");
    rig.delivered("a");
    rig.delivered("sub/b");
    rig.scan();
    assert_eq!((rig.knows(None), rig.knows(Some("sub"))), (0, 0));
}

/// The file itself tells nothing: it was there before.
#[test]
fn a_done_file_that_appears_is_news_of_its_file() {
    let mut rig = rig("settle = '0s'\nsettle_marker = '.done'");
    fs::create_dir(rig.folder.join("sub")).expect("made");
    fs::write(rig.folder.join("sub/a.csv"), "content").expect("written");
    rig.scan();
    assert!(rig.found.try_recv().is_err(), "it isn't complete");
    fs::write(rig.folder.join("sub/a.csv.done"), "").expect("written");
    rig.look("sub/a.csv.done");
    assert_eq!(rig.found.try_recv().map(|found| found.item.path).ok(), Some(path("sub/a.csv")));
    assert!(rig.found.try_recv().is_err(), "the done-file is none to deliver");
}

#[test]
fn what_is_set_aside_is_shown_until_it_is_gone() {
    let mut rig = rig("");
    let aside = rig.folder.join(".skiff/set-aside/0");
    fs::create_dir_all(&aside).expect("made");
    fs::write(aside.join("file"), "content").expect("written");
    rig.scan();
    let problems = rig.scanner.context.problems();
    assert!(problems.iter().any(|problem| problem.what == "set aside"), "{problems:?}");
}

#[test]
fn a_pause_that_is_over_when_the_scan_ends_costs_no_folder() {
    let mut rig = rig("");
    fs::create_dir(rig.folder.join("sub")).expect("made");
    fs::write(rig.folder.join("sub/file"), "content").expect("written");
    rig.delivered("sub/file");
    let (root, waker) = (rig.root().expect("the folder is there"), Arc::clone(&rig.scanner.waker));
    rig.scanner.begin().expect("the journal works");
    waker.pause(true);
    rig.scanner.scan_folder(&root, None).expect("the journal works");
    waker.pause(false);
    rig.scanner.end().expect("the journal works");
    assert_eq!(rig.knows(Some("sub")), 1);
    rig.scan();
    assert_eq!(rig.knows(Some("sub")), 1);
    assert!(!rig.scanner.first_scan);
}

#[test]
fn what_a_crash_left_half_way_out_goes_back_though_nothing_is_removed_any_longer() {
    let mut rig = rig("after_delivery = 'keep'");
    let leaving = rig.folder.join(".skiff/leaving");
    fs::create_dir_all(&leaving).expect("made");
    fs::write(leaving.join("file"), "content").expect("written");
    rig.scan();
    assert!(rig.folder.join("file").exists());
}

/// A change within two seconds of another one moves no time there, so one after the read would not be noticed.
#[test]
fn on_fat_a_file_holds_still_for_longer_than_times_are_told_to() {
    let mut rig = rig("settle = '0s'");
    fs::write(rig.folder.join("a"), "content").expect("written");
    let root = rig.root().expect("the folder is there");
    assert_eq!(rig.scanner.least_rest, Duration::ZERO, "tests run on a disk that tells times exactly");
    rig.scanner.least_rest = settled::REST_ON_FAT;
    let begin = clock::now();
    rig.scanner.scan_all(&root).expect("the journal works");
    assert!(rig.found.try_recv().is_err());
    let due = rig.scanner.settler.next_due().expect("it is waited for");
    assert!(due.since(begin) > Duration::from_secs(2), "{due:?}");

    rig.start_again("settle = '0s'");
    rig.scan();
    assert_eq!(rig.found.try_recv().map(|found| found.item.path).ok(), Some(path("a")));
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

/// Nothing is due until it is back: before, its scanner looked for it without a pause.
#[test]
fn what_waits_in_a_folder_that_is_gone_is_not_waited_for() {
    let mut rig = rig("settle = '0s'");
    let _writer = fs::File::create(rig.folder.join("open")).expect("created");
    rig.scan();
    rig.scanner.tell_unsettled(clock::now() + Duration::from_secs(90));
    assert_eq!(rig.scanner.context.settling().0.files, 1);

    fs::remove_dir_all(&rig.folder).expect("removed");
    assert!(rig.root().is_none());
    assert!(rig.scanner.settler.next_due().is_none());
    rig.scanner.tell_unsettled(clock::now() + Duration::from_secs(180));
    assert_eq!(rig.scanner.context.settling().0.files, 0);

    fs::create_dir(&rig.folder).expect("made");
    fs::write(rig.folder.join("new"), "content").expect("written");
    rig.scan();
    assert_eq!(rig.found.try_recv().map(|found| found.item.path).ok(), Some(path("new")));
}

#[test]
fn empty_folders_that_are_hidden_or_too_deep_are_not_meant() {
    let mut rig = rig("empty_folders = 'deliver'\nhidden = 'skip'\nmax_depth = 1");
    for folder in ["a", "b/c/d", ".hidden", ".git/objects"] {
        fs::create_dir_all(rig.folder.join(folder)).expect("made");
    }
    rig.scan();
    assert_eq!(rig.scanner.context.folders.some(), [path("a")]);
}

/// No look ever gets into it, so none that is whole would ever come.
#[test]
fn a_mount_point_below_is_left_out_and_no_trouble() {
    let mut rig = rig_at(
        tempfile::tempdir().expect("a folder"),
        Path::new("/").to_owned(),
        "exclude = ['/[!p]*/', '/p[!r]*/']",
    );
    let root = Root::open(Path::new("/")).expect("it is there");
    rig.scanner.scan_all(&root).expect("the journal works");
    assert!(!rig.scanner.trouble);
    assert_eq!(rig.scanner.told.get("mount point"), Some(&1));
}

#[test]
fn folders_that_can_not_be_looked_into_are_shown_and_bounded() {
    let mut rig = rig("");
    for number in 0..100 {
        let shut = path(&format!("shut-{number}"));
        let error = SourceError::Denied { path: shut.to_string() };
        rig.scanner.closed.met(&rig.scanner.context, Some(&shut), &error);
    }
    let problems = rig.scanner.context.problems();
    assert_eq!(problems.len(), crate::status::MOST_PROBLEMS);
    assert!(problems.iter().all(|problem| problem.reason.contains("permission denied")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.what == "shut-0"), "{problems:?}");
}
