//! What a server knows of a file.

use super::reader::Reader;

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;

const KIND: u32 = 0o170_000;

/// A file's attributes, as far as they are told or to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Its length in bytes.
    pub size: Option<u64>,
    /// The numbers of its user and group.
    pub owner: Option<(u32, u32)>,
    /// Kind and mode, as Unix numbers them.
    pub permissions: Option<u32>,
    /// When it was read and changed, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symlink.
    Symlink,
    /// Anything else.
    Special,
    /// The server doesn't say.
    Unknown,
}

impl Attributes {
    /// Just a mode.
    pub const fn mode(mode: u32) -> Self {
        Self { size: None, owner: None, permissions: Some(mode), times: None }
    }

    /// What it is.
    pub const fn kind(&self) -> FileKind {
        match self.permissions {
            None => FileKind::Unknown,
            Some(permissions) => match permissions & KIND {
                0 => FileKind::Unknown,
                0o100_000 => FileKind::File,
                0o040_000 => FileKind::Folder,
                0o120_000 => FileKind::Symlink,
                _ => FileKind::Special,
            },
        }
    }

    /// Whether a file that was one and is the other has not been changed between. When it was read doesn't count: to read it
    /// changes that.
    pub fn is_unchanged(&self, other: &Self) -> bool {
        let written = |one: &Self| one.times.map(|(_, changed)| changed);
        (self.size, self.owner, self.permissions, written(self))
            == (other.size, other.owner, other.permissions, written(other))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let flag = |is: bool, flag: u32| if is { flag } else { 0 };
        let flags = flag(self.size.is_some(), SIZE)
            | flag(self.owner.is_some(), OWNER)
            | flag(self.permissions.is_some(), PERMISSIONS)
            | flag(self.times.is_some(), TIMES);
        out.extend(flags.to_be_bytes());
        if let Some(size) = self.size {
            out.extend(size.to_be_bytes());
        }
        if let Some((user, group)) = self.owner {
            out.extend(user.to_be_bytes());
            out.extend(group.to_be_bytes());
        }
        if let Some(permissions) = self.permissions {
            out.extend(permissions.to_be_bytes());
        }
        if let Some((read, changed)) = self.times {
            out.extend(read.to_be_bytes());
            out.extend(changed.to_be_bytes());
        }
    }

    pub(super) fn read(from: &mut Reader) -> Option<Self> {
        let flags = from.u32()?;
        let has = |flag: u32| flags & flag != 0;
        let size = if has(SIZE) { Some(from.u64()?) } else { None };
        let owner = if has(OWNER) { Some((from.u32()?, from.u32()?)) } else { None };
        let permissions = if has(PERMISSIONS) { Some(from.u32()?) } else { None };
        let times = if has(TIMES) { Some((from.u32()?, from.u32()?)) } else { None };
        if has(EXTENDED) {
            for _ in 0..from.u32()? {
                from.text()?;
                from.text()?;
            }
        }
        Some(Self { size, owner, permissions, times })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_read_a_file_is_no_change() {
        let before = Attributes {
            size: Some(1),
            owner: Some((2, 3)),
            permissions: Some(0o100_644),
            times: Some((4, 5)),
        };
        assert!(before.is_unchanged(&Attributes { times: Some((9, 5)), ..before }));
        for after in [
            Attributes { size: Some(9), ..before },
            Attributes { owner: Some((2, 9)), ..before },
            Attributes { permissions: Some(0o100_600), ..before },
            Attributes { times: Some((4, 9)), ..before },
            Attributes { times: None, ..before },
        ] {
            assert!(!before.is_unchanged(&after), "{after:?}");
        }
    }
}
