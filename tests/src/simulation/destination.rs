//! The destination: staging, final names, and what of both is on its disk. Each method is a verb of `hand.sh`.

use skiff_common::ShipmentId;

use super::blob::Blob;
use super::chance::Chance;
use super::defect::Defect;
use super::names::PLACES;

type Node = usize;

#[derive(Debug, Clone, Copy)]
struct Inode {
    blob: Blob,
    synced: bool,
}

/// What is staged of one shipment.
#[derive(Debug, Clone)]
struct Staging {
    id: ShipmentId,
    /// The shell that opened it last; another finds nothing.
    shell: u32,
    part: Option<Node>,
    tail: Option<Blob>,
    members: Vec<(usize, Node)>,
    synced: bool,
}

/// Which staged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Staged {
    /// Of a shipment of one.
    Part,
    /// A member of a batch.
    Member(usize),
}

/// A verb that changes final names or staging, and may come to pass later than anybody waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verb {
    /// All members of a batch.
    Publish,
    /// One staged file under one final name.
    Place(Staged, usize),
    /// One staged file over what stands under a final name.
    Replace(Staged, usize, Blob),
    /// Clears the staging.
    Drop,
}

/// How a verb is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Whole,
    /// Late: what was staged was synced before its sender had gone.
    Late,
    /// Its shell is killed before the last sync.
    Cut,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is done.
    Done,
    /// What was staged isn't there.
    Gone,
    /// This stands there.
    Exists(Blob),
    /// Something else stands there than was said.
    Changed,
    /// Members that are not under their final names.
    Left(Vec<usize>),
}

/// The server.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    pub(super) full: bool,
    /// Counts connections that were lost.
    pub(super) session: u32,
    /// Whether its file system has hard links.
    pub(super) links: bool,
    /// Whether final names may have changed since somebody looked.
    pub(super) touched: bool,
    live: [Option<Node>; PLACES],
    durable: [Option<Node>; PLACES],
    inodes: Vec<Inode>,
    staging: Vec<Staging>,
    defect: Option<Defect>,
}

impl Destination {
    pub(super) fn new(links: bool, defect: Option<Defect>) -> Self {
        Self {
            full: false,
            session: 0,
            links,
            touched: true,
            live: [None; PLACES],
            durable: [None; PLACES],
            inodes: Vec::with_capacity(16),
            staging: Vec::new(),
            defect,
        }
    }

    /// What stands under a final name.
    pub(super) fn at(&self, place: usize) -> Option<Blob> {
        self.live[place].map(|node| self.inodes[node].blob)
    }

    /// Whether it would still stand there after a power cut.
    pub(super) fn is_safe(&self, place: usize) -> bool {
        self.live[place] == self.durable[place]
            && self.live[place].is_none_or(|node| self.inodes[node].synced)
    }

    pub(super) fn is_used(&self) -> bool {
        self.live.iter().any(Option::is_some)
    }

    /// Somebody else puts something there, or takes it away.
    pub(super) fn put(&mut self, place: usize, blob: Option<Blob>) {
        let node = blob.map(|blob| self.make(blob, true));
        self.live[place] = node;
        self.durable[place] = node;
        self.touched = true;
    }

    pub(super) fn sync_all(&mut self) {
        self.durable = self.live;
        self.inodes.iter_mut().for_each(|inode| inode.synced = true);
        self.staging.iter_mut().for_each(|staging| staging.synced = true);
    }

    /// Makes a staging a shell's own, if it is there.
    pub(super) fn adopt(&mut self, id: &ShipmentId, shell: u32) -> bool {
        let staging = self.staging.iter_mut().find(|staging| staging.id == *id);
        staging.map(|staging| staging.shell = shell).is_some()
    }

