//! Answers: JSON, or text.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

/// An answer.
pub(super) type Reply = Response<Full<Bytes>>;

/// This, as JSON.
pub(super) fn object(value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) => with(StatusCode::OK, "application/json", body),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string()),
    }
}

/// No: a stable word, and why.
pub(super) fn refusal(status: StatusCode, code: &str, why: &str) -> Reply {
    let body = json!({ "code": code, "error": why }).to_string();
    with(status, "application/json", body.into_bytes())
}

/// Text of this type.
pub(super) fn with(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    reply
}

/// Why something isn't done.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) &'static str, pub(super) String);

impl Refusal {
    pub(super) fn bad(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(StatusCode::BAD_REQUEST, "bad-request", why.into().to_string())
    }

    pub(super) fn internal(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, "internal", why.into().to_string())
    }

    pub(super) fn ended() -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, "ending", "the agent is ending".to_owned())
    }
}
