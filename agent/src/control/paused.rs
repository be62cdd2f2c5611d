//! Which watches are paused: a line each in a file, so that a restart doesn't wake what somebody put to rest.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The paused watches.
#[derive(Debug)]
pub struct Paused {
    path: PathBuf,
    names: Mutex<BTreeSet<String>>,
}

impl Paused {
    /// What is paused in this state folder.
    pub fn read(state_dir: &Path) -> io::Result<Self> {
        let text = match std::fs::read_to_string(path(state_dir)) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text?,
        };
        Ok(Self::these(state_dir, text.lines().filter(|line| !line.is_empty())))
    }

    /// These are paused, whatever is written there.
    pub fn these<'a>(state_dir: &Path, watches: impl Iterator<Item = &'a str>) -> Self {
        Self { path: path(state_dir), names: Mutex::new(watches.map(str::to_owned).collect()) }
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
        let folder = File::open(folder)?;
        give(file.as_file(), &folder)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        folder.sync_all()?;
        *names = changed;
        Ok(())
    }
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("paused")
}

/// What root writes belongs to whom the folder belongs to: the agent has to read it.
fn give(file: &File, folder: &File) -> io::Result<()> {
    let (own, owner) = (file.metadata()?, folder.metadata()?);
    if own.uid() == owner.uid() {
        return Ok(());
    }
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::not_shown::not_shown;

    #[test]
    fn what_is_paused_stays_so() {
        let home = tempfile::tempdir().expect("a folder");
        let (a, b) = ("a".to_owned(), "b".to_owned());
        let paused = Paused::read(home.path()).expect("there is none");
        paused.set(&[a.clone(), b.clone()], true).expect("written");
        paused.set(std::slice::from_ref(&a), false).expect("written");
        assert_eq!(Paused::read(home.path()).expect("it is there").names(), [b]);
    }

    #[test]
    fn what_root_pauses_the_owner_of_the_folder_can_read() {
        let home = tempfile::tempdir().expect("a folder");
        let (nobody, group) = (65534, 65534);
        if std::os::unix::fs::chown(home.path(), Some(nobody), Some(group)).is_err() {
            return not_shown("whose the file of what is paused is", "only root can make it happen");
        }
        Paused::read(home.path()).expect("there is none").set(&["a".to_owned()], true).expect("written");
        let file = std::fs::metadata(home.path().join("paused")).expect("it is there");
        assert_eq!((file.uid(), file.gid()), (nobody, group));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(home.path().join("paused")).expect("a new name");
        assert!(Paused::read(home.path()).is_err());
    }
}
