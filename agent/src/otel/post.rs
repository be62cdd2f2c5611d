//! One HTTP request to the collector, on the thread of who exports.

use std::future::ready;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::net::TcpStream;

/// The agent's end waits for what is still to be sent, and has to be quick.
const PATIENCE: Duration = Duration::from_secs(3);
/// What a collector says to an export is a few words.
const LONGEST_ANSWER: usize = 1 << 20;

/// Posts and waits for the answer.
#[derive(Debug)]
pub(super) struct Post;

impl HttpClient for Post {
    // As `async_trait` would write it.
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(ready(send(request)))
    }
}

/// Blocks. The threads that export are not tokio's, so it has a runtime of its own.
fn send(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the collector doesn't answer");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange(request)).await.map_err(late)? })
}

async fn exchange(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (mut head, body) = request.into_parts();
    if head.uri.scheme_str() != Some("http") {
        return Err("OTLP goes over http:// here, to a collector that passes it on".into());
    }
    let authority = head.uri.authority().ok_or("the collector's address names no host")?.clone();
    let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
    head.headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
    head.uri = head.uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(Request::from_parts(head, Full::new(body))).await?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, LONGEST_ANSWER).collect().await?.to_bytes();
    connection.abort();
    Ok(Response::from_parts(head, body))
}
