//! What the journal knows of files under other names than the watch's own: those of before, or of its other legs.

use skiff_common::{ItemId, RelPath};

use crate::journal::{DeliveredFolder, Journal, JournalError};

/// What was delivered by these names of the folder that was looked at last.
#[derive(Default)]
pub(super) struct ByOthers(Vec<(String, DeliveredFolder)>);

impl ByOthers {
    /// It is to be read again.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether each of the `names`, which are the same each time, has this version.
    pub(super) fn have(
        &mut self,
        journal: &Journal,
        names: impl FnOnce() -> Vec<String>,
        path: &RelPath,
        fingerprint: u64,
    ) -> Result<impl Iterator<Item = bool>, JournalError> {
        let folder = path.folder();
        let of = |name: &str| ItemId::of_folder(name, folder.as_ref());
        if self.0.first().is_none_or(|(name, known)| known.folder() != of(name)) {
            let read =
                names().into_iter().map(|name| journal.delivered_in(of(&name)).map(|known| (name, known)));
            self.0 = read.collect::<Result<_, _>>()?;
        }
        Ok(self.0.iter().map(move |(name, known)| known.has(ItemId::of(name, path), fingerprint)))
    }
}
