//! What can be asked, and by whom.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/status` | the [snapshot](crate::status::snapshot::Snapshot) |
//! | `GET /v1/history` | throughput and backlog over time |
//! | `GET /v1/items?state=STATE&match=TEXT&limit=N` | items, a list; `all`, `pending`, `held`, `waiting`, `quarantined`, `growing` or `delivered` |
//! | `POST /v1/retry` `{"items": ["path"], "all": false}` | how many are tried now |
//! | `POST /v1/pause`, `/v1/resume` `{"watch": "name"}` | which watches; without a name all |
//! | `POST /v1/reload` | what has changed, or all that is wrong |
//! | `GET /` | the web page |
//! | `GET /metrics`, `/healthz`, `/readyz` | for machines |

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, ORIGIN};
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::held;
use super::page::page;
use super::reply::{Reply, object, refusal, with};
use super::{Control, Reload};
use crate::context::WatchContext;
use crate::dispatch::Order;
use crate::metrics::{self, Format};
use crate::receipts;
use crate::route;
use crate::status::snapshot::{Item, ItemState, Snapshot};

/// Paths of a few thousand items.
const LARGEST_BODY: usize = 1 << 20;
/// The most items of a list, and how many there are if nobody says.
const MOST_ITEMS: usize = 10_000;
const ITEMS: usize = 100;
/// Items that one order names: what is recorded for them is one commit, which others wait for.
pub(super) const AT_ONCE: usize = 1000;
/// How long a dispatcher may take to answer, unless it hangs. A commit on slow flash takes seconds.
const ALIVE: Duration = Duration::from_secs(15);

/// Who asks.
#[derive(Clone)]
pub(super) enum Caller {
    /// The user that the agent runs as.
    Owner,
    /// Somebody with the token, or anybody where there is none.
    Network {
        /// What they have to show.
        token: Option<Arc<Zeroizing<String>>>,
    },
}

/// Why something isn't done.
pub(super) struct Refusal(StatusCode, &'static str, String);

impl Refusal {
    fn bad(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(StatusCode::BAD_REQUEST, "bad-request", why.into().to_string())
    }

    fn internal(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, "internal", why.into().to_string())
    }

    fn ended() -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, "ending", "the agent is ending".to_owned())
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    items: Vec<String>,
    all: bool,
    watch: Option<String>,
}

pub(super) async fn route(control: &Arc<Control>, caller: &Caller, request: Request<Incoming>) -> Reply {
    if let Err(Refusal(status, code, why)) = admit(caller, &request) {
        return refusal(status, code, &why);
    }
    let answer = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => Ok(page()),
        (&Method::GET, "/v1/status") => Ok(object(&snapshot(control).await)),
        (&Method::GET, "/v1/history") => Ok(object(&control.history.all())),
        (&Method::GET, "/v1/items") => items(control, request.uri().query().unwrap_or_default()).await,
        (&Method::GET, "/metrics") => {
            let accepted = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
            let format = Format::for_who_accepts(accepted.unwrap_or_default());
            let text = metrics::text(&snapshot(control).await, &control.status, format);
            Ok(with(StatusCode::OK, format.content_type(), text.into_bytes()))
        }
        (&Method::GET, "/healthz") => Ok(health(control).await),
        (&Method::GET, "/readyz") => {
            Ok(readiness(&snapshot(control).await, is_known(caller, &request).is_ok()))
        }
        (&Method::POST, "/v1/retry") => retry(control, request).await,
        (&Method::POST, "/v1/pause") => pause(control, request, true).await,
        (&Method::POST, "/v1/resume") => pause(control, request, false).await,
        (&Method::POST, "/v1/reload") => reload(control).await,
        (_, path) => Err(Refusal(StatusCode::NOT_FOUND, "not-found", format!("there is no {path} here"))),
    };
    answer.unwrap_or_else(|Refusal(status, code, why)| refusal(status, code, &why))
}

fn admit<B>(caller: &Caller, request: &Request<B>) -> Result<(), Refusal> {
    if request.method() == Method::GET && matches!(request.uri().path(), "/" | "/healthz" | "/readyz") {
        return Ok(());
    }
    is_known(caller, request)
}

