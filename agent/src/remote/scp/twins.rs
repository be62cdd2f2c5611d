//! Content that a destination has already, under another name: it is copied there and need not travel.
//!
//! Keeps in mind what was delivered lately. A file is only read for it where something of just its size was delivered, and less
//! often where that was in vain: many programs write files of one size. What is copied is staged, verified and published like
//! all that is sent. Lacks any proof that a twin still stands: that is for the digest of the copy to say.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;
use skiff_common::delivery::{Receipt, Staged, Stood};
use skiff_common::digest::Digests;
use skiff_common::{Digest, Item, RelPath, RemotePath, Shipment, ShipmentKind};
use tokio::task::spawn_blocking;

use super::hand::Hand;
use super::owner::staged_word;
use super::{RemoteError, ScpRemote};
use crate::remote::shell::word;
use crate::ship;
use crate::source::Root;

/// Smaller files travel in the time that a copy takes.
const LEAST: u64 = 64 << 10;
/// The deliveries that are kept in mind for a folder there; about 1 MiB.
const MOST: usize = 4096;
/// After so many files of one size that had no twin ...
const IN_VAIN: u32 = 4;
/// ... one in so many is looked at.
const THEN_ONE_IN: u32 = 16;

/// What each folder at a destination got lately.
#[derive(Default)]
pub(super) struct Twins {
    folders: Mutex<HashMap<RemotePath, Folder>>,
}

#[derive(Default)]
struct Folder {
    sizes: HashMap<u64, Size>,
    order: VecDeque<u64>,
}

#[derive(Default)]
struct Size {
    /// The latest last.
    files: VecDeque<(Digest, RelPath)>,
    in_vain: u32,
}

/// A file whose content stands under another name.
struct Twin {
    item: Item,
    digests: Digests,
    name: RelPath,
}

impl Twins {
    /// Whether a file of this size may have a twin.
    fn may_have(&self, root: &RemotePath, size: u64) -> bool {
        let mut folders = self.folders();
        let Some(of) = folders.get_mut(root).and_then(|folder| folder.sizes.get_mut(&size)) else {
            return false;
        };
        let looks = of.in_vain < IN_VAIN || of.in_vain.is_multiple_of(THEN_ONE_IN);
        of.in_vain += u32::from(!looks);
        looks
    }

    fn find(&self, root: &RemotePath, size: u64, digest: &Digest) -> Option<RelPath> {
        let mut folders = self.folders();
        let of = folders.get_mut(root)?.sizes.get_mut(&size)?;
        let found = of.files.iter().rfind(|(known, _)| known == digest).map(|(_, name)| name.clone());
        of.in_vain = if found.is_some() { 0 } else { of.in_vain.saturating_add(1) };
        found
    }

    fn add(&self, root: &RemotePath, Stood { size, digest, name }: Stood) {
        if size < LEAST {
            return;
        }
        let mut folders = self.folders();
        let folder = folders.entry(root.clone()).or_default();
        folder.sizes.entry(size).or_default().files.push_back((digest, name));
        folder.order.push_back(size);
        if folder.order.len() > MOST {
            folder.forget_oldest();
        }
    }

    /// It no longer stands there, as what it was.
    fn forget(&self, root: &RemotePath, size: u64, name: &RelPath) {
        if let Some(folder) = self.folders().get_mut(root) {
            folder.forget(size, name);
        }
    }

    fn folders(&self) -> MutexGuard<'_, HashMap<RemotePath, Folder>> {
        self.folders.lock().expect("nothing panics while it holds the lock")
    }
}

impl Folder {
    fn forget(&mut self, size: u64, name: &RelPath) {
        let Some(of) = self.sizes.get_mut(&size) else { return };
        let Some(nth) = of.files.iter().position(|(_, known)| known == name) else { return };
        of.files.remove(nth);
        if of.files.is_empty() {
            self.sizes.remove(&size);
        }
        let mut same = (0..self.order.len()).filter(|at| self.order[*at] == size);
        if let Some(at) = same.nth(nth) {
            self.order.remove(at);
        }
    }

