//! Rates in bits a second: `8 Mbit/s`, `1 MiB/s`, or `unlimited`.
//!
//! A bare `b` is refused: `Mb/s` has cost people a factor of eight too often.

use std::ops::RangeInclusive;

use super::quantity::{split_number, within};
use crate::problem::{Complaint, code};
use crate::raw::Given;

/// What a limit may be: a dial-up line to 100 gigabits.
const RANGE: RangeInclusive<u64> = 8_000..=100_000_000_000;

/// Units in bits a second; those that a rate is shown in come first, from the largest.
const UNITS: [(&str, u64); 15] = [
    ("Gbit/s", 1_000_000_000),
    ("Mbit/s", 1_000_000),
    ("kbit/s", 1_000),
    ("bit/s", 1),
    ("Gbps", 1_000_000_000),
    ("Mbps", 1_000_000),
    ("kbps", 1_000),
    ("GB/s", 8_000_000_000),
    ("MB/s", 8_000_000),
    ("kB/s", 8_000),
    ("KB/s", 8_000),
    ("B/s", 8),
    ("GiB/s", 8 << 30),
    ("MiB/s", 8 << 20),
    ("KiB/s", 8 << 10),
];

/// A limit, or none.
pub(crate) fn rate(given: Given<'_>) -> Result<Option<u64>, Complaint> {
    if let Some(number) = given.number() {
        return Err(not_a_rate(&number.to_string()));
    }
    parse_rate(given.text()?.trim())
}

/// The same of a text.
pub(crate) fn parse_rate(text: &str) -> Result<Option<u64>, Complaint> {
    match text {
        "unlimited" => Ok(None),
        text => within(parse(text)?, &RANGE, |rate| show_rate(Some(rate))).map(Some),
    }
}

/// In the largest unit that divides it, so that it reads back as the same.
pub(crate) fn show_rate(rate: Option<u64>) -> String {
    let Some(rate) = rate else { return "unlimited".to_owned() };
    let (unit, size) = UNITS.into_iter().find(|(_, size)| rate.is_multiple_of(*size)).unwrap_or(("bit/s", 1));
    format!("{} {unit}", rate / size)
}

fn parse(text: &str) -> Result<u64, Complaint> {
    let rate = || {
        let (number, unit) = split_number(text)?;
        let (_, size) = UNITS.into_iter().find(|(name, _)| is_unit(name, unit))?;
        number.times(size)
    };
    rate().ok_or_else(|| not_a_rate(text))
}

/// Whether `written` is the unit `name`; case counts where `b` and `B` are all that tell bits from bytes.
fn is_unit(name: &str, written: &str) -> bool {
    let is_plain = ["bit", "iB", "bps"].iter().any(|part| name.contains(part));
    name == written || (is_plain && name.eq_ignore_ascii_case(written))
}

fn not_a_rate(text: &str) -> Complaint {
    Complaint::new(code::BAD_RATE, format!("{text:?} is not a rate"))
        .suggest(r#"write "8 Mbit/s", "500 kbit/s", "1 MiB/s" or "unlimited""#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_as_bits_a_second() {
        for (text, bits) in [
            ("8 Mbit/s", 8_000_000),
            ("1.5 mbit/s", 1_500_000),
            ("500kbit/s", 500_000),
            ("1 MiB/s", 8_388_608),
            ("1 MB/s", 8_000_000),
            ("56 kbps", 56_000),
        ] {
            assert_eq!(parse(text), Ok(bits), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_rate_is_refused() {
        for text in ["", "8", "8 Mb/s", "8 mb/s", "8 MiB", "fast", "99999999999 GiB/s"] {
            assert_eq!(parse(text).expect_err(text).code, code::BAD_RATE, "{text}");
        }
    }

    #[test]
    fn a_shown_rate_reads_back() {
        for rate in [8_000, 8_001, 1_500_000, 8_388_608, 2_000_000_000] {
            assert_eq!(parse(&show_rate(Some(rate))), Ok(rate));
        }
        assert_eq!(show_rate(Some(1_500_000)), "1500 kbit/s");
        assert_eq!(show_rate(None), "unlimited");
    }
}
