//! A worker, step by step: what `agent::dispatch::worker`, `agent::ship`, `agent::remote::scp` and `agent::finish` do for
//! one command, cut where the world may change in between or a crash may end it.

mod finish;
mod publish;
mod stage;

use skiff_common::delivery::{Command, Disposal, Event, Placed, Placement, Receipt, Staged, Trouble};
use skiff_common::{Fault, Shipment, ShipmentId};

use super::blob::Blob;
use super::destination::Verb;
use super::names::Names;
use super::source::File;
use super::world::World;

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Connect,
    Survey,
    Compare,
    Open,
    Read(usize),
    Sent(usize),
    Unpack,
    Unpacked,
    Verify,
    Claim,
    Use,
    Publish,
    Place(usize, usize, u8),
    Replace(usize, usize, u8, Blob),
    Discard,
    Receipts,
    Look(usize),
    Rename(usize),
    Unlink(usize),
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// Its next step.
    Again,
    /// Its report.
    Report(Event),
}

/// Whether a round trip came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trip {
    Fine,
    /// It was cut before anything happened.
    Cut,
    /// It happened, but nobody heard.
    Unheard,
}

/// One command under way.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) due_ms: u64,
    pub(super) id: ShipmentId,
    shipment: Shipment,
    command: Command,
    at: At,
    session: u32,
    /// Names the shell that it uses; each is used once, so that none is mistaken for another.
    pub(super) shell: u32,
    began_ms: u64,
    /// By item: what stood under its name, then what became of it.
    standing: Vec<Option<Blob>>,
    staged: Vec<Option<Staged>>,
    /// Places of the items that have to be sent.
    rest: Vec<usize>,
    sent: Vec<Result<Blob, Trouble>>,
    landed: Vec<Blob>,
    reading: Option<File>,
    skip: u32,
    placed: Vec<Option<Placed>>,
    disposals: Vec<Disposal>,
}

impl Worker {
    pub(super) fn new(shipment: Shipment, command: Command, now_ms: u64) -> Self {
        let at = match &command {
            Command::Stage { .. } => At::Connect,
            Command::Publish(_) => At::Claim,
            Command::Finish(_) => At::Discard,
        };
        Self {
            due_ms: now_ms,
            began_ms: now_ms,
            id: shipment.id.clone(),
            standing: Vec::new(),
            staged: vec![None; shipment.items.len()],
            rest: Vec::new(),
            sent: Vec::new(),
            landed: Vec::new(),
            reading: None,
            skip: 0,
            placed: Vec::new(),
            disposals: Vec::new(),
            session: 0,
            shell: 0,
            shipment,
            command,
            at,
        }
    }

    /// Does one step.
    pub(super) fn step(&mut self, world: &mut World<'_>) -> Next {
        match self.at {
            At::Connect => self.connect(world),
            At::Survey => self.survey(world),
            At::Compare => self.compare(world),
            At::Open => self.open(world),
            At::Read(at) => self.read(world, at),
            At::Sent(at) => self.sent(world, at),
            At::Unpack => self.unpack(world),
            At::Unpacked => self.unpacked(world),
            At::Verify => self.verify(world),
            At::Claim => self.claim(world),
            At::Use => self.find_staging(world),
            At::Publish => self.publish(world),
            At::Place(at, place, rounds) => self.place(world, at, place, rounds),
            At::Replace(at, place, rounds, theirs) => self.replace(world, at, place, rounds, theirs),
            At::Discard => self.discard(world),
            At::Receipts => self.write_receipts(world),
            At::Look(at) => self.look(world, at),
            At::Rename(at) => self.rename(world, at),
            At::Unlink(at) => self.unlink(world, at),
        }
    }

    /// The verb that is on its way: the server may do it though nobody waits for it any longer.
    pub(super) fn verb_under_way(&self, names: &Names) -> Option<Verb> {
        match self.at {
            At::Publish => Some(Verb::Publish),
            At::Place(at, place, _) => Some(Verb::Place(self.staged_file(names, at), place)),
            At::Replace(at, place, _, theirs) => {
                Some(Verb::Replace(self.staged_file(names, at), place, theirs))
            }
            At::Discard => Some(Verb::Drop),
            _ => None,
        }
    }

    fn connect(&mut self, world: &mut World<'_>) -> Next {
        self.take_shell(world);
        if self.trip(world) != Trip::Fine {
            // Somebody changed the host key, and will put that right.
            let fault = if world.chance.one_in(8) { Fault::Fatal } else { Fault::Retryable };
            return failed(fault, true, "no connection");
        }
        // A shell that was started when the folder was empty still says so.
        let used = match world.idle {
            Some((session, used)) if session == self.session && world.chance.one_in(2) => used,
            _ => world.destination.is_used(),
        };
        world.idle = Some((self.session, used));
        self.at = match &self.command {
            Command::Stage { survey } if *survey && used => At::Survey,
            Command::Stage { .. } => At::Open,
            Command::Publish(_) => At::Use,
            Command::Finish(_) => unreachable!("finishing begins with clearing"),
        };
        Next::Again
    }

    fn take_shell(&mut self, world: &mut World<'_>) {
        world.shells += 1;
        self.shell = world.shells;
        self.session = world.destination.session;
    }

    fn trip(&mut self, world: &mut World<'_>) -> Trip {
        world.trip(self.session)
    }

    fn placements(&self) -> &[Placement] {
        match &self.command {
            Command::Publish(placements) => placements,
            Command::Stage { .. } | Command::Finish(_) => unreachable!("asked only while publishing"),
        }
    }

    fn receipts(&self) -> &[Receipt] {
        match &self.command {
            Command::Finish(receipts) => receipts,
            Command::Stage { .. } | Command::Publish(_) => unreachable!("asked only while finishing"),
        }
    }
}

fn failed(fault: Fault, destination: bool, reason: &str) -> Next {
    Next::Report(Event::Failed { fault, destination, reason: reason.to_owned() })
}

fn lost() -> Next {
    failed(Fault::Retryable, true, "the connection was lost")
}
