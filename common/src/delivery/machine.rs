//! The state machine of one shipment.
//!
//! Promises that a receipt is made only where both digests agree, that publishing follows verification, and that
//! finishing follows receipts. Lacks time and retries: the [`desk`](crate::desk) decides when to begin again.

use super::outcome::{Disposal, Placed, Staged, Trouble};
use super::receipt::Receipt;
use super::record::{Delivered, Record};
use crate::digest::{Digest, Digests};
use crate::fault::Fault;
use crate::item::{Item, ItemId};
use crate::shipment::Shipment;

/// What a worker is to do next; safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Send all members into staging and have them read back.
    Stage {
        /// Ask first what stands under the final names already, and send only the rest.
        survey: bool,
    },
    /// Bring these under their final names, and sync.
    Publish(Vec<Placement>),
    /// Write the receipts, then keep, delete or move the sources; clear the staging.
    Finish(Vec<Receipt>),
}

/// A verified member that is to get its final name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The member.
    pub item: Item,
    /// Of the bytes that were sent.
    pub digests: Digests,
    /// Read from what is staged.
    pub theirs: Digest,
}

/// What a worker reports; the vectors hold one entry for each member it was told of, in that order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Of [`Command::Stage`], one for each item of the shipment.
    Staged(Vec<Staged>),
    /// Of [`Command::Publish`], one for each placement.
    Published(Vec<Placed>),
    /// Of [`Command::Finish`], one for each receipt.
    Finished(Vec<Disposal>),
    /// The command failed as a whole.
    Failed {
        /// Whether it may work later.
        fault: Fault,
        /// Whether the destination itself is in trouble, so that its other shipments wait too.
        destination: bool,
        /// What failed and why, fit to be shown.
        reason: String,
    },
}

/// A member that left its shipment undelivered, or delivered with its source still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The member.
    pub item: Item,
    /// Why.
    pub trouble: Trouble,
}

/// What follows from an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// To be stored before anything else.
    pub record: Option<Record>,
    /// To be started then.
    pub command: Option<Command>,
    /// Members that are no longer part of it.
    pub left: Vec<Left>,
    /// Members that are delivered.
    pub delivered: Vec<Receipt>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Staging,
    Publishing { placements: Vec<Placement>, standing: Vec<Receipt> },
    Finishing { receipts: Vec<Receipt> },
    Finished,
}

/// One shipment on its way.
#[derive(Debug, Clone)]
pub struct Delivery {
    shipment: Shipment,
    phase: Phase,
    failures: u32,
}

impl Delivery {
    /// A shipment that is to go: it is recorded first.
    pub fn plan(shipment: Shipment, survey: bool) -> (Self, Step) {
        let record = Record::Planned(shipment.clone());
        let step = Step { record: Some(record), command: Some(Command::Stage { survey }), ..Step::default() };
        (Self { shipment, phase: Phase::Staging, failures: 0 }, step)
    }

    /// A shipment that the journal remembers: nobody knows how far it came, so the destination is asked.
    pub fn resume(shipment: Shipment) -> (Self, Step) {
        let mut delivery = Self { shipment, phase: Phase::Staging, failures: 0 };
        let command = delivery.restart();
        (delivery, Step { command: Some(command), ..Step::default() })
    }

    /// Begins again, after a failure.
    pub fn restart(&mut self) -> Command {
        self.phase = Phase::Staging;
        Command::Stage { survey: true }
    }

    /// What it delivers.
    pub const fn shipment(&self) -> &Shipment {
        &self.shipment
    }

    /// How many of its attempts have failed, the destination being well. The one that succeeds is the last.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether nothing is left to do.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// Takes what a worker reports. After [`Event::Failed`] the delivery rests until [`restart`](Self::restart) or
    /// [`abandon`](Self::abandon).
    ///
    /// # Panics
    /// On an event that no command in this phase can have given, or with a wrong number of entries.
    pub fn on(&mut self, event: Event) -> Step {
        let phase = std::mem::replace(&mut self.phase, Phase::Staging);
        match (phase, event) {
            (_, Event::Failed { destination, .. }) => {
                self.failures = self.failures.saturating_add(u32::from(!destination));
                Step::default()
            }
            (Phase::Staging, Event::Staged(members)) => self.staged(members),
            (Phase::Publishing { placements, standing }, Event::Published(placed)) => {
                self.published(placements, standing, placed)
            }
            (Phase::Finishing { receipts }, Event::Finished(disposals)) => self.finished(receipts, disposals),
            (phase, event) => unreachable!("{event:?} in phase {phase:?}"),
        }
    }

