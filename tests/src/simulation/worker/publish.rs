//! Publish, as `agent::remote::scp::place` does it. What stands in the way is resolved by production code.

use skiff_common::delivery::conflict::{Resolution, resolve};
use skiff_common::delivery::{Event, Placed, Trouble};
use skiff_common::{Digest, Fault, ShipmentKind};

use super::super::blob::Blob;
use super::super::defect::Defect;
use super::super::destination::{Answer, Manner, Staged, Verb};
use super::super::disk::Proof;
use super::super::names::{MOST, Names, beside, of_content, owner};
use super::super::world::World;
use super::{At, Next, Trip, Worker, failed, lost};

/// As often as the agent looks again at a name that keeps changing.
const ROUNDS: u8 = 8;

impl Worker {
    /// What is about to be published is ours, whether anybody hears of it or not.
    pub(super) fn claim(&mut self, world: &mut World<'_>) -> Next {
        if world.fault(8) {
            return failed(Fault::Retryable, false, "cannot write the claims: no space left on device");
        }
        if world.scenario.defect != Some(Defect::PublishesUnclaimed) {
            for placement in self.placements() {
                let place = world.names.name(&placement.item.path);
                world.claims.push(Proof { place, blob: Blob::of(&placement.digests.blake3) });
            }
        }
        self.at = At::Connect;
        Next::Again
    }

    pub(super) fn find_staging(&mut self, world: &mut World<'_>) -> Next {
        if self.trip(world) != Trip::Fine {
            return lost();
        }
        if !world.destination.adopt(&self.id, self.shell) {
            return failed(Fault::Retryable, true, "finding the staging failed");
        }
        let verified = self.placements().len();
        self.placed = vec![None; verified];
        if self.shipment.kind == ShipmentKind::Batch && verified == self.shipment.items.len() {
            self.at = At::Publish;
            return Next::Again;
        }
        self.place_next(world)
    }

    pub(super) fn publish(&mut self, world: &mut World<'_>) -> Next {
        let left = match self.ask(world, &Verb::Publish) {
            Some(Answer::Left(left)) => left,
            Some(_) => return failed(Fault::Retryable, true, "publishing failed"),
            None => return lost(),
        };
        for at in 0..self.placed.len() {
            let path = self.placements()[at].item.path.clone();
            if !left.contains(&world.names.name(&path)) {
                self.placed[at] = Some(Placed::At(path));
            }
        }
        self.place_next(world)
    }

    pub(super) fn place(&mut self, world: &mut World<'_>, at: usize, place: usize, rounds: u8) -> Next {
        let theirs = match self.ask(world, &Verb::Place(self.staged_file(world.names, at), place)) {
            None => return lost(),
            Some(Answer::Done) => return self.placed_at(world, at, place),
            Some(Answer::Exists(theirs)) => theirs,
            Some(_) => return self.refused(world, at, Trouble::retryable("what was staged has gone")),
        };
        if rounds == 0 {
            return self.refused(world, at, Trouble::retryable("it keeps changing at the destination"));
        }
        let placement = &self.placements()[at];
        let (places, own_name) = ([place, owner(place)], place == of_content(owner(place)));
        let before = |theirs| places.iter().any(|place| world.delivered_before(*place, theirs));
        let own = |digest: &Digest| own_name || before(Blob::of(digest));
        let other = if place < MOST { beside(place) } else { of_content(owner(place)) };
        let other = world.names.path_of(other).clone();
        match resolve(&placement.digests, &theirs.digest(), own, world.scenario.policy, Some(other)) {
            Resolution::Same if world.scenario.defect == Some(Defect::NamesTheAttempt) && place < MOST => {
                self.at = At::Place(at, beside(place), rounds - 1);
            }
            Resolution::Same => {
                world.destination.sync_all();
                return self.placed_at(world, at, place);
            }
            Resolution::Rename(path) => self.at = At::Place(at, world.names.place(&path), rounds - 1),
            Resolution::Park => {
                return self.refused(world, at, Trouble::permanent("another file stands there"));
            }
            Resolution::Replace => self.at = At::Replace(at, place, rounds, theirs),
        }
        Next::Again
    }

    pub(super) fn replace(
        &mut self,
        world: &mut World<'_>,
        at: usize,
        place: usize,
        rounds: u8,
        theirs: Blob,
    ) -> Next {
        let verb = Verb::Replace(self.staged_file(world.names, at), place, theirs);
        match self.ask(world, &verb) {
            None => lost(),
            Some(Answer::Done) => self.placed_at(world, at, place),
            Some(Answer::Changed) => {
                self.at = At::Place(at, place, rounds - 1);
                Next::Again
            }
            Some(_) => self.refused(world, at, Trouble::retryable("cannot replace it")),
        }
    }

    /// Which staged file a placement is of.
    pub(super) fn staged_file(&self, names: &Names, at: usize) -> Staged {
        match self.shipment.kind {
            ShipmentKind::Single => Staged::Part,
            ShipmentKind::Batch => Staged::Member(names.name(&self.placements()[at].item.path)),
        }
    }

    fn ask(&mut self, world: &mut World<'_>, verb: &Verb) -> Option<Answer> {
        match self.trip(world) {
            Trip::Fine => Some(world.destination.perform(&self.id, self.shell, verb, Manner::Whole)),
            Trip::Cut => {
                world.maybe_later(&self.id, self.shell, verb.clone());
                None
            }
            Trip::Unheard => {
                let manner = if world.chance.one_in(2) { Manner::Cut } else { Manner::Whole };
                world.destination.perform(&self.id, self.shell, verb, manner);
                None
            }
        }
    }

    fn placed_at(&mut self, world: &mut World<'_>, at: usize, place: usize) -> Next {
        self.placed[at] = Some(Placed::At(world.names.path_of(place).clone()));
        self.place_next(world)
    }

    fn refused(&mut self, world: &mut World<'_>, at: usize, trouble: Trouble) -> Next {
        self.placed[at] = Some(Placed::Refused(trouble));
        self.place_next(world)
    }

    fn place_next(&mut self, world: &mut World<'_>) -> Next {
        match self.placed.iter().position(Option::is_none) {
            Some(at) => {
                let place = world.names.name(&self.placements()[at].item.path);
                self.at = At::Place(at, place, ROUNDS);
                Next::Again
            }
            None => Next::Report(Event::Published(self.placed.drain(..).flatten().collect())),
        }
    }
}
