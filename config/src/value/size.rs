//! Sizes in bytes: `64 KiB`, `1 GB`, or a plain number.

use std::ops::RangeInclusive;

use super::quantity::{split_number, within};
use crate::problem::{Complaint, code};
use crate::raw::Given;

/// Units, from the largest; those that a size is shown in come first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// A size within `range`.
pub(crate) fn size(range: RangeInclusive<u64>) -> impl Fn(Given<'_>) -> Result<u64, Complaint> {
    move |given| {
        let bytes = match given.number() {
            Some(number) => u64::try_from(number).map_err(|_| not_a_size(&number.to_string()))?,
            None => parse(given.text()?.trim())?,
        };
        within(bytes, &range, show_size)
    }
}

/// In the largest binary unit that divides it, so that it reads back as the same.
pub(crate) fn show_size(bytes: u64) -> String {
    let (unit, size) =
        UNITS.into_iter().find(|(_, size)| bytes != 0 && bytes.is_multiple_of(*size)).unwrap_or(("B", 1));
    format!("{} {unit}", bytes / size)
}

fn parse(text: &str) -> Result<u64, Complaint> {
    let bytes = || {
        let (number, unit) = split_number(text)?;
        let unit = if unit.is_empty() { "B" } else { unit };
        let (_, size) = UNITS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        number.times(size)
    };
    bytes().ok_or_else(|| not_a_size(text))
}

fn not_a_size(text: &str) -> Complaint {
    Complaint::new(code::BAD_SIZE, format!("{text:?} is not a size"))
        .suggest(r#"write a number and a unit, as in "64 KiB", "8 MiB" or "1 GB""#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_they_are_meant() {
        for (text, bytes) in [
            ("64 KiB", 65_536),
            ("8MiB", 8 << 20),
            ("1 GB", 1_000_000_000),
            ("1.5 kib", 1_536),
            ("10 KB", 10_000),
            ("17", 17),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "8 M", "KiB", "-1", "8 MiB/s", "99999999999 TiB"] {
            assert_eq!(parse(text).expect_err(text).code, code::BAD_SIZE, "{text}");
        }
    }

    #[test]
    fn a_shown_size_reads_back() {
        for bytes in [0, 1, 1_000, 1_024, 1_025, 8 << 20, 3 << 30, u64::from(u32::MAX)] {
            assert_eq!(parse(&show_size(bytes)), Ok(bytes));
        }
        assert_eq!(show_size(8 << 20), "8 MiB");
    }
}
