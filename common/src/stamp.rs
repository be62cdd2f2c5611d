//! How a change of a file is noticed.

use serde::{Deserialize, Serialize};

/// A file's identity and age as the kernel tells them. Two equal stamps: nothing happened to the file in between,
/// but for what a memory mapping writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// The device that holds the file.
    pub dev: u64,
    /// Its number on that device.
    pub ino: u64,
    /// Its length in bytes.
    pub size: u64,
    /// Last change of its content, in nanoseconds since 1970; anyone may set it.
    pub mtime_ns: i64,
    /// Last change of content or attributes, in nanoseconds since 1970; only the kernel sets it.
    pub ctime_ns: i64,
}

impl Stamp {
    /// 64 bits of it, for records that only ask "is it still the same?".
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        for number in [self.dev, self.ino, self.size] {
            hasher.update(&number.to_le_bytes());
        }
        for time in [self.mtime_ns, self.ctime_ns] {
            hasher.update(&time.to_le_bytes());
        }
        let mut head = [0; 8];
        hasher.finalize_xof().fill(&mut head);
        u64::from_le_bytes(head)
    }

    /// Whether `later` can be the same content after a rename, which moves the ctime alone.
    pub fn same_but_renamed(&self, later: &Self) -> bool {
        Self { ctime_ns: later.ctime_ns, ..*self } == *later
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { dev: 1, ino: 2, size: 3, mtime_ns: 4, ctime_ns: 5 };

    #[test]
    fn each_field_changes_the_fingerprint() {
        let changed = [
            Stamp { dev: 9, ..STAMP },
            Stamp { ino: 9, ..STAMP },
            Stamp { size: 9, ..STAMP },
            Stamp { mtime_ns: 9, ..STAMP },
            Stamp { ctime_ns: 9, ..STAMP },
        ];
        assert!(changed.iter().all(|stamp| stamp.fingerprint() != STAMP.fingerprint()));
    }

    #[test]
    fn a_rename_moves_the_ctime_alone() {
        assert!(STAMP.same_but_renamed(&Stamp { ctime_ns: 9, ..STAMP }));
        assert!(!STAMP.same_but_renamed(&Stamp { mtime_ns: 9, ..STAMP }));
    }
}
