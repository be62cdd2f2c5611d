//! The web page: one file, embedded, that asks nobody but us.

use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_FRAME_OPTIONS};

use super::reply::{Reply, with};

const PAGE: &str = include_str!("page.html");

/// The page. Holds nothing that is secret: what it shows it asks for, with the token.
pub(super) fn page() -> Reply {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    let nonce = format!("{:032x}", u128::from_ne_bytes(bytes));
    let body = PAGE.replace("__NONCE__", &nonce);
    let mut reply = with(StatusCode::OK, "text/html; charset=utf-8", body.into_bytes());
    // Only this very script runs, and it talks to us alone, whatever the name of a file may hold.
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    );
    let headers = reply.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_str(&policy).expect("it is ASCII"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    reply
}