    /// Prepares a staging folder; tells what an earlier attempt left of a part.
    pub(super) fn open(&mut self, id: &ShipmentId, shell: u32, fresh: bool) -> Option<Blob> {
        let at = self.stage(id);
        self.staging[at].shell = shell;
        if let (Some(tail), Some(part)) = (self.staging[at].tail, self.staging[at].part) {
            self.join_to(part, tail);
        }
        let staging = &mut self.staging[at];
        staging.tail = None;
        staging.members.clear();
        if fresh {
            staging.part = None;
        }
        staging.synced = false;
        let part = staging.part.map(|part| self.inodes[part].blob);
        part.filter(|part| part.len > 0)
    }

    /// What is staged is brought to the disk, before it is read back.
    pub(super) fn sync_staging(&mut self) {
        if self.defect != Some(Defect::VerifiesUnsynced) && self.defect != Some(Defect::PublishesUnsynced) {
            self.sync_all();
        }
    }

    /// As much of a part as has come.
    pub(super) fn receive(&mut self, id: &ShipmentId, blob: Blob) {
        let at = self.stage(id);
        match self.staging[at].part {
            Some(part) => self.write(part, blob),
            None => self.staging[at].part = Some(self.make(blob, false)),
        }
    }

    /// As much of a whole as has come of it, behind what is there.
    pub(super) fn receive_tail(&mut self, id: &ShipmentId, whole: Blob) {
        let at = self.stage(id);
        self.staging[at].tail = Some(whole);
    }

    /// Puts the tail to the part.
    pub(super) fn join(&mut self, id: &ShipmentId, shell: u32) {
        self.open(id, shell, false);
    }

    /// The digest of a staged file.
    pub(super) fn digest(&self, id: &ShipmentId, staged: Staged) -> Option<Blob> {
        self.find(id, staged).map(|node| self.inodes[node].blob)
    }

    /// A member appears below the staging.
    pub(super) fn unpack(&mut self, id: &ShipmentId, name: usize, blob: Blob) {
        let at = self.stage(id);
        if let Some(node) = self.find(id, Staged::Member(name)) {
            self.write(node, blob);
        } else {
            let node = self.make(blob, false);
            self.staging[at].members.push((name, node));
        }
    }

    /// Does what a shell was told.
    pub(super) fn perform(&mut self, id: &ShipmentId, shell: u32, verb: &Verb, manner: Manner) -> Answer {
        let own = self.staging.iter().any(|staging| staging.id == *id && staging.shell == shell);
        if !own && self.defect != Some(Defect::SharesStaging) {
            return Answer::Gone;
        }
        match verb {
            Verb::Publish => self.publish(id, manner),
            Verb::Place(staged, place) => self.place(id, *staged, *place, manner),
            Verb::Replace(staged, place, expected) => self.replace(id, *staged, *place, *expected, manner),
            Verb::Drop => {
                self.staging.retain(|staging| staging.id != *id);
                Answer::Done
            }
        }
    }

    /// The server loses power: of what isn't synced, anything may be lost.
    pub(super) fn power_cut(&mut self, chance: &mut Chance) {
        self.session += 1;
        self.touched = true;
        for place in 0..PLACES {
            if self.live[place] != self.durable[place] && chance.one_in(2) {
                self.live[place] = self.durable[place];
            }
        }
        for inode in self.inodes.iter_mut().filter(|inode| !inode.synced) {
            inode.blob = match chance.below(3) {
                0 => inode.blob,
                1 => inode.blob.cut(chance.below(inode.blob.len + 1)),
                _ => inode.blob.mangled(),
            };
        }
        self.staging.retain(|staging| staging.synced || !chance.one_in(4));
        for staging in self.staging.iter_mut().filter(|staging| !staging.synced) {
            staging.members.retain(|_| !chance.one_in(4));
        }
        self.sync_all();
    }