/// Whether it comes from somebody who may see and do everything.
fn is_known<B>(caller: &Caller, request: &Request<B>) -> Result<(), Refusal> {
    let Caller::Network { token } = caller else { return Ok(()) };
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    match token {
        Some(token) => {
            let shown =
                header(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
            // Hashed, so that the time of the comparison tells nothing of the token.
            if blake3::hash(shown.as_bytes()) != blake3::hash(token.as_bytes()) {
                return Err(Refusal(
                    StatusCode::UNAUTHORIZED,
                    "token",
                    "the token is missing or wrong".to_owned(),
                ));
            }
        }
        // Without a token it is loopback; a name that leads here from a page elsewhere would let that page ask.
        None if !header(HOST).is_none_or(is_this_machine) => {
            let why = "ask by the name localhost or an address, or set a token".to_owned();
            return Err(Refusal(StatusCode::FORBIDDEN, "host", why));
        }
        // Browsers say which page asks. Nobody else's has the token, so with one a proxy may change the host's name.
        None if header(ORIGIN).is_some_and(|origin| !is_of(origin, header(HOST))) => {
            let why = "this page is not skiff's own".to_owned();
            return Err(Refusal(StatusCode::FORBIDDEN, "origin", why));
        }
        None => {}
    }
    // A page elsewhere can post here, but can't set a header of its own without being allowed to.
    if request.method() != Method::GET && request.headers().get("x-skiff").is_none() {
        return Err(Refusal(StatusCode::FORBIDDEN, "header", "the header X-Skiff: 1 is missing".to_owned()));
    }
    Ok(())
}

/// Whether a page from `origin` was served under this name.
fn is_of(origin: &str, host: Option<&str>) -> bool {
    let served_by = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    served_by.is_some() && served_by == host
}

fn is_this_machine(host: &str) -> bool {
    let name = if host.ends_with(']') { host } else { host.rsplit_once(':').map_or(host, |(name, _)| name) };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<std::net::IpAddr>().is_ok()
}

/// The dispatcher's, with what it doesn't know.
pub(super) async fn snapshot(control: &Arc<Control>) -> Snapshot {
    let asked = Arc::clone(control);
    tokio::task::spawn_blocking(move || asked.look()).await.expect("looking doesn't panic and isn't aborted")
}

pub(super) async fn items(control: &Arc<Control>, query: &str) -> Result<Reply, Refusal> {
    let (mut state, mut wanted, mut limit) = ("all".to_owned(), String::new(), ITEMS);
    for (key, value) in pairs(query) {
        match key {
            "state" => state = value,
            "match" => wanted = value,
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
        list.extend(roster.iter().flat_map(|context| context.logs()));
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
async fn held_now(control: &Arc<Control>) -> Result<Vec<skiff_common::delivery::record::HeldItem>, Refusal> {
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

async fn retry(control: &Arc<Control>, request: Request<Incoming>) -> Result<Reply, Refusal> {
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

async fn pause(control: &Arc<Control>, request: Request<Incoming>, paused: bool) -> Result<Reply, Refusal> {
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
    let live = route::of_names(roster.iter().map(|context| context.settings.name.as_str()), &watches);
    order(control, |answer| Order::Pause(live, paused, answer)).await?;
    Ok(object(&json!({ "watches": watches, "paused": paused })))
}

async fn reload(control: &Arc<Control>) -> Result<Reply, Refusal> {
    let (answer, answered) = oneshot::channel();
    control.reloads.send(Reload { answer }).await.map_err(|_| Refusal::ended())?;
    match answered.await.map_err(|_| Refusal::ended())? {
        Ok(reloaded) => Ok(object(&reloaded)),
        Err(problems) => {
            Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad-configuration", problems.join("\n")))
        }
    }
}

async fn health(control: &Arc<Control>) -> Reply {
    let answered = tokio::time::timeout(ALIVE, order(control, Order::Ping)).await;
    if matches!(answered, Ok(Ok(()))) {
        return with(StatusCode::OK, TEXT, b"ok\n".to_vec());
    }
    with(StatusCode::SERVICE_UNAVAILABLE, TEXT, b"the dispatcher doesn't answer\n".to_vec())
}

const TEXT: &str = "text/plain; charset=utf-8";

/// With the reasons, folders and addresses among them, only for those who may know them.
fn readiness(snapshot: &Snapshot, tells_why: bool) -> Reply {
    let folders = snapshot.watches.iter().filter_map(|watch| watch.trouble.as_ref());
    let destinations = snapshot.destinations.iter().filter(|destination| destination.failures > 0);
    let troubles: Vec<String> = folders
        .cloned()
        .chain(destinations.map(|destination| {
            let why = destination.last_error.as_ref().map_or("", |error| &error.message);
            format!("destination {}: {why}", destination.name)
        }))
        .collect();
    match troubles.is_empty() {
        true if snapshot.pid != 0 => with(StatusCode::OK, TEXT, b"ready\n".to_vec()),
        _ if !tells_why => with(StatusCode::SERVICE_UNAVAILABLE, TEXT, b"not ready\n".to_vec()),
        true => with(StatusCode::SERVICE_UNAVAILABLE, TEXT, b"starting\n".to_vec()),
        false => with(StatusCode::SERVICE_UNAVAILABLE, TEXT, (troubles.join("\n") + "\n").into_bytes()),
    }
}

async fn order(control: &Control, order: impl FnOnce(oneshot::Sender<()>) -> Order) -> Result<(), Refusal> {
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

/// The keys and values of a query, unescaped.
fn pairs(query: &str) -> impl Iterator<Item = (&str, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(key, value)| (key, unescaped(value)))
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, digits.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_unescaped() {
        let read: Vec<_> = pairs("match=a%2Fb+c%&limit=5&x").collect();
        assert_eq!(read, [("match", "a/b c%".to_owned()), ("limit", "5".to_owned()), ("x", String::new())]);
    }

    #[test]
    fn only_our_own_page_asks() {
        assert!(is_of("http://127.0.0.1:9723", Some("127.0.0.1:9723")));
        assert!(is_of("https://skiff.example.net", Some("skiff.example.net")));
        for origin in ["null", "http://evil.example", "http://127.0.0.1:1", "127.0.0.1:9723", ""] {
            assert!(!is_of(origin, Some("127.0.0.1:9723")), "{origin}");
        }
        assert!(!is_of("http://127.0.0.1:9723", None));
    }

    #[test]
    fn only_names_of_this_machine_are_answered_without_a_token() {
        for good in ["localhost", "localhost:9723", "127.0.0.1:9723", "[::1]:9723", "[::1]", "192.0.2.1"] {
            assert!(is_this_machine(good), "{good}");
        }
        for bad in ["evil.example:9723", "localhost.evil.example", "", "a@127.0.0.1.nip.io:80"] {
            assert!(!is_this_machine(bad), "{bad}");
        }
    }
}
