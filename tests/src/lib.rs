//! What the end-to-end tests stand on: real SSH servers, the built `skiff`, seeded trees of files and waiting with a limit.
//!
//! Everything panics with a full account when it cannot do its work: a harness that goes on after its own failure
//! proves nothing. What simulates (`simulation`, `fleet`) and what writes and judges a journal (`shipments`, its campaigns) uses
//! skiff's own crates; nothing else here knows how it is built, only its command line, its configuration and its files.

pub mod agent;
pub mod asyncssh;
pub mod bench;
pub mod between;
pub mod campaign;
pub mod chromium;
pub mod confined;
pub mod consumer;
pub mod dropbear;
pub mod fault_proxy;
pub mod fleet;
pub mod hand;
pub mod hole;
pub mod http;
pub mod liar;
pub mod machine;
pub mod process;
pub mod pull;
pub mod rclone;
pub mod receipts;
pub mod shipments;
pub mod simulation;
pub mod skiff;
pub mod sshd;
mod svg;
pub mod toolbox;
pub mod tree;
pub mod user;
pub mod wait;

pub use agent::Agent;
pub use between::Between;
pub use dropbear::Dropbear;
pub use fault_proxy::FaultProxy;
pub use rclone::Rclone;
pub use sshd::Sshd;
pub use toolbox::Toolbox;
pub use tree::Tree;
pub use user::User;
