//! Proof of a delivery.

use crate::digest::{Digest, Digests};
use crate::item::Item;
use crate::path::RelPath;
use crate::shipment::ShipmentId;

/// Proof that one version of a source stands at the destination: the digest that was read there equals that of the
/// bytes that were sent, and the stamp says which version they were of. Only the delivery machine makes one, and
/// nothing disposes of a source without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    item: Item,
    name: RelPath,
    digests: Digests,
    theirs: Digest,
    shipment: ShipmentId,
    sent: bool,
}

impl Receipt {
    /// A receipt, if the digests agree.
    pub(super) fn prove(
        item: &Item,
        name: &RelPath,
        (digests, theirs): (Digests, Digest),
        shipment: &ShipmentId,
        sent: bool,
    ) -> Option<Self> {
        digests.agree_with(&theirs).then(|| Self {
            item: item.clone(),
            name: name.clone(),
            digests,
            theirs,
            shipment: shipment.clone(),
            sent,
        })
    }

    /// The delivered version of the source.
    pub const fn item(&self) -> &Item {
        &self.item
    }

    /// Its final name below the destination's path.
    pub const fn name(&self) -> &RelPath {
        &self.name
    }

    /// Digests of the source.
    pub const fn digests(&self) -> &Digests {
        &self.digests
    }

    /// The digest that was read at the destination.
    pub const fn theirs(&self) -> &Digest {
        &self.theirs
    }

    /// The shipment that delivered it.
    pub const fn shipment(&self) -> &ShipmentId {
        &self.shipment
    }

    /// Whether its bytes travelled, or stood at the destination already.
    pub const fn sent(&self) -> bool {
        self.sent
    }
}

/// What is read of a receipt again: a file that stood at the destination when it was delivered. It proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stood {
    /// Its size in bytes.
    pub size: u64,
    /// Its BLAKE3 digest.
    pub digest: Digest,
    /// Its final name.
    pub name: RelPath,
}
