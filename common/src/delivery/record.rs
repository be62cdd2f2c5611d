//! What the journal is told: returned as data, so that a simulator can hold the disk and drop what wasn't synced.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::item::ItemId;
use crate::path::RelPath;
use crate::shipment::{Shipment, ShipmentId};

/// One change of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A shipment is about to go; from here on it is pending.
    Planned(Shipment),
    /// A shipment is over: it is no longer pending, and these of its items are delivered and still in their folder.
    Finished {
        /// The shipment.
        shipment: ShipmentId,
        /// The delivered items whose source stays; also those of other watches, where it has a new stamp.
        delivered: Vec<Delivered>,
    },
    /// An item waits or is quarantined.
    Held(HeldItem),
    /// An item no longer waits.
    Released(ItemId),
}

/// "This path with this stamp is delivered", in a few dozen bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The folder that the item stands in ([`ItemId::of_folder`]); such items are stored and read together.
    pub folder: ItemId,
    /// The item.
    pub item: ItemId,
    /// [`Stamp::fingerprint`](crate::Stamp::fingerprint) of the version that was delivered.
    pub stamp: u64,
    /// The BLAKE3 digest of that version.
    pub digest: Digest,
}

/// An item that waits, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldItem {
    /// The item.
    pub item: ItemId,
    /// Its watch's name.
    pub watch: String,
    /// Its path below the watched folder.
    pub path: RelPath,
    /// [`Stamp::fingerprint`](crate::Stamp::fingerprint) of the version that failed; another version is tried at once.
    pub stamp: u64,
    /// How many attempts have failed.
    pub attempts: u32,
    /// What went wrong last, fit to be shown.
    pub reason: String,
    /// Whether it is tried again by itself.
    pub quarantined: bool,
}