    /// Gives up: all members leave with `trouble`.
    pub fn abandon(&mut self, trouble: &Trouble) -> Step {
        let left = self.shipment.items.iter().cloned();
        let left = left.map(|item| Left { item, trouble: trouble.clone() }).collect();
        self.phase = Phase::Finished;
        Step { record: Some(self.over(Vec::new())), left, ..Step::default() }
    }

    fn staged(&mut self, members: Vec<Staged>) -> Step {
        assert_eq!(members.len(), self.shipment.items.len(), "staging reports each member");
        let (mut placements, mut standing, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for (item, member) in self.shipment.items.iter().zip(members) {
            match member {
                Staged::Landed { digests, theirs } if digests.agree_with(&theirs) => {
                    placements.push(Placement { item: item.clone(), digests, theirs });
                }
                Staged::Stands { digests, theirs, name } if digests.agree_with(&theirs) => {
                    standing.extend(Receipt::prove(item, &name, (digests, theirs), &self.shipment.id, false));
                }
                Staged::Landed { digests, theirs } | Staged::Stands { digests, theirs, .. } => {
                    left.push(Left { item: item.clone(), trouble: mismatch(&digests, &theirs) });
                }
                Staged::Spoiled(trouble) => left.push(Left { item: item.clone(), trouble }),
            }
        }
        let command = if placements.is_empty() {
            self.finish(standing)
        } else {
            self.phase = Phase::Publishing { placements: placements.clone(), standing };
            Command::Publish(placements)
        };
        Step { command: Some(command), left, ..Step::default() }
    }

    fn published(
        &mut self,
        placements: Vec<Placement>,
        mut receipts: Vec<Receipt>,
        placed: Vec<Placed>,
    ) -> Step {
        assert_eq!(placed.len(), placements.len(), "publishing reports each placement");
        let mut left = Vec::new();
        for (Placement { item, digests, theirs }, placed) in placements.into_iter().zip(placed) {
            match placed {
                Placed::At(name) => {
                    let receipt = Receipt::prove(&item, &name, (digests, theirs), &self.shipment.id, true);
                    receipts.push(receipt.expect("only verified members are placed"));
                }
                Placed::Refused(trouble) => left.push(Left { item, trouble }),
            }
        }
        Step { command: Some(self.finish(receipts)), left, ..Step::default() }
    }

    fn finish(&mut self, receipts: Vec<Receipt>) -> Command {
        self.phase = Phase::Finishing { receipts: receipts.clone() };
        Command::Finish(receipts)
    }

    fn finished(&mut self, receipts: Vec<Receipt>, disposals: Vec<Disposal>) -> Step {
        assert_eq!(disposals.len(), receipts.len(), "finishing reports each receipt");
        let (mut kept, mut left) = (Vec::new(), Vec::new());
        for (receipt, disposal) in receipts.iter().zip(disposals) {
            match disposal {
                Disposal::Kept => kept.push(self.remember(receipt)),
                Disposal::Removed => {}
                Disposal::Left(trouble) => left.push(Left { item: receipt.item().clone(), trouble }),
                Disposal::PutBack { stamp, others, trouble } => {
                    kept.extend(others);
                    // Held with its old stamp it would look like a new version, and be tried again at once.
                    left.push(Left { item: Item { stamp, ..receipt.item().clone() }, trouble });
                }
            }
        }
        self.phase = Phase::Finished;
        Step { record: Some(self.over(kept)), left, delivered: receipts, ..Step::default() }
    }

    fn remember(&self, receipt: &Receipt) -> Delivered {
        let item = receipt.item();
        Delivered {
            folder: ItemId::of_folder(&self.shipment.watch, item.path.folder().as_ref()),
            item: self.shipment.item_id(item),
            stamp: item.stamp.fingerprint(),
            digest: receipt.digests().blake3,
        }
    }

    fn over(&self, delivered: Vec<Delivered>) -> Record {
        Record::Finished { shipment: self.shipment.id.clone(), delivered }
    }
}

fn mismatch(ours: &Digests, theirs: &Digest) -> Trouble {
    let ours = ours.by(theirs.algorithm()).map_or_else(|| ours.blake3.to_string(), |d| d.to_string());
    Trouble::retryable(format!("the destination read {theirs}, but {ours} was sent"))
}
