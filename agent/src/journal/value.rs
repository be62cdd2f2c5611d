//! How a value stands in the store: version byte, payload, checksum.
//!
//! The frame is for ever: a later version changes the payload and the version byte alone, so that an older skiff can
//! tell a newer value from a damaged one.

use skiff_common::delivery::record::{Delivered, HeldItem};
use skiff_common::growth::Log;
use skiff_common::{Algorithm, Digest, ItemId, Shipment};

/// The version of every payload here.
pub(super) const VERSION: u8 = 1;
/// The first bytes of the BLAKE3 of version and payload: against damage, not against people.
const CHECKSUM_BYTES: usize = 8;
/// The bytes of an entry in a chunk.
pub(super) const ENTRY_BYTES: usize = 16 + 8 + 32;
const NUMBER_BYTES: usize = 8;
/// Longer reasons are cut: one value must not outgrow its leaf (see `store`).
const REASON_CHARS: usize = 300;

/// Why a value can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadValue {
    /// A newer skiff wrote it.
    Newer(u8),
    /// It isn't what was written.
    Damaged(&'static str),
}

/// Frames `payload`.
pub(super) fn seal(payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + payload.len() + CHECKSUM_BYTES);
    value.push(VERSION);
    value.extend_from_slice(payload);
    let checksum = checksum(&value);
    value.extend_from_slice(&checksum);
    value
}

/// The payload of `value`, if it is whole and of our version.
pub(super) fn unseal(value: &[u8]) -> Result<&[u8], BadValue> {
    let (head, written) =
        value.split_last_chunk::<CHECKSUM_BYTES>().ok_or(BadValue::Damaged("a value is too short"))?;
    if checksum(head) != *written {
        return Err(BadValue::Damaged("a value doesn't match its checksum"));
    }
    match head.split_first() {
        Some((&VERSION, payload)) => Ok(payload),
        Some((&version, _)) if version > VERSION => Err(BadValue::Newer(version)),
        _ => Err(BadValue::Damaged("a value has no version")),
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("a hash is longer")
}

/// "This item with this stamp is delivered": an element of a chunk. The folder stands in the chunk's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) item: ItemId,
    pub(super) stamp: u64,
    pub(super) digest: Digest,
}

impl Entry {
    pub(super) fn of(delivered: &Delivered) -> Self {
        Self { item: delivered.item, stamp: delivered.stamp, digest: delivered.digest }
    }
}

/// Entries, one after the other: item, stamp (little-endian), BLAKE3 digest.
pub(super) fn seal_chunk(entries: &[Entry]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        payload.extend_from_slice(entry.item.bytes());
        payload.extend_from_slice(&entry.stamp.to_le_bytes());
        payload.extend_from_slice(entry.digest.bytes());
    }
    seal(&payload)
}

pub(super) fn unseal_chunk(value: &[u8]) -> Result<Vec<Entry>, BadValue> {
    let (entries, rest) = unseal(value)?.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return Err(BadValue::Damaged("a chunk ends within an entry"));
    }
    Ok(entries.iter().map(read_entry).collect())
}

fn read_entry(bytes: &[u8; ENTRY_BYTES]) -> Entry {
    let (item, rest) = bytes.split_first_chunk().expect("an entry is longer than an id");
    let (stamp, digest) = rest.split_first_chunk().expect("an entry is longer than id and stamp");
    let digest = digest.first_chunk().expect("an entry ends with a digest");
    Entry {
        item: ItemId::from_bytes(*item),
        stamp: u64::from_le_bytes(*stamp),
        digest: Digest::new(Algorithm::Blake3, *digest),
    }
}

pub(super) fn seal_held(held: &HeldItem) -> Vec<u8> {
    let mut held = held.clone();
    held.reason = held.reason.chars().take(REASON_CHARS).collect();
    seal(&postcard::to_stdvec(&held).expect("plain data can be packed"))
}

pub(super) fn unseal_held(value: &[u8]) -> Result<HeldItem, BadValue> {
    postcard::from_bytes(unseal(value)?).map_err(|_| BadValue::Damaged("a held item can't be unpacked"))
}

pub(super) fn seal_log(log: &Log) -> Vec<u8> {
    seal(&postcard::to_stdvec(log).expect("plain data can be packed"))
}

