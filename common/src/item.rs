//! One file to deliver.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::path::RelPath;
use crate::stamp::Stamp;

/// 128 bits of watch and path: the same for all versions of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemId([u8; 16]);

impl ItemId {
    /// The id of `path` in `watch`.
    pub fn of(watch: &str, path: &RelPath) -> Self {
        Self::hash(watch, path.as_bytes())
    }

    /// The id of the folder `path` in `watch`; `None` is its top.
    pub fn of_folder(watch: &str, path: Option<&RelPath>) -> Self {
        Self::hash(watch, &[path.map_or(&b""[..], RelPath::as_bytes), b"/"].concat())
    }

    fn hash(watch: &str, bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        // A watch's name holds no NUL, so the two parts can't be confused.
        hasher.update(watch.as_bytes()).update(b"\0").update(bytes);
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id that `bytes` are.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A settled file as it is planned, shipped and disposed of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Where it stands below the watched folder.
    pub path: RelPath,
    /// What it looked like when it had settled.
    pub stamp: Stamp,
    /// Its permission bits.
    pub mode: u32,
}
