//! What is wrong with a configuration, where, and what to do about it.
//!
//! Text from a file is quoted and escaped before it reaches a message, so that no name can forge a second line.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong. Shows as `skiff.toml:12: watch.sensors.settel: unknown key, did you mean "settle"?`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A stable name for machines, one of [`code`].
    pub code: &'static str,
    /// The file it stands in.
    pub file: PathBuf,
    /// The line, counted from 1, where there is one.
    pub line: Option<usize>,
    /// The key path, such as `watch.sensors.settle`; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where that is known.
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", printable(&self.file.to_string_lossy()))?;
        if let Some(line) = self.line {
            write!(out, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(out, ": {}", printable(&self.key))?;
        }
        write!(out, ": {}", printable(&self.message))?;
        match &self.suggestion {
            Some(suggestion) => write!(out, ", {}", printable(suggestion)),
            None => Ok(()),
        }
    }
}

/// All that is wrong with a configuration, in the order of its files and lines. Never empty. Shows one problem a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `problems`, unless there are none.
    pub(crate) fn unless_none(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// The problems, first file and line first.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.iter().enumerate() {
            write!(out, "{}{problem}", if nth == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A problem that does not know its place yet: what a value parser says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
}

impl Complaint {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), suggestion: None }
    }

    pub(crate) fn suggest(self, suggestion: impl Into<String>) -> Self {
        Self { suggestion: Some(suggestion.into()), ..self }
    }

    /// Asks `did you mean …?` where one of `known` is near what was `given`.
    pub(crate) fn suggest_nearest<'k>(self, given: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        match nearest(given, known) {
            Some(near) => self.suggest(format!("did you mean {near:?}?")),
            None => self,
        }
    }
}

/// The word of `known` that `given` most likely is a slip of: up to one edit in three letters.
fn nearest<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|word| (strsim::osa_distance(given, word), word))
        .filter(|(edits, word)| *edits * 3 <= word.len().max(given.len()))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, word)| word)
}

/// `text` with control characters escaped.
fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_debug());
        } else {
            out.push(c);
        }
        out
    })
}

/// The stable names of problems, for [`Problem::code`].
pub mod code {
    macro_rules! codes {
        ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
            $($(#[$doc])* pub const $name: &str = $text;)*
            /// All of them.
            pub const ALL: &[&str] = &[$($name),*];
        };
    }
    codes! {
        /// There is no such file.
        FILE_MISSING = "file-missing";
        /// The file or its `.d` folder cannot be read.
        FILE_UNREADABLE = "file-unreadable";
        /// The file is not text.
        NOT_UTF8 = "not-utf8";
        /// The file is not TOML.
        SYNTAX = "syntax";
        /// A key that means nothing here.
        UNKNOWN_KEY = "unknown-key";
        /// A key that has to be there.
        MISSING_KEY = "missing-key";
        /// Text where a number is wanted, and the like.
        WRONG_TYPE = "wrong-type";
        /// One setting in two files.
        SET_TWICE = "set-twice";
        /// One destination in two files.
        DUPLICATE_DESTINATION = "duplicate-destination";
        /// Two watches of one name.
        DUPLICATE_WATCH = "duplicate-watch";
        /// `${NAME}` of a variable that is not set.
        UNSET_VARIABLE = "unset-variable";
        /// `${…}` that is not closed or names nothing.
        BAD_SUBSTITUTION = "bad-substitution";
        /// `${credential:…}` outside of a service that has credentials.
        NO_CREDENTIALS = "no-credentials";
        /// `{…}` in a path that is no template, or whose value is not known or no name of a folder.
        BAD_TEMPLATE = "bad-template";
        /// Not a duration.
        BAD_DURATION = "bad-duration";
        /// Not a size.
        BAD_SIZE = "bad-size";
        /// Not a rate.
        BAD_RATE = "bad-rate";
        /// Not a time of the week with its bandwidth.
        BAD_SCHEDULE = "bad-schedule";
        /// Not an `[user@]host[:port]`.
        BAD_ADDRESS = "bad-address";
        /// Not an address and a port.
        BAD_LISTEN = "bad-listen";
        /// A service for the network without a token.
        TOKEN_MISSING = "token-missing";
        /// None of the words that are possible.
        BAD_CHOICE = "bad-choice";
        /// A name with characters that names may not have.
        BAD_NAME = "bad-name";
        /// A path that cannot be meant.
        BAD_PATH = "bad-path";
        /// A pattern that does not compile.
        BAD_PATTERN = "bad-pattern";
        /// A local path that is not absolute.
        RELATIVE_PATH = "relative-path";
        /// `~` while `HOME` is not set.
        NO_HOME = "no-home";
        /// A value that is far from sensible.
        OUT_OF_RANGE = "out-of-range";
        /// A list that has to have members.
        EMPTY_LIST = "empty-list";
        /// `to` names no destination.
        UNKNOWN_DESTINATION = "unknown-destination";
        /// `batch_bytes` below `small_file`.
        BATCH_TOO_SMALL = "batch-too-small";
        /// Of two limits on what is taken, the upper is below the lower.
        TAKES_NOTHING = "takes-nothing";
        /// `retry_max` below `retry_first`.
        RETRY_ORDER = "retry-order";
        /// Two watches share files, and one of them removes them.
        NESTED_WATCHES = "nested-watches";
        /// Delivered files would be moved to where they are watched.
        MOVE_INSIDE_WATCH = "move-inside-watch";
        /// skiff would deliver its own state.
        STATE_INSIDE_WATCH = "state-inside-watch";
        /// Nothing is watched at all.
        NOTHING_TO_WATCH = "nothing-to-watch";
    }
}

#[cfg(test)]
mod catalogue_tests;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_slips_and_nothing_else() {
        assert_eq!(nearest("watches", ["watch", "log"]), Some("watch"));
        let known = ["settle", "include", "exclude", "to"];
        assert_eq!(nearest("settel", known), Some("settle"));
        assert_eq!(nearest("includes", known), Some("include"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("x", known), None);
    }

    #[test]
    fn a_hostile_name_stays_on_its_line() {
        let problem = Problem {
            code: code::UNKNOWN_KEY,
            file: "a\nb.toml".into(),
            line: None,
            key: "x\ny".into(),
            message: "unknown key".into(),
            suggestion: None,
        };
        assert_eq!(problem.to_string(), r"a\nb.toml: x\ny: unknown key");
    }
}