pub(super) fn unseal_log(value: &[u8]) -> Result<Log, BadValue> {
    postcard::from_bytes(unseal(value)?).map_err(|_| BadValue::Damaged("a log can't be unpacked"))
}

/// A shipment as values of at most `part_bytes` each (and their frames); never none.
pub(super) fn seal_shipment(shipment: &Shipment, part_bytes: usize) -> Vec<Vec<u8>> {
    let packed = postcard::to_stdvec(shipment).expect("plain data can be packed");
    packed.chunks(part_bytes).map(seal).collect()
}

/// Takes what the parts hold, joined.
pub(super) fn unpack_shipment(packed: &[u8]) -> Result<Shipment, BadValue> {
    postcard::from_bytes(packed).map_err(|_| BadValue::Damaged("a shipment can't be unpacked"))
}

/// A number that stands for `bytes`.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*blake3::hash(bytes).as_bytes().first_chunk().expect("a hash is longer"))
}

/// Numbers of 64 bits, little-endian.
pub(super) fn seal_numbers(numbers: &[u64]) -> Vec<u8> {
    seal(&numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>())
}

pub(super) fn unseal_numbers<const COUNT: usize>(value: &[u8]) -> Result<[u64; COUNT], BadValue> {
    let numbers = unseal_all_numbers(value)?;
    <[_; COUNT]>::try_from(numbers).map_err(|_| BadValue::Damaged("a value has the wrong length"))
}

/// However many there are.
pub(super) fn unseal_all_numbers(value: &[u8]) -> Result<Vec<u64>, BadValue> {
    let (numbers, rest) = unseal(value)?.as_chunks::<NUMBER_BYTES>();
    if !rest.is_empty() {
        return Err(BadValue::Damaged("a value has the wrong length"));
    }
    Ok(numbers.iter().copied().map(u64::from_le_bytes).collect())
}

/// Whatever stands in the store, alone or in a right frame: it is read back as it was, or refused.
#[cfg(any(test, fuzzing))]
pub(crate) fn any_value(bytes: &[u8]) {
    for value in [bytes.to_vec(), seal(bytes)] {
        if let Ok(entries) = unseal_chunk(&value) {
            assert_eq!(seal_chunk(&entries), value);
        }
        if let Ok(held) = unseal_held(&value) {
            assert!(unseal_held(&seal_held(&held)).is_ok_and(|again| again.item == held.item));
        }
        if let Ok(log) = unseal_log(&value) {
            assert_eq!(unseal_log(&seal_log(&log)), Ok(log));
        }
        if let Ok(numbers) = unseal_numbers::<1>(&value) {
            assert_eq!(seal_numbers(&numbers), value);
        }
    }
    assert_eq!(unseal(&seal(bytes)), Ok(bytes));
    if let Ok(shipment) = unpack_shipment(bytes) {
        let parts = seal_shipment(&shipment, 100);
        let packed: Vec<u8> =
            parts.iter().flat_map(|part| unseal(part).expect("it was just framed").to_vec()).collect();
        assert_eq!(unpack_shipment(&packed), Ok(shipment));
    }
}

#[cfg(test)]
mod tests {
    use skiff_common::digest::Digests;
    use skiff_common::growth::{FileId, LogId};
    use skiff_common::{Item, RelPath, ShipmentKind, Stamp};

    use super::*;

