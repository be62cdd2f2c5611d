//! Where a scanner looks: the watched folder, as long as it is there and is the same one, and its events.
//!
//! Promises that it is watched before it is scanned, so that nothing falls between the two. A folder that is gone or unmounted
//! is waited for; one that can't be watched is polled.

use skiff_common::{Moment, RelPath};

use super::{POLL, Scanner};
use crate::clock;
use crate::finish;
use crate::journal::JournalError;
use crate::source::{Root, SourceError};
use crate::watch::Watch;

impl Scanner {
    /// The watched folder, opened and watched; `None` while it isn't there.
    pub(super) fn root(&mut self) -> Option<Root> {
        if let Some(root) = self.context.root() {
            return Some(root);
        }
        if self.context.set_folder(None).is_some() {
            tracing::warn!(watch = %self.context.settings.name, "the watched folder has been moved, deleted or unmounted");
            self.events = None;
        }
        match self.attached() {
            Ok(root) => {
                self.next_scan = Moment::START;
                Some(root)
            }
            Err(error) => {
                self.context.complain(&error.to_string());
                self.next_scan = clock::now() + POLL;
                if self.context.once {
                    // Who looks once waits for no folder.
                    self.first_scan = false;
                    self.settler.clear();
                }
                None
            }
        }
    }

    /// The folder that stands there now, watched from now on.
    fn attached(&mut self) -> Result<Root, SourceError> {
        let root = self.context.open()?;
        let (id, is_mounted) = (root.id()?, root.is_mounted());
        if self.was_mounted && !is_mounted {
            // The empty folder below it doesn't say that all was deleted.
            return Err(SourceError::Unmounted { path: self.context.settings.path.display().to_string() });
        }
        self.was_mounted = is_mounted;
        // Until a scan has asked the journal.
        self.keeps_all = !self.context.once;
        self.restore(&root);
        self.attach();
        self.context.set_folder(Some(id));
        Ok(root)
    }

    /// What a crash left half-way out of the folder goes back, and is verified anew.
    fn restore(&self, root: &Root) {
        if !self.context.settings.removes() {
            return;
        }
        match finish::restore(root) {
            Ok(0) => {}
            Ok(files) => {
                tracing::info!(watch = %self.context.settings.name, files, "an interrupted removal was undone");
            }
            Err(error) => self.context.complain(&format!("cannot undo an interrupted removal: {error}")),
        }
    }

    /// Where a file system was mounted when an earlier process looked, and none is, the folder below it is scanned like
    /// any other, but doesn't say what was deleted.
    pub(super) fn look_for_mount(&mut self) -> Result<(), JournalError> {
        let Some(journal) = self.journal.as_ref().filter(|_| !self.context.once) else {
            self.keeps_all = false;
            return Ok(());
        };
        let watch = &self.context.settings.name;
        let was_mount = journal.was_mount(watch)?;
        if self.was_mounted && !was_mount {
            journal.note_mount(watch, true)?;
        }
        self.keeps_all = was_mount && !self.was_mounted;
        if self.keeps_all {
            self.context.complain(
                "a file system was mounted at the watched folder, and is not now: what was delivered of it is kept in mind",
            );
        }
        Ok(())
    }

    /// What was delivered stands in the folder as it is now, so no file system is missing there.
    pub(super) fn knows_the_place(&mut self) -> Result<(), JournalError> {
        if self.keeps_all
            && !self.was_mounted
            && let Some(journal) = &self.journal
        {
            journal.note_mount(&self.context.settings.name, false)?;
            self.keeps_all = false;
        }
        Ok(())
    }

    fn attach(&mut self) {
        if self.context.once {
            return;
        }
        // Watching begins before the first scan, so that nothing falls between the two.
        match Watch::on(&self.context.settings.path, &self.waker) {
            Ok(events) => self.events = Some(events),
            Err(error) => self.poll_instead(&error),
        }
    }

    fn poll_instead(&mut self, error: &notify::Error) {
        tracing::warn!(watch = %self.context.settings.name, %error,
            "cannot watch the folder, so it is scanned every few seconds; raise fs.inotify.max_user_watches");
        self.events = None;
    }

    /// Whatever comes into the folder from now on wakes us.
    pub(super) fn cover(&mut self, folder: &RelPath) {
        if let Some(events) = &mut self.events
            && let Err(error) = events.cover(folder)
        {
            self.poll_instead(&error);
            self.next_scan = Moment::START;
        }
    }
}
