//! Does one task: reads here, asks there, and says what came of it.

use std::fs::File;
use std::time::Instant;

use skiff_common::delivery::OnConflict;
use skiff_common::digest::Hasher;
use skiff_common::growth::{FileId, Log, LogId, Loss, Outcome, Task};
use skiff_common::{Algorithm, Digest, RelPath, Stamp};

use super::folder::stamp_of;
use super::reading::{Known, Next, Read, Unread};
use super::{Follower, Unended};
use crate::receipts::{self, Grown};
use crate::remote::scp::grow::{BLOCK, Changed, Copies, More, Stands, aside};
use crate::source::{Root, SourceError};

impl Follower {
    pub(super) fn work(&mut self, root: &Root, task: &Task) -> Result<Outcome, Unended> {
        match task {
            Task::Match { file, log, length, digests } => {
                let outcome = self.begins_with(root, *file, *length, &digests.blake3)?;
                self.tell_copied(*file, *log, &outcome);
                Ok(outcome)
            }
            Task::Inside { file, log, name } => {
                let outcome = self.is_inside(root, *file, name)?;
                self.tell_copied(*file, *log, &outcome);
                Ok(outcome)
            }
            Task::Twin { file, with, .. } => Ok(self.are_alike(root, *file, *with)),
            Task::Rename { log, from, to } => self.rename(*log, from, to),
            Task::Evict { log, name } => self.evict(*log, name),
            Task::Measure { log, name } => self.measure(root, *log, name),
            Task::Create { log, name } => self.create(root, *log, name),
            Task::Append(log) => self.append(root, *log),
            Task::CutBack { log, length } => self.cut_back(*log, *length),
            Task::Verify(log) => self.verify(*log),
            Task::Finish { log, loss } => self.finish(*log, *loss),
        }
    }

    pub(super) fn log(&self, id: LogId) -> Log {
        self.ledger.log(id).expect("tasks are about logs of the ledger").clone()
    }

    pub(super) fn algorithm(&self) -> Result<Algorithm, Unended> {
        self.at_destination(self.copies()?.digests_by())
    }

