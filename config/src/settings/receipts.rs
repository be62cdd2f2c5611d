//! How much of what was delivered is remembered in words.

use std::num::NonZeroUsize;

use crate::Environment;
use crate::read::Base;

/// The `[receipts]` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptFiles {
    /// A file of receipts is set aside when it is larger than this.
    pub rotate_bytes: u64,
    /// How many that were set aside are kept.
    pub keep: NonZeroUsize,
}

impl Default for ReceiptFiles {
    /// What `default.toml` says.
    fn default() -> Self {
        Base::embedded(&Environment::default()).receipts
    }
}
