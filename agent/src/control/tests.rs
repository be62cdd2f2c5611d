//! What is answered, without a door: of watches that nobody scans, by a dispatcher that is played.

use std::collections::HashMap;
use std::path::Path;

use http_body_util::BodyExt as _;
use skiff_common::RelPath;
use skiff_config::Settings;

use super::*;
use crate::context::context;
use crate::reach::reach;
use crate::remote::Limiter;
use crate::status::Growing;
use crate::status::snapshot::tests::watch as watch_view;
use crate::status::snapshot::{
    Destination, DestinationState, Item, ItemState, LastError, Pending, Settling, Source,
};

/// A control of the one watch `sensors`, what it is to answer from, and where its orders come out.
fn control(home: &Path) -> (Arc<Control>, Arc<WatchContext>, mpsc::Receiver<Order>) {
    control_of(home, "")
}

/// The same where the watch has further rules.
fn control_of(home: &Path, rules: &str) -> (Arc<Control>, Arc<WatchContext>, mpsc::Receiver<Order>) {
    let text = format!(
        "state_dir = '{at}/state'\n[destination.d]\naddress = 'h'\nknown_hosts = ['/k']\n\
         [[watch]]\nname = 'sensors'\npath = '{at}/in'\nto = 'd'\n{rules}\n",
        at = home.display()
    );
    let environment = skiff_config::Environment::default();
    let settings: Settings =
        skiff_config::parse(&text, Path::new("skiff.toml"), &environment).expect("it is right");
    let limits = (None, Arc::new(Limiter::new(None)));
    let remotes =
        HashMap::from([("d".to_owned(), reach(&settings.destinations[0], &Arc::default(), limits))]);
    let own = (&remotes, &Arc::default());
    let context = context(&settings, &settings.watches[0], own, (0, 0), (None, false)).expect("it is right");
    let idle = crate::status::snapshot::Watch { pending: Pending::default(), ..watch_view() };
    let destination = Destination {
        name: "d".to_owned(),
        address: "h".to_owned(),
        state: DestinationState::Connected,
        retry_at_ms: None,
        failures: 0,
        running: 0,
        queued: 0,
        paused: None,
        last_error: None,
    };
    let snapshot =
        Snapshot { watches: vec![idle], destinations: vec![destination], ..Snapshot::empty(Source::Agent) };
    let (orders, obeyed) = mpsc::channel(1);
    let control = Control {
        status: Arc::default(),
        board: watch::channel(Arc::new(snapshot)).1,
        orders,
        reloads: mpsc::channel(1).0,
        journal: None,
        roster: Arc::new(RwLock::new(vec![Arc::clone(&context)])),
        paused: Arc::new(Paused::these(home, std::iter::empty())),
        state_dir: home.to_owned(),
        history: Arc::default(),
        settings: skiff_config::Control::default(),
    };
    (Arc::new(control), context, obeyed)
}

fn item(name: &str, state: ItemState) -> Item {
    let path = RelPath::parse(name.as_bytes()).expect("a path");
    Item::at("sensors", &path, 1, state)
}

/// The paths that are listed.
async fn listed(control: &Arc<Control>, query: &str) -> Vec<String> {
    let Ok(reply) = items::items(control, query).await else { panic!("{query} is refused") };
    let body = reply.into_body().collect().await.expect("it is in memory").to_bytes();
    let list: Vec<Item> = serde_json::from_slice(&body).expect("a list");
    list.into_iter().map(|item| item.path).collect()
}

/// A file that never settles is what somebody may look for while a backlog lasts.
#[tokio::test]
async fn what_does_not_settle_is_listed_however_much_is_pending() {
    let home = tempfile::tempdir().expect("a folder");
    let (control, context, mut orders) = control(home.path());
    context.set_settling(Settling::default(), vec![item("open.log", ItemState::Settling)]);
    tokio::spawn(async move {
        while let Some(order) = orders.recv().await {
            let Order::Items(most, answer) = order else { panic!("only items are asked for") };
            let pending = |number| item(&format!("{number}.csv"), ItemState::Pending);
            let _ = answer.send((0..1000.min(most)).map(pending).collect());
        }
    });
    for query in ["limit=3", "state=pending&limit=3"] {
        assert_eq!(listed(&control, query).await, ["open.log", "0.csv", "1.csv"], "{query}");
    }
    assert_eq!(listed(&control, "match=op%65n&limit=3").await, ["open.log"]);
}

/// The dispatcher knows nothing of logs that grow: how far they are, and how their destination takes them, is told all the same.
#[tokio::test]
async fn what_is_not_delivered_of_logs_is_pending_and_their_destination_in_trouble() {
    let home = tempfile::tempdir().expect("a folder");
    let (control, context, _orders) = control_of(home.path(), "mode = 'append'");
    let log = |bytes, delivered_bytes| Item {
        bytes,
        delivered_bytes: Some(delivered_bytes),
        ..item("app.log", ItemState::Growing)
    };
    let growing = |logs| Growing {
        watch: "sensors".to_owned(),
        destination: "d".to_owned(),
        logs,
        oldest_ms: Some(5),
        ..Growing::default()
    };
    control.status.grew("sensors", 100);
    control.status.grown_whole("sensors");

    context.set_growing(Growing { oldest_ms: None, ..growing(vec![log(Some(7), 7)]) });
    let snapshot = control.look();
    assert_eq!(snapshot.pending, Pending::default());
    assert_eq!(snapshot.destinations[0].state, DestinationState::Connected);
    let watch = &snapshot.watches[0];
    let before = watch_view();
    assert_eq!(watch.delivered_bytes, before.delivered_bytes + 100);
    assert_eq!(watch.delivered_files, before.delivered_files + 1);
    assert!(watch.last_delivery_ms > before.last_delivery_ms);
    assert_eq!(snapshot.totals.last_delivery_ms, watch.last_delivery_ms);

    let error = LastError { code: "no-shell".to_owned(), message: "why".to_owned(), at_ms: 3 };
    let failing = Growing {
        failures: 2,
        retry_at_ms: Some(9),
        last_error: Some(error),
        ..growing(vec![log(Some(7), 4), log(Some(2), 0)])
    };
    context.set_growing(failing);
    let snapshot = control.look();
    let behind = Pending { items: 2, bytes: 5, oldest_ms: Some(5), more: false };
    assert_eq!((&snapshot.pending, &snapshot.watches[0].pending), (&behind, &behind));
    let destination = &snapshot.destinations[0];
    assert_eq!((destination.state, destination.failures), (DestinationState::Waiting, 2));
    assert_eq!(destination.retry_at_ms, Some(9));
    assert_eq!(destination.last_error.as_ref().map(|error| &*error.code), Some("no-shell"));

    context.set_growing(growing(vec![log(None, 7)]));
    assert!(control.look().watches[0].pending.more, "nobody has seen how long it is");
}
