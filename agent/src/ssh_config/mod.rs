//! `ssh_config` files, as far as they say how to reach a host and how to log in there.
//!
//! It owns reading them as `ssh` does ([`Files::look_up`]): `Host` and `Match` blocks, `Include`, the first value wins,
//! key and certificate files add up. It promises that for the options it knows the answer is the one that `ssh -G` gives,
//! that options which `ssh` has and skiff does not need are passed over, that unknown ones are an error as for `ssh`, and
//! that nothing in a file runs a command. What would be dangerous to pass over (`ProxyCommand`) is an error for the hosts
//! that it is meant for; blocks whose condition can't be told (`Match exec`) are left out, and that is told.
//!
//! Deliberately absent: canonical host names, forwardings, and whatever else a delivery has no use for.

mod block;
mod error;
mod expand;
mod files;
mod jump;
mod keyword;
mod options;
mod words;

pub use block::matches;
pub use error::SshConfigError;
pub use expand::{Tokens, file as expand_file, host as expand_host};
pub use files::Files;
pub use jump::{JumpSpec, parse as parse_jumps, split_port};
pub use options::{KnownHostsFiles, Looked, Strict};
