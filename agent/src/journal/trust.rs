//! What is known at the start, and how far it is to be believed.

use std::path::PathBuf;

use skiff_common::Shipment;
use skiff_common::delivery::record::HeldItem;

/// What the journal held when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The shipments that were planned and not finished.
    pub pending: Vec<Shipment>,
    /// The items that wait or are quarantined.
    pub held: Vec<HeldItem>,
    /// Whether that is all there was.
    pub trust: Trust,
}

/// Whether the journal knows what was delivered. Unless it is [`Trust::Kept`], everything is scanned and compared with
/// the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It holds all that was ever acknowledged.
    Kept,
    /// Nothing was ever recorded here.
    Fresh,
    /// What was there can't be trusted. It was moved away, and this is a fresh one.
    Rebuilt {
        /// How that showed.
        reason: String,
        /// Where the old one is.
        quarantine: PathBuf,
    },
}
