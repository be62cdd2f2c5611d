//! Which files of a watched folder are meant.
//!
//! Patterns read as they do for rsync and git: one without a `/` matches a name at any depth, one with a `/` is relative
//! to the watched folder, `*` stops at a `/`, `**` does not. An excluded folder excludes all that is in it. There is no
//! negation: `include` and `exclude` say it plainly. Paths are bytes, because file names are.

use std::fmt;

use globset::{Candidate, Glob, GlobBuilder, GlobSet, GlobSetBuilder};

/// The compiled `include` and `exclude` patterns of a watch.
#[derive(Clone, Debug)]
pub struct WatchGlobs {
    include: GlobSet,
    exclude: GlobSet,
    pruned: GlobSet,
}

impl WatchGlobs {
    /// Compiles patterns.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, PatternError> {
        let excluded: Vec<_> = exclude.iter().map(|pattern| Excluded::parse(pattern)).collect();
        Ok(Self {
            include: set(include.iter().map(|pattern| (pattern.as_str(), included(pattern))))?,
            exclude: set(excluded.iter().flat_map(Excluded::files))?,
            pruned: set(excluded.iter().map(|one| (one.pattern, one.base.clone())))?,
        })
    }

    /// Whether the file at `relative` (below the watched folder, without a leading `/`) is to be delivered.
    pub fn matches(&self, relative: &[u8]) -> bool {
        let candidate = Candidate::from_bytes(relative);
        self.include.is_match_candidate(&candidate) && !self.exclude.is_match_candidate(&candidate)
    }

    /// Whether a walk has to enter the folder at `relative`. Ask for each folder on the way down.
    pub fn may_contain(&self, relative: &[u8]) -> bool {
        !self.pruned.is_match_candidate(&Candidate::from_bytes(relative))
    }

    /// Whether all that is below the folder at `relative` is excluded, by it or by a folder above it.
    pub(crate) fn excludes_below(&self, relative: &str) -> bool {
        let is_folder_end = |end: usize| relative[end..].is_empty() || relative[end..].starts_with('/');
        (1..=relative.len())
            .filter(|end| relative.is_char_boundary(*end) && is_folder_end(*end))
            .any(|end| !self.may_contain(&relative.as_bytes()[..end]))
    }
}

/// A pattern that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// The pattern as it was written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} is not a pattern: {}", self.pattern, self.reason)
    }
}

impl std::error::Error for PatternError {}

/// An exclude pattern: the folder or file it names, and whether it names folders only.
struct Excluded<'p> {
    pattern: &'p str,
    base: String,
    folders_only: bool,
}

impl<'p> Excluded<'p> {
    fn parse(pattern: &'p str) -> Self {
        let stripped = pattern.strip_suffix("/**").or_else(|| pattern.strip_suffix('/'));
        // `/**` is everything, and so is what is left when nothing is.
        let base = match stripped {
            Some("") => "**".to_owned(),
            // `cache/**` has its slash in front of the stars, `cache/` is a bare name.
            Some(rest) if pattern.ends_with("**") => anchored(&format!("/{}", unanchored(rest))),
            Some(rest) => anchored(rest),
            None => anchored(pattern),
        };
        Self { pattern, base, folders_only: stripped.is_some_and(|rest| !rest.is_empty()) }
    }

    /// The globs that match the excluded files themselves.
    fn files(&self) -> impl Iterator<Item = (&'p str, String)> {
        let itself = (!self.folders_only).then(|| self.base.clone());
        let pattern = self.pattern;
        itself.into_iter().chain([format!("{}/**", self.base)]).map(move |glob| (pattern, glob))
    }
}

/// The glob for an include pattern; `data/` means all that is below `data`.
fn included(pattern: &str) -> String {
    match pattern.strip_suffix('/') {
        Some(folder) => format!("{}/**", anchored(folder)),
        None => anchored(pattern),
    }
}

fn anchored(pattern: &str) -> String {
    if pattern.contains('/') { unanchored(pattern).to_owned() } else { format!("**/{pattern}") }
}

fn unanchored(pattern: &str) -> &str {
    pattern.strip_prefix("./").or_else(|| pattern.strip_prefix('/')).unwrap_or(pattern)
}

