//! The dispatcher by itself: no scanner, no server.

use std::collections::HashMap;
use std::path::Path;

use skiff_common::delivery::record::HeldItem;
use skiff_common::delivery::{Event, Staged, Trouble};
use skiff_common::desk::Effect;
use skiff_common::{Fault, ShipmentKind, Stamp};
use skiff_config::Settings;
use tokio::sync::watch;

use super::*;
use crate::context::context;
use crate::journal::Trust;
use crate::reach::reach;
use crate::remote::Limiter;
use crate::status::snapshot::{Snapshot, Source};

/// Soon, on a machine that has much to do.
const SOON: Duration = Duration::from_secs(20);

fn settings(home: &Path) -> Settings {
    let at = home.display();
    let text = format!(
        "state_dir = '{at}/state'\n[destination.d]\naddress = 'u@127.0.0.1:1'\nknown_hosts = ['/k']\n\
         [[watch]]\nname = 'a'\npath = '{at}/a'\nto = 'd'\n[[watch]]\nname = 'b'\npath = '{at}/b'\nto = 'd'\n"
    );
    skiff_config::parse(&text, Path::new("skiff.toml"), &skiff_config::Environment::default())
        .expect("it is right")
}

fn remotes(settings: &Settings) -> HashMap<String, Arc<Remote>> {
    let limits = || (None, Arc::new(Limiter::new(None)));
    let one = |of: &skiff_config::Destination| (of.name.clone(), reach(of, &Arc::default(), limits()));
    settings.destinations.iter().map(one).collect()
}

fn dispatcher(home: &Path, once: bool, (journal, opening): (Option<Journal>, Opening)) -> Dispatcher {
    let settings = settings(home);
    let remotes = remotes(&settings);
    let muster = Arc::default();
    let contexts = settings.watches.iter().enumerate().map(|(number, watch)| {
        context(&settings, watch, (&remotes, &muster), (number, number), (None, once)).expect("it is right")
    });
    let setup = Setup {
        settings: &settings,
        contexts: contexts.collect(),
        admission: Arc::default(),
        journal,
        receipts: Arc::new(crate::crew::receipts(&settings).expect("there is room")),
        status: Arc::default(),
        remotes: remotes.values().cloned().collect(),
        orders: mpsc::channel(1).1,
        board: watch::channel(Arc::new(Snapshot::empty(Source::Agent))).0,
        paused: Vec::new(),
        service: false,
        scanner_ended: Arc::default(),
        once,
        retry: None,
    };
    Dispatcher::new(setup, opening, mpsc::channel(1).1)
}

fn alone(once: bool) -> (tempfile::TempDir, Dispatcher) {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(home.path().join("state")).expect("a new name");
    let nothing = Opening { pending: Vec::new(), held: Vec::new(), trust: Trust::Fresh, doubt: None };
    let dispatcher = dispatcher(home.path(), once, (None, nothing));
    (home, dispatcher)
}

fn shipment(watch: &str, destination: &str) -> Shipment {
    let stamp = Stamp { dev: 1, ino: 1, size: 1, mtime_ns: 0, ctime_ns: 0 };
    let path = RelPath::parse(b"file").expect("a path");
    Shipment::new(watch, destination, ShipmentKind::Single, vec![Item { path, stamp, mode: 0o644 }])
}

fn held(watch: &str) -> HeldItem {
    let path = RelPath::parse(b"held").expect("a path");
    let (item, reason) = (ItemId::of(watch, &path), "why".to_owned());
    HeldItem { item, watch: watch.to_owned(), path, stamp: 1, attempts: 3, reason, quarantined: true }
}

/// Nobody says so again: what looks at the clock sees no change.
#[tokio::test]
async fn a_destination_that_is_set_otherwise_rests_as_before() {
    let (home, mut dispatcher) = alone(false);
    dispatcher.rest("d", Some("it costs".to_owned())).await.expect("there is no journal");
    let new = remotes(&settings(home.path()));
    let change = Change { destinations: new.values().cloned().collect(), ..Change::default() };
    let order = |change| Order::Change(Box::new(change), tokio::sync::oneshot::channel().0);
    dispatcher.obey(order(change)).await.expect("there is no journal");
    assert!(new["d"].rests());
    dispatcher.obey(order(Change::default())).await.expect("there is no journal");
    assert!(dispatcher.rests.is_empty(), "it is gone");
}

/// Something is still on its way there, so the desk doesn't forget it.
#[tokio::test]
async fn a_destination_that_rested_is_gone_and_comes_back_to_work() {
    let (home, mut dispatcher) = alone(false);
    dispatcher.desk.plan(shipment("b", "d"), false, clock::now());
    dispatcher.rest("d", Some("it costs".to_owned())).await.expect("there is no journal");
    let order = |change| Order::Change(Box::new(change), tokio::sync::oneshot::channel().0);
    dispatcher.obey(order(Change::default())).await.expect("there is no journal");
    let settings = settings(home.path());
    let back = Change {
        retune: vec![("d".to_owned(), 2, destination_retry(&settings, "d"))],
        destinations: remotes(&settings).into_values().collect(),
        ..Change::default()
    };
    dispatcher.obey(order(back)).await.expect("there is no journal");
    let effects = dispatcher.desk.plan(shipment("a", "d"), false, clock::now());
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Start(..))), "{effects:?}");
}

