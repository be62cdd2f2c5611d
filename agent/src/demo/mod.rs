//! `skiff demo`: the main job on this machine, against an embedded SSH server.
//!
//! The agent is this very program in a process of its own, so that it can be killed for real; what it runs is what it
//! runs against any server.

pub mod scp_stand_in;
pub(crate) mod server;
mod show;
mod workload;

pub(crate) use show::demo;
