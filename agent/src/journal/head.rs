//! What the store says of itself, in the same transaction as each change: how many there were, and a sum over what
//! it holds now.
//!
//! sled loses the tail of a damaged log without a word, and can come back with one page older than the rest. The
//! number reveals the first (see `side`), the sum the second.

use super::keys::Kind;
use super::value::{BadValue, seal_numbers, unseal_numbers};

/// The store's account of itself; that of an empty store is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Head {
    /// How many transactions there were.
    pub(super) seq: u64,
    /// The wrapping sum of the fingerprints of all records.
    pub(super) sum: u64,
}

impl Head {
    pub(super) fn seal(self) -> Vec<u8> {
        seal_numbers(&[self.seq, self.sum])
    }

    pub(super) fn unseal(value: &[u8]) -> Result<Self, BadValue> {
        let [seq, sum] = unseal_numbers(value)?;
        Ok(Self { seq, sum })
    }

    pub(super) fn add(&mut self, kind: Kind, key: &[u8], value: &[u8]) {
        self.sum = self.sum.wrapping_add(fingerprint(kind, key, value));
    }

    pub(super) fn take_away(&mut self, kind: Kind, key: &[u8], value: &[u8]) {
        self.sum = self.sum.wrapping_sub(fingerprint(kind, key, value));
    }
}

fn fingerprint(kind: Kind, key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    // A tree's name holds no NUL and its keys have one length, so the parts can't be confused.
    hasher.update(kind.name().as_bytes()).update(b"\0").update(key).update(value);
    let mut head = [0; 8];
    hasher.finalize_xof().fill(&mut head);
    u64::from_le_bytes(head)
}
