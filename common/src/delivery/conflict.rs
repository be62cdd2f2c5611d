//! What to do where something stands under the final name already.

use crate::digest::{Digest, Digests};
use crate::item::ItemId;
use crate::path::RelPath;

/// What the configuration says about another file under the final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Ours gets a name of its own beside it.
    #[default]
    KeepBoth,
    /// Ours replaces it.
    Replace,
    /// Ours waits until somebody decides.
    Park,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// It is what we bring: delivered.
    Same,
    /// Rename ours over it.
    Replace,
    /// Bring ours under this name instead.
    Rename(RelPath),
    /// Leave ours out, and say so.
    Park,
}

/// Decides. `theirs` was read from what stands there; `ours_before` tells whether a digest is of an earlier version
/// that we delivered from the same source.
pub fn resolve(
    ours: &Digests,
    theirs: &Digest,
    ours_before: impl FnOnce(&Digest) -> bool,
    policy: OnConflict,
    other_name: Option<RelPath>,
) -> Resolution {
    if ours.agree_with(theirs) {
        return Resolution::Same;
    }
    if ours_before(theirs) {
        return Resolution::Replace;
    }
    match (policy, other_name) {
        (OnConflict::Replace, _) => Resolution::Replace,
        (OnConflict::KeepBoth, Some(name)) => Resolution::Rename(name),
        (OnConflict::KeepBoth, None) | (OnConflict::Park, _) => Resolution::Park,
    }
}

/// The name beside `path` that is this source's own: it depends on the sender and the source, never on the attempt.
/// Machines that were copied with all they know of themselves share it all the same.
pub fn name_beside(path: &RelPath, sender: &str, item: ItemId) -> RelPath {
    beside(path, sender, item, b"")
}

/// The name beside `path` that is this content's own, where somebody else has taken the other one.
pub fn name_of_content(path: &RelPath, sender: &str, item: ItemId, digest: &Digest) -> RelPath {
    beside(path, sender, item, digest.bytes())
}

fn beside(path: &RelPath, sender: &str, item: ItemId, content: &[u8]) -> RelPath {
    let mut hasher = blake3::Hasher::new();
    hasher.update(sender.as_bytes()).update(b"\0").update(item.bytes()).update(content);
    path.with_suffix(&format!("~{}", &hasher.finalize().to_hex()[..12]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    fn digest(byte: u8) -> Digest {
        Digest::new(Algorithm::Blake3, [byte; 32])
    }

    fn decide(theirs: u8, before: u8, policy: OnConflict) -> Resolution {
        let ours = Digests { blake3: digest(1), sha256: None };
        let beside = RelPath::parse(b"a~1").expect("a path");
        resolve(&ours, &digest(theirs), |d| *d == digest(before), policy, Some(beside))
    }

    #[test]
    fn only_our_own_is_replaced_unless_the_configuration_says_so() {
        let beside = RelPath::parse(b"a~1").expect("a path");
        assert_eq!(decide(1, 9, OnConflict::Park), Resolution::Same);
        assert_eq!(decide(2, 2, OnConflict::Park), Resolution::Replace);
        assert_eq!(decide(2, 3, OnConflict::Park), Resolution::Park);
        assert_eq!(decide(2, 3, OnConflict::KeepBoth), Resolution::Rename(beside));
        assert_eq!(decide(2, 3, OnConflict::Replace), Resolution::Replace);
    }

    #[test]
    fn two_senders_never_share_a_name_beside() {
        let path = RelPath::parse(b"a/b.csv").expect("a path");
        let item = ItemId::of("w", &path);
        let name = name_beside(&path, "one", item);
        assert_eq!(name, name_beside(&path, "one", item));
        assert_ne!(name, name_beside(&path, "two", item));
        assert!(name.as_bytes().starts_with(b"a/b~") && name.as_bytes().ends_with(b".csv"));
    }
}
