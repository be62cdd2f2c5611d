//! What is done about a file: it settles, and is handed on.
//!
//! Promises to wait when the settler or the dispatcher is full. Lacks finding files.

use std::sync::Arc;
use std::time::Duration;

use skiff_common::settle::Observation;
use skiff_common::{Item, RelPath, Stamp};

use super::{POLL, SETTLING, ScanError, Scanner, Settled};
use crate::admission::Standing;
use crate::clock;
use crate::journal::DeliveredFolder;
use crate::route;
use crate::source::{Look, OpenItem, Root, SourceError};

/// How long a file holds still at least where nothing else tells that it is complete: as long as `settle` is by default.
const LEAST_REST: Duration = Duration::from_secs(1);
/// How long at least on FAT, where a change soon after another one moves no time: one that comes after it was read would not
/// be noticed. A little more than the two seconds to which times are told there.
pub(super) const REST_ON_FAT: Duration = Duration::from_millis(2_500);

impl Scanner {
    pub(super) fn look_at_due(&mut self, root: &Root) -> Result<(), ScanError> {
        while let Some(path) = self.settler.take_due(clock::now()) {
            self.look(root, &path)?;
        }
        Ok(())
    }

    pub(super) fn consider(
        &mut self,
        root: &Root,
        path: &RelPath,
        stamp: Stamp,
        mode: u32,
        delivered: Option<&DeliveredFolder>,
    ) -> Result<(), ScanError> {
        let id = self.id(path);
        let fingerprint = stamp.fingerprint();
        let known = delivered.filter(|delivered| delivered.has(id, fingerprint));
        if let Some(delivered) = known {
            self.clear_leftover(root, path, stamp, delivered)?;
        }
        if known.is_some() || !self.is_meant(root, path, stamp) || !self.admission.is_new(id, fingerprint) {
            self.settler.forget(path);
            return Ok(());
        }
        if self.first_scan && self.met_first.len() < SETTLING {
            let elsewhere = self.went_by_another_route(path, fingerprint)?;
            self.met_first.insert(path.clone(), elsewhere);
        }
        loop {
            match self.settler.observe(path, stamp, clock::now()) {
                Observation::Waits(_) => return Ok(()),
                Observation::Settled => {
                    let had_room = self.settled(root, Item { path: path.clone(), stamp, mode });
                    if had_room || self.waker.is_stopped() {
                        return Ok(());
                    }
                    self.make_room(root);
                }
                Observation::Full if self.waker.is_stopped() => return Ok(()),
                Observation::Full => self.make_room(root),
            }
        }
    }

    /// Waits until one of the files that are waited for is due, and looks at it.
    fn make_room(&mut self, root: &Root) {
        let wait = self.settler.next_due().map_or(POLL, |due| due.since(clock::now()).min(POLL));
        self.waker.wait_for_stop(wait);
        self.tell_unsettled(clock::now());
        // What is due is looked at alone: a folder among it would lead back here.
        while let Some(path) = self.settler.take_due(clock::now()) {
            if self.waker.is_stopped() {
                self.settler.forget(&path);
                continue;
            }
            match root.look(&path) {
                Ok(Look::File { stamp, mode }) => {
                    if self.settler.observe(&path, stamp, clock::now()) == Observation::Settled {
                        self.settled(root, Item { path, stamp, mode });
                    }
                }
                _ => self.settler.forget(&path),
            }
        }
    }

    /// Hands a file on if it is complete. `false`: it has to wait, and there is no room for that.
    fn settled(&mut self, root: &Root, item: Item) -> bool {
        // Who delivers once takes what is there now, as scp does; the digest still is of what was sent.
        let opened = (!self.context.once).then(|| root.open_item(&item.path));
        match opened {
            Some(Ok(open)) if open.has_writer() == Some(true) => {
                self.settler.postpone(&item.path, open.stamp, clock::now());
            }
            Some(Ok(open)) if open.stamp != item.stamp => {
                self.settler.observe(&item.path, open.stamp, clock::now());
            }
            Some(Ok(open)) => match self.rest(&item, &open) {
                Observation::Settled => self.hand_on(item),
                Observation::Waits(_) => {}
                Observation::Full => return false,
            },
            Some(Err(SourceError::Gone { .. })) => self.settler.forget(&item.path),
            // Whatever else is wrong with it, its shipment will say.
            None | Some(Err(_)) => self.hand_on(item),
        }
        true
    }

    /// With neither a quiet time nor a marker, it is complete when nobody writes to it. Where that can't be told it has to
    /// hold still after all, or each file would be sent as it is when it is met.
    fn rest(&mut self, item: &Item, open: &OpenItem) -> Observation {
        let settings = &self.context.settings;
        let is_untold = || settings.settle_marker.is_none() && open.has_writer().is_none();
        let least = if settings.settle.is_zero() && is_untold() { LEAST_REST } else { Duration::ZERO };
        let least = least.max(self.least_rest);
        if settings.settle >= least {
            return Observation::Settled;
        }
        self.settler.insist(&item.path, item.stamp, least, clock::now())
    }

    fn hand_on(&mut self, item: Item) {
        self.settler.forget(&item.path);
        self.admission.set(self.id(&item.path), Standing::UnderWay { asked: false });
        self.waker.wait_for_room();
        let (watch, of) = (self.context.number, Arc::clone(&self.name));
        let met_first = self.met_first.remove(&item.path);
        let first_scan = self.first_scan || met_first.is_some();
        let found = Settled { watch, of, item, first_scan, may_stand: met_first.unwrap_or(false) };
        // Nobody listens any longer: the agent is ending.
        let _ = self.out.blocking_send(found);
    }

    /// Whether this version was delivered before the watch got the destinations that it has now. Who delivers by other ones
    /// begins anew, so only what the first scan meets can have been; to be asked in that.
    fn went_by_another_route(&mut self, path: &RelPath, fingerprint: u64) -> Result<bool, ScanError> {
        let Some(journal) = &self.journal else { return Ok(false) };
        let names = || route::former(&self.context.settings);
        Ok(self.former.have(journal, names, path, fingerprint)?.any(|has| has))
    }

    pub(super) fn is_meant(&mut self, root: &Root, path: &RelPath, stamp: Stamp) -> bool {
        self.context.wants(root, path)
            && (self.context.only.is_some()
                || (self.context.takes(path, stamp) && !self.is_ignored(root, path)))
    }

    /// What may be ignored waits until that can be told.
    fn is_ignored(&mut self, root: &Root, path: &RelPath) -> bool {
        self.ignores.ignores(root, path, false).unwrap_or_else(|error| {
            self.is_in_trouble(path.folder().as_ref(), &error);
            true
        })
    }
}
