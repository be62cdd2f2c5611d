//! Settings that are one word out of few.

use crate::problem::{Complaint, code};
use crate::raw::Given;

/// A type whose values have names in the configuration.
pub(crate) trait Choice: Copy + PartialEq + 'static {
    /// All values and their names.
    const NAMES: &'static [(&'static str, Self)];

    /// The name of this value.
    fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, value)| *value == self);
        named.map(|(name, _)| *name).expect("NAMES lists every value")
    }
}

/// One of the words of `T`.
pub(crate) fn choice<T: Choice>(given: Given<'_>) -> Result<T, Complaint> {
    let text = given.text()?;
    let named = T::NAMES.iter().find(|(name, _)| *name == text);
    named.map(|(_, value)| *value).ok_or_else(|| not_among(&text, T::NAMES.iter().map(|(name, _)| *name)))
}

/// The complaint that `text` is none of `names`.
pub(super) fn not_among(text: &str, names: impl Iterator<Item = &'static str>) -> Complaint {
    let names: Vec<_> = names.map(|name| format!("{name:?}")).collect();
    Complaint::new(code::BAD_CHOICE, format!("{text:?} is not known here"))
        .suggest(format!("write {}", names.join(" or ")))
}
