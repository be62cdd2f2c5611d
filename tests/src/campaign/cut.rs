//! The power cut: ext4 stops at once, and what was not synced is gone when it is mounted again.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

/// `EXT4_IOC_SHUTDOWN`; the kernel declares it with `_IOR`, although it reads the number.
const SHUTDOWN: Opcode = opcode::read::<u32>(b'X', 125);
/// Flush neither the data nor the file system's journal.
const NO_LOG_FLUSH: u32 = 2;

/// Cuts the power of the ext4 that is mounted at `mount_point`.
#[expect(unsafe_code, reason = "no crate wraps this ioctl")]
pub(super) fn cut(mount_point: &Path) -> io::Result<()> {
    let folder = File::open(mount_point)?;
    // SAFETY: the kernel reads one u32 and writes nothing.
    unsafe { ioctl(&folder, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }?;
    Ok(())
}
