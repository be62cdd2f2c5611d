//! The destination: connections, and what is done there.
//!
//! [`session`] connects and logs in ([`auth`], [`host_key`], [`key_file`]); [`scp`] does the steps of a delivery over a
//! shell and `scp`. Lacks any decision about retries, conflicts or what is delivered.

pub mod auth;
pub mod error;
pub mod host_key;
pub mod key_file;
mod reason;
pub mod scp;
pub mod session;

pub use error::RemoteError;
pub(crate) use reason::Reason;
