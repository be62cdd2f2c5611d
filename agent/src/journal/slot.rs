//! The place of the open store, or the reason why there is none.

use std::sync::{Arc, PoisonError, RwLock};

use super::error::JournalError;
use super::store::Store;

/// Shared by the writer, which alone fills it, and the readers.
pub(super) struct Slot(RwLock<Result<Arc<Store>, JournalError>>);

impl Slot {
    pub(super) fn with(store: Store) -> Self {
        Self(RwLock::new(Ok(Arc::new(store))))
    }

    /// The store, or why there is none.
    pub(super) fn store(&self) -> Result<Arc<Store>, JournalError> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts `content` in, and gives back what was there.
    pub(super) fn replace(&self, content: Result<Store, JournalError>) -> Result<Arc<Store>, JournalError> {
        let mut slot = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut slot, content.map(Arc::new))
    }

    /// Puts in what `exchange` makes of what was there. Who asks for the store meanwhile waits.
    pub(super) fn exchange(
        &self,
        exchange: impl FnOnce(Arc<Store>) -> Result<Store, JournalError>,
    ) -> Result<(), JournalError> {
        let mut slot = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let store = slot.clone()?;
        *slot = Err(JournalError::Closed);
        *slot = exchange(store).map(Arc::new);
        slot.as_ref().map(drop).map_err(Clone::clone)
    }
}
