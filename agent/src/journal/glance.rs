//! A look at what a journal says of mounts that leaves no trace: in a copy, since sled writes wherever it opens.

use std::fs;
use std::io;
use std::path::Path;

use skiff_common::ItemId;

use super::Journal;
use super::deadline::{self, in_time};
use super::error::JournalError;
use super::keys::{Kind, mount_key};
use super::lock::Lock;
use super::mount::MountNote;
use super::state_folder::StateFolder;
use super::store::Store;

/// What is larger isn't copied: temporary files may have to share a small disk with others, or memory.
const MOST_BYTES: u64 = 64 << 20;

impl Journal {
    /// What [`Journal::mount`] says of these watches, while no skiff works with the journal in `state_dir`, in which nothing
    /// changes. Nothing where there is no journal, or a large one. Blocking.
    pub fn glance_at_mounts(
        state_dir: &Path,
        watches: &[&str],
    ) -> Result<Vec<Option<MountNote>>, JournalError> {
        let place = StateFolder::at(state_dir);
        if !place.has_journal() || Self::bytes_on_disk(state_dir) > MOST_BYTES {
            return Ok(vec![None; watches.len()]);
        }
        let dir = place.journal();
        let copied = |error| JournalError::io("copy", &dir, error);
        let copy = tempfile::tempdir().map_err(copied)?;
        let lock = Lock::share(&place.lock())?;
        copy_all(&dir, copy.path()).map_err(copied)?;
        drop(lock);
        let keys: Vec<_> = watches.iter().map(|watch| mount_key(ItemId::of_folder(watch, None))).collect();
        in_time("read", &dir, deadline::OPEN, move || {
            let store = Store::open(copy.path())?;
            let note = |key: &Vec<u8>| store.get(Kind::Meta, key);
            keys.iter().map(|key| Ok(note(key)?.map(|note| MountNote::unseal(&note)))).collect()
        })?
    }
}

/// But what a killed sled leaves, which makes an open fail.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let to = to.join(path.file_name().expect("it is in a folder"));
        if path.is_dir() {
            fs::create_dir(&to)?;
            copy_all(&path, &to)?;
        } else if path.extension().is_none_or(|extension| extension != "generating") {
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    fn all(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).expect("it is there") {
            let path = entry.expect("it is there").path();
            if path.is_dir() {
                found.extend(all(&path));
                found.insert(path, Vec::new());
            } else {
                found.insert(path.clone(), fs::read(path).expect("it is there"));
            }
        }
        found
    }

    #[test]
    fn a_glance_changes_nothing_and_leaves_one_that_is_open_alone() {
        let home = tempfile::tempdir().expect("a folder");
        let glance = || Journal::glance_at_mounts(home.path(), &["here", "there"]);
        assert_eq!(glance().expect("there is nothing"), [None, None]);
        assert_eq!(all(home.path()), BTreeMap::new());

        let (journal, _) = Journal::open(home.path()).expect("it opens");
        let note = MountNote::new(Path::new("/data"), false);
        journal.note_mount("here", Some(note)).expect("recorded");
        assert!(matches!(glance(), Err(JournalError::Locked { .. })));
        journal.close_blocking().expect("it closes");

        let before = all(home.path());
        assert_eq!(glance().expect("it is read"), [Some(note), None]);
        assert!(all(home.path()) == before, "it changed something");
    }
}
