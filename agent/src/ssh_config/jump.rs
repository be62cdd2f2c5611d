//! `ProxyJump`: servers on the way, `[user@]host[:port]` or an `ssh://` address, with commas between.

use skiff_config::address::{self, Unclear};

/// A server on the way, as it was written: its name may be an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpSpec {
    /// Whom to log in as.
    pub user: Option<String>,
    /// The host.
    pub host: String,
    /// Its port.
    pub port: Option<u16>,
}

/// The servers, the first one first; none for `none`.
pub fn parse(text: &str) -> Result<Vec<JumpSpec>, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(Vec::new());
    }
    text.split(',').map(one).collect()
}

fn one(text: &str) -> Result<JumpSpec, String> {
    let wrong = || format!("{text:?} is no server to go through, write [user@]host[:port]");
    let plain = text.strip_prefix("ssh://").map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest));
    let (user, place) = address::split_user(plain);
    let (host, port) = split_port(place).ok_or_else(wrong)?;
    let port = port.map(|port| address::port(port).ok_or_else(wrong)).transpose()?;
    let bad = |part: &str| part.is_empty() || part.starts_with('-') || part.contains(char::is_whitespace);
    if bad(host) || user.is_some_and(bad) {
        return Err(wrong());
    }
    Ok(JumpSpec { user: user.map(str::to_owned), host: host.to_owned(), port })
}

/// The host without its brackets, and what is behind its colon. As for `ssh`, an IPv6 address alone needs no brackets.
pub fn split_port(place: &str) -> Option<(&str, Option<&str>)> {
    match address::split_port(place) {
        Ok(split) => Some(split),
        Err(Unclear::Colons) => Some((place, None)),
        Err(Unclear::Open | Unclear::Behind(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_on_the_way() {
        let spec = |user: Option<&str>, host: &str, port| JumpSpec {
            user: user.map(Into::into),
            host: host.into(),
            port,
        };
        for (text, wanted) in [
            ("a", vec![spec(None, "a", None)]),
            ("u@a:2200,b", vec![spec(Some("u"), "a", Some(2200)), spec(None, "b", None)]),
            ("u@[::1]:22", vec![spec(Some("u"), "::1", Some(22))]),
            ("ssh://u@a:22/", vec![spec(Some("u"), "a", Some(22))]),
            ("None", vec![]),
        ] {
            assert_eq!(parse(text), Ok(wanted), "{text}");
        }
        for text in ["", "a,", "a:0", "a:x", "-oProxyCommand=x", "@a", "[a", "u@-x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
