//! Numbers with units, exactly: `1.5 Mbit/s` never passes through a float.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use crate::problem::{Complaint, code};
use crate::raw::Given;

/// A number as it was written: `digits / 10^decimals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    digits: u64,
    decimals: u32,
}

impl Decimal {
    /// This many times `unit`, rounded down; `None` beyond 64 bits.
    pub(super) fn times(self, unit: u64) -> Option<u64> {
        let product = u128::from(self.digits) * u128::from(unit);
        u64::try_from(product / 10_u128.checked_pow(self.decimals)?).ok()
    }
}

/// Splits off the number that `text` begins with.
pub(super) fn split_number(text: &str) -> Option<(Decimal, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() {
        return None;
    }
    let decimals = u32::try_from(fraction.len()).ok()?;
    let digits = format!("{whole}{fraction}").parse().ok()?;
    Some((Decimal { digits, decimals }, rest.trim_start()))
}

/// A plain number within `range`.
pub(crate) fn count(range: RangeInclusive<u32>) -> impl Fn(Given<'_>) -> Result<u32, Complaint> {
    move |given| {
        let number = given.number().ok_or_else(|| given.wrong_type("a whole number"))?;
        let count = u32::try_from(number).ok().filter(|count| range.contains(count));
        count.ok_or_else(|| {
            out_of_range(&number.to_string(), &range.start().to_string(), &range.end().to_string())
        })
    }
}

/// A plain number from 1 to `most`.
pub(crate) fn count_up_to(most: u32) -> impl Fn(Given<'_>) -> Result<NonZeroUsize, Complaint> {
    move |given| {
        let count = usize::try_from(count(1..=most)(given)?).ok().and_then(NonZeroUsize::new);
        Ok(count.expect("a count from 1 is not 0, and fits where skiff runs"))
    }
}

/// `value`, if it lies within `range`; `show` writes it for the message.
pub(super) fn within<T: PartialOrd + Copy>(
    value: T,
    range: &RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T, Complaint> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(out_of_range(&show(value), &show(*range.start()), &show(*range.end())))
    }
}

fn out_of_range(value: &str, least: &str, most: &str) -> Complaint {
    Complaint::new(code::OUT_OF_RANGE, format!("{value} is out of range"))
        .suggest(format!("choose from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_split_from_their_units() {
        for (text, wanted) in [
            ("5s", Some((Decimal { digits: 50, decimals: 1 }, "s"))),
            ("1.25 MiB", Some((Decimal { digits: 125, decimals: 2 }, "MiB"))),
            ("7", Some((Decimal { digits: 70, decimals: 1 }, ""))),
            ("s", None),
            (".5s", None),
            ("5.s", None),
            ("1.2.3s", None),
            ("-1s", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(split_number(text), wanted, "{text}");
        }
    }

    #[test]
    fn products_are_exact_or_refused() {
        let number = |text| split_number(text).expect("is a number").0;
        assert_eq!(number("1.5").times(1_000_000), Some(1_500_000));
        assert_eq!(number("0.1").times(3), Some(0));
        assert_eq!(number("1000000000000000000").times(1024), None);
        assert_eq!(number("0.0000000000000000000000000000000000000001").times(1), None);
    }
}
