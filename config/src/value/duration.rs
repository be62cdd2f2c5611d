//! Durations: `500ms`, `1s`, `1h 30m`. A number without a unit is refused, since nobody could tell what it means.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::quantity::{split_number, within};
use crate::problem::{Complaint, code};
use crate::raw::Given;

/// Units and how many milliseconds they are, from the largest.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A duration within `range`.
pub(crate) fn duration(range: RangeInclusive<Duration>) -> impl Fn(Given<'_>) -> Result<Duration, Complaint> {
    move |given| {
        if let Some(number) = given.number() {
            return Err(no_unit(&number.to_string()));
        }
        let text = given.text()?;
        within(parse(text.trim())?, &range, show_duration)
    }
}

/// The shortest writing that reads back as the same, in whole milliseconds.
pub(crate) fn show_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, size) = UNITS.into_iter().find(|(_, size)| ms.is_multiple_of(*size)).unwrap_or(("ms", 1));
    if ms == 0 { "0s".to_owned() } else { format!("{}{unit}", ms / size) }
}

fn parse(text: &str) -> Result<Duration, Complaint> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(no_unit(text));
    }
    sum(text).map(Duration::from_millis).ok_or_else(|| {
        Complaint::new(code::BAD_DURATION, format!("{text:?} is not a duration"))
            .suggest(r#"write a number and a unit, as in "500ms", "1s", "10m", "2h" or "1d""#)
    })
}

/// The sum of `1h 30m`, in milliseconds.
fn sum(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut ms = 0_u64;
    while !rest.is_empty() || rest.len() == text.len() {
        let (number, after) = split_number(rest)?;
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (_, size) = UNITS.into_iter().find(|(unit, _)| *unit == &after[..end])?;
        ms = ms.checked_add(number.times(size)?)?;
        rest = after[end..].trim_start();
    }
    Some(ms)
}

fn no_unit(number: &str) -> Complaint {
    Complaint::new(code::BAD_DURATION, format!("{number} has no unit"))
        .suggest(format!("write \"{number}s\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_they_are_meant() {
        for (text, ms) in [
            ("1s", 1_000),
            ("500ms", 500),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1.5s", 1_500),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("5 s", 5_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "5", "s", "5 parsecs", "1s2", "-1s", "1S", "999999999999999999d"] {
            assert_eq!(parse(text).expect_err(text).code, code::BAD_DURATION, "{text}");
        }
    }

    #[test]
    fn a_shown_duration_reads_back() {
        for ms in [0, 1, 999, 1_000, 1_001, 60_000, 90_000, 5_400_000, 86_400_000, 172_800_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse(&show_duration(duration)), Ok(duration));
        }
        assert_eq!(show_duration(Duration::from_secs(7_200)), "2h");
    }
}
