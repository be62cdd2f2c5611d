//! Who may ask: the owner through the socket, and by TCP who shows the token, or this machine's own programs and page.

use std::sync::Arc;

use hyper::header::{AUTHORIZATION, HOST, ORIGIN};
use hyper::{Method, Request, StatusCode};
use skiff_config::address::split_port;
use zeroize::Zeroizing;

use super::reply::Refusal;

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

/// Whether this may be answered.
pub(super) fn admit<B>(caller: &Caller, request: &Request<B>) -> Result<(), Refusal> {
    if request.method() == Method::GET && matches!(request.uri().path(), "/" | "/healthz" | "/readyz") {
        return Ok(());
    }
    is_known(caller, request)
}

/// Whether it comes from somebody who may see and do everything.
pub(super) fn is_known<B>(caller: &Caller, request: &Request<B>) -> Result<(), Refusal> {
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
    let name = split_port(host).map(|(name, _)| name);
    name.is_ok_and(|name| name == "localhost" || name.parse::<std::net::IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

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
