//! That a file system was mounted at a watched folder: kept in mind for a start that comes before the mount.
//!
//! A cache like all else here: what can't be read only says that there was a mount.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::value::{hash, seal_numbers, unseal_numbers};

/// What is kept in mind of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountNote {
    /// A hash of the path; `None`: noted by a skiff that kept none.
    path: Option<u64>,
    /// Whether it was missed: since then what was delivered need not have been on it.
    missed: bool,
}

impl MountNote {
    /// A mount at `path`, which is there, or was missed by a start since.
    pub fn new(path: &Path, missed: bool) -> Self {
        Self { path: Some(hash(path.as_os_str().as_bytes())), missed }
    }

    /// Whether the mount was at `path`, as far as is known.
    pub fn is_at(&self, path: &Path) -> bool {
        self.path.is_none_or(|noted| noted == hash(path.as_os_str().as_bytes()))
    }

    /// Whether a start missed it.
    pub fn is_missed(&self) -> bool {
        self.missed
    }

    pub(super) fn seal(&self) -> Vec<u8> {
        match self.path {
            Some(path) => seal_numbers(&[path, u64::from(self.missed)]),
            None => seal_numbers(&[]),
        }
    }

    pub(super) fn unseal(value: &[u8]) -> Self {
        match unseal_numbers(value) {
            Ok([path, missed]) => Self { path: Some(path), missed: missed != 0 },
            Err(_) => Self { path: None, missed: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_an_older_one_is_of_any_path() {
        let (here, there) = (Path::new("/data/in"), Path::new("/data/out"));
        for note in [MountNote::new(here, false), MountNote::new(here, true)] {
            let read = MountNote::unseal(&note.seal());
            assert_eq!(read, note);
            assert!(read.is_at(here) && !read.is_at(there));
        }
        for older in [seal_numbers(&[]), b"damaged".to_vec()] {
            let read = MountNote::unseal(&older);
            assert!(read.is_at(here) && read.is_at(there) && !read.is_missed());
        }
    }

    /// What is stored keeps its form.
    #[test]
    fn version_1_is_what_is_written() {
        let hex =
            |value: Vec<u8>| value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        assert_eq!(hex(MountNote::new(Path::new("/data/in"), true).seal()), GOLDEN);
        assert_eq!(hex(MountNote { path: None, missed: false }.seal()), GOLDEN_WITHOUT_PATH);
    }

    const GOLDEN: &str = "019c0140ce61ff3e780100000000000000bd768d42bae215e2";
    const GOLDEN_WITHOUT_PATH: &str = "0148fc721fbbc172e0";
}
