//! What was asked for on the command line, as `[user@]host:path`.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;

use skiff_common::path::PathError;
use skiff_common::{RelPath, RemotePath};
use skiff_config::address::split_path_bytes;

/// One thing to fetch.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its path at the server: absolute, or below the login folder.
    pub(super) path: Vec<u8>,
    /// Its own name, which it has here as well; `None` where the path has none (`.`, `..`, `/`).
    pub(super) name: Option<RelPath>,
    /// Whether only what is in it is meant.
    pub(super) contents_only: bool,
}

/// Why words name nothing to fetch.
#[derive(Debug, thiserror::Error)]
pub enum WantedError {
    /// No colon.
    #[error("{0:?} names no server: a colon separates it from the path")]
    NoServer(String),
    /// Another server than the first.
    #[error("{0:?} is on another server: pull from one server at a time")]
    OtherServer(String),
    /// No path.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl Wanted {
    /// Splits all of them; they have to be on one server, which is returned as it was written.
    pub fn parse_all<'a>(
        words: impl IntoIterator<Item = &'a OsStr>,
    ) -> Result<(String, Vec<Self>), WantedError> {
        let (mut server, mut sources) = (None, Vec::new());
        for words in words {
            let shown = || words.to_string_lossy().into_owned();
            let (of, path) =
                split_path_bytes(words.as_bytes()).ok_or_else(|| WantedError::NoServer(shown()))?;
            let of = String::from_utf8_lossy(of).into_owned();
            if server.get_or_insert_with(|| of.clone()) != &of {
                return Err(WantedError::OtherServer(shown()));
            }
            sources.push(Self::parse(path)?);
        }
        Ok((server.unwrap_or_default(), sources))
    }

    fn parse(path: &[u8]) -> Result<Self, PathError> {
        let remote = RemotePath::parse(path)?;
        let bytes = remote.as_bytes();
        let last = bytes.rsplit(|b| *b == b'/').next().unwrap_or_default();
        // `.`, `..` and `/` have no name of their own.
        let name = RelPath::parse(last).ok();
        let contents_only = name.is_none() || path.ends_with(b"/");
        Ok(Self { path: bytes.to_vec(), name, contents_only })
    }

    /// Whether somebody may have meant several.
    pub(super) fn looks_like_a_pattern(&self) -> bool {
        self.path.iter().any(|b| matches!(b, b'*' | b'?' | b'[' | b'{'))
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&skiff_common::escape::escaped(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(words: &str) -> Wanted {
        let (_, mut sources) = Wanted::parse_all([OsStr::new(words)]).expect("a source");
        sources.remove(0)
    }

    #[test]
    fn a_slash_behind_means_what_is_in_it() {
        for (words, path, name, contents_only) in [
            ("h:a/b", "a/b", Some("b"), false),
            ("h:~/a/b/", "a/b", Some("b"), true),
            ("u@[::1]:/x:y", "/x:y", Some("x:y"), false),
            ("h:", ".", None, true),
            ("h:/", "/", None, true),
            ("h:a/..", "a/..", None, true),
            ("h:*.csv", "*.csv", Some("*.csv"), false),
        ] {
            let source = one(words);
            assert_eq!(source.path, path.as_bytes(), "{words}");
            assert_eq!(source.name.map(|name| name.to_string()).as_deref(), name, "{words}");
            assert_eq!(source.contents_only, contents_only, "{words}");
        }
    }

    #[test]
    fn one_server_at_a_time() {
        let words = ["a:x", "a:y"].map(OsStr::new);
        assert_eq!(Wanted::parse_all(words).expect("sources").0, "a");
        assert!(matches!(
            Wanted::parse_all(["a:x", "b:y"].map(OsStr::new)),
            Err(WantedError::OtherServer(_))
        ));
        assert!(matches!(Wanted::parse_all([OsStr::new("plain")]), Err(WantedError::NoServer(_))));
    }
}
