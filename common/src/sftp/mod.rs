//! The SFTP protocol, version 3, as a client speaks it: requests to bytes, bytes to replies.
//!
//! Owns the form of both, and OpenSSH's extensions. Promises that whatever a server sends ends in a reply or an error, in
//! bounded memory. Deliberately lacks which request waits for which reply, and everything that touches a file or a socket.

mod attributes;
mod reader;
mod reply;
mod request;
mod status;

pub use attributes::{Attributes, FileKind};
pub use reply::{Entry, Extensions, Limits, Replies, Reply, Space};
pub use request::{Open, Request};
pub use status::{Code, Status};

/// The longest reply that is taken, in bytes: four of OpenSSH's longest, since others list whole folders in one.
pub const LONGEST_REPLY: usize = 1 << 20;

/// Stands for the first reply, which answers no numbered request.
pub const GREETING: u32 = 0;

/// The server's bytes are no SFTP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SftpError {
    /// A length that no reply has; most often text of some other program.
    #[error("a reply of {0} bytes is none")]
    Length(u32),
    /// The kind is not one of a reply.
    #[error("the reply's kind {0} is unknown")]
    Kind(u8),
    /// The reply ended before its fields did.
    #[error("a reply of kind {0} is cut short")]
    Short(u8),
    /// It speaks another version.
    #[error("the server speaks version {0} of SFTP, and 3 is needed")]
    Version(u32),
}
