//! What can be asked. By whom: `admit`.
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

use hyper::body::Incoming;
use hyper::header::ACCEPT;
use hyper::{Method, Request, StatusCode};

use super::Control;
use super::admit::{Caller, admit, is_known};
use super::items::items;
use super::orders::{order, pause, reload, retry};
use super::page::page;
use super::reply::{Refusal, Reply, object, refusal, with};
use crate::dispatch::Order;
use crate::metrics::{self, Format};
use crate::status::snapshot::Snapshot;

/// How long a dispatcher may take to answer, unless it hangs. A commit on slow flash takes seconds.
const ALIVE: Duration = Duration::from_secs(15);

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

/// The dispatcher's, with what it doesn't know.
pub(super) async fn snapshot(control: &Arc<Control>) -> Snapshot {
    let asked = Arc::clone(control);
    tokio::task::spawn_blocking(move || asked.look()).await.expect("looking doesn't panic and isn't aborted")
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
