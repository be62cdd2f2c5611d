//! `retain = { age = "30d", bytes = "10 GiB" }`, the mark `"90%"`, and what stays free: `"1 GiB"` or `"5%"`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{duration, show_duration, show_size, size};
use crate::problem::{Complaint, code};
use crate::raw::Given;
use crate::settings::{KeepFree, Retain};

const AGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400 * 36_500);
const EXPECTED: &str = r#"write "all" or { age = "30d", bytes = "10 GiB" }, or one of the two"#;

/// How much of what was delivered is kept.
pub(crate) fn retain(given: Given<'_>) -> Result<Retain, Complaint> {
    let Some(table) = given.table() else {
        return match &*given.text()? {
            "all" => Ok(Retain::default()),
            other => {
                Err(Complaint::new(code::BAD_CHOICE, format!("{other:?} is not known here"))
                    .suggest(EXPECTED))
            }
        };
    };
    let mut retain = Retain::default();
    for (key, node) in table {
        let value = Given::new(node, given.environment);
        match key.as_str() {
            "age" => retain.age = Some(duration(AGE)(value)?),
            "bytes" => retain.bytes = Some(size(0..=u64::MAX)(value)?),
            other => {
                let unknown = Complaint::new(code::UNKNOWN_KEY, format!("{other:?} is not known here"));
                return Err(unknown.suggest(EXPECTED));
            }
        }
    }
    Ok(retain)
}

/// Its age and its bytes, as they are written.
pub(crate) fn show_retain(retain: Retain) -> [(&'static str, Option<String>); 2] {
    [("age", retain.age.map(show_duration)), ("bytes", retain.bytes.map(show_size))]
}

/// What is to stay free of a disk.
pub(crate) fn keep_free(given: Given<'_>) -> Result<KeepFree, Complaint> {
    if given.number().is_some() {
        return size(0..=u64::MAX)(given).map(KeepFree::Bytes);
    }
    let text = given.text()?;
    if text.trim() == "off" {
        return Ok(KeepFree::Off);
    }
    if text.trim().ends_with('%') {
        return mark(given).map(|percent| percent.map_or(KeepFree::Off, KeepFree::Percent));
    }
    size(0..=u64::MAX)(given).map(KeepFree::Bytes)
}

/// Written so that it reads back as the same.
pub(crate) fn show_keep_free(keep: KeepFree) -> String {
    match keep {
        KeepFree::Off => "off".to_owned(),
        KeepFree::Bytes(bytes) => show_size(bytes),
        KeepFree::Percent(percent) => format!("{percent}%"),
    }
}

/// A share of a disk, in percent; none if "off".
pub(crate) fn mark(given: Given<'_>) -> Result<Option<u8>, Complaint> {
    let text = given.text()?;
    if text.trim() == "off" {
        return Ok(None);
    }
    let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse().ok());
    percent.filter(|percent| (1..=99).contains(percent)).map(Some).ok_or_else(|| {
        Complaint::new(code::BAD_SIZE, format!("{text:?} is not a share of a disk"))
            .suggest(r#"write "90%", or "off""#)
    })
}

/// Written so that it reads back as the same.
pub(crate) fn show_mark(mark: Option<u8>) -> String {
    mark.map_or_else(|| "off".to_owned(), |percent| format!("{percent}%"))
}