/// Before anything is sent there; whoever looks at the clock and the link says more a moment later.
#[tokio::test]
async fn a_destination_that_begins_at_rest_does_so_for_the_reason_it_has() {
    let (home, mut dispatcher) = alone(false);
    let new = remotes(&settings(home.path()));
    for (before, told) in [(None, "not known yet"), (Some("it costs"), "it costs")] {
        dispatcher.rest("d", before.map(str::to_owned)).await.expect("there is no journal");
        let change = Change {
            destinations: new.values().cloned().collect(),
            rest: vec![("d".to_owned(), "not known yet".to_owned())],
            ..Change::default()
        };
        let order = Order::Change(Box::new(change), tokio::sync::oneshot::channel().0);
        dispatcher.obey(order).await.expect("there is no journal");
        assert!(new["d"].rests());
        assert_eq!(dispatcher.rests["d"], told);
    }
}

/// What is due begins something, and would be due at once again.
#[tokio::test]
async fn nothing_is_due_while_it_drains() {
    let (_home, mut dispatcher) = alone(false);
    let held = held("a");
    dispatcher.held.push(Reverse((Moment::START, 0, held.path, held.item)));
    assert_eq!(dispatcher.next_due(), Some(Moment::START));
    dispatcher.desk.drain();
    assert_eq!(dispatcher.next_due(), None);
}

#[tokio::test]
async fn a_delivery_ends_the_failure_of_the_destination() {
    let (_home, mut dispatcher) = alone(true);
    let (what, hint) = ("lost".to_owned(), String::new());
    dispatcher.outcome.destination_failure = Some(Failure { code: "connection", what, hint });
    dispatcher.delivered(&shipment("a", "d"), &[]);
    assert_eq!(dispatcher.outcome.destination_failure, None);
}

/// Its end waits for company, and nothing else may happen then.
#[tokio::test]
async fn what_was_delivered_a_while_ago_is_told_soon() {
    let (_home, mut dispatcher) = alone(false);
    let (board, _told) = watch::channel(Arc::new(Snapshot::empty(Source::Agent)));
    dispatcher.board = Board::new(board);
    let over = Effect::Delivered(shipment("a", "d"), Vec::new());
    dispatcher.apply(vec![over]).await.expect("there is no journal");
    dispatcher.publish();
    let idle = dispatcher.board.due();
    dispatcher.apply_late().await.expect("there is no journal");
    assert!(dispatcher.board.due() < idle);
}

/// It is the last that ends whose word counts.
#[tokio::test]
async fn any_scanner_that_is_idle_is_heard() {
    let (_home, mut dispatcher) = alone(true);
    let (_scanner, settled) = mpsc::channel(1);
    dispatcher.settled = settled;
    dispatcher.watches[&1].context.waker.answer(0);
    let (_never, mut stop) = watch::channel(Urgency::Run);
    let heard = dispatcher.next_input(&mut stop, Urgency::Run, None);
    assert!(matches!(tokio::time::timeout(SOON, heard).await, Ok(Input::ScannerIdle)));
}

#[tokio::test]
async fn what_is_cut_off_for_a_pause_has_not_failed() {
    let (_home, mut dispatcher) = alone(false);
    let one = shipment("a", "d");
    let id = one.id.clone();
    dispatcher.desk.plan(one, false, clock::now());
    let cut = Arc::new(Notify::new());
    cut.notify_one();
    let report = worker::until_cut(std::future::pending(), Some(cut)).await;
    assert_eq!(report.code(), None, "nor does it fail for those who trace");
    dispatcher.report((id.clone(), report)).await.expect("there is no journal");
    assert_eq!(Status::get(&dispatcher.status.failures), 0);
    assert!(dispatcher.begun[&id].runs, "where the pause is over, it goes on at once");
}

/// Others that deliver to the same destination may wait for it without a reason of their own.
#[tokio::test(start_paused = true)]
async fn a_watched_folder_that_hangs_is_told_of() {
    let (_home, dispatcher) = alone(false);
    let context = &dispatcher.watches[&0].context;
    assert_eq!(worker::told_if_late(context, std::future::ready(1)).await, 1);
    let hangs = worker::told_if_late(context, std::future::pending::<()>());
    assert!(tokio::time::timeout(Duration::from_secs(600), hangs).await.is_err());
    let problems = context.problems();
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].what.ends_with("/a") && problems[0].reason.contains("does not answer"),
        "{problems:?}"
    );
}

/// Some units allow less than the time between two looks at the disk.
#[tokio::test(start_paused = true)]
async fn the_watchdog_is_fed_while_there_is_no_space() {
    let (_home, mut dispatcher) = alone(false);
    dispatcher.pulse = Pulse::fed_every(Some(Duration::from_secs(1)));
    let hungry = dispatcher.pulse.due();
    dispatcher.wait_for_space().await.expect("it is not told to stop");
    assert!(dispatcher.pulse.due() > hungry);
}

