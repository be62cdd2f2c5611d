//! `retain = { age = "30d", bytes = "10 GiB" }`, and the mark `"90%"`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{duration, show_duration, show_size, size};
use crate::problem::{Complaint, code};
use crate::raw::Given;
use crate::settings::Retain;

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
