//! What skiff decides: names, digests, settling, planning, retrying and the life of a delivery.
//!
//! Owns every decision and touches nothing: no async runtime, no files, no network, no clock, no randomness.
//! Time and chance come in as arguments, so that a simulator can drive the very code that production runs.

#![forbid(unsafe_code)]

pub mod batch;
pub mod delivery;
pub mod desk;
pub mod digest;
pub mod escape;
pub mod fault;
pub mod growth;
pub mod item;
mod lane;
pub mod moment;
pub mod path;
pub mod retry;
pub mod scp;
pub mod settle;
pub mod sftp;
pub mod shipment;
pub mod spread;
pub mod stamp;
pub mod wildcard;

pub use digest::{Algorithm, Digest};
pub use fault::Fault;
pub use item::{Item, ItemId};
pub use moment::Moment;
pub use path::{RelPath, RemotePath};
pub use shipment::{Shipment, ShipmentId, ShipmentKind};
pub use stamp::Stamp;
