//! Which of the files that the patterns name are taken.

use std::time::Duration;

use crate::value::Choice;

/// Limits on what is taken, beside the patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whether names that begin with a dot count.
    pub hidden: Hidden,
    /// How many folders deep; 0 is the watched folder's own files. `None`: any.
    pub max_depth: Option<u32>,
    /// No smaller files, in bytes.
    pub min_size: u64,
    /// No larger files, in bytes.
    pub max_size: Option<u64>,
    /// No files whose content changed less long ago.
    pub min_age: Duration,
    /// No files whose content changed longer ago.
    pub max_age: Option<Duration>,
    /// The name of files with further patterns, by git's rules.
    pub ignore_file: Option<String>,
}

impl Taken {
    /// Nothing is limited.
    pub fn everything() -> Self {
        Self {
            hidden: Hidden::Deliver,
            max_depth: None,
            min_size: 0,
            max_size: None,
            min_age: Duration::ZERO,
            max_age: None,
            ignore_file: None,
        }
    }

    /// Whether a file at `relative` of `size` bytes is taken, wherever it is in time.
    pub fn takes(&self, relative: &[u8], size: u64) -> bool {
        let in_size = size >= self.min_size && self.max_size.is_none_or(|most| size <= most);
        let is_ignore_file = self
            .ignore_file
            .as_ref()
            .is_some_and(|name| relative.rsplit(|byte| *byte == b'/').next() == Some(name.as_bytes()));
        in_size && !is_ignore_file && self.enters(relative)
    }

    /// Whether something at `relative` can be taken, by its path alone.
    fn enters(&self, relative: &[u8]) -> bool {
        let mut parts = relative.split(|byte| *byte == b'/');
        let is_shown = self.hidden == Hidden::Deliver || parts.all(|part| !part.starts_with(b"."));
        let depth = relative.split(|byte| *byte == b'/').skip(1).count();
        is_shown && self.max_depth.is_none_or(|most| depth <= most as usize)
    }

    /// Whether files in the folder at `relative` can be taken; the watched folder itself is empty.
    pub fn reaches(&self, folder: &[u8]) -> bool {
        self.enters(&[folder, b"/f"].concat()[usize::from(folder.is_empty())..])
    }

    /// Whether a file is of the right age, its content having changed so long ago.
    pub fn is_of_age(&self, age: Duration) -> bool {
        age >= self.min_age && self.max_age.is_none_or(|most| age <= most)
    }
}

/// What becomes of names that begin with a dot, and of what is below such folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// They are like others.
    Deliver,
    /// They are left alone.
    Skip,
}

impl Choice for Hidden {
    const NAMES: &'static [(&'static str, Self)] = &[("deliver", Self::Deliver), ("skip", Self::Skip)];
}

/// What becomes of folders that hold nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyFolders {
    /// They are not made at the destination.
    Skip,
    /// They are.
    Deliver,
}

impl Choice for EmptyFolders {
    const NAMES: &'static [(&'static str, Self)] = &[("skip", Self::Skip), ("deliver", Self::Deliver)];
}

/// What a symlink in the folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symlinks {
    /// Nothing.
    Skip,
    /// The regular file that it leads to, if the way there stays inside the folder.
    FollowInside,
}

impl Choice for Symlinks {
    const NAMES: &'static [(&'static str, Self)] =
        &[("skip", Self::Skip), ("follow_inside", Self::FollowInside)];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_deep_small_and_large_files_are_left() {
        let taken = Taken {
            hidden: Hidden::Skip,
            max_depth: Some(1),
            min_size: 2,
            max_size: Some(9),
            ignore_file: Some(".skiffignore".to_owned()),
            ..Taken::everything()
        };
        let is_taken = |path: &str, size| taken.takes(path.as_bytes(), size);
        assert!(is_taken("a", 2) && is_taken("a/b", 9) && is_taken("a/b.c", 5));
        assert!(
            !is_taken("a", 1)
                && !is_taken("a", 10)
                && !is_taken(".a", 5)
                && !is_taken(".a/b", 5)
                && !is_taken("a/b/c", 5)
        );
        let all = Taken { ignore_file: Some("rules".to_owned()), ..Taken::everything() };
        assert!(all.takes(b".a/.b/c", 0) && !all.takes(b"a/rules", 5) && all.takes(b"a/rules/b", 5));
    }

    #[test]
    fn ages_have_two_ends() {
        let (young, old) = (Duration::from_secs(10), Duration::from_secs(100));
        let taken = Taken { min_age: young, max_age: Some(old), ..Taken::everything() };
        let is_of_age = |seconds| taken.is_of_age(Duration::from_secs(seconds));
        assert!(is_of_age(10) && is_of_age(100) && !is_of_age(9) && !is_of_age(101));
    }
}
