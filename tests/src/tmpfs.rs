//! A small file system in memory, to be filled up or made read-only. Takes root.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// A mounted tmpfs. Gone, with all that is in it, when dropped.
pub struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// Mounts one over a folder, with options such as `size=1m` or `nr_inodes=10`.
    pub fn over(path: &Path, options: &str) -> Self {
        process::run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "skiff-test"]).arg(path));
        Tmpfs { path: path.to_owned() }
    }

    /// Changes its options. What is in it stays.
    pub fn set(&self, options: &str) {
        process::run(Command::new("mount").arg("-o").arg(format!("remount,{options}")).arg(&self.path));
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a session of the server may still stand in it, and ends after it.
        process::run(Command::new("umount").arg("-l").arg(&self.path));
    }
}