    fn forget_oldest(&mut self) {
        let Some(size) = self.order.pop_front() else { return };
        let Some(of) = self.sizes.get_mut(&size) else { return };
        of.files.pop_front();
        if of.files.is_empty() {
            self.sizes.remove(&size);
        }
    }
}

impl ScpRemote {
    /// Whether content may have a twin in this folder, and nobody has said yet what stands there.
    pub(in crate::remote) fn wants_to_know(&self, root: &RemotePath, shipment: &Shipment) -> bool {
        let is_large = shipment.items.iter().any(|item| item.stamp.size >= LEAST);
        self.policy.copies && is_large && !self.twins.folders().contains_key(root)
    }

    /// These stand in the folder, by what was delivered there before; the oldest first.
    pub(in crate::remote) fn knows(&self, root: &RemotePath, stood: Vec<Stood>) {
        self.twins.folders().entry(root.clone()).or_default();
        for stood in stood {
            self.twins.add(root, stood);
        }
    }

    /// These were delivered to the folder.
    pub(in crate::remote) fn delivered(&self, root: &RemotePath, receipts: &[Receipt]) {
        for receipt in receipts.iter().filter(|_| self.policy.copies) {
            let (size, digest) = (receipt.item().stamp.size, receipt.digests().blake3);
            self.twins.add(root, Stood { size, digest, name: receipt.name().clone() });
        }
    }

    /// Copies, there, what has a twin there; what became of each. Where that fails the file is among none of them, and
    /// travels. To be called before anything else is staged.
    pub(super) async fn copy_twins(
        &self,
        hand: &mut Hand,
        (root, source): (&RemotePath, &Root),
        shipment: &Shipment,
        items: &[Item],
    ) -> Result<HashMap<RelPath, Staged>, RemoteError> {
        let Some(algorithm) = hand.facts().digest.filter(|_| self.policy.copies) else {
            return Ok(HashMap::new());
        };
        let may_have = |item: &&Item| item.stamp.size >= LEAST && self.twins.may_have(root, item.stamp.size);
        let read: Vec<Item> = items.iter().filter(may_have).cloned().collect();
        if read.is_empty() {
            return Ok(HashMap::new());
        }
        let (source, hashed) = (source.clone(), ship::hashed_for(Some(algorithm)));
        let reading = spawn_blocking(move || {
            let digest = |item: Item| (ship::digest(&source, &item, hashed), item);
            read.into_iter().map(digest).collect::<Vec<_>>()
        });
        let twin = |(outcome, item): (ship::Outcome, Item)| {
            // What can't be read now is told when it is sent.
            let digests = outcome.ok()?;
            let name = self.twins.find(root, item.stamp.size, &digests.blake3)?;
            Some(Twin { item, digests, name })
        };
        let twins: Vec<Twin> = ship::joined(reading).await.into_iter().filter_map(twin).collect();
        if twins.is_empty() {
            return Ok(HashMap::new());
        }
        // Of one that travels alone a part may lie there, which goes on if there is no twin any longer.
        let how = match shipment.kind {
            ShipmentKind::Single => "unread",
            ShipmentKind::Batch => "fresh",
        };
        let patience = self.patience(shipment.bytes());
        hand.must(&["open", &self.staging(shipment), how], patience, "preparing").await?;
        let mut copied = HashMap::new();
        for twin in twins {
            if let Some(staged) = self.copy(hand, root, shipment.kind, &twin).await? {
                tracing::info!(path = %twin.item.path, twin = %twin.name, "the same content stands there: copied there");
                copied.insert(twin.item.path, staged);
            }
        }
        Ok(copied)
    }

