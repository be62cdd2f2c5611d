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
    /// In the home of a user that it names.
    #[error(
        "the path {0} names the home of another user: write it from the root on, or as ./{0} what is called so"
    )]
    Home(String),
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

    /// Another path, never this one: the same folder, with `suffix` put before the last extension, `a/b.csv` + `~1` =
    /// `a/b~1.csv`. What would grow too long loses of its stem, then of its extension, never of the suffix. Where the folder
    /// leaves no room for that either, it is the nearest one above that does.
    ///
    /// # Panics
    /// If `suffix` is no ASCII name of fewer than 255 bytes.
    #[must_use]
    pub fn with_suffix(&self, suffix: &str) -> Self {
        assert!(suffix.is_ascii(), "a suffix is cut nowhere");
        let mut folder = self.folder();
        while room_in(folder.as_ref()) <= suffix.len() {
            folder = folder.expect("a suffix is shorter than a name").folder();
        }
        let room = room_in(folder.as_ref());
        let renamed = |room| Self::in_folder(folder.as_ref(), &suffixed(self.name(), suffix, room));
        let other = renamed(room).expect("it was cut to fit");
        if other != *self {
            return other;
        }
        // The name had the suffix already, so it has to be shorter.
        renamed(self.name().len() - 1).expect("it was cut to fit")
    }
}

/// The longest name that fits into `folder`.
fn room_in(folder: Option<&RelPath>) -> usize {
    LONGEST_NAME.min(LONGEST.saturating_sub(folder.map_or(0, |folder| folder.as_bytes().len() + 1)))
}

/// `name` with `suffix` before its extension, in no more than `room` bytes.
fn suffixed(name: &[u8], suffix: &str, room: usize) -> Vec<u8> {
    let dot = name.iter().rposition(|b| *b == b'.').filter(|at| *at > 0).unwrap_or(name.len());
    let (stem, extension) = name.split_at(dot);
    let room = room.saturating_sub(suffix.len());
    let extension = cut(extension, room);
    [cut(stem, room - extension.len()), suffix.as_bytes(), extension].concat()
}

/// The beginning of `name` that fits, without half a character.
fn cut(name: &[u8], room: usize) -> &[u8] {
    if name.len() <= room {
        return name;
    }
    let is_inside = |at: usize| name[at] & 0xc0 == 0x80;
    // What has no beginning within four bytes is no UTF-8, and may be cut anywhere.
    let end = (room.saturating_sub(3)..=room).rev().find(|at| !is_inside(*at)).unwrap_or(room);
    &name[..end]
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
        let bytes = match bytes.strip_prefix(b"~") {
            None => bytes,
            // What is below the login folder doesn't start at the root, however many slashes stand there.
            Some(b"" | [b'/', ..]) => {
                let slashes = bytes[1..].iter().take_while(|b| **b == b'/').count();
                &bytes[1 + slashes..]
            }
            Some(_) => return Err(PathError::Home(escaped(bytes))),
        };
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
    fn a_suffix_makes_another_name_that_has_it_whatever_is_cut_for_it() {
        let suffix = "~0123456789ab";
        let folders = [0, 1, 3826, 3840, 4079, 4080].map(|length| {
            let folder: Vec<u8> = (0..length).map(|at| if at % 200 == 199 { b'/' } else { b'f' }).collect();
            (length > 0).then(|| RelPath::parse(&folder).expect("a folder"))
        });
        for folder in &folders {
            for length in (1..20).chain(230..=255) {
                for dot in 0..length {
                    for fill in ["x", "\u{e9}", "\u{20ac}", "~0123456789ab"] {
                        let mut name = fill.repeat(255).into_bytes();
                        name.truncate(length);
                        name[dot] = if length > 1 { b'.' } else { b'x' };
                        let Ok(path) = RelPath::in_folder(folder.as_ref(), &name) else { continue };
                        let other = path.with_suffix(suffix);
                        assert!(other != path && other.name().len() <= LONGEST_NAME, "{path} became {other}");
                        assert!(other.as_bytes().len() <= LONGEST, "{path} became {other}");
                        let mut parts = other.name().windows(suffix.len());
                        assert!(parts.any(|part| part == suffix.as_bytes()), "{path} became {other}");
                        assert!(!path.is_plain() || other.is_plain(), "{path} became {other}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_extension_is_cut_where_the_stem_leaves_no_room() {
        let name = |stem: &str, extension: usize| rel(&format!("a/{stem}.{}", "x".repeat(extension)));
        let suffix = "~0123456789ab";
        assert_eq!(name("a", 253).with_suffix(suffix), rel(&format!("a/{suffix}.{}", "x".repeat(241))));
        assert_eq!(name("ab", 241).with_suffix(suffix), rel(&format!("a/{suffix}.{}", "x".repeat(241))));
        assert_eq!(name("ab", 240).with_suffix(suffix), rel(&format!("a/a{suffix}.{}", "x".repeat(240))));
        let full = rel(&format!("{}~1.csv", "x".repeat(249)));
        assert_eq!(full.with_suffix("~1"), rel(&format!("{}~1.csv", "x".repeat(248))));
    }

    #[test]
    fn remote_paths_mean_what_scp_means() {
        for (written, meant) in [
            ("", "."),
            ("~", "."),
            ("~/in/", "in"),
            ("/", "/"),
            ("/srv//", "/srv"),
            ("in", "in"),
            ("~//in", "in"),
            ("~//", "."),
            ("~/~bob", "~bob"),
            ("./~bob", "./~bob"),
        ] {
            assert_eq!(RemotePath::parse(written.as_bytes()).expect("a path").to_string(), meant);
        }
        for another in ["~bob", "~bob/in", "~~", "~\n"] {
            let refused = RemotePath::parse(another.as_bytes());
            assert!(matches!(refused, Err(PathError::Home(_))), "{another:?}");
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