    const ENTRY: Entry = Entry {
        item: ItemId::from_bytes([0x11; 16]),
        stamp: 0x0102_0304_0506_0708,
        digest: Digest::new(Algorithm::Blake3, [0x22; 32]),
    };

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16);
        digits.chunks(2).map(|digits| pair(digits).expect("two digits")).collect()
    }

    fn shipment() -> Shipment {
        let stamp =
            Stamp { dev: 64_769, ino: 7, size: 4096, mtime_ns: -1, ctime_ns: 1_790_000_000_123_456_789 };
        let path = RelPath::parse(b"a/b.csv").expect("a path");
        Shipment::new("sensors", "collector", ShipmentKind::Batch, vec![Item { path, stamp, mode: 0o644 }])
    }

    fn log() -> Log {
        let file = FileId { dev: 64_769, ino: 7, born_ns: 1_790_000_000_123_456_789 };
        let path = |path: &[u8]| RelPath::parse(path).expect("a path");
        let blake3 = Digest::new(Algorithm::Blake3, [0x22; 32]);
        let digests = Digests { blake3, sha256: Some(Digest::new(Algorithm::Sha256, [0x33; 32])) };
        Log {
            id: LogId::from_bytes([0x44; 16]),
            file,
            round: 1,
            path: path(b"a/app.log"),
            name: Some(path(b"a/app.log.1")),
            moving: None,
            shipped: 4096,
            digests,
            verified: 1024,
            renamed: true,
            unproven: false,
            ended: false,
        }
    }

    fn held() -> HeldItem {
        HeldItem {
            item: ItemId::from_bytes([0x33; 16]),
            watch: "sensors".to_owned(),
            path: RelPath::parse(b"a/b.csv").expect("a path"),
            stamp: 9,
            attempts: 2,
            reason: "no space".to_owned(),
            quarantined: true,
        }
    }

    #[test]
    fn values_of_version_1_stay_readable() {
        assert_eq!(unseal_chunk(&bytes(GOLDEN_CHUNK)), Ok(vec![ENTRY]));
        assert_eq!(unseal_held(&bytes(GOLDEN_HELD)), Ok(held()));
        assert_eq!(unseal(&bytes(GOLDEN_PART)).and_then(unpack_shipment), Ok(shipment()));
        assert_eq!(unseal_log(&bytes(GOLDEN_LOG)), Ok(log()));
        assert_eq!(unseal_numbers(&bytes(GOLDEN_NUMBERS)), Ok([7, 0xffee]));
    }

    #[test]
    fn version_1_is_what_is_written() {
        assert_eq!(seal_chunk(&[ENTRY]), bytes(GOLDEN_CHUNK));
        assert_eq!(seal_held(&held()), bytes(GOLDEN_HELD));
        assert_eq!(seal_shipment(&shipment(), 5600).concat(), bytes(GOLDEN_PART));
        assert_eq!(seal_log(&log()), bytes(GOLDEN_LOG));
        assert_eq!(seal_numbers(&[7, 0xffee]), bytes(GOLDEN_NUMBERS));
    }

    #[test]
    fn no_flipped_bit_passes() {
        let value = seal_chunk(&[ENTRY]);
        for at in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(matches!(unseal(&flipped), Err(BadValue::Damaged(_))), "bit {at}");
        }
        for length in 0..value.len() {
            assert!(unseal(&value[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn newer_is_told_from_damaged() {
        let mut value = vec![VERSION + 1, 5, 5, 5];
        let checksum = checksum(&value);
        value.extend_from_slice(&checksum);
        assert_eq!(unseal(&value), Err(BadValue::Newer(VERSION + 1)));
    }

    #[test]
    fn a_long_reason_is_cut() {
        let long = HeldItem { reason: "é".repeat(5000), ..held() };
        assert_eq!(unseal_held(&seal_held(&long)).expect("a held item").reason, "é".repeat(REASON_CHARS));
    }

    // The golden values. They may not change; a new version gets its own beside them.
    const GOLDEN_CHUNK: &str = "011111111111111111111111111111111108070605040302012222222222222222222222222222222222222222222222 \
        222222222222222222b1f89b77490c3985";
    const GOLDEN_HELD: &str = "01333333333333333333333333333333330773656e736f727307612f622e6373760902086e6f20737061636501544a4b \
        7a38ea6a21";
    const GOLDEN_PART: &str = "011431393839323632333838343135346538316665310773656e736f727309636f6c6c6563746f72000107612f622e63 \
        737681fa0307802001aab4f6b485e1add731a4039649dbf630a61908";
    const GOLDEN_LOG: &str = "014444444444444444444444444444444481fa0307aab4f6b485e1add7310109612f6170702e6c6f67010b612f617070 \
        2e6c6f672e31008020002222222222222222222222222222222222222222222222222222222222222222010133333333 \
        33333333333333333333333333333333333333333333333333333333800801000085676da8651a52d7";
    const GOLDEN_NUMBERS: &str = "010700000000000000eeff000000000000104effb942d8356a";
}
