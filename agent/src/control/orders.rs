//! What is passed on to the dispatcher and the crew: retry, pause and resume, reload.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::held::AT_ONCE;
use super::items::held_now;
use super::reply::{Refusal, Reply, object};
use super::{Control, Reload, held};
use crate::context::WatchContext;
use crate::dispatch::Order;
use crate::route;

/// Paths of a few thousand items.
const LARGEST_BODY: usize = 1 << 20;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    items: Vec<String>,
    all: bool,
    watch: Option<String>,
}

pub(super) async fn retry(control: &Arc<Control>, request: Request<Incoming>) -> Result<Reply, Refusal> {
    let asked: Asked = body(request).await?;
    if asked.items.is_empty() && !asked.all {
        return Err(Refusal::bad("name items, or say all"));
    }
    let mut chosen = held_now(control).await?;
    let unknown: Vec<_> =
        asked.items.iter().filter(|wanted| !chosen.iter().any(|held| held::is_named(held, wanted))).collect();
    if !unknown.is_empty() {
        let names: Vec<_> = unknown.iter().map(|name| format!("{name:?}")).collect();
        let why = format!("nothing waits or is quarantined under {}", names.join(", "));
        return Err(Refusal(StatusCode::NOT_FOUND, "no-such-item", why));
    }
    if !asked.all {
        chosen.retain(|held| asked.items.iter().any(|wanted| held::is_named(held, wanted)));
    }
    let count = chosen.len();
    for some in chosen.chunks(AT_ONCE) {
        order(control, |answer| Order::Retry(some.to_vec(), answer)).await?;
    }
    if asked.all {
        order(control, Order::RetryDestinations).await?;
    }
    Ok(object(&json!({ "retried": count })))
}

pub(super) async fn pause(
    control: &Arc<Control>,
    request: Request<Incoming>,
    paused: bool,
) -> Result<Reply, Refusal> {
    let asked: Asked = body(request).await?;
    let roster = control.roster.read().expect("nothing panics while it holds the lock").clone();
    let base = |context: &Arc<WatchContext>| route::base(&context.settings.name).to_owned();
    let mut watches: Vec<String> = roster.iter().map(base).collect();
    watches.dedup();
    if let Some(watch) = asked.watch {
        if !watches.contains(&watch) {
            let why = format!("there is no watch {watch:?}; there are {}", watches.join(", "));
            return Err(Refusal(StatusCode::NOT_FOUND, "no-such-watch", why));
        }
        watches = vec![watch];
    }
    let (file, names) = (Arc::clone(&control.paused), watches.clone());
    let written = tokio::task::spawn_blocking(move || file.set(&names, paused)).await;
    let written = written.map_err(Refusal::internal)?;
    written.map_err(|error| Refusal::internal(format!("cannot write down what is paused: {error}")))?;
    let names = watches.clone();
    order(control, |answer| Order::Pause(names, paused, answer)).await?;
    Ok(object(&json!({ "watches": watches, "paused": paused })))
}

pub(super) async fn reload(control: &Arc<Control>) -> Result<Reply, Refusal> {
    let (answer, answered) = oneshot::channel();
    control.reloads.send(Reload { answer }).await.map_err(|_| Refusal::ended())?;
    match answered.await.map_err(|_| Refusal::ended())? {
        Ok(reloaded) => Ok(object(&reloaded)),
        Err(problems) => {
            Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad-configuration", problems.join("\n")))
        }
    }
}

pub(super) async fn order(
    control: &Control,
    order: impl FnOnce(oneshot::Sender<()>) -> Order,
) -> Result<(), Refusal> {
    let (answer, answered) = oneshot::channel();
    control.orders.send(order(answer)).await.map_err(|_| Refusal::ended())?;
    answered.await.map_err(|_| Refusal::ended())
}

async fn body(request: Request<Incoming>) -> Result<Asked, Refusal> {
    let bytes = Limited::new(request.into_body(), LARGEST_BODY).collect().await.map_err(Refusal::bad)?;
    let bytes = bytes.to_bytes();
    if bytes.is_empty() {
        return Ok(Asked::default());
    }
    serde_json::from_slice(&bytes).map_err(Refusal::bad)
}
