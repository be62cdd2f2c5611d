//! Under which name a staged file goes, where something may stand under its own already.
//!
//! Owns the order of questions, which is the same by every transport. Lacks the steps themselves ([`Placer`]).

use futures_util::future::BoxFuture;
use skiff_common::delivery::conflict::name_beside;
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
    async fn sync(&mut self, name: &RelPath) -> Result<(), RemoteError>;
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

/// What became of a replacement.
pub(super) enum Replaced {
    /// Ours stands there.
    Done,
    /// What stood there was no longer what it was.
    Changed,
    /// It failed for this reason.
    Failed(String),
}

/// Brings a staged file under its name, or the one beside it.
pub(super) async fn place(
    placer: &mut impl Placer,
    placement: &Placement,
    (root, sender, id): (&RemotePath, &str, ItemId),
    conflicts: &Conflicts<'_>,
) -> Result<Placed, RemoteError> {
    // Each round either ends or has seen the destination change under it; that doesn't go on for ever.
    const ROUNDS: usize = 8;
    let path = &placement.item.path;
    let beside = name_beside(path, sender, id);
    let mut name = path.clone();
    for _ in 0..ROUNDS {
        let theirs = match placer.place(&name).await? {
            Met::Nothing => return Ok(Placed::At(name)),
            Met::File(theirs) => theirs,
            Met::Other(_) if conflicts.policy == OnConflict::KeepBoth && name != beside => {
                name = beside.clone();
                continue;
            }
            Met::Other(what) => {
                let reason =
                    format!("cannot write {name} at the destination: something else stands there ({what})");
                return Ok(Placed::Refused(Trouble::permanent(reason)));
            }
            Met::Trouble(why) => {
                let reason = format!("cannot write {name} at the destination: {why}{}", remedy(&why, root));
                return Ok(Placed::Refused(Trouble::retryable(reason)));
            }
        };
        // The name beside belongs to this source alone, so what stands there is our own earlier version.
        let own = !placement.digests.agree_with(&theirs)
            && (name == beside || (conflicts.ours_before)(&name, &theirs).await);
        match resolve(&placement.digests, &theirs, |_| own, conflicts.policy, Some(beside.clone())) {
            Resolution::Same => {
                placer.sync(&name).await?;
                return Ok(Placed::At(name));
            }
            Resolution::Rename(other) => {
                tracing::warn!(path = %name, beside = %other, "another file stands at the destination: keeping both");
                name = other;
            }
            Resolution::Park => {
                let reason = format!("another file named {name} stands at the destination");
                return Ok(Placed::Refused(Trouble::permanent(reason)));
            }
            Resolution::Replace => match placer.replace(&name, &theirs).await? {
                Replaced::Done => return Ok(Placed::At(name)),
                Replaced::Changed => {}
                Replaced::Failed(why) => {
                    let reason =
                        format!("cannot replace {name} at the destination: {why}{}", remedy(&why, root));
                    return Ok(Placed::Refused(Trouble::retryable(reason)));
                }
            },
        }
    }
    Ok(Placed::Refused(Trouble::retryable(format!("{name} keeps changing at the destination"))))
}

/// What to do about the server's reason, if it is a known one.
fn remedy(why: &str, root: &RemotePath) -> String {
    Reason::of(why).map_or_else(String::new, |reason| format!(". Try: {}", reason.hint(&root.to_string())))
}
