//! Where files move to: the folder and, on another file system, the copy stand ready before a file leaves its own.
//!
//! Promises that nothing there is overwritten, and that the copy is durable and compared before the source goes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Seek as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, fstat, unlinkat};
use skiff_common::{Digest, RelPath};
use tempfile::NamedTempFile;

use crate::no_replace::{self, told};
use crate::source::OpenItem;

/// Where one file moves to.
pub(super) struct Target {
    folder: PathBuf,
    handle: File,
    /// What takes its name there in its stead.
    copy: Option<NamedTempFile>,
}

impl Target {
    /// The folder below `target` for the file at `path`, made where it is missing.
    pub(super) fn open(target: &Path, path: &RelPath) -> io::Result<Self> {
        let folder = path.folder();
        let folder =
            folder.map_or(target.to_owned(), |folder| target.join(OsStr::from_bytes(folder.as_bytes())));
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
        fs::create_dir_all(&folder).map_err(named)?;
        let handle = File::open(&folder).map_err(named)?;
        Ok(Self { folder, handle, copy: None })
    }

    /// Whether it is known that a file can't be renamed from `folder` to here.
    pub(super) fn is_elsewhere(&self, folder: &OwnedFd) -> io::Result<bool> {
        let is_other_device = fstat(folder)?.st_dev != fstat(&self.handle)?.st_dev;
        Ok(is_other_device || mount(folder) != mount(&self.handle))
    }

    /// Whether a copy stands ready.
    pub(super) fn has_copy(&self) -> bool {
        self.copy.is_some()
    }

    /// Makes a copy of the file that has this digest. Until it is taken it goes with this.
    pub(super) fn copy(&mut self, open: &OpenItem, digest: &Digest) -> io::Result<()> {
        let mut copy = tempfile::Builder::new().prefix(".skiff-").tempfile_in(&self.folder)?;
        let mut source = &open.file;
        source.rewind()?;
        io::copy(&mut source, copy.as_file_mut())?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(copy.path())?)?;
        if hasher.finalize().as_bytes() != digest.bytes() {
            return Err(io::Error::other("the copy differs"));
        }
        let metadata = open.file.metadata()?;
        copy.as_file().set_modified(metadata.modified()?)?;
        copy.as_file().set_permissions(metadata.permissions())?;
        copy.as_file().sync_all()?;
        self.copy = Some(copy);
        Ok(())
    }

    /// Takes the file at `path`, which stands in `leaving`, under its own name or the first of `NAME~1`, … that is free.
    pub(super) fn take(&self, leaving: &OwnedFd, path: &RelPath) -> io::Result<()> {
        for number in 0..1000_u32 {
            let goal = if number == 0 { path.clone() } else { path.with_suffix(&format!("~{number}")) };
            match self.take_as(leaving, path.name(), goal.name()) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                outcome => return outcome,
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn take_as(&self, leaving: &OwnedFd, name: &[u8], goal: &[u8]) -> io::Result<()> {
        let (name, goal) = (OsStr::from_bytes(name), OsStr::from_bytes(goal));
        let Some(copy) = &self.copy else {
            return no_replace::rename((leaving, name), (&self.handle, goal)).map_err(told);
        };
        let temporary = copy.path().file_name().expect("a file has a name");
        no_replace::rename((&self.handle, temporary), (&self.handle, goal)).map_err(told)?;
        self.handle.sync_all()?;
        Ok(unlinkat(leaving, name, AtFlags::empty())?)
    }
}

/// Which mount it is in: nothing is renamed from one to another, though both be of one file system. 0: the kernel
/// doesn't say.
#[cfg(target_os = "linux")]
fn mount(file: impl AsFd) -> u64 {
    use rustix::fs::{StatxFlags, statx};
    match statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID) {
        Ok(statx) if StatxFlags::from_bits_retain(statx.stx_mask).contains(StatxFlags::MNT_ID) => {
            statx.stx_mnt_id
        }
        _ => 0,
    }
}

#[cfg(not(target_os = "linux"))]
fn mount(_: impl AsFd) -> u64 {
    0
}
