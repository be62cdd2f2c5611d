//! Ship and verify, as `agent::remote::scp::stage` and `agent::ship` do it.

use skiff_common::delivery::{Event, Staged, Trouble};
use skiff_common::{Fault, Item, ShipmentKind};

use super::super::blob::Blob;
use super::super::defect::Defect;
use super::super::destination;
use super::super::source::File;
use super::super::world::World;
use super::{At, Next, Trip, Worker, failed, lost};

impl Worker {
    /// What stands under the final names, synced.
    pub(super) fn survey(&mut self, world: &mut World<'_>) -> Next {
        let trip = self.trip(world);
        if trip == Trip::Cut {
            return lost();
        }
        world.destination.open(&self.id, self.shell, false);
        let stands = |item: &Item| world.destination.at(world.names.name(&item.path));
        self.standing = self.shipment.items.iter().map(stands).collect();
        if world.scenario.defect != Some(Defect::SurveysUnsynced) {
            world.destination.sync_all();
        }
        if trip == Trip::Unheard {
            return lost();
        }
        self.at = At::Compare;
        Next::Again
    }

    /// Compares it with the sources.
    pub(super) fn compare(&mut self, world: &mut World<'_>) -> Next {
        for (at, theirs) in std::mem::take(&mut self.standing).into_iter().enumerate() {
            let Some(theirs) = theirs else { continue };
            let item = &self.shipment.items[at];
            self.staged[at] = match read(world, item) {
                Ok(file) if file.blob == theirs => Some(Staged::Stands {
                    digests: file.blob.digests(),
                    theirs: theirs.digest(),
                    name: item.path.clone(),
                }),
                Ok(_) => None,
                Err(trouble) => Some(Staged::Spoiled(trouble)),
            };
        }
        self.at = At::Open;
        Next::Again
    }

    /// Prepares the staging; a single file goes on where it was cut.
    pub(super) fn open(&mut self, world: &mut World<'_>) -> Next {
        self.rest = (0..self.staged.len()).filter(|at| self.staged[*at].is_none()).collect();
        if self.rest.is_empty() {
            return self.report(world);
        }
        if self.trip(world) != Trip::Fine {
            return lost();
        }
        if self.shipment.kind == ShipmentKind::Batch {
            world.destination.open(&self.id, self.shell, true);
        } else if let Some(theirs) = world.destination.open(&self.id, self.shell, false) {
            let item = &self.shipment.items[0];
            let fits = u64::from(theirs.len) <= item.stamp.size;
            let Some(file) = world.source.files[world.names.name(&item.path)] else {
                return self.spoiled(world, Trouble::Gone);
            };
            if fits && file.blob.cut(theirs.len) == theirs {
                self.skip = theirs.len;
            } else {
                world.destination.open(&self.id, self.shell, true);
            }
        }
        self.at = At::Read(0);
        Next::Again
    }

    /// Opens the next source and begins to send it.
    pub(super) fn read(&mut self, world: &mut World<'_>, at: usize) -> Next {
        let item = &self.shipment.items[self.rest[at]];
        self.at = At::Sent(at);
        match read(world, item) {
            Ok(file) => self.reading = Some(file),
            Err(trouble) if self.shipment.kind == ShipmentKind::Single => {
                return self.spoiled(world, trouble);
            }
            Err(trouble) => {
                self.sent.push(Err(trouble));
                let zeros = Blob::new(0, size(item)).mangled();
                self.landed.push(zeros);
                return self.sent_next(at);
            }
        }
        if self.shipment.kind == ShipmentKind::Single {
            let blob = self.reading.expect("set above").blob;
            let more = world.chance.below(blob.len.saturating_sub(self.skip) + 1);
            self.land(world, blob.cut(self.skip + more));
        }
        Next::Again
    }

    /// Ends sending a source, and looks whether it is still the same.
    pub(super) fn sent(&mut self, world: &mut World<'_>, at: usize) -> Next {
        let item = self.shipment.items[self.rest[at]].clone();
        let file = self.reading.take().expect("it was opened");
        let now = world.source.files[world.names.name(&item.path)];
        let same = now.is_some_and(|now| now.stamp == item.stamp);
        let mut bytes = if same { file.blob } else { file.blob.mangled() };
        let believed = same || world.scenario.defect == Some(Defect::IgnoresChangeWhileRead);
        let outcome = if believed { Ok(bytes) } else { Err(Trouble::Changed) };
        if u64::from(self.skip) < item.stamp.size && world.fault(16) {
            bytes = bytes.mangled();
        }
        if self.shipment.kind == ShipmentKind::Batch {
            self.sent.push(outcome);
            self.landed.push(bytes);
            return self.sent_next(at);
        }
        let trip = self.trip(world);
        if trip == Trip::Cut {
            return lost();
        }
        if world.destination.full {
            return failed(Fault::Retryable, true, "no space left on device");
        }
        self.land(world, bytes);
        match (trip, outcome) {
            (Trip::Unheard, _) => lost(),
            (_, Err(trouble)) => self.spoiled(world, trouble),
            (_, Ok(blob)) => {
                self.sent.push(Ok(blob));
                self.at = At::Verify;
                Next::Again
            }
        }
    }

