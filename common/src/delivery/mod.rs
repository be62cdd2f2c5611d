//! The life of a shipment: planned → staged → published → finished.
//!
//! [`machine`] decides each next step, [`outcome`] is what it hears, [`receipt`] is what it proves, [`record`] is what it
//! wants remembered, [`manifest`] is what the destination is told. Nothing here acts; recovery after a crash is the same first step again, for every command is idempotent.

pub mod conflict;
pub mod machine;
pub mod manifest;
pub mod outcome;
pub mod receipt;
pub mod record;

pub use conflict::{OnConflict, Resolution, resolve};
pub use machine::{Command, Delivery, Event, Left, Placement, Step};
pub use outcome::{Disposal, Placed, Staged, Trouble};
pub use receipt::{Receipt, Stood};
pub use record::{Delivered, HeldItem, Record};
