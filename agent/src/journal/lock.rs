//! Only one skiff works with a state folder.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::JournalError;

/// How long a look at a large journal may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// A lock on a state folder, until it is dropped or the process ends.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// The same, and waits a moment for one that only looks: `skiff status` must not keep an agent from starting.
    pub(super) fn take_patiently(path: &Path) -> Result<Self, JournalError> {
        let started = Instant::now();
        loop {
            match Self::take(path) {
                Err(JournalError::Locked { .. }) if started.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(20));
                }
                taken => return taken,
            }
        }
    }

    /// Takes the lock file at `path` and writes this process's number into it.
    pub(super) fn take(path: &Path) -> Result<Self, JournalError> {
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut file = opened.map_err(|error| JournalError::io("open", path, error))?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            return Err(refused(path, file, error));
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| JournalError::io("write", path, error))?;
        Ok(Self { _file: file })
    }

    /// Takes the lock file at `path` as it is, beside others that only look, and writes nothing.
    pub(super) fn share(path: &Path) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(|error| JournalError::io("open", path, error))?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Self { _file: file }),
            Err(error) => Err(refused(path, file, error)),
        }
    }
}

fn refused(path: &Path, file: File, error: Errno) -> JournalError {
    if error != Errno::WOULDBLOCK {
        return JournalError::io("lock", path, error.into());
    }
    let mut text = String::new();
    // Without a readable number there still is the path.
    let _ = file.take(16).read_to_string(&mut text);
    let path = path.parent().unwrap_or(path).to_owned();
    JournalError::Locked { path, holder_pid: text.trim().parse().ok() }
}
