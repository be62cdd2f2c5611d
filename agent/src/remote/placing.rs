//! Under which name a staged file goes, where something may stand under its own already.
//!
//! Owns the order of questions, which is the same by every transport. Lacks the steps themselves ([`Placer`]).

use std::array;
use std::iter::Peekable;

use futures_util::future::BoxFuture;
use skiff_common::delivery::conflict::{name_beside, name_of_content};
use skiff_common::delivery::{OnConflict, Placed, Placement, Resolution, Trouble, resolve};
use skiff_common::{Digest, ItemId, RelPath, RemotePath};

use super::{Reason, RemoteError};

/// How conflicts are decided.
pub(crate) struct Conflicts<'a> {
    /// What the configuration says.
    pub(crate) policy: OnConflict,
    /// Whether the digest is of an earlier version of the same source, delivered under that name.
    pub(crate) ours_before: &'a (dyn Fn(&RelPath, &Digest) -> BoxFuture<'a, bool> + Send + Sync),
}

/// Steps at the destination for one staged file.
pub(super) trait Placer {
    /// Brings it under `name`, if that is free, and syncs.
    async fn place(&mut self, name: &RelPath) -> Result<Met, RemoteError>;

    /// Renames it over the file under `name`, which has the digest `theirs`, and syncs.
    async fn replace(&mut self, name: &RelPath, theirs: &Digest) -> Result<Replaced, RemoteError>;

    /// Syncs what stands under `name`.
    async fn sync(&mut self, name: &RelPath) -> Result<Replaced, RemoteError>;
}

/// What stood under a name.
pub(super) enum Met {
    /// Nothing: ours does now.
    Nothing,
    /// A file with this digest.
    File(Digest),
    /// Something that is no readable file, in a word.
    Other(String),
    /// Nobody knows; it failed for this reason.
    Trouble(String),
}

/// What became of a step with what stands under a name.
pub(super) enum Replaced {
    /// Ours stands there.
    Done,
    /// What stood there was no longer what it was.
    Changed,
    /// It failed for this reason.
    Failed(String),
}

/// Brings a staged file under its name, or one beside it.
pub(super) async fn place(
    placer: &mut impl Placer,
    placement: &Placement,
    (root, sender, id): (&RemotePath, &str, ItemId),
    conflicts: &Conflicts<'_>,
) -> Result<Placed, RemoteError> {
    // Each round either ends or has seen the destination change under it; that doesn't go on for ever.
    const ROUNDS: usize = 8;
    let path = &placement.item.path;
    let beside =
        [name_beside(path, sender, id), name_of_content(path, sender, id, &placement.digests.blake3)];
    let mut names = Names { now: path.clone(), beside: beside.into_iter().peekable() };
    for _ in 0..ROUNDS {
        let end = match placer.place(&names.now).await? {
            Met::Nothing => Some(Placed::At(names.now.clone())),
            Met::File(theirs) => decide(placer, placement, (root, &mut names), &theirs, conflicts).await?,
            Met::Other(what) => make_way(&mut names, &what, conflicts.policy),
            Met::Trouble(why) => Some(refused("write", &names.now, &why, root)),
        };
        if let Some(end) = end {
            return Ok(end);
        }
    }
    let reason = format!("{} keeps changing at the destination", names.now);
    Ok(Placed::Refused(Trouble::retryable(reason)))
}

/// The name that is tried, and those beside it that are left to try.
struct Names {
    now: RelPath,
    beside: Peekable<array::IntoIter<RelPath, 2>>,
}

/// Where a file stands already; `None`: another round shows.
async fn decide(
    placer: &mut impl Placer,
    placement: &Placement,
    (root, names): (&RemotePath, &mut Names),
    theirs: &Digest,
    conflicts: &Conflicts<'_>,
) -> Result<Option<Placed>, RemoteError> {
    let (path, name) = (&placement.item.path, names.now.clone());
    let mut own = false;
    if !placement.digests.agree_with(theirs) {
        // What was claimed for the source's own name may have come under one beside it before a crash.
        own = (conflicts.ours_before)(path, theirs).await
            || (name != *path && (conflicts.ours_before)(&name, theirs).await);
    }
    let beside = names.beside.peek().cloned();
    let (attempt, done) = match resolve(&placement.digests, theirs, |_| own, conflicts.policy, beside) {
        Resolution::Same => ("sync", placer.sync(&name).await?),
        Resolution::Replace => ("replace", placer.replace(&name, theirs).await?),
        Resolution::Rename(other) => {
            tracing::warn!(path = %name, beside = %other, "another file stands at the destination: keeping both");
            names.now = other;
            names.beside.next();
            return Ok(None);
        }
        Resolution::Park => {
            let reason = format!("another file named {name} stands at the destination");
            return Ok(Some(Placed::Refused(Trouble::permanent(reason))));
        }
    };
    Ok(match done {
        Replaced::Done => Some(Placed::At(name)),
        Replaced::Changed => None,
        Replaced::Failed(why) => Some(refused(attempt, &name, &why, root)),
    })
}