    fn publish(&mut self, id: &ShipmentId, manner: Manner) -> Answer {
        let Some(at) = self.staging.iter().position(|staging| staging.id == *id) else { return Answer::Gone };
        // A folder that isn't there yet is moved as a whole; what is linked stays in staging.
        let moves = !self.is_used();
        let members = std::mem::take(&mut self.staging[at].members);
        let (mut left, mut staged) = (Vec::new(), Vec::new());
        for (name, node) in members {
            let free = self.live[name].is_none() || self.defect == Some(Defect::OverwritesForeign);
            if (self.links || moves) && free {
                self.live[name] = Some(node);
            } else if self.live[name] != Some(node) {
                left.push(name);
            }
            if !(moves && free) {
                staged.push((name, node));
            }
        }
        self.staging[at].members = staged;
        self.sync_final(manner);
        if left.is_empty() && manner != Manner::Cut {
            self.staging.remove(at);
        }
        Answer::Left(left)
    }

    fn place(&mut self, id: &ShipmentId, staged: Staged, place: usize, manner: Manner) -> Answer {
        let Some(node) = self.find(id, staged) else { return Answer::Gone };
        if let Some(there) = self.at(place)
            && self.defect != Some(Defect::OverwritesForeign)
        {
            return Answer::Exists(there);
        }
        self.set(id, staged, place, node, manner);
        Answer::Done
    }

    fn replace(
        &mut self,
        id: &ShipmentId,
        staged: Staged,
        place: usize,
        expected: Blob,
        manner: Manner,
    ) -> Answer {
        if self.at(place) != Some(expected) {
            return Answer::Changed;
        }
        let Some(node) = self.find(id, staged) else { return Answer::Gone };
        self.sync_staged(manner);
        self.live[place] = Some(node);
        self.forget(id, staged);
        self.sync_final(manner);
        Answer::Done
    }

    fn set(&mut self, id: &ShipmentId, staged: Staged, place: usize, node: Node, manner: Manner) {
        self.live[place] = Some(node);
        if !self.links {
            self.forget(id, staged);
        }
        self.sync_final(manner);
        if staged == Staged::Part && manner != Manner::Cut {
            self.staging.retain(|staging| staging.id != *id);
        }
    }

    fn sync_staged(&mut self, manner: Manner) {
        if manner != Manner::Late && self.defect != Some(Defect::PublishesUnsynced) {
            self.sync_all();
        }
    }

    fn sync_final(&mut self, manner: Manner) {
        self.touched = true;
        if manner == Manner::Cut {
            return;
        }
        match self.defect {
            Some(Defect::ForgetsFinalSync) => {}
            // The names are on the disk; the bytes needn't be.
            Some(Defect::PublishesUnsynced) => self.durable = self.live,
            _ => self.sync_all(),
        }
    }

    fn stage(&mut self, id: &ShipmentId) -> usize {
        if let Some(at) = self.staging.iter().position(|staging| staging.id == *id) {
            return at;
        }
        self.staging.push(Staging {
            id: id.clone(),
            shell: 0,
            part: None,
            tail: None,
            members: Vec::new(),
            synced: false,
        });
        self.staging.len() - 1
    }

    fn find(&self, id: &ShipmentId, staged: Staged) -> Option<Node> {
        let staging = self.staging.iter().find(|staging| staging.id == *id)?;
        match staged {
            Staged::Part => staging.part,
            Staged::Member(name) => staging.members.iter().find(|(of, _)| *of == name).map(|(_, node)| *node),
        }
    }

    fn forget(&mut self, id: &ShipmentId, staged: Staged) {
        let at = self.stage(id);
        match staged {
            Staged::Part => self.staging[at].part = None,
            Staged::Member(name) => self.staging[at].members.retain(|(of, _)| *of != name),
        }
    }

    fn join_to(&mut self, part: Node, whole: Blob) {
        let there = self.inodes[part].blob;
        let fits = there.stream == whole.stream || there.len == 0;
        self.write(part, if fits { whole } else { whole.mangled() });
    }

    fn make(&mut self, blob: Blob, synced: bool) -> Node {
        self.inodes.push(Inode { blob, synced });
        self.inodes.len() - 1
    }

    /// Changes a file in place, whatever names it has.
    fn write(&mut self, node: Node, blob: Blob) {
        if self.inodes[node].blob != blob {
            self.inodes[node] = Inode { blob, synced: false };
            self.touched = true;
        }
    }
}
