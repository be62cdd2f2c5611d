//! The destination: connections, and what is done there.
//!
//! [`session`] connects and logs in, with [`host_key`] and [`key_file`]; [`Remote`] does the steps of a delivery, by the
//! transport that serves there: [`scp`], over a `shell`, or [`sftp`]. Lacks any decision about retries, conflicts or
//! what is delivered.

mod channels;
mod connection;
pub mod error;
pub mod host_key;
pub mod key_file;
mod placing;
mod reason;
pub mod scp;
pub mod session;
pub mod sftp;
pub(crate) mod shell;
mod space;
mod survey;
mod sweep;
mod tail;
mod traffic;
mod transport;

pub use connection::Link;
pub(crate) use connection::{Connection, nonce};
pub use error::RemoteError;
pub(crate) use placing::Conflicts;
pub(crate) use reason::Reason;
pub use space::Room;
pub use traffic::Limiter;
pub(crate) use traffic::Traffic;
pub use transport::{Probed, Remote};
