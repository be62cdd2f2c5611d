//! Addresses: `[user@]host[:port]`, with brackets around an IPv6 host that has a port.
//!
//! A host may not begin with `-`: it could end up where a program looks for options.

use std::net::Ipv6Addr;

use crate::address::{Unclear, split_port, split_user};
use crate::problem::{Complaint, code};
use crate::raw::Given;

/// The port where SSH listens unless told otherwise.
pub(crate) const SSH_PORT: u16 = 22;

/// Where a server is, and as whom to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    /// If one was said.
    pub(crate) port: Option<u16>,
}

/// An address.
pub(crate) fn address(given: Given<'_>) -> Result<Address, Complaint> {
    parse(given.text()?.trim())
}

/// The writing that reads back as the same.
pub(crate) fn show_address(user: Option<&str>, host: &str, port: Option<u16>) -> String {
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    if host.contains(':') { format!("{user}[{host}]{port}") } else { format!("{user}{host}{port}") }
}

fn parse(text: &str) -> Result<Address, Complaint> {
    let (user, rest) = split_user(text);
    let (host, port) = host_and_port(rest)?;
    Ok(Address { user: user.map(check_user).transpose()?, host: check_host(host)?, port: check_port(port)? })
}

/// Unlike for `ssh`, an address with colons has to stand in brackets: a port that was meant would be lost in it.
fn host_and_port(rest: &str) -> Result<(&str, Option<&str>), Complaint> {
    split_port(rest).map_err(|unclear| match unclear {
        Unclear::Open => wrong("has a [ without a ]"),
        Unclear::Behind(text) => wrong(format!("has {text:?} behind the host")),
        Unclear::Colons => {
            Complaint::new(code::BAD_ADDRESS, format!("{rest:?} does not tell the host from the port"))
                .suggest(format!("write \"[{rest}]\" if it is an IPv6 host"))
        }
    })
}

fn check_user(user: &str) -> Result<String, Complaint> {
    let is_bad = |c: char| c.is_control() || c.is_whitespace();
    if user.is_empty() || user.starts_with('-') || user.contains(is_bad) {
        return Err(wrong(format!("{user:?} is not a user name")));
    }
    Ok(user.to_owned())
}

fn check_host(host: &str) -> Result<String, Complaint> {
    if host.is_empty() {
        return Err(wrong("has no host"));
    }
    let is_v6 = host.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let zone_is_plain = host.split('%').skip(1).all(|zone| zone.chars().all(is_plain));
    if (is_v6 && zone_is_plain) || (!host.starts_with('-') && host.chars().all(is_plain)) {
        return Ok(host.to_owned());
    }
    Err(wrong(format!("{host:?} is not a host name")))
}

fn check_port(port: Option<&str>) -> Result<Option<u16>, Complaint> {
    let Some(port) = port else { return Ok(None) };
    crate::address::port(port).map(Some).ok_or_else(|| {
        Complaint::new(code::BAD_ADDRESS, format!("{port:?} is not a port"))
            .suggest("choose from 1 to 65535, or leave it out for 22")
    })
}

fn wrong(message: impl Into<String>) -> Complaint {
    Complaint::new(code::BAD_ADDRESS, message).suggest(r#"write "[user@]host[:port]""#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_fall_into_user_host_and_port() {
        for (text, user, host, port) in [
            ("host", None, "host", None),
            ("ingest@collector.example.net:2222", Some("ingest"), "collector.example.net", Some(2222)),
            ("me@example.org@host", Some("me@example.org"), "host", None),
            ("192.0.2.7:22", None, "192.0.2.7", Some(22)),
            ("[2001:db8::1]:2200", None, "2001:db8::1", Some(2200)),
            ("u@[fe80::1%eth0]", Some("u"), "fe80::1%eth0", None),
        ] {
            let address = Address { user: user.map(str::to_owned), host: host.to_owned(), port };
            assert_eq!(parse(text), Ok(address.clone()), "{text}");
            let shown = show_address(address.user.as_deref(), &address.host, address.port);
            assert_eq!(parse(&shown), Ok(address), "{shown}");
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            "@host",
            "user@",
            "-oProxyCommand=x",
            "u@-x",
            "-u@host",
            "a b",
            "a\0b",
            "höst",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "host:ssh",
            "::1",
            "[::1",
            "[::1]x",
            "[::1%e;x]",
            "u ser@host",
            "$(x)",
        ] {
            assert_eq!(parse(text).expect_err(text).code, code::BAD_ADDRESS, "{text}");
        }
    }
}
