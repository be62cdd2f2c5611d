//! What the follower does at the destination, a task at a time.

use super::{ALIKE, Defect, World, digests};
use crate::RelPath;
use crate::digest::Digests;
use crate::growth::{FileId, Log, Loss, Outcome, Task};

fn small(length: u64) -> usize {
    usize::try_from(length).expect("it is small")
}

/// Whether what was shipped of `log` is how `bytes` begin.
fn begins(bytes: &[u8], log: &Log) -> bool {
    let shipped = small(log.shipped);
    bytes.len() >= shipped && digests(&bytes[..shipped]) == log.digests
}

/// So much is at the destination now.
fn shipped(bytes: &[u8]) -> Outcome {
    Outcome::Shipped { length: bytes.len() as u64, digests: digests(bytes) }
}

impl World {
    pub(super) fn work(&mut self, task: &Task, unheard: bool) -> Outcome {
        let log = self.ledger.log(task.log()).expect("it is known").clone();
        match task {
            Task::Match { file, length, digests, .. } => self.matches(*file, &log, small(*length), *digests),
            Task::Twin { file, with, .. } => self.is_twin(*file, *with),
            Task::Inside { file, name, .. } => self.is_inside(*file, name),
            Task::Rename { from, to, .. } => self.rename(from, to),
            Task::Evict { name, .. } => {
                let Some(bytes) = self.there.get(name) else { return Outcome::Moved };
                let to = name.with_suffix(&format!("~{}", &digests(bytes).blake3.hex()[..12]));
                self.rename(name, &to)
            }
            Task::Measure { name, .. } => self.measure(name, &log),
            Task::Create { name, .. } => self.create(name, &log),
            Task::Append(_) => self.append(&log, unheard),
            Task::CutBack { length, .. } => self.cut_back(&log, small(*length)),
            Task::Verify(_) => self.verify(&log),
            Task::Finish { loss, .. } => self.finish(&log, *loss),
        }
    }

    fn matches(&mut self, file: FileId, log: &Log, length: usize, theirs: Digests) -> Outcome {
        let Some(bytes) = self.bytes(file) else { return Outcome::Refused };
        let same = bytes.len() >= length && digests(&bytes[..length]) == theirs;
        if same && length <= ALIKE {
            self.doubtful.extend(self.stream_of(file));
            self.doubtful.extend(self.held_by.get(&log.id).map(|(stream, _)| stream));
        }
        Outcome::Same(same)
    }

    fn is_twin(&self, file: FileId, with: FileId) -> Outcome {
        let (Some(one), Some(other)) = (self.bytes(file), self.bytes(with)) else {
            return Outcome::Refused;
        };
        let common = one.len().min(other.len());
        Outcome::Same(common > 0 && one[..common] == other[..common])
    }

    fn is_inside(&self, file: FileId, name: &RelPath) -> Outcome {
        let (Some(bytes), Some(copy)) = (self.bytes(file), self.there.get(name)) else {
            return Outcome::Refused;
        };
        if copy.starts_with(bytes) { shipped(bytes) } else { Outcome::Same(false) }
    }

    fn measure(&self, name: &RelPath, log: &Log) -> Outcome {
        if self.denies.contains(name) {
            return Outcome::Denied;
        }
        let Some(bytes) = self.bytes(log.file) else { return Outcome::Refused };
        if log.shipped > 0 && !begins(bytes, log) {
            return Outcome::Truncated;
        }
        let Some(copy) = self.there.get(name) else { return Outcome::Absent };
        if copy.len() > bytes.len() && copy.starts_with(bytes) {
            return shipped(bytes);
        }
        let same = bytes.starts_with(copy).then(|| digests(copy));
        Outcome::Standing { size: copy.len() as u64, same, recorded_is_same: begins(copy, log) }
    }

