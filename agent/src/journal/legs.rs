//! Where a watch with several destinations delivered to when it was scanned last, and whether it removed what all of them
//! have: so that a start knows of a destination that was taken away.
//!
//! A cache like all else here: without it nothing was.

use super::value::{BadValue, hash, seal_numbers, unseal_all_numbers};

/// More destinations than one value holds are not kept in mind.
const MOST: usize = 600;

/// What is kept in mind of a watch's destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegsNote {
    removes: bool,
    /// Hashes of their names.
    names: Vec<u64>,
}

impl LegsNote {
    /// Of a watch that delivers to all of these.
    pub fn new(removes: bool, names: &[String]) -> Self {
        let mut names: Vec<u64> = names.iter().map(|name| hash(name.as_bytes())).collect();
        names.sort_unstable();
        names.truncate(MOST);
        Self { removes, names }
    }

    /// Whether a destination of then is none `now`, and what all have was and is removed.
    pub fn lost_one(&self, now: &Self) -> bool {
        self.removes && now.removes && self.names.iter().any(|name| !now.names.contains(name))
    }

    pub(super) fn seal(&self) -> Vec<u8> {
        seal_numbers(&[&[u64::from(self.removes)], &self.names[..]].concat())
    }

    pub(super) fn unseal(value: &[u8]) -> Result<Self, BadValue> {
        let numbers = unseal_all_numbers(value)?;
        let (removes, names) = numbers.split_first().ok_or(BadValue::Damaged("a note of legs is empty"))?;
        Ok(Self { removes: *removes != 0, names: names.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(removes: bool, names: &[&str]) -> LegsNote {
        LegsNote::new(removes, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_a_destination_that_is_taken_away_is_lost() {
        let before = note(true, &["a", "b", "c"]);
        assert!(before.lost_one(&note(true, &["b", "a"])) && before.lost_one(&note(true, &["a", "b", "d"])));
        assert!(!before.lost_one(&note(true, &["c", "b", "a", "d"])));
        assert!(
            !before.lost_one(&note(false, &["a", "b"]))
                && !note(false, &["a", "b"]).lost_one(&note(true, &["a"]))
        );
    }

    /// What is stored keeps its form.
    #[test]
    fn version_1_is_what_is_written() {
        let value = note(true, &["a"]).seal();
        assert_eq!(value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat(), GOLDEN);
        assert_eq!(LegsNote::unseal(&value), Ok(note(true, &["a"])));
        assert!(LegsNote::unseal(b"damaged").is_err());
    }

    const GOLDEN: &str = "01010000000000000017762fddd969a453f9904dfe3c41827d";
}