    /// Unpacking begins: the last member is not whole yet.
    pub(super) fn unpack(&mut self, world: &mut World<'_>) -> Next {
        if self.trip(world) == Trip::Cut {
            return lost();
        }
        if world.destination.full {
            return failed(Fault::Retryable, true, "no space left on device");
        }
        // One of them comes half or not at all, and tar says so on a line that proves nothing.
        let bad = world.fault(4).then(|| world.chance.index(self.rest.len()));
        let last = self.rest.len() - 1;
        for (at, item) in self.rest.iter().enumerate() {
            let name = world.names.name(&self.shipment.items[*item].path);
            let blob = self.landed[at];
            let half = blob.cut(world.chance.below(blob.len + 1));
            if bad == Some(at) {
                self.landed[at] = half;
            }
            if at != last {
                world.destination.unpack(&self.id, name, self.landed[at]);
            } else if bad != Some(at) || world.chance.one_in(2) {
                world.destination.unpack(&self.id, name, half);
            }
        }
        self.skip = u32::from(bad == Some(last));
        self.at = At::Unpacked;
        Next::Again
    }

    /// Unpacking ends, and the members are read back.
    pub(super) fn unpacked(&mut self, world: &mut World<'_>) -> Next {
        let trip = self.trip(world);
        if trip == Trip::Cut {
            return lost();
        }
        let last = self.rest.len() - 1;
        if self.skip == 0 {
            let name = world.names.name(&self.shipment.items[self.rest[last]].path);
            world.destination.unpack(&self.id, name, self.landed[last]);
        }
        world.destination.sync_staging();
        if trip == Trip::Unheard {
            return lost();
        }
        for (at, outcome) in std::mem::take(&mut self.sent).into_iter().enumerate() {
            let item = self.rest[at];
            let name = world.names.name(&self.shipment.items[item].path);
            let theirs = world.destination.digest(&self.id, destination::Staged::Member(name));
            self.staged[item] = Some(judge(world, outcome, theirs));
        }
        self.report(world)
    }

    /// A single file is read back.
    pub(super) fn verify(&mut self, world: &mut World<'_>) -> Next {
        if self.trip(world) != Trip::Fine {
            return lost();
        }
        if self.skip > 0 {
            world.destination.join(&self.id, self.shell);
        }
        world.destination.sync_staging();
        let theirs = world.destination.digest(&self.id, destination::Staged::Part);
        let outcome = self.sent.pop().expect("it was sent");
        self.staged[0] = Some(judge(world, outcome, theirs));
        self.report(world)
    }

    fn sent_next(&mut self, at: usize) -> Next {
        self.at = if at + 1 < self.rest.len() { At::Read(at + 1) } else { At::Unpack };
        Next::Again
    }

    fn land(&self, world: &mut World<'_>, blob: Blob) {
        if self.skip > 0 {
            world.destination.receive_tail(&self.id, blob);
        } else {
            world.destination.receive(&self.id, blob);
        }
    }

    fn spoiled(&mut self, world: &mut World<'_>, trouble: Trouble) -> Next {
        self.staged[0] = Some(Staged::Spoiled(trouble));
        self.report(world)
    }

    fn report(&mut self, world: &mut World<'_>) -> Next {
        let staged: Vec<_> = self.staged.drain(..).map(|staged| staged.expect("each was staged")).collect();
        if world.scenario.defect == Some(Defect::DisposesWithoutPublishing) && world.scenario.delete {
            for (item, staged) in self.shipment.items.iter().zip(&staged) {
                let name = world.names.name(&item.path);
                if matches!(staged, Staged::Landed { .. }) && world.source.take_out(name, 0).is_some() {
                    world.dispose(name, name, self.began_ms);
                }
            }
        }
        Next::Report(Event::Staged(staged))
    }
}

/// Opens a source, if it is what was planned.
fn read(world: &mut World<'_>, item: &Item) -> Result<File, Trouble> {
    let broken = world.fault(8);
    match world.source.files[world.names.name(&item.path)] {
        None => Err(Trouble::Gone),
        Some(file) if file.stamp != item.stamp => Err(Trouble::Changed),
        Some(_) if broken => Err(Trouble::retryable("cannot read it: input/output error")),
        Some(file) => Ok(file),
    }
}

fn judge(world: &World<'_>, outcome: Result<Blob, Trouble>, theirs: Option<Blob>) -> Staged {
    match (outcome, theirs) {
        (Err(trouble), _) => Staged::Spoiled(trouble),
        (Ok(ours), Some(theirs)) => {
            let believed = world.scenario.defect == Some(Defect::PublishesUnverified);
            let theirs = if believed { ours } else { theirs };
            Staged::Landed { digests: ours.digests(), theirs: theirs.digest() }
        }
        (Ok(_), None) => Staged::Spoiled(Trouble::retryable("it did not arrive at the destination")),
    }
}

fn size(item: &Item) -> u32 {
    u32::try_from(item.stamp.size).expect("files here are small")
}
