//! The watched folder: found as long as it is there and is the same one, for its scanner or follower.
//!
//! Promises that a folder is not taken for the file system that was mounted over it, by this process or by an earlier one:
//! what isn't there then wasn't deleted. Lacks what is done with the folder; who looks says which one is watched.

use std::sync::Arc;

use crate::context::WatchContext;
use crate::journal::{Journal, JournalError, MountNote};
use crate::source::{FolderId, Root, SourceError};

/// What a look for the watched folder meets.
pub(crate) enum Sight {
    /// The one that is watched.
    Same(Root),
    /// Another one, which isn't watched yet.
    Other(Root, FolderId),
    /// None, which people are told.
    Missing,
}

/// The folder of one watch.
pub(crate) struct WatchedFolder {
    context: Arc<WatchContext>,
    /// Where something is kept in mind.
    journal: Option<Journal>,
    was_mounted: bool,
    /// The mount that is missing.
    missing: Option<MountNote>,
}

impl WatchedFolder {
    pub(crate) fn of(context: &Arc<WatchContext>, journal: Option<&Journal>) -> Self {
        // Who looks once compares nothing with what was there.
        let journal = journal.filter(|_| !context.once).cloned();
        Self { context: Arc::clone(context), journal, was_mounted: false, missing: None }
    }

    /// Looks for it.
    pub(crate) fn look(&mut self) -> Result<Sight, JournalError> {
        if let Some(root) = self.context.root() {
            return Ok(Sight::Same(root));
        }
        if self.context.set_folder(None).is_some() {
            tracing::warn!(watch = %self.context.settings.name, "the watched folder has been moved, deleted or unmounted");
        }
        match self.open() {
            Ok((root, id)) => {
                self.recall()?;
                Ok(Sight::Other(root, id))
            }
            Err(error) => {
                self.context.set_misses_mount(matches!(error, SourceError::Unmounted { .. }));
                self.context.complain(&error.to_string());
                Ok(Sight::Missing)
            }
        }
    }

    /// Whether a file system was mounted there when an earlier process looked, and none is.
    pub(crate) fn misses_mount(&self) -> bool {
        self.missing.is_some()
    }

    /// Whether what stands in the folder can tell that it is the one that was delivered from all the same. Once something
    /// of it may have been delivered while the mount was missing, nothing can.
    pub(crate) fn can_tell(&self) -> bool {
        self.missing.is_some_and(|note| !note.is_missed())
    }

    /// Keeps in mind whether it is. Where it isn't, only the mount's return or another path of the watch changes that.
    pub(crate) fn decide(&mut self, is_the_one: bool) -> Result<(), JournalError> {
        let missing = (!is_the_one).then(|| MountNote::new(&self.context.settings.path, true));
        self.note(missing)?;
        self.miss(missing);
        Ok(())
    }

    /// The folder is waited for until the mount is there again.
    pub(crate) fn wait_for_mount(&self) {
        self.context.complain(&self.unmounted().to_string());
    }

    fn open(&mut self) -> Result<(Root, FolderId), SourceError> {
        let root = self.context.open()?;
        let (id, is_mounted) = (root.id()?, root.is_mounted());
        if self.was_mounted && !is_mounted {
            // The empty folder below it doesn't say that all was deleted.
            return Err(self.unmounted());
        }
        self.was_mounted = is_mounted;
        Ok((root, id))
    }

    /// What an earlier process kept in mind of a mount there.
    fn recall(&mut self) -> Result<(), JournalError> {
        let Some(journal) = &self.journal else {
            self.miss(None);
            return Ok(());
        };
        let (watch, path) = (&self.context.settings.name, &self.context.settings.path);
        let noted = journal.mount(watch)?;
        let now = self.was_mounted.then(|| MountNote::new(path, false));
        let missing = noted.filter(|noted| now.is_none() && noted.is_at(path));
        if missing.is_none() && noted != now {
            // Also where it was at another path: nothing is missing at this one.
            self.note(now)?;
        }
        self.miss(missing);
        Ok(())
    }

    fn note(&self, note: Option<MountNote>) -> Result<(), JournalError> {
        let journal = self.journal.as_ref();
        journal.map_or(Ok(()), |journal| journal.note_mount(&self.context.settings.name, note))
    }

    fn miss(&mut self, missing: Option<MountNote>) {
        self.missing = missing;
        self.context.set_misses_mount(missing.is_some());
    }

    fn unmounted(&self) -> SourceError {
        SourceError::Unmounted { path: self.context.settings.path.display().to_string() }
    }
}
