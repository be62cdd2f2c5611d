//! A crew whose dispatcher is the test.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use skiff_common::delivery::record::{Delivered, Record};
use skiff_common::{Algorithm, Digest, Item, ItemId, RelPath, Shipment, ShipmentKind, Stamp};
use tokio::sync::{Notify, mpsc, watch};

use super::super::{Ends, Shared};
use super::*;
use crate::journal::Journal;
use crate::remote::Limiter;

const SOON: Duration = Duration::from_secs(30);

/// Watches, each with its own lines.
fn settings(home: &Path, watches: &[(&str, &str)]) -> Settings {
    let at = home.display();
    let watch = |(name, rules): &(&str, &str)| {
        format!("[[watch]]\nname = '{name}'\npath = '{at}/{name}'\nto = 'd'\n{rules}\n")
    };
    let text = format!(
        "state_dir = '{at}/state'\n[destination.d]\naddress = 'u@127.0.0.1:1'\nknown_hosts = ['/k']\n{}",
        watches.iter().map(watch).collect::<String>()
    );
    skiff_config::parse(&text, Path::new("skiff.toml"), &Environment::default()).expect("it is right")
}

struct Rig {
    crew: Crew,
    journal: Journal,
    contexts: Vec<Arc<WatchContext>>,
    orders: mpsc::Receiver<Order>,
    _found: mpsc::Receiver<crate::scan::Settled>,
}

/// Nobody works yet. The journal knows the folder of the watch `known`.
fn rig(settings: &Settings, known: &str) -> Rig {
    let (journal, _) = Journal::open(&settings.state_dir).expect("it opens");
    let path = RelPath::parse(b"file").expect("a path");
    let stamp = Stamp { dev: 1, ino: 1, size: 1, mtime_ns: 1, ctime_ns: 1 };
    let (item, digest) = (ItemId::of(known, &path), Digest::new(Algorithm::Blake3, [0; 32]));
    let items = vec![Item { path, stamp, mode: 0o644 }];
    let shipment = Shipment::new(known, "d", ShipmentKind::Batch, items).id;
    let folder = ItemId::of_folder(known, None);
    let delivered = vec![Delivered { item, folder, stamp: 1, digest }];
    journal.record_blocking(&[Record::Finished { shipment, delivered }]).expect("it is recorded");

    let overall = Arc::new(Limiter::new(None));
    let remote = reach(&settings.destinations[0], &Arc::default(), (None, Arc::clone(&overall)));
    let shared = Shared {
        journal: Some(journal.clone()),
        status: Arc::default(),
        remotes: HashMap::from([("d".to_owned(), remote)]),
        overall,
        muster: Arc::default(),
        admission: Arc::default(),
        roster: crate::control::Roster::default(),
    };
    let watches = settings.watches.iter().enumerate();
    let contexts = watches.map(|(number, watch)| {
        let reached = (&shared.remotes, &shared.muster);
        context(settings, watch, reached, (number, number), (None, false)).expect("it is right")
    });
    let contexts = contexts.collect();
    let (found, settled) = mpsc::channel(16);
    let (order, orders) = mpsc::channel(1);
    let (live, _) = watch::channel(Vec::new());
    let scanner_ended = Arc::new(Notify::new());
    let ends = Ends { found, scanner_ended, orders: order, reloads: mpsc::channel(1).1, live };
    let crew = Crew::new(settings, None, shared, ends);
    Rig { crew, journal, contexts, orders, _found: settled }
}

fn folders(journal: &Journal) -> Vec<ItemId> {
    journal.folders().expect("it is read")
}

/// The scan of a watch that begins at once may be over before the next one has begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_comes_to_the_first_watch_alone_forgets_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(home.path().join("a")).expect("a new name");
    let settings = settings(home.path(), &[("a", ""), ("follows", "mode = 'append'"), ("c", "")]);
    let Rig { mut crew, journal, contexts, .. } = rig(&settings, "c");
    // Without its receipts no follower begins, and the start ends there.
    std::fs::create_dir(settings.state_dir.join("receipts.jsonl")).expect("a new name");
    let (first, idle) = (Arc::clone(&contexts[0]), Arc::new(Notify::new()));
    first.waker.tell_idle(&idle);

    assert!(crew.start(contexts).is_err());
    tokio::time::timeout(SOON, idle.notified()).await.expect("the first is scanned");
    assert_eq!(folders(&journal), [ItemId::of_folder("c", None)]);
    first.waker.stop();
}

/// Who stays is scanned at any time, while the one that changes has left and its successor has not begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_scan_during_a_reload_forgets_nothing_of_a_watch_that_changes() {
    let home = tempfile::tempdir().expect("a folder");
    let watches = |settle| settings(home.path(), &[("a", ""), ("b", settle)]);
    let Rig { mut crew, journal, contexts, mut orders, _found } = rig(&watches("settle = '1s'"), "b");
    let census = crew.census.clone().expect("there is a journal");
    for context in &contexts {
        census.join(context.number);
    }
    crew.contexts.clone_from(&contexts);
    let scan = |watch, meets: &[&str]| {
        census.begin(watch).expect("it is read");
        for name in meets {
            census.met(ItemId::of_folder(name, None));
        }
        census.end(watch, true).expect("the journal works");
    };
    scan(1, &["b"]);

    let dispatcher = async {
        let Some(Order::Change(change, answer)) = orders.recv().await else { panic!("it is told") };
        assert_eq!((&*change.leave, change.join.len()), (&[1][..], 1));
        scan(0, &[]);
        scan(0, &[]);
        answer.send(()).expect("the crew waits");
    };
    let (changed, ()) = tokio::join!(crew.change(watches("settle = '2s'")), dispatcher);

    assert_eq!(changed.expect("it is taken up").changed, ["b"]);
    scan(0, &[]);
    scan(1, &[]);
    assert_eq!(folders(&journal), [ItemId::of_folder("b", None)], "the successor may meet it");
    crew.contexts.iter().for_each(|context| context.waker.stop());
}
