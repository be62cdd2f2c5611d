//! From changes to operations on the store.
//!
//! A change of many operations takes several transactions; their order is such that a crash between them leaves a
//! record twice, never none.

use skiff_common::delivery::record::{Delivered, Record};
use skiff_common::growth::{Log, LogId};
use skiff_common::{ItemId, Shipment, ShipmentId};

use super::completed;
use super::error::JournalError;
use super::keys::{DOUBT, Kind, legs_key, log_key, mount_key, part_key};
use super::ledger::Ledger;
use super::legs::LegsNote;
use super::mount::MountNote;
use super::store::{Op, VALUE_BYTES};
use super::value::{Entry, seal_held, seal_log, seal_shipment};

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Change {
    /// Something happened to a delivery.
    Record(Record),
    /// These versions of a folder's items are of no use any more; sorted.
    Drop { folder: ItemId, versions: Vec<(ItemId, u64)> },
    /// A folder is gone.
    Forget(ItemId),
    /// This is known of a log of a watch.
    Grown(ItemId, Box<Log>),
    /// A log of a watch is over.
    Over(ItemId, LogId),
    /// What the store doesn't know isn't delivered.
    Certain,
    /// The mount that the folder of a watch is, if it is one.
    Mount(ItemId, Option<MountNote>),
    /// The several destinations of a watch.
    Legs(ItemId, LegsNote),
}

impl Change {
    /// Whether the store is likely to hold much less afterwards.
    pub(super) fn frees(&self) -> bool {
        matches!(self, Self::Drop { .. } | Self::Forget(_))
    }
}

impl Ledger<'_> {
    /// Adds one change; [`Ledger::apply`] ends it. A plan reads nothing but an earlier plan of the same shipment, so it
    /// shares the transaction of what comes before it: of lone files, the end of one and the plan of the next.
    pub(super) fn write(&mut self, change: Change) -> Result<(), JournalError> {
        match &change {
            Change::Record(Record::Planned(shipment))
                if !self.touches(Kind::Pending, shipment.id.as_str().as_bytes()) => {}
            _ => self.apply()?,
        }
        match change {
            Change::Record(Record::Planned(shipment)) => self.planned(&shipment)?,
            Change::Record(Record::Finished { shipment, delivered }) => {
                self.finished(&shipment, delivered)?;
            }
            Change::Record(Record::Held(held)) => {
                self.push(Op::put(Kind::Held, held.item.bytes().to_vec(), seal_held(&held)))?;
            }
            Change::Record(Record::Released(item)) => self.remove_all(Kind::Held, item.bytes())?,
            Change::Drop { folder, versions } => {
                let moving = self.store().moves().begin(folder);
                completed::drop_versions(self, folder, &versions)?;
                self.apply()?;
                drop(moving);
            }
            Change::Grown(watch, log) => {
                self.push(Op::put(Kind::Growing, log_key(watch, &log.id), seal_log(&log)))?;
            }
            Change::Certain => self.push(Op::remove(Kind::Meta, DOUBT))?,
            Change::Mount(watch, Some(note)) => {
                self.push(Op::put(Kind::Meta, mount_key(watch), note.seal()))?;
            }
            Change::Mount(watch, None) => self.push(Op::remove(Kind::Meta, &mount_key(watch)))?,
            Change::Legs(watch, note) => self.push(Op::put(Kind::Meta, legs_key(watch), note.seal()))?,
            Change::Over(watch, log) => self.remove_all(Kind::Growing, &log_key(watch, &log))?,
            Change::Forget(folder) => {
                // What is delivered of it from now on stands under lower keys.
                let moving = self.store().moves().begin(folder);
                self.remove_all(Kind::Recent, folder.bytes())?;
                self.remove_all(Kind::Completed, folder.bytes())?;
                self.apply()?;
                drop(moving);
            }
        }
        Ok(())
    }

    fn planned(&mut self, shipment: &Shipment) -> Result<(), JournalError> {
        let parts = seal_shipment(shipment, VALUE_BYTES);
        let keys: Vec<_> = (0..parts.len()).map(|part| part_key(&shipment.id, parts.len(), part)).collect();
        for record in self.store().scan(Kind::Pending, shipment.id.as_str().as_bytes()) {
            let (key, _) = record?;
            // An earlier plan of the same members can have had other parts: modes aren't in the id.
            if !keys.iter().any(|new| key == new[..]) {
                self.push(Op::remove(Kind::Pending, &key))?;
            }
        }
        keys.into_iter().zip(parts).try_for_each(|(key, part)| self.push(Op::put(Kind::Pending, key, part)))
    }

    fn finished(&mut self, shipment: &ShipmentId, mut delivered: Vec<Delivered>) -> Result<(), JournalError> {
        delivered.sort_by_key(|delivered| delivered.folder);
        for of_folder in delivered.chunk_by(|a, b| a.folder == b.folder) {
            completed::append(self, of_folder[0].folder, of_folder.iter().map(Entry::of).collect())?;
        }
        self.remove_all(Kind::Pending, shipment.as_str().as_bytes())
    }
}
