//! Finish: the receipts, then the sources, as `agent::finish` and `agent::receipts` do it.

use skiff_common::Fault;
use skiff_common::delivery::{Disposal, Event, Trouble};

use super::super::blob::Blob;
use super::super::defect::Defect;
use super::super::destination::{Manner, Verb};
use super::super::disk::Proof;
use super::super::world::World;
use super::{At, Next, Trip, Worker, failed};

impl Worker {
    /// Whether the staging can be cleared or not: it goes on.
    pub(super) fn discard(&mut self, world: &mut World<'_>) -> Next {
        self.take_shell(world);
        let trip = self.trip(world);
        world.destination.adopt(&self.id, self.shell);
        match trip {
            Trip::Cut => world.maybe_later(&self.id, self.shell, Verb::Drop),
            Trip::Fine | Trip::Unheard => {
                world.destination.perform(&self.id, self.shell, &Verb::Drop, Manner::Whole);
            }
        }
        let hasty = world.scenario.defect == Some(Defect::DisposesBeforeReceipt);
        self.at = if hasty { At::Look(0) } else { At::Receipts };
        Next::Again
    }

    pub(super) fn write_receipts(&mut self, world: &mut World<'_>) -> Next {
        if world.fault(8) {
            return failed(Fault::Retryable, false, "cannot write the receipts: no space left on device");
        }
        for receipt in self.receipts() {
            let (place, blob) = (world.names.place(receipt.name()), Blob::of(&receipt.digests().blake3));
            world.receipts.push(Proof { place, blob });
        }
        if world.scenario.defect == Some(Defect::DisposesBeforeReceipt) {
            return self.finished();
        }
        self.at = At::Look(0);
        Next::Again
    }

    /// Looks whether the source is still what was delivered.
    pub(super) fn look(&mut self, world: &mut World<'_>, at: usize) -> Next {
        let Some(receipt) = self.receipts().get(at) else {
            if world.scenario.defect == Some(Defect::DisposesBeforeReceipt) {
                self.at = At::Receipts;
                return Next::Again;
            }
            return self.finished();
        };
        if !world.scenario.delete {
            return self.disposed(at, Disposal::Kept);
        }
        let blind = world.scenario.defect == Some(Defect::DisposesWhateverIsThere);
        match world.source.files[world.names.name(&receipt.item().path)] {
            None => self.disposed(at, Disposal::Removed),
            Some(file) if file.stamp != receipt.item().stamp && !blind => {
                self.disposed(at, Disposal::Left(Trouble::Changed))
            }
            Some(_) => {
                self.at = At::Rename(at);
                Next::Again
            }
        }
    }

    /// Takes it out of its folder.
    pub(super) fn rename(&mut self, world: &mut World<'_>, at: usize) -> Next {
        let name = world.names.name(&self.receipts()[at].item().path);
        let wall = world.wall_ms();
        if world.source.take_out(name, wall).is_none() {
            return self.disposed(at, stuck());
        }
        self.at = At::Unlink(at);
        Next::Again
    }

    /// Looks at what was taken out, and unlinks it or puts it back.
    pub(super) fn unlink(&mut self, world: &mut World<'_>, at: usize) -> Next {
        let receipt = &self.receipts()[at];
        let (name, place) = (world.names.name(&receipt.item().path), world.names.place(receipt.name()));
        let there = world.source.leaving[name].expect("it was renamed a step ago");
        let same =
            receipt.item().stamp.same_but_renamed(&there.stamp) && !(there.writer && world.source.leases);
        if same || world.scenario.defect == Some(Defect::DisposesWhateverIsThere) {
            world.dispose(name, place, self.began_ms);
            return self.disposed(at, Disposal::Removed);
        }
        world.source.put_back(name, world.wall_ms());
        self.disposed(at, Disposal::Left(Trouble::Changed))
    }

    fn disposed(&mut self, at: usize, disposal: Disposal) -> Next {
        self.disposals.push(disposal);
        self.at = At::Look(at + 1);
        Next::Again
    }

    fn finished(&mut self) -> Next {
        Next::Report(Event::Finished(std::mem::take(&mut self.disposals)))
    }
}

fn stuck() -> Disposal {
    Disposal::Left(Trouble::retryable("delivered, but cannot take it out of its folder"))
}
