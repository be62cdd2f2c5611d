//! The simulation at any length: seeds from the order's on, on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Campaign, Order, Tally};
use crate::simulation::Simulator;

/// There is no end of seeds; so many count as all.
const WHOLE: u64 = 1_000_000;
/// Seeds that a thread takes at a time.
const CHUNK: u64 = 64;

/// The campaign.
pub const CAMPAIGN: Campaign =
    Campaign { name: "simulation", about: "the decisions, in a simulated world; a run is a seed", run };

/// Runs it. A seed that is run alone tells its story where it fails.
fn run(order: &Order) -> Tally {
    let tally = Mutex::new(Tally::default());
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| take_seeds(order, &next, &tally));
        }
    });
    tally.into_inner().expect("nothing panicked")
}

fn take_seeds(order: &Order, next: &AtomicU64, tally: &Mutex<Tally>) {
    let count = order.count.unwrap_or(WHOLE);
    let simulator = Simulator::new(None);
    loop {
        let from = next.fetch_add(CHUNK, Ordering::Relaxed);
        if from >= count {
            return;
        }
        let mut own = Tally::default();
        for number in from..count.min(from + CHUNK) {
            let seed = order.seed.wrapping_add(number);
            let failure = simulator.run(seed).err();
            own.add(true, failure.map(|wrong| told(&simulator, seed, &wrong, count == 1)));
        }
        let mut all = tally.lock().expect("nothing panics while it holds the lock");
        all.runs += own.runs;
        all.met += own.met;
        all.failures.extend(own.failures);
    }
}

fn told(simulator: &Simulator, seed: u64, wrong: &str, whole: bool) -> String {
    let again = format!("seed {seed}: {wrong}. Again: campaign simulation --count 1 --seed {seed}");
    if whole { simulator.tell(seed).1.join("\n") + "\n" + &again } else { again }
}
