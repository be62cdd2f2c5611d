//! Names of watches and destinations: safe on a command line, in a log and in a file name.

use crate::problem::{Complaint, code};
use crate::raw::Given;

/// A name.
pub(crate) fn name(given: Given<'_>) -> Result<String, Complaint> {
    let text = given.text()?;
    check_name(&text)?;
    Ok(text.into_owned())
}

/// Whether `text` may be a name.
pub(crate) fn check_name(text: &str) -> Result<(), Complaint> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if starts_well && text.len() <= 64 && text.chars().all(is_plain) {
        return Ok(());
    }
    Err(Complaint::new(code::BAD_NAME, format!("{text:?} cannot be a name"))
        .suggest("use up to 64 letters, digits, \".\", \"_\" and \"-\", and begin with a letter or digit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["sensors", "a", "7", "line-2.raw_data"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "-v", "a b", "a/b", "a\n", "a\0", "é", &"x".repeat(65)] {
            assert_eq!(check_name(bad).expect_err(bad).code, code::BAD_NAME, "{bad}");
        }
    }
}
