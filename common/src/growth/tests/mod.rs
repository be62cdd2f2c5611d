//! The decisions about growing files in a simulated world: a run is a seed.
//!
//! Modelled: a folder with writers and rotations of every kind, numbers of files that are given out again, a follower
//! that dies and remembers what was recorded, a destination whose answers get lost and whose appends stop half-way.

mod world;

use world::World;

#[test]
fn every_seed_ends_with_every_byte_once() {
    for seed in 0..3_000 {
        World::run(seed, None);
    }
}

/// The simulation would notice.
#[test]
fn known_bad_followers_are_caught() {
    for defect in world::Defect::ALL {
        let caught =
            (0..3_000).any(|seed| std::panic::catch_unwind(|| World::run(seed, Some(defect))).is_err());
        assert!(caught, "{defect:?} was never caught");
    }
}
