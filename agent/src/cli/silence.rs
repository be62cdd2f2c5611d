//! The terminal while it shows nothing of what is typed, and as it was found before.
//!
//! Whatever ends the process gives it back first, for who asks may sit in a system call then.

use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// What the terminal was, while it is silent: who asks sits in a system call when the process ends.
static SILENT: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Whether a question stands on the terminal, which nobody else should write to meanwhile.
pub(super) fn is_asked() -> bool {
    silent().is_some()
}

/// While it lives, the terminal shows nothing of what is typed and makes no signals of it.
pub(super) struct Silence;

impl Silence {
    pub(super) fn over(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        let mut kept = self::silent();
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        *kept = Some((terminal, before));
        Ok(Self)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        unsilence();
    }
}

/// Leaves the terminal as it was found. For who ends the process while somebody may be asked.
pub(super) fn unsilence() {
    let silent = silent().take();
    if let Some((terminal, before)) = silent {
        // The terminal may have gone.
        let _ = tcsetattr(&terminal, OptionalActions::Flush, &before);
    }
}

fn silent() -> MutexGuard<'static, Option<(File, Termios)>> {
    SILENT.lock().unwrap_or_else(PoisonError::into_inner)
}
