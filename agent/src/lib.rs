//! What skiff does: everything that touches the world.
//!
//! `cli` → `supervise` → {`crew` → {`scan` → `watch`, `follow`, `retain`}, `dispatch`, `control`}; `dispatch` → {`journal`,
//! `finish`, `receipts`, `remote`}; `remote` → `ship` → `source`. `status` and `metrics` are sinks. The decisions are in `skiff-common`; here they meet files, sockets, clocks
//! and signals.

pub mod admission;
mod census;
pub mod cli;
pub mod clock;
mod closed;
pub mod context;
pub mod control;
mod crew;
pub mod demo;
pub mod dispatch;
#[cfg(test)]
mod documented;
pub mod empty_folders;
pub mod error;
pub mod finish;
mod folder_maker;
mod follow;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod hooks;
mod ignores;
pub mod journal;
pub mod login;
pub mod machine;
pub mod metrics;
pub mod naming;
mod no_replace;
#[cfg(test)]
mod not_shown;
#[cfg(feature = "otel")]
pub mod otel;
pub mod pull;
mod reach;
pub mod receipts;
pub mod remote;
pub mod retain;
pub mod route;
pub mod scan;
pub mod ship;
pub mod size;
pub mod source;
pub mod ssh_config;
pub mod status;
pub mod supervise;
pub mod sys;
pub mod telemetry;
pub mod wake;
pub mod watch;
mod watched;
pub mod windows;
