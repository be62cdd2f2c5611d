//! skiff side by side with what people use instead, and its budgets, measured.
//!
//! Promises: whole processes are timed, in turns, from a warm cache to a fresh destination with a fresh state folder; what
//! arrived is compared with what was sent, by digests. Lacks judgement: it prints what it saw, and who lost too.

mod budgets;
mod compare;
mod contender;
mod limits;
mod link;
mod options;
mod picture;
mod rig;
mod statistics;
mod stopwatch;
mod table;
mod trickle;
mod workload;

pub use budgets::{Budget, Figure, Target, of_comparison};
pub use compare::{Cell, Entry, compare};
pub use contender::Contender;
pub use limits::{Speed, limits};
pub use link::{DelayedLink, Line};
pub use options::Options;
pub use picture::as_picture;
pub use rig::Rig;
pub use stopwatch::{Outcome, Usage};
pub use table::{as_json, as_text};
pub use trickle::{Latency, trickle};
pub use workload::{Sizes, Workload};
