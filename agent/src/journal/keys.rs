//! Where a value stands: six trees, and the keys in them.
//!
//! | tree | key | value |
//! | --- | --- | --- |
//! | pending | shipment id ‖ number of parts (u32 BE) ‖ part (u32 BE) | a piece of the packed shipment |
//! | held | item id | the held item |
//! | recent | folder id ‖ number (u64 BE) | the entries of one commit, few |
//! | completed | folder id ‖ number (u64 BE) | entries, many |
//! | growing | watch ‖ log id | what is known of a log |
//! | meta | `head` | the head (see `head`) |
//! | meta | `legs` ‖ watch | its several destinations (see `legs`) |
//! | meta | `doubt` | why what the store lacks may have been delivered (see `trust`) |
//! | meta | `mount` ‖ watch | the mount that its folder was (see `mount`) |
//!
//! Each tree has values of one size, because sled rewrites leaves of up to 16 values: few small commits in a leaf of
//! large chunks would rewrite those chunks time and again.

use skiff_common::growth::LogId;
use skiff_common::{ItemId, ShipmentId};

/// A kind of record. Each has its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Pending,
    Held,
    Recent,
    Completed,
    Growing,
    Meta,
}

impl Kind {
    pub(super) const ALL: [Self; 6] =
        [Self::Pending, Self::Held, Self::Recent, Self::Completed, Self::Growing, Self::Meta];
    /// All but the head.
    pub(super) const RECORDS: [Self; 5] =
        [Self::Pending, Self::Held, Self::Recent, Self::Completed, Self::Growing];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Recent => "recent",
            Self::Completed => "completed",
            Self::Growing => "growing",
            Self::Meta => "meta",
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// The key of the head.
pub(super) const HEAD: &[u8] = b"head";

/// The key of the doubt about what the store lacks.
pub(super) const DOUBT: &[u8] = b"doubt";

/// The key of the destinations that a watch had.
pub(super) fn legs_key(watch: ItemId) -> Vec<u8> {
    [b"legs", &watch.bytes()[..]].concat()
}

/// The key of the mount that the folder of a watch was.
pub(super) fn mount_key(watch: ItemId) -> Vec<u8> {
    [b"mount", &watch.bytes()[..]].concat()
}

/// All parts of a shipment stand together, and those of another division of it apart.
pub(super) fn part_key(shipment: &ShipmentId, parts: usize, part: usize) -> Vec<u8> {
    let number = |n| u32::try_from(n).expect("a shipment has fewer parts").to_be_bytes();
    [shipment.as_str().as_bytes(), &number(parts), &number(part)].concat()
}

/// What all parts of a shipment have in common, and how many there are.
pub(super) fn read_part_key(key: &[u8]) -> Option<(&[u8], usize)> {
    let (common, _part) = key.split_last_chunk::<4>()?;
    let (_id, parts) = common.split_last_chunk()?;
    Some((common, u32::from_be_bytes(*parts) as usize))
}

pub(super) fn chunk_key(folder: ItemId, number: u64) -> Vec<u8> {
    [&folder.bytes()[..], &number.to_be_bytes()].concat()
}

pub(super) fn read_chunk_key(key: &[u8]) -> Option<(ItemId, u64)> {
    let (folder, number) = key.split_first_chunk()?;
    Some((ItemId::from_bytes(*folder), u64::from_be_bytes(number.try_into().ok()?)))
}

/// All logs of a watch stand together.
pub(super) fn log_key(watch: ItemId, log: &LogId) -> Vec<u8> {
    [&watch.bytes()[..], log.bytes()].concat()
}

/// The watch of a log's key.
pub(super) fn read_log_key(key: &[u8]) -> Option<ItemId> {
    key.first_chunk().copied().map(ItemId::from_bytes)
}

/// The first key after all of `folder`.
pub(super) fn after_folder(folder: ItemId) -> Option<[u8; 16]> {
    u128::from_be_bytes(*folder.bytes()).checked_add(1).map(u128::to_be_bytes)
}
