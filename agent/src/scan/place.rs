//! Where a scanner looks: the watched folder, as long as it is there and is the same one, and its events.
//!
//! Promises that it is watched before it is scanned, so that nothing falls between the two. A folder that is gone or unmounted
//! is waited for; one that can't be watched is polled.

use std::time::Duration;

use skiff_common::{ItemId, Moment, RelPath};

use super::settled::REST_ON_FAT;
use super::{POLL, ScanError, Scanner};
use crate::clock;
use crate::finish;
use crate::source::{Look, Root};
use crate::watch::Events;
use crate::watched::Sight;

impl Scanner {
    /// The watched folder, opened and watched; `None` while it isn't there.
    pub(super) fn root(&mut self) -> Result<Option<Root>, ScanError> {
        let (root, id) = match self.watched.look()? {
            Sight::Same(root) => return Ok(Some(root)),
            Sight::Other(root, id) => (root, id),
            Sight::Missing => {
                self.wait_for_folder();
                return Ok(None);
            }
        };
        self.least_rest = if root.is_fat() { REST_ON_FAT } else { Duration::ZERO };
        self.look_for_mount(&root)?;
        self.restore(&root);
        self.attach();
        self.context.set_folder(Some(id));
        self.next_scan = Moment::START;
        Ok(Some(root))
    }

    fn wait_for_folder(&mut self) {
        self.events = None;
        self.next_scan = clock::now() + POLL;
        // What waits in it is met again by the scan that its return begins; until then nothing is due.
        self.settler.clear();
        // Who looks once waits for no folder.
        self.first_scan &= !self.context.once;
    }

    /// What a crash left half-way out of the folder goes back, and is verified anew.
    fn restore(&self, root: &Root) {
        // It may have been an earlier configuration that removed.
        if self.context.once && !self.context.settings.removes() {
            return;
        }
        match finish::restore(root, self.context.settings.settle_marker.as_deref()) {
            Ok(0) => {}
            Ok(files) => {
                tracing::info!(watch = %self.context.settings.name, files, "an interrupted removal was undone");
            }
            Err(error) => self.context.complain(&format!("cannot undo an interrupted removal: {error}")),
        }
    }

    /// Where a file system is missing the folder below it is scanned like any other, but doesn't say what was deleted. Whether
    /// it is missing is decided before anything that is found there can be delivered.
    fn look_for_mount(&mut self, root: &Root) -> Result<(), ScanError> {
        if self.watched.can_tell() {
            let is_the_one = self.holds_delivered(root, None)?;
            if self.waker.is_stopped() {
                return Ok(());
            }
            self.watched.decide(is_the_one)?;
        }
        if self.watched.misses_mount() {
            self.context.complain(&self.context.missing_mount());
        }
        Ok(())
    }

    /// Whether a file stands in a folder, or below, as it was when it was delivered.
    fn holds_delivered(&mut self, root: &Root, folder: Option<&RelPath>) -> Result<bool, ScanError> {
        let (Some(journal), Ok(listing)) = (&self.journal, root.list(folder)) else { return Ok(false) };
        let delivered = journal.delivered_in(ItemId::of_folder(&self.context.settings.name, folder))?;
        // What was delivered tells it also where the rules can't be read.
        let _unread = self.ignores.refresh(root, folder);
        let mut folders = Vec::new();
        for entry in listing.map_while(Result::ok) {
            let Ok(path) = RelPath::in_folder(folder, &entry.name) else { continue };
            match root.through(&path, entry.look) {
                Look::File { stamp, .. } if delivered.has(self.id(&path), stamp.fingerprint()) => {
                    return Ok(true);
                }
                Look::Folder if self.context.enters(root, &path, &mut self.ignores).unwrap_or(true) => {
                    folders.push(path);
                }
                Look::File { .. } | Look::Folder | Look::Other(_) => {}
            }
        }
        drop(delivered);
        for folder in folders {
            if self.waker.is_stopped() || self.holds_delivered(root, Some(&folder))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn attach(&mut self) {
        if self.context.once {
            return;
        }
        // Watching begins before the first scan, so that nothing falls between the two.
        match Events::on(&self.context.settings.path, &self.waker) {
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
