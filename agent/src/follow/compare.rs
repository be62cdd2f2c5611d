//! Whether a log goes on in a file that was not there before.

use skiff_common::growth::{FileId, LogId, Outcome};
use skiff_common::{Algorithm, Digest, RelPath};

use super::reading::{Known, Unread, look_alike};
use super::{Follower, Unended};
use crate::remote::scp::grow::Stands;
use crate::source::{Root, SourceError};

impl Follower {
    /// What a rotation loses that copies and truncates, nobody can tell; that it may have is said.
    pub(super) fn tell_copied(&self, file: FileId, id: LogId, outcome: &Outcome) {
        let (log, path) = (self.log(id), self.folder.path_of(file));
        if *outcome != Outcome::Same(false)
            && *outcome != Outcome::Refused
            && let Some(copy) = path
        {
            if log.ended {
                tracing::warn!(watch = %self.context.settings.name, path = %log.path, %copy,
                    "it was truncated, and goes on in its copy; what was written between its copying and its truncation is nowhere");
            } else {
                tracing::info!(watch = %self.context.settings.name, path = %log.path, %copy, "it goes on in another file");
            }
        }
    }

    pub(super) fn begins_with(
        &mut self,
        root: &Root,
        file: FileId,
        length: u64,
        digest: &Digest,
    ) -> Result<Outcome, Unended> {
        let Some(path) = self.folder.path_of(file) else { return Ok(Outcome::Refused) };
        let Some(file) = self.file(root, file, &path) else { return Ok(Outcome::Refused) };
        match Known::of(&file, length, Algorithm::Blake3, || self.is_stopped()) {
            Ok(known) => Ok(Outcome::Same(known.is_some_and(|known| known.digests().blake3 == *digest))),
            Err(why) => self.unread(&path, &why),
        }
    }

    pub(super) fn is_inside(
        &mut self,
        root: &Root,
        file: FileId,
        name: &RelPath,
    ) -> Result<Outcome, Unended> {
        let algorithm = self.algorithm()?;
        let Some(path) = self.folder.path_of(file) else { return Ok(Outcome::Refused) };
        let Some(file) = self.file(root, file, &path) else { return Ok(Outcome::Refused) };
        let length = file.metadata().map(|meta| meta.len());
        let whole = length
            .map_err(Unread::Failed)
            .and_then(|length| Known::of(&file, length, algorithm, || self.is_stopped()));
        let known = match whole {
            Ok(Some(known)) if known.length > 0 => known,
            Ok(_) => return Ok(Outcome::Refused),
            Err(why) => return self.unread(&path, &why),
        };
        Ok(if self.copy_begins_with(name, &known)? {
            Outcome::Shipped { length: known.length, digests: known.digests() }
        } else {
            Outcome::Same(false)
        })
    }

    /// Whether the copy holds what is known, and more.
    pub(super) fn copy_begins_with(&self, name: &RelPath, known: &Known) -> Result<bool, Unended> {
        let copies = self.copies()?;
        let first = copies.measure(name, Some(known.length), known.length);
        Ok(match self.at_destination(first)? {
            Stands::File(size, theirs) => size >= known.length && known.digests().agree_with(&theirs),
            Stands::Nothing | Stands::Other => false,
        })
    }

    pub(super) fn are_alike(&mut self, root: &Root, file: FileId, with: FileId) -> Outcome {
        let paths = self.folder.path_of(file).zip(self.folder.path_of(with));
        let Some((path, other)) = paths else { return Outcome::Refused };
        let Some(one) = self.file(root, file, &path) else { return Outcome::Refused };
        let alike = match self.folder.open(root, with, &other) {
            Ok(other) => look_alike(&one, other),
            Err(SourceError::Gone { .. }) => return Outcome::Refused,
            // Nothing would begin until that can be read. Should this be its copy, that is delivered as a log of its own.
            Err(_) => Ok(false),
        };
        alike.map_or_else(|error| self.unreadable(&path, &error), Outcome::Same)
    }
}
