//! A configuration as it was written: a tree of values, each with the file and line it came from.
//!
//! Knows TOML and nothing of what the keys mean; that is for `read`. Merges files, hands out keys one by one and reports
//! those that nobody asked for.

mod context;
mod given;
mod merge;
mod section;
mod substitute;
mod tree;

pub(crate) use context::Context;
pub(crate) use given::Given;
pub(crate) use merge::merge;
pub(crate) use section::{Places, Section};
pub(crate) use substitute::escape;
pub(crate) use tree::{Node, Place, Table, parse};
