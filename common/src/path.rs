//! Paths, parsed at the border: below a watched folder, and at the destination.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::escape::escaped;

/// The longest path that is taken, in bytes: what Linux takes in one system call.
pub const LONGEST: usize = 4095;
/// The longest name of one component, in bytes.
pub const LONGEST_NAME: usize = 255;

/// Why bytes are not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No bytes at all.
    #[error("the path is empty")]
    Empty,
    /// A relative path was needed.
    #[error("the path {0} starts at the root")]
    Absolute(String),
    /// A component that is empty, `.` or `..`.
    #[error("the path {0} has a component that is empty, '.' or '..'")]
    Component(String),
    /// A NUL byte.
    #[error("the path {0} holds a NUL byte")]
    Nul(String),
    /// Longer than [`LONGEST`], or a component longer than [`LONGEST_NAME`].
    #[error("the path {0} is longer than a file system takes")]
    TooLong(String),
}

/// A file's path below a watched folder: bytes, `/` between components, none of them empty, `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Arc<[u8]>);

impl RelPath {
    /// Takes `bytes` if they are such a path.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        let shown = || escaped(bytes);
        if bytes.is_empty() {
            return Err(PathError::Empty);
        }
        if bytes[0] == b'/' {
            return Err(PathError::Absolute(shown()));
        }
        if bytes.contains(&0) {
            return Err(PathError::Nul(shown()));
        }
        if bytes.len() > LONGEST {
            return Err(PathError::TooLong(shown()));
        }
        for component in bytes.split(|b| *b == b'/') {
            match component {
                b"" | b"." | b".." => return Err(PathError::Component(shown())),
                name if name.len() > LONGEST_NAME => return Err(PathError::TooLong(shown())),
                _ => {}
            }
        }
        Ok(Self(bytes.into()))
    }

    /// The path of `name` in the folder `folder`, or at the top where that is `None`.
    pub fn in_folder(folder: Option<&Self>, name: &[u8]) -> Result<Self, PathError> {
        match folder {
            None => Self::parse(name),
            Some(folder) => Self::parse(&[folder.as_bytes(), b"/", name].concat()),
        }
    }

    /// The path's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The last component.
    pub fn name(&self) -> &[u8] {
        self.components().next_back().expect("a path has a component")
    }

    /// The folder that holds it; `None` at the top.
    pub fn folder(&self) -> Option<Self> {
        let slash = self.0.iter().rposition(|b| *b == b'/')?;
        Some(Self(self.0[..slash].into()))
    }

    /// The folders above it, the topmost first.
    pub fn folders(&self) -> impl Iterator<Item = Self> + '_ {
        self.0.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| Self(self.0[..at].into()))
    }

    /// Its components, the topmost first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/')
    }

    /// Whether it can stand in a tar and in a listing of one path a line: UTF-8, no control character, and no
    /// backslash, which the digest tools escape.
    pub fn is_plain(&self) -> bool {
        std::str::from_utf8(&self.0).is_ok() && self.0.iter().all(|b| *b >= 0x20 && *b != 0x7f && *b != b'\\')
    }

    /// The same folder, with `suffix` put before the last extension: `a/b.csv` + `~1` = `a/b~1.csv`. A name that
    /// would grow too long loses bytes of its stem.
    #[must_use]
    pub fn with_suffix(&self, suffix: &str) -> Self {
        let name = self.name();
        let dot = name.iter().rposition(|b| *b == b'.').filter(|at| *at > 0).unwrap_or(name.len());
        let (stem, extension) = name.split_at(dot);
        let room = LONGEST_NAME.saturating_sub(suffix.len() + extension.len());
        let stem = &stem[..stem.len().min(room)];
        let renamed = [stem, suffix.as_bytes(), extension].concat();
        Self::in_folder(self.folder().as_ref(), &renamed).unwrap_or_else(|_| self.clone())
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelPath({self})")
    }
}

impl Serialize for RelPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <Vec<u8>>::deserialize(deserializer)?;
        Self::parse(&bytes).map_err(serde::de::Error::custom)
    }
}

/// A folder at the destination: absolute, or below the login folder. `.` is the login folder itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RemotePath(Box<[u8]>);

impl RemotePath {
    /// Takes what a person wrote after the colon: `~/x` and `x` mean the same, nothing means the login folder.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        let bytes = bytes.strip_prefix(b"~/").unwrap_or(if bytes == b"~" { b"" } else { bytes });
        if bytes.contains(&0) {
            return Err(PathError::Nul(escaped(bytes)));
        }
        if bytes.len() > LONGEST {
            return Err(PathError::TooLong(escaped(bytes)));
        }
        let kept = bytes.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
        Ok(Self(match (&bytes[..kept], bytes.first()) {
            (b"", Some(_)) => b"/".as_slice().into(),
            (b"", None) => b".".as_slice().into(),
            (path, _) => path.into(),
        }))
    }

    /// The path's bytes, never empty.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The folder `below` this one.
    #[must_use]
    pub fn join(&self, below: &RelPath) -> Self {
        let slash: &[u8] = if self.0.ends_with(b"/") { b"" } else { b"/" };
        Self([&self.0, slash, below.as_bytes()].concat().into())
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(&self.0))
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemotePath({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).expect("a relative path")
    }

    #[test]
    fn what_leaves_the_folder_is_no_path() {
        for bad in ["", "/etc/passwd", "..", "a/../b", "./a", "a//b", "a/", "a\0b"] {
            assert!(RelPath::parse(bad.as_bytes()).is_err(), "{bad:?} was taken");
        }
        assert!(RelPath::parse(&[b'x'; 256]).is_err());
        assert!(RelPath::parse(&[b'x'; 255]).is_ok());
    }

    #[test]
    fn folders_come_topmost_first() {
        let folders: Vec<_> = rel("a/b/c").folders().map(|p| p.to_string()).collect();
        assert_eq!(folders, ["a", "a/b"]);
        assert_eq!(rel("a/b/c").folder(), Some(rel("a/b")));
        assert_eq!(rel("a").folder(), None);
    }

    #[test]
    fn a_suffix_goes_before_the_extension() {
        assert_eq!(rel("a/b.csv").with_suffix("~1"), rel("a/b~1.csv"));
        assert_eq!(rel(".hidden").with_suffix("~1"), rel(".hidden~1"));
        let long = rel(&format!("{}.csv", "x".repeat(251)));
        assert_eq!(long.with_suffix("~1").name().len(), 255);
    }

    #[test]
    fn remote_paths_mean_what_scp_means() {
        for (written, meant) in
            [("", "."), ("~", "."), ("~/in/", "in"), ("/", "/"), ("/srv//", "/srv"), ("in", "in")]
        {
            assert_eq!(RemotePath::parse(written.as_bytes()).expect("a path").to_string(), meant);
        }
    }

    #[test]
    fn only_names_that_fit_a_line_are_plain() {
        assert!(rel("-rf $(x) é;`*`").is_plain());
        assert!(!rel("a\nb").is_plain());
        assert!(!rel("a\\b").is_plain());
        assert!(!RelPath::parse(&[0x80; 255]).expect("a path").is_plain());
    }
}
