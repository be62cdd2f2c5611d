//! Faults of local files, by their numbers in `FAULTS.md`.

mod changes;
mod limits;
mod shapes;
mod space;
mod watching;

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};
use rustix::process::Signal;
use skiff_tests::agent::files_told_of;
use skiff_tests::machine::{self, Mounted, Setting, inject};
use skiff_tests::{Agent, Sshd, Tree, process, tree, wait};
use tempfile::TempDir;

/// Slow enough that a file of [`LARGE_BYTES`] is caught on its way.
const SLOW: &str = "bandwidth = '32 Mbit/s'";
const LARGE_BYTES: u64 = 8 << 20;
const DELETE: &str = "after_delivery = 'delete'";

fn start() -> (Sshd, TempDir, Tree) {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let source = Tree::new(scratch.path().join("in"), 1);
    (sshd, scratch, source)
}

/// An agent with a large file of `source` on its way.
fn under_way(sshd: &Sshd, source: &mut Tree, rules: &str) -> Agent {
    source.file("large.bin", LARGE_BYTES);
    let mut agent = Agent::with_destination(sshd, SLOW).watch("in", source.root(), rules).started();
    agent.wait_until("the transfer is under way", || tree::staged_bytes(&sshd.root()) > 0);
    assert_eq!(tree::count(&sshd.root()), 0, "P2: a part never has the final name");
    agent
}

/// Waits until a file that comes now is delivered: the agent lives and goes on.
#[track_caller]
fn expect_goes_on(agent: &mut Agent, source: &mut Tree, sshd: &Sshd) {
    // Some agents delete what they have delivered.
    let bytes = fs::read(source.file("after", 100)).expect("it was written");
    agent
        .wait_until("others go on", || fs::read(sshd.root().join("after")).is_ok_and(|there| there == bytes));
}

#[track_caller]
fn expect_no_staging(agent: &mut Agent, sshd: &Sshd) {
    agent.wait_until("staging is removed", || tree::staged_bytes(&sshd.root()) == 0);
}

/// How many files the agent says that it delivered: a look at thousands of them costs more than their delivery.
fn delivered(log: &Path) -> usize {
    files_told_of(log, "delivered and verified")
}

fn names(root: &Path) -> BTreeSet<PathBuf> {
    tree::files_if_there(root).into_keys().collect()
}
