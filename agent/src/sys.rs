//! What no crate wraps, a system call and a word to the C library, and the only unsafe code of skiff.

use std::io;
use std::os::fd::BorrowedFd;

/// Which signal tells that a lease is to be given back; the same number on all that Rust's Linux runs on but PA-RISC.
#[cfg(target_os = "linux")]
const F_SETSIG: i32 = 10;

/// Whether no process has the file open for writing: the kernel grants a read lease only then. The lease is given back
/// at once, for while it is held writers would block. An error: leases don't work here (another owner's file, a network
/// file system).
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate wraps F_SETLEASE and F_SETSIG")]
pub fn is_free_of_writers(file: BorrowedFd<'_>) -> io::Result<bool> {
    use std::os::fd::AsRawFd as _;
    // SAFETY: the descriptor is borrowed, so it is open; both commands take an int and touch no memory of ours.
    let set = |command: i32, to: i32| match unsafe { libc::fcntl(file.as_raw_fd(), command, to) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    // A writer that comes while the lease is held has the kernel signal us. The usual SIGIO would end the process;
    // SIGURG is ignored unless somebody asks for it.
    set(F_SETSIG, libc::SIGURG)?;
    match set(libc::F_SETLEASE, libc::F_RDLCK) {
        // Closing the descriptor would give it back as well, so a failure here changes nothing.
        Ok(()) => {
            let _given_back = set(libc::F_SETLEASE, libc::F_UNLCK);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Leases are Linux's.
#[cfg(not(target_os = "linux"))]
pub fn is_free_of_writers(_: BorrowedFd<'_>) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::OpenOptions;
    use std::os::fd::AsFd as _;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_writer_is_seen() {
        let file = tempfile::NamedTempFile::new().expect("there is room");
        let reader = std::fs::File::open(file.path()).expect("it is there");
        assert!(!is_free_of_writers(reader.as_fd()).expect("leases work here"));
        let path = file.into_temp_path();
        assert!(is_free_of_writers(reader.as_fd()).expect("leases work here"));
        drop(path);
    }

    /// A writer that comes while the lease is held made the kernel end the process.
    #[test]
    fn a_writer_that_comes_meanwhile_does_no_harm() {
        let path = tempfile::NamedTempFile::new().expect("there is room").into_temp_path();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    drop(OpenOptions::new().write(true).open(&path).expect("it is there"));
                }
            });
            for _ in 0..200_000 {
                let reader = std::fs::File::open(&path).expect("it is there");
                is_free_of_writers(reader.as_fd()).expect("leases work here");
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}

/// Has all threads share one heap, before there is a second thread. glibc gives each a heap of its own otherwise and keeps what
/// each ever held, which with the threads that read and pack batches is 25 MiB.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no crate wraps mallopt")]
pub fn share_one_heap() {
    // SAFETY: it takes two ints and touches no memory of ours.
    let taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    if taken == 0 {
        tracing::debug!("the C library keeps a heap for each thread");
    }
}

/// Other C libraries have one.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn share_one_heap() {}