    pub(super) fn copies(&self) -> Result<Copies<'_>, Unended> {
        let place = &self.context.places[0];
        self.at_destination(place.remote.copies(&place.root, &self.staging))
    }

    /// The file, unless it can't be read; then people are told.
    pub(super) fn file(&mut self, root: &Root, file: FileId, path: &RelPath) -> Option<File> {
        let opened = self.folder.open(root, file, path).map(File::try_clone);
        match opened {
            Ok(Ok(file)) => return Some(file),
            Ok(Err(error)) => self.complain(path, &format!("cannot read {path}: {error}")),
            Err(SourceError::Gone { .. }) => {}
            Err(error) => self.complain(path, &error.to_string()),
        }
        None
    }

    pub(super) fn unreadable(&self, path: &RelPath, error: &std::io::Error) -> Outcome {
        self.complain(path, &format!("cannot read {path}: {error}"));
        Outcome::Refused
    }

    /// What comes of a log that was not read whole.
    pub(super) fn unread(&self, path: &RelPath, why: &Unread) -> Result<Outcome, Unended> {
        match why {
            Unread::Failed(error) => Ok(self.unreadable(path, error)),
            Unread::Stopped => Err(Unended::Stopped),
        }
    }

    fn rename(&mut self, id: LogId, from: &RelPath, to: &RelPath) -> Result<Outcome, Unended> {
        let copies = self.copies()?;
        let outcome = match self.at_destination(copies.rename(from, to))? {
            Changed::Yes => Outcome::Moved,
            Changed::Absent => Outcome::Absent,
            Changed::Moved => Outcome::Changed,
            Changed::Taken(digest) => self.taken(&self.log(id).path, to, digest),
        };
        if outcome == Outcome::Moved {
            tracing::info!(watch = %self.context.settings.name, %from, %to, "its copy was renamed");
            let log = self.log(id);
            if log.shipped > 0 && log.verified == log.shipped {
                self.receipt(&log, to)?;
            }
        }
        Ok(outcome)
    }

    /// What our receipts know keeps a name that follows from what it holds.
    fn evict(&mut self, id: LogId, name: &RelPath) -> Result<Outcome, Unended> {
        let copies = self.copies()?;
        let Stands::File(_, digest) = self.at_destination(copies.measure(name, None, 0))? else {
            return Ok(Outcome::Moved);
        };
        let to = aside(name, &digest.hex()).expect("a digest has more digits");
        match self.at_destination(copies.rename(name, &to))? {
            Changed::Yes | Changed::Absent => Ok(Outcome::Moved),
            Changed::Moved | Changed::Taken(_) => {
                let why = format!("cannot put the finished {name} aside: {to} stands at the destination");
                self.complain(&self.log(id).path, &why);
                Ok(Outcome::Refused)
            }
        }
    }

    /// What it is that has the name, and tells of it where it isn't ours.
    fn taken(&self, log: &RelPath, name: &RelPath, digest: Option<Digest>) -> Outcome {
        let ours = digest.is_some_and(|digest| self.is_ours(name, &digest));
        if !ours {
            let why = format!("another file named {name} stands at the destination");
            self.context.complain(&why);
            // Else it goes beside that.
            if self.context.on_conflict != OnConflict::KeepBoth {
                self.context.failed(log, &why);
            }
        }
        Outcome::Taken { ours }
    }

    /// Asked only in conflicts, which are rare; it reads the receipts.
    fn is_ours(&self, name: &RelPath, digest: &Digest) -> bool {
        let known = self.receipts.delivered_before(self.destination(), self.watch(), name, digest);
        known.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the receipts, so the file at the destination counts as foreign");
            false
        })
    }

    fn measure(&mut self, root: &Root, id: LogId, name: &RelPath) -> Result<Outcome, Unended> {
        let (algorithm, log) = (self.algorithm()?, self.log(id));
        let Some(file) = self.file(root, log.file, &log.path) else { return Ok(Outcome::Refused) };
        let copies = self.copies()?;
        let (size, theirs) = match self.at_destination(copies.measure(name, None, log.shipped))? {
            Stands::Nothing => {
                if log.shipped > 0 {
                    self.context.complain(&format!(
                        "the copy {name} has gone from the destination: it is sent again"
                    ));
                }
                self.known.insert(id, Known::nothing(algorithm));
                return Ok(Outcome::Absent);
            }
            Stands::Other => {
                return Ok(Outcome::Standing { size: u64::MAX, same: None, recorded_is_same: false });
            }
            Stands::File(size, theirs) => (size, theirs),
        };
        let lengths = (size, log.shipped);
        let (at_size, at_shipped) = match Known::of_both(&file, lengths, algorithm, || self.is_stopped()) {
            Ok(ours) => ours,
            Err(why) => return self.unread(&log.path, &why),
        };
        if at_shipped.is_none_or(|known| log.shipped > 0 && known.digests().blake3 != log.digests.blake3) {
            return Ok(Outcome::Truncated);
        }
        if let Some(known) = at_size.filter(|known| known.digests().agree_with(&theirs)) {
            if size > log.shipped {
                tracing::debug!(path = %log.path, bytes = size - log.shipped, "goes on where its copy ends");
            }
            if size < log.shipped {
                let shipped = log.shipped;
                let why = format!(
                    "the copy {name} has {size} of {shipped} bytes at the destination: the rest is sent again"
                );
                self.context.complain(&why);
            }
            let same = Some(known.digests());
            self.known.insert(id, known);
            return Ok(Outcome::Standing { size, same, recorded_is_same: true });
        }
        if let Some(known) = self.behind_its_copy(&file, name, size, algorithm)? {
            let shipped = Outcome::Shipped { length: known.length, digests: known.digests() };
            self.known.insert(id, known);
            return Ok(shipped);
        }
        let mut recorded_is_same = false;
        if let Some(digest) = log.digests.by(algorithm).filter(|_| (1..size).contains(&log.shipped)) {
            let first = copies.measure(name, Some(log.shipped), log.shipped);
            recorded_is_same =
                matches!(self.at_destination(first)?, Stands::File(_, theirs) if theirs == digest);
        }
        self.context.complain(&format!("the copy {name} at the destination is not what was shipped there"));
        Ok(Outcome::Standing { size, same: None, recorded_is_same })
    }

    /// All of the file, where the copy of `size` bytes begins with it and has more.
    fn behind_its_copy(
        &self,
        file: &File,
        name: &RelPath,
        size: u64,
        algorithm: Algorithm,
    ) -> Result<Option<Known>, Unended> {
        let length = file.metadata().map_or(0, |meta| meta.len());
        if size <= length {
            return Ok(None);
        }
        match Known::of(file, length, algorithm, || self.is_stopped()) {
            Ok(Some(known)) if self.copy_begins_with(name, &known)? => Ok(Some(known)),
            Err(Unread::Stopped) => Err(Unended::Stopped),
            Ok(_) | Err(Unread::Failed(_)) => Ok(None),
        }
    }

    fn create(&mut self, root: &Root, id: LogId, name: &RelPath) -> Result<Outcome, Unended> {
        let (algorithm, log) = (self.algorithm()?, self.log(id));
        self.ship(root, &log, name, &Known::nothing(algorithm))
    }

    fn append(&mut self, root: &Root, id: LogId) -> Result<Outcome, Unended> {
        let log = self.log(id);
        let (Some(name), Some(known)) = (&log.name, self.known.get(&id).cloned()) else {
            return Ok(Outcome::Changed);
        };
        if known.length != log.shipped {
            return Ok(Outcome::Changed);
        }
        self.ship(root, &log, name, &known)
    }

    /// Sends what follows what is known.
    fn ship(&mut self, root: &Root, log: &Log, name: &RelPath, known: &Known) -> Result<Outcome, Unended> {
        let algorithm = self.algorithm()?;
        let Some(file) = self.file(root, log.file, &log.path) else { return Ok(Outcome::Refused) };
        let read = known.next(&file, BLOCK, self.pace.most()).and_then(|next| Ok((next, stamp_of(&file)?)));
        let (next, (stamp, mode)) = match read {
            Ok((Read::Is(next), stamp)) => (next, stamp),
            Ok((Read::Truncated, _)) => return Ok(Outcome::Truncated),
            Err(error) => return Ok(self.unreadable(&log.path, &error)),
        };
        let Next { known: after, bytes, from } = next;
        if after.length == known.length {
            return Ok(Outcome::Refused);
        }
        let mut hasher = Hasher::for_destination(algorithm);
        hasher.update(&bytes);
        let digest = hasher.digests().by(algorithm).expect("it was computed for that");
        let before = known.length;
        let cargo = More { name, bytes, from, before, digest, mode, mtime_ns: stamp.mtime_ns };
        let begin = Instant::now();
        match self.bring(log, cargo, &after)? {
            Changed::Yes => {}
            Changed::Taken(digest) => return Ok(self.taken(&log.path, name, digest)),
            Changed::Moved | Changed::Absent => return Ok(Outcome::Changed),
        }
        let sent = after.length - before;
        self.pace.took(sent, begin.elapsed());
        tracing::debug!(watch = %self.context.settings.name, %name, bytes = sent, "delivered and verified");
        self.status.grew(&self.context.settings.name, sent);
        let shipped = Outcome::Shipped { length: after.length, digests: after.digests() };
        self.known.insert(log.id, after);
        Ok(shipped)
    }

    /// Begins a copy, or extends the one that is there, though somebody may have emptied it.
    fn bring(&self, log: &Log, cargo: More<'_>, after: &Known) -> Result<Changed, Unended> {
        let copies = self.copies()?;
        if log.name.is_some() {
            return self.at_destination(copies.extend(cargo));
        }
        // If nobody hears that it is there, it still counts as ours later.
        let claim = self.receipts.claim_grown(self.watch(), self.destination(), cargo.name, &after.digests());
        claim.map_err(Unended::Receipts)?;
        self.at_destination(copies.create(cargo))
    }

    fn cut_back(&mut self, id: LogId, length: u64) -> Result<Outcome, Unended> {
        let (algorithm, log) = (self.algorithm()?, self.log(id));
        let (Some(name), Some(digest)) = (&log.name, log.digests.by(algorithm)) else {
            return Ok(Outcome::Changed);
        };
        let copies = self.copies()?;
        match self.at_destination(copies.cut(name, length, digest))? {
            Changed::Yes => {
                tracing::warn!(watch = %self.context.settings.name, %name, length, "its copy was cut back to what is right");
                // What is known of so much is read again.
                self.known.remove(&id);
                Ok(Outcome::Shipped { length, digests: log.digests })
            }
            Changed::Moved | Changed::Absent | Changed::Taken(_) => Ok(Outcome::Changed),
        }
    }

    fn verify(&mut self, id: LogId) -> Result<Outcome, Unended> {
        let (algorithm, log) = (self.algorithm()?, self.log(id));
        let Some(name) = &log.name else { return Ok(Outcome::Changed) };
        let copies = self.copies()?;
        let first = Some(log.shipped);
        let stands = self.at_destination(copies.measure(name, first, log.shipped))?;
        let Stands::File(size, theirs) = stands else { return Ok(Outcome::Verified(false)) };
        // One whose length was recorded too long ago has more than that, which was verified when it came.
        let is_right = log.digests.agree_with(&theirs) && size >= log.shipped;
        if log.digests.by(algorithm).is_none() {
            return Ok(Outcome::Changed);
        }
        if is_right {
            self.receipt(&log, name)?;
            self.status.grown_whole(&self.context.settings.name);
            tracing::info!(watch = %self.context.settings.name, path = %log.path, %name, bytes = log.shipped,
                "the whole copy was verified");
        } else {
            let why = format!("the copy {name} at the destination is not what was shipped there");
            self.complain(&log.path, &why);
        }
        Ok(Outcome::Verified(is_right))
    }

    fn finish(&mut self, id: LogId, loss: Loss) -> Result<Outcome, Unended> {
        let log = self.log(id);
        let (watch, path) = (self.context.settings.name.clone(), &log.path);
        match loss {
            Loss::None => {
                tracing::info!(%watch, %path, bytes = log.shipped, "it is gone, and all of it was delivered");
            }
            Loss::Truncated { unshipped } => tracing::warn!(%watch, %path, bytes = log.shipped, unshipped,
                "it was truncated; what was written between its copying and its truncation is nowhere"),
            Loss::Vanished { unshipped: Some(0) } => {
                tracing::warn!(%watch, %path, bytes = log.shipped, "it vanished; all that was seen of it was delivered");
            }
            Loss::Vanished { unshipped } => tracing::error!(%watch, %path, bytes = log.shipped, unshipped,
                "it vanished before its end was delivered"),
            Loss::Differs => tracing::error!(%watch, %path, bytes = log.shipped,
                "it is gone, and its copy is not what was delivered"),
        }
        let what = match loss {
            Loss::None | Loss::Vanished { unshipped: Some(0) } => None,
            Loss::Truncated { .. } => Some("truncated"),
            Loss::Vanished { .. } => Some("vanished_undelivered"),
            Loss::Differs => Some("copy_differs"),
        };
        if let Some(what) = what {
            let FileId { dev, ino, .. } = log.file;
            let stamp = Stamp { dev, ino, size: log.shipped, mtime_ns: 0, ctime_ns: 0 };
            let ended = receipts::Loss { watch: self.watch(), path, stamp: &stamp };
            receipts::ended(&self.losses, &ended, what).map_err(Unended::Receipts)?;
        }
        self.folder.let_go(log.file);
        Ok(Outcome::Finished)
    }

    fn receipt(&self, log: &Log, name: &RelPath) -> Result<(), Unended> {
        let grown = Grown { watch: self.watch(), destination: self.destination(), log, name };
        self.receipts.append_grown(&grown).map_err(Unended::Receipts)
    }
}
