//! How long delivered files stay, and what gives way when the disk fills.

use std::time::Duration;

use crate::value::Choice;

/// How much of what was delivered, and stays in its folder, is kept; all of it where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retain {
    /// At most this long after its last change.
    pub age: Option<Duration>,
    /// At most so many bytes together.
    pub bytes: Option<u64>,
}

impl Retain {
    /// Whether there is a limit.
    pub fn is_limited(&self) -> bool {
        self.age.is_some() || self.bytes.is_some()
    }
}

/// What gives way when all that was delivered has gone and the disk is still too full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Nothing.
    KeepUndelivered,
    /// The oldest files, though they weren't delivered: each is written down before.
    DeleteUndelivered,
}

impl Choice for WhenFull {
    const NAMES: &'static [(&'static str, Self)] =
        &[("keep_undelivered", Self::KeepUndelivered), ("delete_undelivered", Self::DeleteUndelivered)];
}
