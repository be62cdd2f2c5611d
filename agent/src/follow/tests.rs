//! A follower by itself, with no destination that answers.

use std::collections::HashMap;
use std::fs;

use skiff_common::digest::Hasher;
use skiff_common::{Algorithm, RelPath};
use skiff_config::Environment;

use super::*;
use crate::context::context;
use crate::crew::receipts;
use crate::journal::MountNote;
use crate::reach::reach;
use crate::remote::Limiter;
use crate::route::Muster;

const LOG: &[u8] = b"what is looked at again\n";

/// A follower of a watch at `path`, and what it needs.
struct Rig {
    _home: tempfile::TempDir,
    context: Arc<WatchContext>,
    follower: Follower,
    path: PathBuf,
}

/// Of `path`, or of a folder with one log; by what the journal says that is made with the path, if any.
fn rig(path: Option<&str>, rules: &str, journal: impl FnOnce(&Path, &Path) -> Option<Journal>) -> Rig {
    let home = tempfile::tempdir().expect("a folder");
    let at = home.path().display();
    fs::create_dir_all(home.path().join("in")).expect("there is room");
    fs::create_dir_all(home.path().join("state")).expect("there is room");
    fs::write(home.path().join("in/app.log"), LOG).expect("there is room");
    let path = path.map_or_else(|| home.path().join("in"), PathBuf::from);
    let text = format!(
        "state_dir = '{at}/state'\n[destination.d]\naddress = 'u@127.0.0.1:1'\n\
         [[watch]]\nname = 'logs'\npath = '{}'\nto = 'd'\nmode = 'append'\n{rules}\n",
        path.display()
    );
    let config = home.path().join("skiff.toml");
    fs::write(&config, text).expect("there is room");
    let settings = skiff_config::load(&config, &Environment::from_process()).expect("it is right");
    let status = Arc::new(Status::default());
    let limits = (None, Arc::new(Limiter::new(None)));
    let remotes = HashMap::from([("d".to_owned(), reach(&settings.destinations[0], &status, limits))]);
    let of = (&remotes, &Arc::new(Muster::default()));
    let context = context(&settings, &settings.watches[0], of, (0, 0), (None, false)).expect("it is right");
    let state = (receipts(&settings).expect("there is room"), &*settings.state_dir);
    let journal = (journal(&settings.state_dir, &path), true);
    let follower = Follower::new(Arc::clone(&context), journal, state, status).expect("the journal works");
    Rig { _home: home, context, follower, path }
}

/// A journal by which a file system was mounted at `path`.
fn with_mount(state: &Path, path: &Path) -> Journal {
    let (journal, _) = Journal::open(state).expect("it opens");
    journal.note_mount("logs", Some(MountNote::new(path, false))).expect("recorded");
    journal
}

fn delivered_log(file: FileId) -> Log {
    Log {
        id: LogId::of(file, 0),
        file,
        round: 0,
        path: RelPath::parse(b"app.log").expect("a path"),
        name: None,
        moving: None,
        shipped: 0,
        digests: Hasher::for_destination(Algorithm::Sha256).digests(),
        verified: 0,
        renamed: false,
        unproven: false,
        ended: false,
    }
}

/// By the folder below it, all logs would have vanished.
#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_is_missing_at_the_start_is_waited_for() {
    let mut rig = rig(None, "", |state, path| Some(with_mount(state, path)));
    assert!(rig.follower.root().expect("the journal works").is_none());
    let trouble = rig.context.trouble().expect("a file system is missing");
    assert!(trouble.contains("paused"), "{trouble}");
}

/// What was mounted is reached another way now.
#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_says_that_no_mount_is_missing() {
    let mut rig = rig(None, "", |state, path| {
        let journal = with_mount(state, path);
        let root = Root::open(path).expect("it is there");
        let log = root.open_item(&RelPath::parse(b"app.log").expect("a path")).expect("it is there");
        journal
            .note_growth("logs", vec![delivered_log(log.id().expect("it is open"))], &[])
            .expect("recorded");
        Some(journal)
    });
    assert!(rig.follower.root().expect("the journal works").is_some());
    assert_eq!(rig.context.trouble(), None);
}

/// Others go on: before, nothing of such a watch was followed. `/proc` is a mount point wherever tests run.
#[tokio::test(flavor = "multi_thread")]
async fn a_mount_point_below_does_not_end_a_look() {
    let mut rig = rig(Some("/"), "exclude = ['/[!p]*/', '/p[!r]*/']", |_, _| None);
    let root = Root::open(&rig.path).expect("it is there");
    assert!(rig.follower.folder.look(&root, &rig.context, &rig.follower.ledger).is_some());
}

/// Where the patterns name it, people are told, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_path_is_too_long_is_told_of() {
    let mut rig = rig(None, "include = ['**/*.log']", |_, _| None);
    let mut deep = rig.path.clone();
    for _ in 0..7 {
        deep.push("d".repeat(240));
    }
    fs::create_dir_all(&deep).expect("there is room");
    fs::write(deep.join("deep.log"), LOG).expect("there is room");
    fs::write(deep.join("other.txt"), LOG).expect("there is room");
    let root = Root::open(&rig.path).expect("it is there");
    let mut look = || {
        let seen = rig.follower.folder.look(&root, &rig.context, &rig.follower.ledger);
        let paths: Vec<_> = seen.expect("it can be looked at").into_iter().map(|seen| seen.path).collect();
        assert_eq!(paths, [Some(RelPath::parse(b"app.log").expect("a path"))]);
        rig.context.problems()
    };
    let told = look();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].what.ends_with("/deep.log") && told[0].reason.contains("1695 bytes"), "{told:?}");
    assert_eq!(look(), told, "at the same time: not again");
}

/// As on file systems that are another device each time that they are mounted.
#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_is_met_under_any_name_though_its_device_has_another_number() {
    let mut rig = rig(None, "include = ['*.log']", |state, path| {
        let (journal, _) = Journal::open(state).expect("it opens");
        let root = Root::open(path).expect("it is there");
        let log = root.open_item(&RelPath::parse(b"app.log").expect("a path")).expect("it is there");
        let id = log.id().expect("it is open");
        let before = FileId { dev: id.dev + 1, ..id };
        journal.note_growth("logs", vec![delivered_log(before)], &[]).expect("recorded");
        Some(journal)
    });
    fs::rename(rig.path.join("app.log"), rig.path.join("app.log.1")).expect("it is there");
    fs::write(rig.path.join("app.log.2"), LOG).expect("there is room");
    let root = Root::open(&rig.path).expect("it is there");
    let seen = rig.follower.folder.look(&root, &rig.context, &rig.follower.ledger);
    let paths: Vec<_> = seen.expect("it can be looked at").into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, [Some(RelPath::parse(b"app.log.1").expect("a path"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_to_end_reads_no_log_to_its_end() {
    let Rig { _home, context, mut follower, path } = rig(None, "", |_, _| None);
    let root = Root::open(&path).expect("it is there");
    let seen = follower.folder.look(&root, &context, &follower.ledger).expect("it can be looked at");
    let mut hasher = Hasher::for_destination(Algorithm::Blake3);
    hasher.update(LOG);
    let mut look = || follower.begins_with(&root, seen[0].file, LOG.len() as u64, &hasher.digests().blake3);

    assert!(matches!(look(), Ok(Outcome::Same(true))));
    context.waker.stop();
    assert!(matches!(look(), Err(Unended::Stopped)));
}
