//! What stands at a path, and a file that is open: its stamp, which file it is, who writes to it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;
use skiff_common::Stamp;
use skiff_common::growth::FileId;

use super::SourceError;
use crate::sys;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A regular file.
    File {
        /// Its stamp.
        stamp: Stamp,
        /// Its permission bits.
        mode: u32,
    },
    /// A folder.
    Folder,
    /// Something that isn't delivered, by its name.
    Other(&'static str),
}

/// A file that is open for reading.
#[derive(Debug)]
pub struct OpenItem {
    /// The file.
    pub file: File,
    /// Its stamp when it was opened.
    pub stamp: Stamp,
    /// Its permission bits.
    pub mode: u32,
    /// Its user and its group.
    pub owner: (u32, u32),
}

impl OpenItem {
    /// Its stamp now.
    pub fn stamp_now(&self) -> io::Result<Stamp> {
        Ok(stamp(&fstat(&self.file)?))
    }

    /// Which file it is, also when its number was another file's before.
    pub fn id(&self) -> Result<FileId, SourceError> {
        let failed = |errno| SourceError::new("look at", "an open file", errno);
        id(&self.file).map_err(failed)
    }

    /// Whether some process has it open for writing; `None` where nobody can tell.
    pub fn has_writer(&self) -> Option<bool> {
        sys::is_free_of_writers(self.file.as_fd()).ok().map(|free| !free)
    }
}

pub(super) fn id(file: impl AsFd) -> Result<FileId, Errno> {
    let stamp = stamp(&fstat(&file)?);
    Ok(FileId { dev: stamp.dev, ino: stamp.ino, born_ns: born_ns(file) })
}

/// When a file was made, in nanoseconds since 1970; 0 where the file system doesn't tell.
#[cfg(target_os = "linux")]
fn born_ns(file: impl AsFd) -> i64 {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    match statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME) {
        Ok(statx) if StatxFlags::from_bits_retain(statx.stx_mask).contains(StatxFlags::BTIME) => {
            let born = statx.stx_btime;
            born.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(born.tv_nsec))
        }
        _ => 0,
    }
}

#[cfg(not(target_os = "linux"))]
fn born_ns(_: impl AsFd) -> i64 {
    0
}

pub(super) fn look(stat: &Stat) -> Look {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Look::File { stamp: stamp(stat), mode: stat.st_mode & 0o777 },
        FileType::Directory => Look::Folder,
        FileType::Symlink => Look::Other("symlink"),
        FileType::Fifo => Look::Other("FIFO"),
        FileType::Socket => Look::Other("socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Look::Other("device"),
        FileType::Unknown => Look::Other("thing of unknown kind"),
    }
}

#[expect(
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::useless_conversion,
    reason = "the fields' types differ between platforms; times fit until the year 2262"
)]
pub(crate) fn stamp(stat: &Stat) -> Stamp {
    let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    Stamp {
        dev: u64::from(stat.st_dev),
        ino: u64::from(stat.st_ino),
        size: stat.st_size as u64,
        mtime_ns: nanoseconds(i64::from(stat.st_mtime), stat.st_mtime_nsec as i64),
        ctime_ns: nanoseconds(i64::from(stat.st_ctime), stat.st_ctime_nsec as i64),
    }
}
