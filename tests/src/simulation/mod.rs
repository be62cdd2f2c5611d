//! Skiff's decisions in a simulated world: a run is a seed, and takes a fraction of a millisecond.
//!
//! **Production code**: the desk and its lanes, the delivery machine, receipts, conflicts' resolution, the planner, the
//! settler, retries, records (all of `skiff-common`), and the admission (`skiff`).
//!
//! **Modelled**, after the code that is named in each module: the dispatcher's loop and the scanner (`agent`), the
//! worker's steps (`worker`), the verbs of `hand.sh` at a server that loses power, fills up and goes on with what nobody
//! waits for any longer (`destination`), the journal as records with a synced prefix (`disk`), the watched folder and
//! its writers (`source`). Content is a stream's name and a length; a digest is just that.
//!
//! **Not modelled**: SSH, sled, tar, several watches, sub-folders that vanish, done-files, moving instead of deleting,
//! running once, a server that lies, changes that leave size and mtime as they were, and names that a power cut of the
//! agent's machine takes back after they were used again.

mod agent;
mod blob;
pub(crate) mod chance;
mod defect;
mod destination;
mod disk;
mod inspect;
mod names;
mod scenario;
mod source;
mod worker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use agent::Agent;
pub use defect::Defect;
use names::Names;
use world::World;

/// Runs seeds, one after the other.
#[derive(Debug)]
pub struct Simulator {
    names: Names,
    defect: Option<Defect>,
}

impl Simulator {
    /// A simulator of skiff as it is, or with something done wrong.
    pub fn new(defect: Option<Defect>) -> Self {
        Self { names: Names::new(), defect }
    }

    /// Runs one seed; tells what was wrong.
    pub fn run(&self, seed: u64) -> Result<(), String> {
        self.story(seed, false).0
    }

    /// Runs one seed and tells all that happens.
    pub fn tell(&self, seed: u64) -> (Result<(), String>, Vec<String>) {
        self.story(seed, true)
    }

    fn story(&self, seed: u64, told: bool) -> (Result<(), String>, Vec<String>) {
        let mut world = World::new(&self.names, seed, self.defect);
        world.story = told.then(Vec::new);
        let ran = catch_unwind(AssertUnwindSafe(|| Self::whole(&mut world)));
        let outcome = match (ran, world.wrong.take()) {
            (Err(panic), _) => Err(format!("a panic: {}", words(&*panic))),
            (Ok(()), Some(wrong)) => Err(wrong),
            (Ok(()), None) => Ok(()),
        };
        (outcome, world.story.take().unwrap_or_default())
    }

    fn whole(world: &mut World<'_>) {
        let Some(agent) = world.run() else { return };
        world.judge_end(&agent);
        if world.wrong.is_none() {
            Self::replay(world, &agent);
        }
    }

    /// A restart from any older journal comes to the same end.
    fn replay(world: &mut World<'_>, agent: &Agent) {
        let kept = world.chance.index(world.journal.synced() + 1);
        let mut again = world.again_from(kept);
        again.tell(|| format!("again from the first {kept} records"));
        if let Some(end) = again.run() {
            again.judge_end(&end);
            again.judge_same(&end, world, agent);
        }
        world.story = again.story.take();
        world.wrong = again.wrong.take().map(|wrong| format!("after a replay of {kept} records: {wrong}"));
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words").to_owned()
}
