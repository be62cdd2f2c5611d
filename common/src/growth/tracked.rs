//! One log, and what is known of it in this process alone: what was seen of its file, and what stands in its way.
//!
//! Promises to say whether its record changed. Lacks the other logs, what its tasks come to, which is `came`'s, and the choice
//! of what is done next.

use std::collections::{BTreeMap, BTreeSet};

use super::{FileId, Log, Loss, Sighting};
use crate::Algorithm;
use crate::digest::{Digests, Hasher};
use crate::path::RelPath;

/// What the destination refuses is asked for again after 2 looks, then after twice as many each time, up to 2 to the power of
/// this: each time may cost what is sent for it.
const MOST_DOUBLINGS: u32 = 8;

/// Where a log's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// In the folder.
    Named,
    /// Held open, and no longer in the folder.
    Unnamed { written: bool },
    /// Nowhere.
    Lost,
}

/// Something that the destination refused.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refused {
    in_a_row: u32,
    /// The look from which on it is asked again.
    until: u64,
}

impl Refused {
    pub(super) fn again(&mut self, look: u64) {
        self.in_a_row = (self.in_a_row + 1).min(MOST_DOUBLINGS);
        self.until = look + (1 << self.in_a_row);
    }
}

/// A log, and what is known of it in this process alone.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is found out by another step")]
pub(super) struct Tracked {
    pub(super) log: Log,
    pub(super) presence: Presence,
    /// Its length, once it was seen.
    pub(super) size: Option<u64>,
    /// Whether the copy is known to be as the log says.
    pub(super) sure: bool,
    /// What stands under the name that it is to have is ours, by the receipts, or may be.
    pub(super) taken: Option<(RelPath, bool)>,
    pub(super) cut_back: bool,
    pub(super) differs: bool,
    /// It had been read back whole before the start, so it had been still, and had nothing more.
    was_whole: bool,
    /// It was not compared with its copy since the start.
    pub(super) recalled: bool,
    /// Files that begin as it does, and are others.
    pub(super) not_in: BTreeSet<FileId>,
    /// Names that somebody else has.
    pub(super) avoid: BTreeSet<RelPath>,
    pub(super) still_since: u64,
    pub(super) gone_since: Option<u64>,
    pub(super) refused_at: Option<u64>,
    /// What the destination does not do about its copy.
    pub(super) hindered: Refused,
    /// Names that the destination does not give its copy.
    pub(super) denied: BTreeMap<RelPath, Refused>,
}

impl Tracked {
    /// One that the records tell of, and nothing more.
    pub(super) fn recalled(log: Log) -> Self {
        Self {
            gone_since: log.ended.then_some(0),
            was_whole: log.shipped > 0 && log.verified == log.shipped,
            log,
            presence: Presence::Lost,
            size: None,
            sure: false,
            taken: None,
            cut_back: false,
            differs: false,
            recalled: true,
            not_in: BTreeSet::new(),
            avoid: BTreeSet::new(),
            still_since: 0,
            refused_at: None,
            hindered: Refused::default(),
            denied: BTreeMap::new(),
        }
    }

    /// One that begins now, in a file of `size` bytes.
    pub(super) fn begun(log: Log, size: u64, look: u64) -> Self {
        Self {
            presence: Presence::Named,
            size: Some(size),
            sure: true,
            recalled: false,
            still_since: look,
            ..Self::recalled(log)
        }
    }

    /// It goes on in another file, of `size` bytes: that one is followed from now on.
    pub(super) fn goes_on_in(&mut self, file: FileId, path: RelPath, size: u64, look: u64) {
        (self.log.file, self.log.path) = (file, path);
        (self.log.ended, self.log.unproven) = (false, true);
        self.log.renamed = true;
        (self.presence, self.size, self.gone_since) = (Presence::Named, Some(size), None);
        (self.sure, self.still_since) = (false, look);
    }

    /// Whether its own file can't be followed any more, or not by name.
    pub(super) fn is_orphan(&self) -> bool {
        self.log.ended || self.presence != Presence::Named
    }

    /// Whether its record changed.
    pub(super) fn see(&mut self, sighting: Option<&Sighting>, look: u64) -> bool {
        let Some(sighting) = sighting else {
            self.presence = Presence::Lost;
            self.gone_since.get_or_insert(look);
            return false;
        };
        if self.size != Some(sighting.size) {
            if sighting.size < self.log.shipped {
                self.end(look);
                return true;
            }
            (self.size, self.still_since) = (Some(sighting.size), look);
        }
        let Some(path) = &sighting.path else {
            self.presence = Presence::Unnamed { written: sighting.written };
            self.gone_since.get_or_insert(look);
            return false;
        };
        (self.presence, self.gone_since) = (Presence::Named, None);
        if self.log.path == *path {
            return false;
        }
        self.log.path.clone_from(path);
        self.log.renamed = true;
        self.still_since = look;
        true
    }

    /// Whether the destination is not to be asked about its copy for now.
    pub(super) fn is_hindered(&self, look: u64) -> bool {
        look < self.hindered.until
    }

    /// The destination does not give it that name. Names that it could be asked for again are forgotten: it may want others now.
    pub(super) fn deny(&mut self, name: &RelPath, look: u64) {
        let mut refused = self.denied.get(name).copied().unwrap_or_default();
        refused.again(look);
        self.denied.retain(|_, refused| look < refused.until);
        self.denied.insert(name.clone(), refused);
    }

    /// Whether the destination is not to be asked for that name for now.
    pub(super) fn is_denied(&self, name: &RelPath, look: u64) -> bool {
        self.denied.get(name).is_some_and(|refused| look < refused.until)
    }

    /// Its file holds other content from now on.
    pub(super) fn end(&mut self, look: u64) {
        self.log.ended = true;
        self.presence = Presence::Lost;
        self.gone_since = Some(look);
    }

    /// What of its end is not at the destination.
    pub(super) fn loss(&self) -> Loss {
        let unshipped = self.size.map(|size| size.saturating_sub(self.log.shipped));
        match (self.log.ended, self.presence) {
            _ if self.differs => Loss::Differs,
            (true, _) => Loss::Truncated { unshipped: unshipped.unwrap_or(0) },
            (false, Presence::Lost) => {
                Loss::Vanished { unshipped: unshipped.or(self.was_whole.then_some(0)) }
            }
            (false, _) => Loss::None,
        }
    }

    /// So much of it is at the destination now.
    pub(super) fn ship(&mut self, length: u64, digests: Digests) {
        if length < self.log.verified {
            // What comes behind this has not been read back.
            self.log.verified = 0;
        }
        (self.log.shipped, self.log.digests, self.log.unproven) = (length, digests, false);
        (self.sure, self.taken) = (true, None);
        self.size = self.size.map(|size| size.max(length));
    }

    /// Its copy is not there any more.
    pub(super) fn begin_anew(&mut self) {
        let empty = Hasher::for_destination(Algorithm::Sha256).digests();
        (self.log.name, self.log.moving, self.taken) = (None, None, None);
        (self.log.shipped, self.log.verified, self.log.digests) = (0, 0, empty);
        self.sure = true;
    }
}
