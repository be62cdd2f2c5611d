//! Content, without its bytes: what was written, and how much of it.

use skiff_common::digest::Digests;
use skiff_common::{Algorithm, Digest};

/// Streams from here on were never written by anybody: mixed, mangled or zeroed bytes.
const MANGLED: u32 = 1 << 31;

/// The first `len` bytes of one endless stream. What is appended to goes on in the same stream, so that one blob can
/// be a prefix of another; what is rewritten begins a stream of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) stream: u32,
    pub(super) len: u32,
}

impl Blob {
    pub(super) const fn new(stream: u32, len: u32) -> Self {
        // No bytes are the same whatever stream they come from.
        Self { stream: if len == 0 { 0 } else { stream }, len }
    }

    pub(super) const fn cut(self, len: u32) -> Self {
        Self::new(self.stream, if len < self.len { len } else { self.len })
    }

    /// As many bytes of which none can be told.
    pub(super) const fn mangled(self) -> Self {
        Self::new(self.stream | MANGLED, self.len)
    }

    pub(super) fn digest(self) -> Digest {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&self.stream.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        Digest::new(Algorithm::Blake3, bytes)
    }

    pub(super) fn digests(self) -> Digests {
        Digests { blake3: self.digest(), sha256: None }
    }

    /// The blob whose digest that is.
    pub(super) fn of(digest: &Digest) -> Self {
        let number = |at: usize| {
            u32::from_le_bytes(digest.bytes()[at..at + 4].try_into().expect("four bytes are taken"))
        };
        Self { stream: number(0), len: number(4) }
    }
}
