//! Where to listen: `address:port`, with brackets around an IPv6 address. Names are not looked up: who a service is open
//! to must not depend on a resolver.

use std::net::SocketAddr;

use crate::problem::{Complaint, code};
use crate::raw::Given;

/// An address to listen at; none if empty.
pub(crate) fn listen(given: Given<'_>) -> Result<Option<SocketAddr>, Complaint> {
    let text = given.text()?;
    if text.is_empty() {
        return Ok(None);
    }
    let address: Option<SocketAddr> = text.trim().parse().ok();
    address.filter(|address| address.port() != 0).map(Some).ok_or_else(|| {
        Complaint::new(code::BAD_LISTEN, format!("{text:?} is not an address and a port"))
            .suggest(r#"write one such as "127.0.0.1:9723" or "[::1]:9723""#)
    })
}

/// The writing that reads back as the same.
pub(crate) fn show_listen(address: Option<SocketAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}
