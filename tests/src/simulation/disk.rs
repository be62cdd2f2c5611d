//! The state folder: the journal's records and the receipts, written and synced.

use skiff_common::delivery::{HeldItem, Record};
use skiff_common::{Shipment, ShipmentId};

use super::blob::Blob;
use super::names::{MOST, Names};

/// What a restart finds.
#[derive(Debug, Default)]
pub(super) struct Opening {
    pub(super) pending: Vec<Shipment>,
    pub(super) held: Vec<HeldItem>,
    pub(super) delivered: [Option<u64>; MOST],
    pub(super) fresh: bool,
}

/// The journal's records in the order in which they were written.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal {
    records: Vec<Record>,
    synced: usize,
    planned: Vec<ShipmentId>,
}

impl Journal {
    pub(super) fn write(&mut self, record: Record) {
        self.records.push(record);
    }

    pub(super) fn sync(&mut self) {
        for record in &self.records[self.synced..] {
            match record {
                Record::Planned(shipment) => self.planned.push(shipment.id.clone()),
                Record::Finished { shipment, .. } => self.planned.retain(|id| id != shipment),
                Record::Held(_) | Record::Released(_) => {}
            }
        }
        self.synced = self.records.len();
    }

    /// Whether a restart would find this shipment, whatever happens now.
    pub(super) fn remembers(&self, id: &ShipmentId) -> bool {
        self.planned.contains(id)
    }

    pub(super) const fn synced(&self) -> usize {
        self.synced
    }

    pub(super) const fn len(&self) -> usize {
        self.records.len()
    }

    /// What is left when all after the first `kept` records is lost.
    pub(super) fn cut(&mut self, kept: usize) {
        self.records.truncate(kept);
        self.planned.clear();
        self.synced = 0;
        self.sync();
    }

    /// As `agent::journal` reads it: pending shipments by id, the latest of each item.
    pub(super) fn open(&self, names: &Names) -> Opening {
        let mut opening = Opening { fresh: self.records.is_empty(), ..Opening::default() };
        for record in &self.records {
            match record {
                Record::Planned(shipment) => {
                    opening.pending.retain(|known| known.id != shipment.id);
                    opening.pending.push(shipment.clone());
                }
                Record::Finished { shipment, delivered } => {
                    opening.pending.retain(|known| known.id != *shipment);
                    for delivered in delivered {
                        opening.delivered[names.item(delivered.item)] = Some(delivered.stamp);
                    }
                }
                Record::Held(held) => {
                    opening.held.retain(|known| known.item != held.item);
                    opening.held.push(held.clone());
                }
                Record::Released(item) => opening.held.retain(|known| known.item != *item),
            }
        }
        opening.pending.sort_by(|a, b| a.id.cmp(&b.id));
        opening
    }
}

/// One line of the receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proof {
    /// The final name.
    pub(super) place: usize,
    /// What stands there.
    pub(super) blob: Blob,
}