    fn create(&mut self, name: &RelPath, log: &Log) -> Outcome {
        let Some(bytes) = self.bytes(log.file) else { return Outcome::Refused };
        let some = bytes[..bytes.len().min(6)].to_vec();
        if self.denies.contains(name) {
            return Outcome::Denied;
        }
        if let Some(copy) = self.there.get(name) {
            let known = (name.clone(), digests(copy).blake3.hex());
            let ours = self.receipts.contains(&known);
            // It would keep the name for good, as somebody else's does.
            self.expect(ours || !self.begun.contains(&(name.clone(), copy.clone())), || {
                format!("{name} counts as somebody else's, and was begun here")
            });
            return Outcome::Taken { ours };
        }
        if self.defect != Some(Defect::ClaimsNothing) {
            self.receipts.insert((name.clone(), digests(&some).blake3.hex()));
        }
        let outcome = shipped(&some);
        self.begun.insert((name.clone(), some.clone()));
        self.there.insert(name.clone(), some);
        outcome
    }

    fn append(&mut self, log: &Log, unheard: bool) -> Outcome {
        let Some(bytes) = self.bytes(log.file).map(<[u8]>::to_vec) else { return Outcome::Refused };
        if !begins(&bytes, log) {
            return Outcome::Truncated;
        }
        let name = log.name.as_ref().expect("it has a copy");
        if self.denies.contains(name) {
            return Outcome::Denied;
        }
        let from = small(log.shipped);
        if bytes.len() == from {
            // What was thought to have grown has not.
            return Outcome::Refused;
        }
        let some = bytes.len().min(from + 7);
        let stops = if unheard { from + small(self.below((some - from) as u64 + 1)) } else { some };
        let blind = self.defect == Some(Defect::AppendsBlindly);
        let Some(copy) = self.there.get_mut(name) else { return Outcome::Changed };
        if copy.len() != from && !blind {
            return Outcome::Changed;
        }
        copy.extend(&bytes[from..stops]);
        shipped(&bytes[..some])
    }

    fn cut_back(&mut self, log: &Log, length: usize) -> Outcome {
        match self.there.get_mut(log.name.as_ref().expect("it has a copy")) {
            Some(copy)
                if copy.len() >= length
                    && digests(&copy[..length]) == log.digests
                    && copy[length..].iter().all(|byte| *byte == 0) =>
            {
                copy.truncate(length);
                Outcome::Shipped { length: length as u64, digests: log.digests }
            }
            _ => Outcome::Changed,
        }
    }

    fn verify(&mut self, log: &Log) -> Outcome {
        let name = log.name.as_ref().expect("it has a copy");
        if self.denies.contains(name) {
            return Outcome::Denied;
        }
        let right = self.there.get(name).is_some_and(|copy| begins(copy, log));
        if right {
            self.receipts.insert((name.clone(), log.digests.blake3.hex()));
        }
        Outcome::Verified(right)
    }

    fn finish(&mut self, log: &Log, loss: Loss) -> Outcome {
        if loss != Loss::None {
            let length = small(log.shipped);
            let of_it = |stream: &Vec<u8>| digests(&stream[..length.min(stream.len())]) == log.digests;
            self.reported.extend((0..self.streams.len()).filter(|stream| of_it(&self.streams[*stream])));
        }
        Outcome::Finished
    }

    fn rename(&mut self, from: &RelPath, to: &RelPath) -> Outcome {
        if self.denies.contains(to) {
            // Only of what is there is it known that it has the name that it had.
            return if self.there.contains_key(from) { Outcome::Denied } else { Outcome::Changed };
        }
        if !self.there.contains_key(from) {
            return if self.there.contains_key(to) { Outcome::Moved } else { Outcome::Absent };
        }
        if let Some(copy) = self.there.get(to)
            && self.defect != Some(Defect::RenamesOver)
        {
            let known = (to.clone(), digests(copy).blake3.hex());
            return Outcome::Taken { ours: self.receipts.contains(&known) };
        }
        let copy = self.there.remove(from).expect("it is there");
        self.there.insert(to.clone(), copy);
        Outcome::Moved
    }
}
