//! Whether a store is to be trusted: each value, their sum, and what they say together.

use skiff_common::delivery::record::HeldItem;
use skiff_common::growth::Log;
use skiff_common::{ItemId, Shipment};

use super::error::JournalError;
use super::head::Head;
use super::keys::{Kind, read_chunk_key, read_log_key, read_part_key};
use super::store::{Bytes, Op, Store, TRANSACTION_OPS};
use super::value::{BadValue, unpack_shipment, unseal, unseal_chunk, unseal_held, unseal_log};

/// What a look at all of a store found.
#[derive(Default)]
pub(super) struct Verified {
    pub(super) head: Head,
    /// The bytes of all keys and values.
    pub(super) logical_bytes: u64,
    pub(super) pending: Vec<Shipment>,
    pub(super) held: Vec<HeldItem>,
    pub(super) logs: Vec<(ItemId, Log)>,
}

/// Reads all of `store` once, one value at a time, and removes what a crash left half-written.
pub(super) fn verify(store: &Store) -> Result<Verified, JournalError> {
    let (mut verified, unfinished) = read(store)?;
    store.count(verified.logical_bytes);
    remove(store, &unfinished)?;
    verified.head = store.head()?;
    Ok(verified)
}

/// The same, and removes nothing.
pub(super) fn look(store: &Store) -> Result<Verified, JournalError> {
    read(store).map(|(verified, _)| verified)
}

fn read(store: &Store) -> Result<(Verified, Vec<Bytes>), JournalError> {
    let mut verified = Verified::default();
    let mut found = Head { seq: store.head()?.seq, sum: 0 };
    let mut parts = Parts::default();
    for kind in Kind::RECORDS {
        for record in store.scan(kind, &[]) {
            let (key, value) = record?;
            found.add(kind, &key, &value);
            verified.logical_bytes += (key.len() + value.len()) as u64;
            verified.take(kind, key, &value, &mut parts).map_err(|bad| store.bad_value(bad))?;
        }
    }
    if found != store.head()? {
        return Err(store.bad_value(BadValue::Damaged("records are missing, or of different times")));
    }
    parts.end(&mut verified.pending).map_err(|bad| store.bad_value(bad))?;
    Ok((verified, parts.unfinished))
}

impl Verified {
    fn take(&mut self, kind: Kind, key: Bytes, value: &[u8], parts: &mut Parts) -> Result<(), BadValue> {
        match kind {
            Kind::Pending => parts.take(key, unseal(value)?, &mut self.pending),
            Kind::Held => {
                self.held.push(unseal_held(value)?);
                Ok(())
            }
            Kind::Recent | Kind::Completed => {
                read_chunk_key(&key).ok_or(BadValue::Damaged("a chunk's key has the wrong length"))?;
                unseal_chunk(value).map(drop)
            }
            Kind::Growing => {
                let watch = read_log_key(&key).ok_or(BadValue::Damaged("a log's key is too short"))?;
                self.logs.push((watch, unseal_log(value)?));
                Ok(())
            }
            Kind::Meta => unreachable!("the head is no record"),
        }
    }
}

/// Joins the parts of shipments, which stand together and in order.
#[derive(Default)]
struct Parts {
    keys: Vec<Bytes>,
    packed: Vec<u8>,
    /// Parts of shipments whose planning a crash cut, before it was acknowledged.
    unfinished: Vec<Bytes>,
}

impl Parts {
    fn take(&mut self, key: Bytes, payload: &[u8], pending: &mut Vec<Shipment>) -> Result<(), BadValue> {
        let (common, _) = read_part_key(&key).ok_or(BadValue::Damaged("a shipment's key is too short"))?;
        if self.keys.last().is_some_and(|last| !last.starts_with(common)) {
            self.end(pending)?;
        }
        self.keys.push(key);
        self.packed.extend_from_slice(payload);
        Ok(())
    }

    fn end(&mut self, pending: &mut Vec<Shipment>) -> Result<(), BadValue> {
        let keys = std::mem::take(&mut self.keys);
        let packed = std::mem::take(&mut self.packed);
        let parts = keys.first().and_then(|key| read_part_key(key)).map_or(0, |(_, parts)| parts);
        if keys.len() < parts {
            self.unfinished.extend(keys);
        } else if parts > 0 {
            let shipment = unpack_shipment(&packed)?;
            // A crash while it was planned again, in other parts: either will do.
            if pending.last().is_some_and(|last| last.id == shipment.id) {
                self.unfinished.extend(keys);
            } else {
                pending.push(shipment);
            }
        }
        Ok(())
    }
}

fn remove(store: &Store, unfinished: &[Bytes]) -> Result<(), JournalError> {
    for keys in unfinished.chunks(TRANSACTION_OPS) {
        let ops: Vec<_> = keys.iter().map(|key| Op::remove(Kind::Pending, key)).collect();
        store.apply(&ops)?;
    }
    Ok(())
}
