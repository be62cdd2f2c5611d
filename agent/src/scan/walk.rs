//! Looking at a whole tree, or at one path that something named.
//!
//! Promises that the journal forgets files only of a folder that was seen whole. Lacks what is done about a file.

use std::collections::HashSet;

use skiff_common::{ItemId, RelPath};

use super::{ScanError, Scanner, TROUBLE};
use crate::clock;
use crate::folder_maker;
use crate::journal::DeliveredFolder;
use crate::source::{Entry, Look, Root, SourceError};

/// What is met in a folder.
#[derive(Default)]
struct Met {
    /// What the journal has of it.
    delivered: Option<DeliveredFolder>,
    /// Its files, if anything of it was delivered.
    seen: HashSet<ItemId>,
    /// Folders to go into, when this one is over.
    folders: Vec<RelPath>,
}

impl Scanner {
    pub(super) fn scan_whole(&mut self, root: &Root) -> Result<(), ScanError> {
        self.begin()?;
        self.context.tell_aside(root);
        self.look_for_leftover()?;
        self.scan_folder(root, None)?;
        self.end()
    }

    pub(super) fn begin(&mut self) -> Result<(), ScanError> {
        self.left_out.clear();
        Ok(self.census.as_ref().map_or(Ok(()), |census| census.begin(self.context.number))?)
    }

    pub(super) fn end(&mut self) -> Result<(), ScanError> {
        self.tell_left_out();
        self.closed.looked(&self.context);
        let whole = self.is_whole();
        Ok(self.census.as_ref().map_or(Ok(()), |census| census.end(self.context.number, whole))?)
    }

    pub(super) fn scan_folder(&mut self, root: &Root, folder: Option<&RelPath>) -> Result<(), ScanError> {
        let listing = match self.ignores.list(root, folder) {
            Ok(listing) => listing,
            Err(SourceError::Gone { .. }) => return Ok(()),
            // Another file system's files are not this folder's, and no later look changes that.
            Err(error @ SourceError::Escapes { .. }) if folder.is_some() => {
                self.context.note_unseen(&error.to_string());
                *self.left_out.entry("mount point").or_default() += 1;
                return Ok(());
            }
            Err(error) => {
                self.is_in_trouble(folder, &error);
                return Ok(());
            }
        };
        let mut met = Met { delivered: self.delivered_in(folder)?, ..Met::default() };
        let (mut complete, mut is_empty) = (true, true);
        for entry in listing {
            is_empty = false;
            // What is left out is looked at when it goes on.
            if self.waker.is_stopped() || self.waker.is_paused() {
                self.interrupted = true;
                return Ok(());
            }
            match entry {
                Ok(entry) => self.meet(root, folder, &entry, &mut met)?,
                Err(error) => {
                    self.is_in_trouble(folder, &error);
                    complete = false;
                }
            }
        }
        let Met { delivered, seen, folders } = met;
        let forgets = complete && !self.watched.misses_mount();
        if let (Some(journal), Some(delivered), true) = (&self.journal, &delivered, forgets) {
            journal.keep_only(delivered, |item| seen.contains(&item))?;
        }
        drop((delivered, seen));
        if let Some(folder) = folder.filter(|_| is_empty && folder_maker::are_wanted(&self.context)) {
            self.context.folders.met(folder);
        }
        folders.iter().try_for_each(|folder| self.scan_folder(root, Some(folder)))
    }

    fn meet(
        &mut self,
        root: &Root,
        folder: Option<&RelPath>,
        entry: &Entry,
        met: &mut Met,
    ) -> Result<(), ScanError> {
        let path = match RelPath::in_folder(folder, &entry.name) {
            Ok(path) => path,
            Err(error) => {
                self.context.complain(&format!("cannot deliver a file: {error}"));
                return Ok(());
            }
        };
        match root.through(&path, entry.look) {
            Look::Folder => {
                if self.enters(root, &path) {
                    met.folders.push(path);
                }
            }
            Look::Other(kind) => {
                *self.left_out.entry(kind).or_default() += 1;
                self.refuse(&path, kind);
            }
            Look::File { stamp, mode } => {
                if met.delivered.as_ref().is_some_and(|delivered| !delivered.is_empty()) {
                    met.seen.insert(self.id(&path));
                }
                self.consider(root, &path, stamp, mode, met.delivered.as_ref())?;
            }
        }
        Ok(())
    }