/// Where something else stands.
fn make_way(names: &mut Names, what: &str, policy: OnConflict) -> Option<Placed> {
    let other = if policy == OnConflict::KeepBoth { names.beside.next() } else { None };
    let Some(other) = other else {
        let name = &names.now;
        let reason = format!("cannot write {name} at the destination: something else stands there ({what})");
        return Some(Placed::Refused(Trouble::permanent(reason)));
    };
    names.now = other;
    None
}

fn refused(attempt: &str, name: &RelPath, why: &str, root: &RemotePath) -> Placed {
    let reason = format!("cannot {attempt} {name} at the destination: {why}{}", remedy(why, root));
    Placed::Refused(Trouble::retryable(reason))
}

/// What to do about the server's reason, if it is a known one.
fn remedy(why: &str, root: &RemotePath) -> String {
    Reason::of(why).map_or_else(String::new, |reason| format!(". Try: {}", reason.hint(&root.to_string())))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use futures_util::FutureExt as _;
    use skiff_common::digest::Digests;
    use skiff_common::{Algorithm, Item, Stamp};

    use super::*;

    /// A destination: what stands under which name.
    struct There {
        files: HashMap<RelPath, Digest>,
        ours: Digest,
    }

    impl Placer for There {
        async fn place(&mut self, name: &RelPath) -> Result<Met, RemoteError> {
            if let Some(theirs) = self.files.get(name) {
                return Ok(Met::File(*theirs));
            }
            self.files.insert(name.clone(), self.ours);
            Ok(Met::Nothing)
        }

        async fn replace(&mut self, name: &RelPath, theirs: &Digest) -> Result<Replaced, RemoteError> {
            assert_eq!(self.files.insert(name.clone(), self.ours), Some(*theirs));
            Ok(Replaced::Done)
        }

        async fn sync(&mut self, _name: &RelPath) -> Result<Replaced, RemoteError> {
            Ok(Replaced::Done)
        }
    }

    fn path() -> RelPath {
        RelPath::parse(b"f").expect("a path")
    }

    fn digest(byte: u8) -> Digest {
        Digest::new(Algorithm::Blake3, [byte; 32])
    }

    fn name() -> RelPath {
        name_beside(&path(), "sender", ItemId::of("w", &path()))
    }

    /// Brings this content, where the receipts and claims say that `known` was brought under that name before.
    async fn bring(there: &mut There, content: u8, known: &[(RelPath, u8)]) -> Placed {
        let stamp = Stamp { dev: 1, ino: 1, size: 1, mtime_ns: 0, ctime_ns: 0 };
        let item = Item { path: path(), stamp, mode: 0o644 };
        there.ours = digest(content);
        let digests = Digests { blake3: there.ours, sha256: None };
        let placement = Placement { item, digests, theirs: there.ours };
        let ours_before = |name: &RelPath, theirs: &Digest| {
            std::future::ready(known.iter().any(|(of, byte)| of == name && digest(*byte) == *theirs)).boxed()
        };
        let conflicts = Conflicts { policy: OnConflict::KeepBoth, ours_before: &ours_before };
        let root = RemotePath::parse(b"/srv").expect("a path");
        let placed = place(there, &placement, (&root, "sender", ItemId::of("w", &path())), &conflicts).await;
        placed.expect("nothing fails")
    }

    /// A copied machine has the same name beside, and nothing of the other's receipts.
    #[tokio::test]
    async fn what_a_copied_machine_brought_beside_it_is_not_replaced() {
        let files = HashMap::from([(path(), digest(1)), (name(), digest(2))]);
        let mut there = There { files, ours: digest(0) };
        let Placed::At(at) = bring(&mut there, 3, &[]).await else { panic!("it is refused") };
        assert!(at != path() && at != name());
        assert_eq!(
            (there.files[&path()], there.files[&name()], there.files[&at]),
            (digest(1), digest(2), digest(3))
        );
        assert_eq!(bring(&mut there, 3, &[]).await, Placed::At(at), "the name follows from the content");
        assert_eq!(there.files.len(), 3);
    }

    #[tokio::test]
    async fn what_we_brought_beside_it_is_replaced_also_after_a_crash() {
        for known in [(name(), 2), (path(), 2)] {
            let files = HashMap::from([(path(), digest(1)), (name(), digest(2))]);
            let mut there = There { files, ours: digest(0) };
            assert_eq!(bring(&mut there, 3, &[known]).await, Placed::At(name()));
            assert_eq!((there.files[&path()], there.files[&name()]), (digest(1), digest(3)));
        }
    }
}
