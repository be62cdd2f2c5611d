//! Who follows the logs: the ledger, and what an agent would keep for it. It dies now and then, and its answers get lost.

use std::collections::BTreeSet;

use super::{Defect, World, digests};
use crate::delivery::OnConflict;
use crate::growth::{FileId, Ledger, Log, Note, Outcome, Sighting, Task};

impl World {
    pub(super) fn die(&mut self) {
        self.tell("it dies");
        let soon = std::mem::take(&mut self.soon);
        for (id, log) in soon {
            if self.percent(50) && self.records.contains_key(&id) {
                self.records.insert(id, log);
            }
        }
        self.held.clear();
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|ino, _| named.contains(ino));
        if self.percent(20) {
            self.device += 1;
            self.tell(format!("its device has the number {}", self.device));
        }
        self.ledger = Ledger::new("us", OnConflict::KeepBoth, true, self.records.values().cloned().collect());
        // Some time passes before it is started again.
        for _ in 0..self.below(4) {
            self.write();
        }
    }

    fn id(&self, ino: u64) -> FileId {
        let tells = self.tells_birth && self.defect != Some(Defect::TrustsNumbers);
        FileId { dev: self.device, ino, born_ns: if tells { self.inodes[&ino].born } else { 0 } }
    }

    pub(super) fn follow(&mut self) {
        let mut seen: Vec<Sighting> = Vec::new();
        for (path, ino) in &self.names {
            let size = self.inodes[ino].bytes.len() as u64;
            seen.push(Sighting { file: self.id(*ino), path: Some(path.clone()), size, written: true });
        }
        for (file, ino) in &self.held {
            if !self.names.values().any(|named| named == ino) {
                let size = self.inodes[ino].bytes.len() as u64;
                seen.push(Sighting { file: *file, path: None, size, written: false });
            }
        }
        for ino in self.names.values() {
            self.held.insert(self.id(*ino), *ino);
        }
        self.compare_lengths();
        let notes = self.ledger.observe(&seen);
        self.note(notes);
        let followed: BTreeSet<FileId> = self.ledger.files().collect();
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.held.retain(|file, ino| followed.contains(file) || named.contains(ino));
        self.inodes.retain(|ino, _| named.contains(ino) || self.held.values().any(|held| held == ino));
        for round in 0..200 {
            self.expect(round < 190, || "it does not come to rest".to_owned());
            let Some(step) = self.ledger.next_step() else { return };
            if let Some(record) = step.record.filter(|_| self.defect != Some(Defect::RecordsLate)) {
                self.remember(record);
            }
            let fails = !self.calm && self.percent(4);
            let unheard = !self.calm && self.percent(4);
            let outcome = if fails { Outcome::Failed } else { self.work(&step.task, unheard) };
            self.tell(format!("{:?} -> {outcome:?}{}", step.task, if unheard { ", unheard" } else { "" }));
            self.judge(&step.task);
            if let Task::Create { log, .. } = &step.task
                && unheard
            {
                let file = self.ledger.log(*log).expect("it is known").file;
                self.unheard.extend(self.stream_of(file));
            }
            let outcome = if unheard { Outcome::Failed } else { outcome };
            if unheard && self.percent(50) {
                return self.die();
            }
            let notes = self.ledger.on(&step.task, &outcome);
            self.note(notes);
            // A look may be due before all is done.
            if outcome == Outcome::Failed || !self.calm && self.percent(5) {
                return;
            }
        }
    }

    /// Notes which logs are in the ledger, and which can't be told from those that their files held before.
    fn compare_lengths(&mut self) {
        let followed: Vec<Log> =
            self.ledger.all().filter(|(log, _)| !log.ended).map(|(log, _)| log.clone()).collect();
        for log in followed {
            // It may have been recorded when the device had another number.
            let file = FileId { dev: self.device, ..log.file };
            let (Some(stream), Some(bytes)) = (self.stream_of(file), self.bytes(file)) else {
                continue;
            };
            let shipped = usize::try_from(log.shipped).expect("it is small");
            let begins = bytes.len() >= shipped && digests(&bytes[..shipped]) == log.digests;
            let born = self.inodes[&self.held[&file]].born;
            // Another file is told from it by its birth.
            let before = self.held_by.get(&log.id).filter(|before| before.1 == born).map(|before| before.0);
            if bytes.len() == shipped && !begins && before.is_some() {
                self.as_long.insert(stream, before);
            } else {
                self.as_long.remove(&stream);
            }
            if begins {
                self.held_by.insert(log.id, (stream, born));
                // So few bytes had been shipped of it that what its file holds now begins with them, too.
                self.doubtful.extend(before.filter(|before| *before != stream));
            }
        }
    }

    fn note(&mut self, notes: Vec<Note>) {
        for note in notes {
            match note {
                Note::Keep(log) => {
                    self.soon.remove(&log.id);
                    self.remember(log);
                }
                Note::Soon(log) => drop(self.soon.insert(log.id, log)),
                Note::Forget(id) => {
                    self.soon.remove(&id);
                    self.records.remove(&id);
                    self.held_by.remove(&id);
                }
            }
        }
    }

    fn remember(&mut self, log: Log) {
        let ino = self.held.get(&log.file).copied();
        if let Some(inode) = ino.and_then(|ino| self.inodes.get(&ino)).filter(|_| !log.ended) {
            // A record may still be of what the file held before it was truncated.
            let (stream, born) = (inode.stream, inode.born);
            if self.held_by.entry(log.id).or_insert((stream, born)).0 == stream {
                self.recorded.insert(stream);
            }
        }
        self.records.insert(log.id, log);
    }

    pub(super) fn stream_of(&self, file: FileId) -> Option<usize> {
        let ino = self.held.get(&file)?;
        self.inodes.get(ino).map(|inode| inode.stream)
    }

    pub(super) fn bytes(&self, file: FileId) -> Option<&[u8]> {
        let held = self.held.get(&file).copied();
        let named = || self.names.values().copied().find(|ino| self.id(*ino) == file);
        self.inodes.get(&held.or_else(named)?).map(|inode| &inode.bytes[..])
    }
}
