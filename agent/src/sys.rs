//! The one system call that no crate wraps, and the only unsafe code of skiff.

use std::io;
use std::os::fd::BorrowedFd;

/// Whether no process has the file open for writing: the kernel grants a read lease only then. The lease is given back
/// at once, for while it is held writers would block. An error: leases don't work here (another owner's file, a network
/// file system).
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate wraps F_SETLEASE")]
pub fn is_free_of_writers(file: BorrowedFd<'_>) -> io::Result<bool> {
    use std::os::fd::AsRawFd as _;
    // SAFETY: the descriptor is borrowed, so it is open; F_SETLEASE takes an int and touches no memory of ours.
    let lease = |kind: i32| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    if lease(libc::F_RDLCK) == 0 {
        // Closing the descriptor would give it back as well, so a failure here changes nothing.
        lease(libc::F_UNLCK);
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::WouldBlock { Ok(false) } else { Err(error) }
}

/// Leases are Linux's.
#[cfg(not(target_os = "linux"))]
pub fn is_free_of_writers(_: BorrowedFd<'_>) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}
