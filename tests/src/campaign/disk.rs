//! A disk whose power can be cut: an ext4 in a file, mounted.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::geteuid;
use tempfile::TempDir;

use super::cut::cut;
use crate::{process, wait};

const SIZE_BYTES: u64 = 96 << 20;
/// How long processes that were killed may hold on to the disk.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(20);
/// How long somebody's mount namespace may.
const COPY_LIMIT: Duration = Duration::from_secs(120);

/// Unmounted when dropped.
pub struct Disk {
    home: TempDir,
    mounted: bool,
}

impl Disk {
    /// A new, empty disk. `Err` says why this machine does not allow it.
    pub fn new() -> Result<Self, String> {
        if !geteuid().is_root() {
            return Err("mounting a disk needs root".to_owned());
        }
        let home = TempDir::new().expect("there is room for a temporary folder");
        let mut disk = Disk { home, mounted: false };
        let image = File::create(disk.image()).expect("a new folder is writable");
        image.set_len(SIZE_BYTES).expect("a sparse file needs no room");
        std::fs::create_dir(disk.root()).expect("a new folder is writable");
        said(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(disk.image()))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn root(&self) -> PathBuf {
        self.home.path().join("disk")
    }

    /// What is on it now survives.
    pub fn sync(&self) {
        let root = File::open(self.root()).expect("a mounted disk can be opened");
        rustix::fs::syncfs(root).expect("the disk takes it");
    }

    /// From now on everything fails, and what was not synced is gone.
    pub fn cut(&self) {
        cut(&self.root()).expect("a mounted ext4 can be shut down");
    }

    /// After a cut: what survived. Calls `release` until nobody uses the disk any longer.
    pub fn revive(&mut self, mut release: impl FnMut()) {
        let free = wait::came_true(UNMOUNT_LIMIT, || {
            release();
            self.unmount()
        });
        assert!(free, "somebody holds on to {}", self.root().display());
        // A mount namespace that somebody made meanwhile has a copy of the mount, and the dead disk lives until that has ended.
        let alive = wait::came_true(COPY_LIMIT, || {
            self.mount().expect("what could be mounted before can be again");
            let alive = File::open(self.root()).is_ok_and(|root| rustix::fs::syncfs(root).is_ok());
            if !alive {
                self.unmount();
            }
            alive
        });
        assert!(alive, "a copy of the mount at {} is held", self.root().display());
    }

    fn mount(&mut self) -> Result<(), String> {
        said(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.root()))?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> bool {
        if self.mounted {
            self.mounted = said(Command::new("umount").arg(self.root())).is_err();
        }
        !self.mounted
    }

    fn image(&self) -> PathBuf {
        self.home.path().join("image")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !wait::came_true(UNMOUNT_LIMIT, || self.unmount()) {
            // Better than to leave it for ever.
            let _failed = said(Command::new("umount").arg("-l").arg(self.root()));
        }
    }
}

fn said(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {}", process::said(&output).trim()))
    }
}
