//! Lists of items: what waits, what is held, what grows, what was delivered last.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::held::AT_ONCE;
use super::reply::{Refusal, Reply, object};
use super::{Control, held};
use crate::dispatch::Order;
use crate::receipts;
use crate::status::snapshot::{Item, ItemState};

/// The most items of a list, and how many there are if nobody says.
const MOST_ITEMS: usize = 10_000;
const ITEMS: usize = 100;

/// A list, as the query wants it.
pub(super) async fn items(control: &Arc<Control>, query: &str) -> Result<Reply, Refusal> {
    let (mut state, mut wanted, mut limit) = ("all".to_owned(), String::new(), ITEMS);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "state" => state = value.into_owned(),
            "match" => wanted = value.into_owned(),
            "limit" => limit = value.parse().map_err(|_| Refusal::bad("limit is not a number"))?,
            _ => return Err(Refusal::bad(format!("{key:?} is not known here"))),
        }
    }
    let limit = limit.min(MOST_ITEMS);
    let of = |states: &[&str]| states.contains(&state.as_str());
    if !of(&["all", "pending", "held", "waiting", "quarantined", "growing", "delivered"]) {
        return Err(Refusal::bad(
            "state is one of all, pending, held, waiting, quarantined, growing, delivered",
        ));
    }
    let roster = control.roster.read().expect("nothing panics while it holds the lock").clone();
    let mut list = Vec::new();
    if of(&["all", "held", "waiting", "quarantined"]) {
        list.extend(held_items(control).await?);
    }
    if of(&["all", "pending"]) {
        // Few at most, which would be cut off behind a backlog.
        list.extend(roster.iter().flat_map(|context| context.settling().1));
        let (answer, answered) = oneshot::channel();
        let most = if wanted.is_empty() { limit } else { usize::MAX };
        control.orders.send(Order::Items(most, answer)).await.map_err(|_| Refusal::ended())?;
        list.extend(answered.await.map_err(|_| Refusal::ended())?);
    }
    if of(&["all", "growing"]) {
        list.extend(
            roster.iter().filter_map(|context| context.growing()).flat_map(|growing| growing.logs.clone()),
        );
    }
    list.retain(|item| {
        item.path.contains(&wanted)
            && match state.as_str() {
                "waiting" => item.state == ItemState::Waiting,
                "quarantined" => item.state == ItemState::Quarantined,
                _ => true,
            }
    });
    list.truncate(limit);
    if of(&["delivered"]) {
        let state_dir = control.state_dir.clone();
        let read = move || delivered_items(&state_dir, &wanted, limit);
        let read = tokio::task::spawn_blocking(read).await.map_err(Refusal::internal)?;
        list = read.map_err(Refusal::internal)?;
    }
    Ok(object(&list))
}

async fn held_items(control: &Arc<Control>) -> Result<Vec<Item>, Refusal> {
    Ok(held_now(control).await?.into_iter().map(held::item_of).collect())
}

/// What is held; what is held of files that are gone is forgotten.
pub(super) async fn held_now(
    control: &Arc<Control>,
) -> Result<Vec<skiff_common::delivery::record::HeldItem>, Refusal> {
    let asked = Arc::clone(control);
    let read = tokio::task::spawn_blocking(move || held::read(&asked)).await.map_err(Refusal::internal)?;
    let items = read.map_err(Refusal::internal)?;
    for some in items.gone.chunks(AT_ONCE) {
        control.orders.send(Order::Gone(some.to_vec())).await.map_err(|_| Refusal::ended())?;
    }
    Ok(items.there)
}

/// The latest deliveries whose path contains `wanted`, the latest first. Blocks.
pub(crate) fn delivered_items(
    state_dir: &std::path::Path,
    wanted: &str,
    limit: usize,
) -> std::io::Result<Vec<Item>> {
    let receipts = receipts::latest(state_dir, limit, |receipt| {
        receipt["path"].as_str().is_some_and(|path| path.contains(wanted))
    })?;
    let item = |receipt: serde_json::Value| {
        let text = |key: &str| receipt[key].as_str().unwrap_or_default().to_owned();
        Item {
            item: String::new(),
            watch: text("watch"),
            path: text("path"),
            state: ItemState::Delivered,
            bytes: receipt["size"].as_u64(),
            attempts: 0,
            reason: None,
            delivered: Some(text("time")),
            digest: Some(text("digest")),
            delivered_bytes: None,
        }
    };
    Ok(receipts.into_iter().map(item).collect())
}
