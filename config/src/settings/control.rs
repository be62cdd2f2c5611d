//! Who may ask a running agent what it does.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The `[control]` table. The socket in the state folder is always there; this is about the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Where metrics, health and the web page are served, if anywhere.
    pub listen: Option<SocketAddr>,
    /// A file with the token that has to be shown. Always set where [`listen`](Self::listen) is not loopback.
    pub token_file: Option<PathBuf>,
}