#[tokio::test]
async fn what_fails_here_is_counted_as_it_is_traced() {
    let (_home, mut dispatcher) = alone(false);
    let one = shipment("a", "d");
    let id = one.id.clone();
    dispatcher.rest("d", Some("nothing starts".to_owned())).await.expect("there is no journal");
    let effects = dispatcher.desk.plan(one, false, clock::now());
    dispatcher.apply(effects).await.expect("there is no journal");
    let event = Event::Failed { fault: Fault::Retryable, destination: false, reason: "why".to_owned() };
    let report = worker::Report { event, failure: None, cut: false };
    dispatcher.report((id, report)).await.expect("there is no journal");
    let counted = dispatcher.status.failures_by_code();
    assert_eq!(counted.get("local"), Some(&1), "{counted:?}");
}

/// Nobody is left to deliver it, and a watch that comes back finds its files.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_configured_leaves_the_journal() {
    let home = tempfile::tempdir().expect("a folder");
    let state = home.path().join("state");
    let open = || tokio::task::block_in_place(|| Journal::open(&state)).expect("there is room");
    let (journal, _) = open();
    let records = [
        Record::Held(held("gone")),
        Record::Held(held("a")),
        Record::Planned(shipment("gone", "d")),
        Record::Planned(shipment("a", "gone")),
    ];
    journal.record(&records).await.expect("there is room");
    journal.close().await.expect("it closes");

    let (journal, opening) = open();
    let mut dispatcher = dispatcher(home.path(), false, (Some(journal), opening));
    let (_scanner, settled) = mpsc::channel(1);
    dispatcher.settled = settled;
    let (abort, stop) = watch::channel(Urgency::Run);
    abort.send_replace(Urgency::Abort);
    let mut stop = stop;
    stop.mark_changed();
    dispatcher.run(stop).await.expect("it is told to stop");
    drop(dispatcher);

    let (_journal, opening) = open();
    assert_eq!(opening.pending, []);
    assert_eq!(opening.held.iter().map(|held| &*held.watch).collect::<Vec<_>>(), ["a"]);
}

/// As at a start.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_of_a_watch_that_goes_is_forgotten() {
    let home = tempfile::tempdir().expect("a folder");
    let state = home.path().join("state");
    let open = || tokio::task::block_in_place(|| Journal::open(&state)).expect("there is room");
    let (journal, _) = open();
    journal.record(&[Record::Held(held("a")), Record::Held(held("b"))]).await.expect("there is room");
    journal.close().await.expect("it closes");

    let (journal, opening) = open();
    let mut dispatcher = dispatcher(home.path(), false, (Some(journal.clone()), opening));
    let item = held("a").item;
    assert!(!dispatcher.admission.is_new(item, 1));
    let destinations = dispatcher.remotes.clone();
    let change = Change { leave: vec![0], destinations, ..Change::default() };
    let order = Order::Change(Box::new(change), tokio::sync::oneshot::channel().0);
    dispatcher.obey(order).await.expect("there is room");
    dispatcher.apply_late().await.expect("there is room");
    assert!(dispatcher.admission.is_new(item, 1), "a watch that comes back finds it again");
    assert_eq!(dispatcher.desk.failures_of(item), 0);
    let left = tokio::task::block_in_place(|| journal.held()).expect("it is read");
    assert_eq!(left, [held("b")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_of_a_watch_that_is_gone_is_not_held() {
    let home = tempfile::tempdir().expect("a folder");
    let state = home.path().join("state");
    let opened = tokio::task::block_in_place(|| Journal::open(&state)).expect("there is room");
    let journal = opened.0.clone();
    let mut dispatcher = dispatcher(home.path(), false, (Some(opened.0), opened.1));
    let one = shipment("a", "d");
    let (id, item) = (one.id.clone(), one.item_id(&one.items[0]));
    let effects = dispatcher.desk.plan(one, false, clock::now());
    dispatcher.apply(effects).await.expect("there is room");
    let destinations = dispatcher.remotes.clone();
    let change = Change { leave: vec![0], destinations, ..Change::default() };
    let order = Order::Change(Box::new(change), tokio::sync::oneshot::channel().0);
    dispatcher.obey(order).await.expect("there is room");
    let spoiled = Staged::Spoiled(Trouble::retryable("why"));
    for event in [Event::Staged(vec![spoiled]), Event::Finished(Vec::new())] {
        let report = worker::Report { event, failure: None, cut: false };
        dispatcher.report((id.clone(), report)).await.expect("there is room");
    }
    dispatcher.apply_late().await.expect("there is room");
    assert_eq!((dispatcher.desk.shipments(), dispatcher.desk.failures_of(item)), (0, 0));
    assert_eq!(tokio::task::block_in_place(|| journal.held()).expect("it is read"), []);
}
