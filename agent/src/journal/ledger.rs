//! Operations on their way to the store, a transaction at a time.
//!
//! Promises that they are applied in their order; a change of many operations takes several transactions, and small ones
//! share one where the later doesn't read what the earlier writes. Lacks what the operations of a change are.

use super::error::JournalError;
use super::keys::Kind;
use super::store::{Op, Store, TRANSACTION_OPS};

/// Writes to a store; durable only after [`Store::sync`].
pub(super) struct Ledger<'a> {
    store: &'a Store,
    ops: Vec<Op>,
    seq: Option<u64>,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, ops: Vec::new(), seq: None }
    }

    /// The number of the last transaction, if there was one.
    pub(super) fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// The store, as it is without the operations that aren't applied yet.
    pub(super) fn store(&self) -> &'a Store {
        self.store
    }

    /// Whether operations that aren't applied yet concern a key that starts with `prefix`.
    pub(super) fn touches(&self, kind: Kind, prefix: &[u8]) -> bool {
        self.ops.iter().any(|op| op.kind == kind && op.key.starts_with(prefix))
    }

    /// Adds an operation.
    pub(super) fn push(&mut self, op: Op) -> Result<(), JournalError> {
        self.ops.push(op);
        if self.ops.len() == TRANSACTION_OPS { self.apply() } else { Ok(()) }
    }

    /// Removes all whose key starts with `prefix`; writes nothing where there is none.
    pub(super) fn remove_all(&mut self, kind: Kind, prefix: &[u8]) -> Result<(), JournalError> {
        for record in self.store.scan(kind, prefix) {
            self.push(Op::remove(kind, &record?.0))?;
        }
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn apply(&mut self) -> Result<(), JournalError> {
        if !self.ops.is_empty() {
            self.seq = Some(self.store.apply(&self.ops)?.seq);
            self.ops.clear();
        }
        Ok(())
    }
}
