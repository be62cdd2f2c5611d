//! Which watches are paused: a line each in a file, so that a restart doesn't wake what somebody put to rest.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The paused watches.
#[derive(Debug)]
pub struct Paused {
    path: PathBuf,
    names: Mutex<BTreeSet<String>>,
}

impl Paused {
    /// What is paused in this state folder; nothing where nobody can pause (`service`).
    pub fn of(state_dir: &Path, service: bool) -> Self {
        let path = state_dir.join("paused");
        let text = if service { std::fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
        let names = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        Self { path, names: Mutex::new(names) }
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Pauses these, or has them go on; durable when this returns. Blocks.
    pub fn set(&self, watches: &[String], paused: bool) -> io::Result<()> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = names.clone();
        for watch in watches {
            if paused {
                changed.insert(watch.clone());
            } else {
                changed.remove(watch);
            }
        }
        let folder = self.path.parent().expect("it is in the state folder");
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        changed.iter().try_for_each(|name| writeln!(file, "{name}"))?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        std::fs::File::open(folder)?.sync_all()?;
        *names = changed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paused_stays_so() {
        let home = tempfile::tempdir().expect("a folder");
        let (a, b) = ("a".to_owned(), "b".to_owned());
        let paused = Paused::of(home.path(), true);
        paused.set(&[a.clone(), b.clone()], true).expect("written");
        paused.set(std::slice::from_ref(&a), false).expect("written");
        assert_eq!(Paused::of(home.path(), true).names(), [b]);
        assert_eq!(Paused::of(home.path(), false).names(), [""; 0]);
    }
}
