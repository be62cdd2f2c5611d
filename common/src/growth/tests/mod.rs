//! The decisions about growing files in a simulated world: a run is a seed.
//!
//! Modelled: a folder with writers and rotations of every kind, numbers of files that are given out again, a follower
//! that dies and remembers what was recorded, devices that get other numbers, looks before all is done; a destination whose
//! answers get lost, whose appends stop half-way, that denies names, and where somebody empties copies.

mod steps;
mod world;

use world::{Defect, World};

const SEEDS: u64 = 3_000;

fn is_caught(seed: u64, defect: Option<Defect>) -> bool {
    std::panic::catch_unwind(|| World::run(seed, defect)).is_err()
}

#[test]
fn every_seed_ends_with_every_byte_once() {
    for seed in 0..SEEDS {
        World::run(seed, None);
    }
}

/// The simulation would notice: what a seed ends with that ends well otherwise.
#[test]
fn known_bad_followers_are_caught() {
    for defect in Defect::ALL {
        let caught = (0..SEEDS).any(|seed| is_caught(seed, Some(defect)) && !is_caught(seed, None));
        assert!(caught, "{defect:?} was never caught");
    }
}