    async fn copy(
        &self,
        hand: &mut Hand,
        root: &RemotePath,
        kind: ShipmentKind,
        Twin { item, digests, name }: &Twin,
    ) -> Result<Option<Staged>, RemoteError> {
        let _room = self.space.reserve(hand.room(), root, item.stamp.size).await?;
        let (from, to, mode) = (word(name.as_bytes()), staged_word(kind, item), format!("{:o}", item.mode));
        let Some(theirs) = hand.facts().digest.and_then(|algorithm| digests.by(algorithm)) else {
            return Ok(None);
        };
        let words = ["copy", &from, &to, &mode, &moment(item.stamp.mtime_ns), &theirs.hex()];
        let answer = hand.ask(&words, self.patience(item.stamp.size), "copying").await?;
        if matches!(&answer.words[..], b"gone" | b"changed") {
            self.twins.forget(root, item.stamp.size, name);
        }
        Ok(answer.ok.then_some(Staged::Landed { digests: *digests, theirs }))
    }
}

/// As `touch -t` takes it, in universal time; as with all that is sent, not before 1970.
fn moment(mtime_ns: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(mtime_ns.max(0))).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y%m%d%H%M.%S").to_string()
}

#[cfg(test)]
mod tests {
    use skiff_common::Algorithm;

    use super::*;

    fn stood(size: u64, byte: u8) -> Stood {
        let name = RelPath::parse(format!("{byte}").as_bytes()).expect("a path");
        Stood { size, digest: Digest::new(Algorithm::Blake3, [byte; 32]), name }
    }

    #[test]
    fn only_what_has_the_size_of_something_delivered_is_read_and_less_often_in_vain() {
        let (twins, root) = (Twins::default(), RemotePath::parse(b"in").expect("a path"));
        twins.add(&root, stood(LEAST, 1));
        assert!(!twins.may_have(&root, LEAST + 1));
        assert!(!twins.may_have(&RemotePath::parse(b"other").expect("a path"), LEAST));
        let miss = Digest::new(Algorithm::Blake3, [9; 32]);
        let looks =
            (0..100).filter(|_| twins.may_have(&root, LEAST) && twins.find(&root, LEAST, &miss).is_none());
        assert!((8..=12).contains(&looks.count()), "each is read at first, then one in 16");
        let hit = Digest::new(Algorithm::Blake3, [1; 32]);
        assert!(twins.find(&root, LEAST, &hit).is_some());
        assert!(twins.may_have(&root, LEAST), "after a hit all are read again");
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let (twins, root) = (Twins::default(), RemotePath::parse(b"in").expect("a path"));
        for nth in 0..=MOST as u64 {
            twins.add(&root, stood(LEAST + nth, 1));
        }
        assert!(!twins.may_have(&root, LEAST) && twins.may_have(&root, LEAST + 1));
        assert_eq!(twins.folders()[&root].sizes.len(), MOST);
    }

    #[test]
    fn what_has_gone_is_forgotten_and_the_others_stay_in_their_order() {
        let (twins, root) = (Twins::default(), RemotePath::parse(b"in").expect("a path"));
        for (size, byte) in [(LEAST, 1), (LEAST + 1, 2), (LEAST, 3), (LEAST, 4)] {
            twins.add(&root, stood(size, byte));
        }
        for (size, byte) in [(LEAST, 3), (LEAST, 9), (LEAST + 1, 2)] {
            twins.forget(&root, size, &stood(size, byte).name);
        }
        assert!(!twins.may_have(&root, LEAST + 1) && twins.may_have(&root, LEAST));
        let digest = |byte| stood(LEAST, byte).digest;
        assert_eq!(
            [1, 3, 4].map(|byte| twins.find(&root, LEAST, &digest(byte)).is_some()),
            [true, false, true]
        );
        assert_eq!(twins.folders()[&root].order, [LEAST, LEAST]);
    }

    #[test]
    fn times_are_as_touch_takes_them() {
        assert_eq!([moment(-1), moment(1_717_200_000_500_000_000)], ["197001010000.00", "202406010000.00"]);
    }
}
