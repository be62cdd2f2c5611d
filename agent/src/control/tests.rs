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
use crate::status::snapshot::tests::watch as watch_view;
use crate::status::snapshot::{Item, ItemState, Pending, Settling, Source};

/// A control of the one watch `sensors`, what it is to answer from, and where its orders come out.
fn control(home: &Path) -> (Arc<Control>, Arc<WatchContext>, mpsc::Receiver<Order>) {
    let text = format!(
        "state_dir = '{at}/state'\n[destination.d]\naddress = 'h'\nknown_hosts = ['/k']\n\
         [[watch]]\nname = 'sensors'\npath = '{at}/in'\nto = 'd'\n",
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
    let snapshot = Snapshot { watches: vec![idle], ..Snapshot::empty(Source::Agent) };
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

/// The dispatcher knows nothing of logs that grow.
#[tokio::test]
async fn a_log_that_is_not_delivered_to_its_end_is_more_than_is_counted() {
    let home = tempfile::tempdir().expect("a folder");
    let (control, context, _orders) = control(home.path());
    for (bytes, delivered_bytes, more) in
        [(Some(7), Some(7), false), (Some(7), Some(6), true), (None, Some(7), true)]
    {
        let log = Item { bytes, delivered_bytes, ..item("app.log", ItemState::Growing) };
        context.set_logs(vec![log]);
        let snapshot = control.look();
        assert_eq!((snapshot.pending.more, snapshot.watches[0].pending.more), (more, more), "{bytes:?}");
    }
}