/// `(the pattern as written, the glob that it means)`, compiled.
fn set<'p>(globs: impl Iterator<Item = (&'p str, String)>) -> Result<GlobSet, PatternError> {
    let mut builder = GlobSetBuilder::new();
    for (pattern, glob) in globs {
        builder.add(compile(pattern, &glob)?);
    }
    builder.build().map_err(|error| PatternError {
        pattern: error.glob().unwrap_or_default().to_owned(),
        reason: error.kind().to_string(),
    })
}

fn compile(pattern: &str, glob: &str) -> Result<Glob, PatternError> {
    let wrong = |reason: &str| PatternError { pattern: pattern.to_owned(), reason: reason.to_owned() };
    if let Some(reason) = misunderstood(pattern) {
        return Err(wrong(reason));
    }
    let built = GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build();
    built.map_err(|error| wrong(&error.kind().to_string()))
}

/// Bounds how deep braces can nest, which the compiler of patterns follows by recursion.
const LONGEST: usize = 1024;

/// Why a pattern that would compile cannot do what its writer meant.
fn misunderstood(pattern: &str) -> Option<&'static str> {
    match pattern {
        "" | "/" | "./" => Some("it names nothing"),
        _ if pattern.len() > LONGEST => Some("it is too long"),
        _ if pattern.starts_with('!') => Some("negation is not known here"),
        _ if pattern.split('/').any(|part| part == "..") => {
            Some("nothing above the watched folder is watched")
        }
        _ if pattern.contains('\0') => Some("no file name holds a NUL byte"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(include: &[&str], exclude: &[&str]) -> WatchGlobs {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        WatchGlobs::new(&owned(include), &owned(exclude)).expect("patterns of this test compile")
    }

    #[test]
    fn a_name_matches_at_any_depth_and_a_path_only_where_it_stands() {
        let globs = globs(&["*.csv", "logs/*.log", "/top.txt", "raw/"], &[]);
        for yes in ["a.csv", "x/y/a.csv", ".csv", "logs/a.log", "top.txt", "raw/a", "x/raw/y/z"] {
            assert!(globs.matches(yes.as_bytes()), "{yes}");
        }
        for no in ["a.csv.gz", "x/logs/a.log", "logs/x/a.log", "x/top.txt", "raw"] {
            assert!(!globs.matches(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn an_excluded_folder_excludes_what_is_in_it() {
        let globs = globs(&["**"], &["cache/", "out/**", "*.tmp", "/a/b"]);
        for no in ["cache/x", "y/cache/x/z", "out/x", "a.tmp", "x.tmp/y", "a/b", "a/b/c"] {
            assert!(!globs.matches(no.as_bytes()), "{no}");
        }
        for yes in ["cache", "x/out/y", "out", "tmp", "x/a/b"] {
            assert!(globs.matches(yes.as_bytes()), "{yes}");
        }
    }

    #[test]
    fn a_walk_enters_a_folder_unless_everything_in_it_is_excluded() {
        let globs = globs(&["**"], &["cache/", "out/**", "**/*.tmp"]);
        for (folder, enter) in [
            ("cache", false),
            ("x/cache", false),
            ("out", false),
            ("x/out", true),
            ("x.tmp", false),
            ("x", true),
        ] {
            assert_eq!(globs.may_contain(folder.as_bytes()), enter, "{folder}");
            let inside = format!("{folder}/file");
            assert!(enter || !globs.matches(inside.as_bytes()), "{inside} would be missed");
        }
        assert!(globs.excludes_below("out/deeper/yet"));
        assert!(!globs.excludes_below("outer"));
    }

    #[test]
    fn names_are_bytes() {
        let globs = globs(&["d/*.csv"], &["*~"]);
        assert!(globs.matches(b"d/\xff\xfe.csv"));
        assert!(globs.matches(b"d/two\nlines.csv"));
        assert!(!globs.matches(b"d/\xff.csv~"));
    }

    #[test]
    fn excluding_everything_excludes_everything() {
        for all in ["**", "/**", "*"] {
            assert!(!globs(&["**"], &[all]).matches(b"a/b"), "{all}");
        }
    }

    #[test]
    fn patterns_that_mean_nothing_are_refused() {
        let deep = "{".repeat(100_000) + &"}".repeat(100_000);
        for bad in [&deep, "", "/", "!keep.csv", "../up", "a/{b", "a[", "x\0"] {
            let error = WatchGlobs::new(&[bad.to_owned()], &[]).expect_err(bad);
            assert_eq!(error.pattern, bad);
            assert!(WatchGlobs::new(&[], &[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
