//! How a request ended.

use std::fmt;

use bytes::Bytes;

use crate::escape::escaped_up_to;

/// What the server says became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// It was done.
    Ok,
    /// There is no more to read.
    Eof,
    /// There is no such file.
    NoSuchFile,
    /// The login user may not.
    PermissionDenied,
    /// Something failed; OpenSSH tells no more of a full disk, say, or of a name that is taken.
    Failure,
    /// The request makes no sense to it, or the name is too long.
    BadMessage,
    /// It can't do that.
    Unsupported,
    /// The name is taken, from servers that tell.
    Exists,
    /// The file system can't be written.
    ReadOnly,
    /// The disk is full.
    NoSpace,
    /// The quota is used up.
    Quota,
    /// Something else.
    Other(u32),
}

impl Code {
    pub(super) const fn of(number: u32) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Eof,
            2 | 10 => Self::NoSuchFile,
            3 => Self::PermissionDenied,
            4 => Self::Failure,
            5 => Self::BadMessage,
            8 => Self::Unsupported,
            11 => Self::Exists,
            12 => Self::ReadOnly,
            14 => Self::NoSpace,
            15 => Self::Quota,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Eof => "end of file",
            Self::NoSuchFile => "no such file",
            Self::PermissionDenied => "permission denied",
            Self::Failure => "failure",
            Self::BadMessage => "bad message",
            Self::Unsupported => "operation not supported",
            Self::Exists => "file exists",
            Self::ReadOnly => "read-only file system",
            Self::NoSpace => "no space left on device",
            Self::Quota => "disk quota exceeded",
            Self::Other(number) => return write!(f, "error {number}"),
        })
    }
}

/// A code, and the server's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: Code,
    /// The words, as they came.
    pub words: Bytes,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, words) = (self.code.to_string(), escaped_up_to(self.words.trim_ascii(), 200));
        if words.is_empty() || words.eq_ignore_ascii_case(&code) {
            f.write_str(&code)
        } else {
            write!(f, "{code} ({words})")
        }
    }
}
