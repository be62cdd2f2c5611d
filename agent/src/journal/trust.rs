//! What is known at the start, and how far it is to be believed.

use std::path::PathBuf;

use skiff_common::Shipment;
use skiff_common::delivery::record::HeldItem;

use super::error::JournalError;
use super::keys::{DOUBT, Kind};
use super::store::Store;
use super::value::{seal, unseal};

/// Longer reasons are cut: one value must not outgrow its leaf (see `store`).
const REASON_CHARS: usize = 1000;

/// What the journal held when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The shipments that were planned and not finished.
    pub pending: Vec<Shipment>,
    /// The items that wait or are quarantined.
    pub held: Vec<HeldItem>,
    /// Whether that is all there was.
    pub trust: Trust,
    /// As long as a journal that began empty has not been compared with folders and destinations: why it is not the first
    /// one, or nothing where none was there. What it doesn't know may have been delivered, so the destination is asked.
    pub doubt: Option<String>,
}

/// What the store holds of what was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It holds all that was ever acknowledged.
    Kept,
    /// Nothing was ever recorded here.
    Fresh,
    /// What was there can't be trusted. It was moved away, and this is a fresh one.
    Rebuilt {
        /// How that showed.
        reason: String,
        /// Where the old one is.
        quarantine: PathBuf,
    },
}

/// The doubt that the store is in, if any.
pub(super) fn doubt_of(store: &Store) -> Result<Option<String>, JournalError> {
    Ok(store.get(Kind::Meta, DOUBT)?.map(|value| read_doubt(&value)))
}

/// From now on the store is in doubt for this reason, until everything was compared. Durable with what is recorded next.
pub(super) fn note_doubt(store: &Store, why: &str) -> Result<(), JournalError> {
    store.load_unaccounted(Kind::Meta, vec![(DOUBT.into(), seal_doubt(why).into())])
}

fn seal_doubt(why: &str) -> Vec<u8> {
    let why: String = why.chars().take(REASON_CHARS).collect();
    seal(why.as_bytes())
}

/// A reason that can't be read is a reason.
fn read_doubt(value: &[u8]) -> String {
    unseal(value).map(|why| String::from_utf8_lossy(why).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is stored keeps its form.
    #[test]
    fn version_1_of_a_doubt_is_what_is_written() {
        let value = seal_doubt("why");
        assert_eq!(value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat(), GOLDEN);
        assert_eq!(read_doubt(&value), "why");
        assert_eq!(read_doubt(b"damaged"), "");
        assert_eq!(read_doubt(&seal_doubt(&"ö".repeat(5000))), "ö".repeat(REASON_CHARS));
    }

    const GOLDEN: &str = "017768792f9a7405573b303b";
}