    fn enters(&mut self, root: &Root, path: &RelPath) -> bool {
        self.context.enters(root, path, &mut self.ignores).unwrap_or_else(|error| {
            self.is_in_trouble(path.folder().as_ref(), &error);
            false
        })
    }

    pub(super) fn is_in_trouble(&mut self, folder: Option<&RelPath>, error: &SourceError) {
        self.trouble = true;
        self.next_scan = self.next_scan.min(clock::now() + TROUBLE);
        self.closed.met(&self.context, folder, error);
    }

    /// Looks at one path that an event or a timer named. A done-file that appears is news of its file.
    pub(super) fn look(&mut self, root: &Root, path: &RelPath) -> Result<(), ScanError> {
        if let Some(of) = self.context.marked_by(path).filter(|_| self.context.only.is_none()) {
            self.look_at(root, &of)?;
        }
        self.look_at(root, path)
    }

    fn look_at(&mut self, root: &Root, path: &RelPath) -> Result<(), ScanError> {
        match root.look(path) {
            Ok(Look::File { .. }) if self.is_ignore_file(path) => {
                // What it ignored, or ignores now, is looked at again.
                self.scan_folder(root, path.folder().as_ref())
            }
            Ok(Look::File { stamp, mode }) => {
                let folder = path.folder();
                let id = ItemId::of_folder(&self.context.settings.name, folder.as_ref());
                if self.cached.as_ref().is_none_or(|cached| cached.folder() != id) {
                    self.cached = self.delivered_in(folder.as_ref())?;
                }
                self.leftover.others.clear();
                let delivered = self.cached.take();
                let outcome = self.consider(root, path, stamp, mode, delivered.as_ref());
                self.cached = delivered;
                outcome
            }
            // What may have been a file until now settles no more.
            Ok(other) => {
                self.settler.forget(path);
                self.look_at_other(root, path, other)
            }
            Err(error) => {
                if self.first_scan && self.context.only.is_some() {
                    self.context.complain(&error.to_string());
                }
                self.settler.forget(path);
                Ok(())
            }
        }
    }

    fn look_at_other(&mut self, root: &Root, path: &RelPath, look: Look) -> Result<(), ScanError> {
        match look {
            // A folder that appears may be filled before it is watched.
            Look::Folder if self.enters(root, path) => {
                self.cover(path);
                self.scan_folder(root, Some(path))
            }
            Look::Other(kind) => {
                self.refuse(path, kind);
                Ok(())
            }
            Look::Folder | Look::File { .. } => Ok(()),
        }
    }

    fn is_ignore_file(&self, path: &RelPath) -> bool {
        let name = self.context.settings.taken.ignore_file.as_deref();
        self.context.only.is_none() && name.is_some_and(|name| path.name() == name.as_bytes())
    }

    fn delivered_in(&self, folder: Option<&RelPath>) -> Result<Option<DeliveredFolder>, ScanError> {
        let id = ItemId::of_folder(&self.context.settings.name, folder);
        if let Some(census) = &self.census {
            census.met(id);
        }
        Ok(self.journal.as_ref().map(|journal| journal.delivered_in(id)).transpose()?)
    }

    /// What is left out for what it is, once for each time that this changes.
    fn tell_left_out(&mut self) {
        if self.left_out == self.told {
            return;
        }
        self.told.clone_from(&self.left_out);
        let kinds: Vec<_> = self.told.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
        tracing::info!(watch = %self.context.settings.name, left_out = kinds.join(", "),
            "only regular files are delivered, and symlinks as `symlinks` says; a mount point takes a watch of its own");
    }

    fn refuse(&self, path: &RelPath, kind: &str) {
        tracing::debug!(watch = %self.context.settings.name, path = %path, kind, "only regular files are delivered");
    }
}
