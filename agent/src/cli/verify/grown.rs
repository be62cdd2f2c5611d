//! Logs that grow: what a receipt is of is the beginning that a copy had then.
//!
//! The copy has more by now, and another name once its log was rotated: of the names that it can have, the one under which
//! something begins so is it. Lacks any repair: whoever follows the log compares its copy before the next step.

use std::collections::HashSet;

use skiff_common::{RelPath, RemotePath};
use skiff_config::Watch;

use super::{Comparison, Delivered};
use crate::remote::scp::grow::{Copies, Stands, aside};
use crate::remote::{Remote, RemoteError};
use crate::source::{Look, Root};

/// Names our staging at the destination: no follower's, which is a digest.
const STAGING: &str = "0000000000000000";

/// How a copy begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beginning {
    Same,
    Other,
    /// There is none, or nobody may read it.
    Absent,
    /// It was read by another algorithm than before.
    Unknown,
}

/// The logs that have another size here by now, and all else: their copies need not be read to an end that nobody has a
/// receipt of.
pub(super) fn those_that_grew_on(watch: &Watch, all: Vec<Delivered>) -> (Vec<Delivered>, Vec<Delivered>) {
    let Ok(root) = Root::open(&watch.path) else { return (Vec::new(), all) };
    let has_another_size = |log: &Delivered| match root.look(&log.path) {
        Ok(Look::File { stamp, .. }) => stamp.size != log.size,
        _ => false,
    };
    all.into_iter().partition(|delivered| delivered.grown.is_some() && has_another_size(delivered))
}

/// Looks for each of these logs, whose copies are not just what their receipts say. `names` are all that have receipts,
/// the latest first.
pub(super) async fn look(
    remote: &Remote,
    root: &RemotePath,
    watch: &Watch,
    logs: Vec<Delivered>,
    names: &[(RelPath, u64)],
    found: &mut Comparison,
) -> Result<(), RemoteError> {
    if logs.is_empty() {
        return Ok(());
    }
    let count = logs.len() as u64;
    let copies = match remote.copies(root, STAGING).await {
        Ok(copies) => copies,
        Err(RemoteError::SftpAlone) => {
            // They grew when the server had a shell.
            found.unknown += count;
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    match copies.digests_by().await {
        Ok(_) => {}
        Err(RemoteError::NoTool { .. }) => {
            found.unknown += count;
            return Ok(());
        }
        Err(error) => return Err(error),
    }
    for log in logs {
        judge(copies, watch, log, names, found).await?;
    }
    copies.leave().await
}

async fn judge(
    copies: Copies<'_>,
    watch: &Watch,
    log: Delivered,
    names: &[(RelPath, u64)],
    found: &mut Comparison,
) -> Result<(), RemoteError> {
    let begins = begins(copies, &log.name, &log).await?;
    match begins {
        Beginning::Same => found.verified += 1,
        Beginning::Unknown => found.unknown += 1,
        Beginning::Other | Beginning::Absent => {
            let later = &names[..log.grown.unwrap_or(0)];
            match renamed(copies, watch, &log, later).await? {
                // One with a later receipt is counted by that.
                Some(name) => found.verified += u64::from(later.iter().all(|(later, _)| *later != name)),
                None if begins == Beginning::Absent => found.missing.push(log),
                None => found.differs.push(log),
            }
        }
    }
    Ok(())
}

async fn begins(copies: Copies<'_>, name: &RelPath, log: &Delivered) -> Result<Beginning, RemoteError> {
    Ok(match copies.measure(name, Some(log.size), log.size).await {
        Ok(Stands::File(size, _)) if size < log.size => Beginning::Other,
        Ok(Stands::File(_, digest)) => match log.is(&digest.to_string()) {
            Some(true) => Beginning::Same,
            Some(false) => Beginning::Other,
            None => Beginning::Unknown,
        },
        Ok(Stands::Other) => Beginning::Other,
        Ok(Stands::Nothing) | Err(RemoteError::Denied { .. }) => Beginning::Absent,
        Err(error) => return Err(error),
    })
}

/// What its copy is called now, if it was renamed.
async fn renamed(
    copies: Copies<'_>,
    watch: &Watch,
    log: &Delivered,
    later: &[(RelPath, u64)],
) -> Result<Option<RelPath>, RemoteError> {
    // The nearest in time first: that was its next name.
    let receipts = later.iter().rev().filter(|(_, size)| *size >= log.size).map(|(name, _)| name.clone());
    let aside = log.digests.iter().filter_map(|digest| aside(&log.name, digest.split_once(':')?.1));
    // Not listed before it is needed.
    let beside = std::iter::once_with(|| beside(watch, log)).flatten();
    let mut tried = HashSet::from([log.name.clone()]);
    for name in receipts.chain(aside).chain(beside) {
        if tried.insert(name.clone()) && begins(copies, &name, log).await? == Beginning::Same {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The logs that stand beside it here: one that was rotated may have no receipt by its new name yet.
fn beside(watch: &Watch, log: &Delivered) -> Vec<RelPath> {
    let folder = log.path.folder();
    let Ok(listing) = Root::open(&watch.path).and_then(|root| root.list(folder.as_ref())) else {
        return Vec::new();
    };
    let named = |name: &[u8]| RelPath::in_folder(log.name.folder().as_ref(), name).ok();
    let logs = listing.flatten().filter_map(|entry| match entry.look {
        Look::File { stamp, .. } if stamp.size >= log.size => named(&entry.name),
        _ => None,
    });
    logs.collect()
}
