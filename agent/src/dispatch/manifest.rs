//! A manifest of what a shipment has delivered, brought to the destination as any file: staged, read back, published.
//!
//! Before the receipts are written: where this fails, the shipment is done again, finds all that it delivered, and makes
//! the same manifest. Never overwrites; lacks a receipt of its own, and a source that could be watched.

use std::path::Path;

use futures_util::FutureExt as _;
use skiff_common::delivery::manifest::{Manifest, ManifestStyle};
use skiff_common::delivery::{OnConflict, Placed, Placement, Receipt, Staged, Trouble};
use skiff_common::{Digest, Item, RelPath, Shipment, ShipmentKind};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::context::Place;
use crate::remote::{Conflicts, RemoteError};
use crate::source::{Root, SourceError};

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub(super) enum ManifestError {
    /// The destination.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// It can't be written here, on its way.
    #[error("cannot write the manifest in a temporary folder: {0}")]
    Io(#[from] std::io::Error),
    /// Or not be read again.
    #[error("cannot read the manifest: {0}")]
    Source(#[from] SourceError),
    /// Something stands in its way.
    #[error("cannot deliver the manifest {name}: {why}")]
    Refused {
        /// Its name there.
        name: RelPath,
        /// Why.
        why: String,
    },
}

/// Brings the manifest of `receipts`, which are of `shipment`, to where they were delivered.
pub(super) async fn deliver(
    place: &Place,
    shipment: &Shipment,
    receipts: &[Receipt],
    style: ManifestStyle,
) -> Result<(), ManifestError> {
    let Some(manifest) = Manifest::of(receipts, style) else { return Ok(()) };
    for name in &manifest.left_out {
        tracing::warn!(shipment = %shipment.id, %name, "left out of the manifest: it has no digest of that kind, or a name that no line of it can hold");
    }
    if manifest.text.is_empty() {
        return Ok(());
    }
    let (name, text) = (manifest.name, manifest.text);
    let written = spawn_blocking(move || write(&name, &text)).await;
    let (_home, root, item) = written.expect("writing doesn't panic and isn't aborted")?;
    let own = Shipment::new(&shipment.watch, &shipment.destination, ShipmentKind::Single, vec![item]);
    let sent = send(place, &root, &own).await;
    if let Err(error) = place.remote.discard(&place.root, &own).await {
        tracing::debug!(shipment = %own.id, %error, "staging is left behind; it is cleared later");
    }
    sent
}

/// As a file of a folder of its own, which goes when it is dropped.
fn write(name: &RelPath, text: &[u8]) -> Result<(TempDir, Root, Item), ManifestError> {
    use std::os::unix::ffi::OsStrExt as _;
    let home = tempfile::tempdir()?;
    let path = home.path().join(Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())));
    std::fs::create_dir_all(path.parent().expect("it is in a folder"))?;
    std::fs::write(path, text)?;
    let root = Root::open(home.path())?;
    let stamp = root.open_item(name)?.stamp;
    Ok((home, root, Item { path: name.clone(), stamp, mode: 0o644 }))
}

async fn send(place: &Place, root: &Root, own: &Shipment) -> Result<(), ManifestError> {
    let item = &own.items[0];
    let refused = |why: String| ManifestError::Refused { name: item.path.clone(), why };
    // An earlier attempt may have come so far.
    let staged = place.remote.stage(&place.root, root, own, true).await?.pop();
    let (digests, theirs) = match staged.expect("staging reports each member") {
        Staged::Landed { digests, theirs } if digests.agree_with(&theirs) => (digests, theirs),
        Staged::Stands { digests, theirs, .. } if digests.agree_with(&theirs) => return Ok(()),
        Staged::Landed { .. } | Staged::Stands { .. } => {
            return Err(refused("it arrived changed".to_owned()));
        }
        Staged::Spoiled(trouble) => return Err(refused(why(trouble))),
    };
    // What stands there and isn't the same is somebody else's, or of a shipment that delivered less before it failed.
    let ours_before = |_: &RelPath, _: &Digest| std::future::ready(false).boxed();
    let conflicts = Conflicts { policy: OnConflict::KeepBoth, ours_before: &ours_before };
    let placement = Placement { item: item.clone(), digests, theirs };
    match place.remote.publish(&place.root, own, &[placement], &conflicts).await?.pop() {
        Some(Placed::At(_)) => Ok(()),
        Some(Placed::Refused(trouble)) => Err(refused(why(trouble))),
        None => unreachable!("publishing reports each placement"),
    }
}

fn why(trouble: Trouble) -> String {
    match trouble {
        Trouble::Failed { reason, .. } => reason,
        Trouble::Changed | Trouble::Gone => "somebody changed it in the temporary folder".to_owned(),
    }
}
