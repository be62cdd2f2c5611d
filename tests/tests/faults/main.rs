//! Each fault of `tests/FAULTS.md`, by its number.

mod disks;
mod journal;
mod local;
mod network;
mod process;
mod pull;
mod server;
