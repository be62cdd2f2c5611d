//! Work of sled's that may hang or panic, on a thread of its own.

use std::any::Any;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::error::JournalError;

/// What a commit or a close may take. Slow flash stalls for seconds, not for a minute.
pub(super) const COMMIT: Duration = Duration::from_secs(60);
/// What a copy may take while commits wait, whose own time goes on meanwhile.
pub(super) const COPY: Duration = Duration::from_secs(20);
/// What opening, reading all of it once and copying it may take: 200 MiB thrice, at the 5 MB/s of a poor card.
pub(super) const OPEN: Duration = Duration::from_secs(300);

/// Does `work` and waits for it at most `after`. A panic counts as damage.
pub(super) fn in_time<T: Send + 'static>(
    attempt: &'static str,
    path: &Path,
    after: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JournalError> {
    // One result, and nobody may be there to take it.
    let (done, result) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name(format!("journal {attempt}")).spawn(move || {
        let _ = done.send(work());
    });
    let thread = thread.map_err(|error| JournalError::io("start a thread for", path, error))?;
    match result.recv_timeout(after) {
        Ok(result) => Ok(result),
        Err(RecvTimeoutError::Timeout) => {
            Err(JournalError::Stalled { attempt, path: path.to_owned(), after })
        }
        Err(RecvTimeoutError::Disconnected) => {
            let reason =
                thread.join().err().map_or_else(|| "it ended early".to_owned(), |panic| said(&*panic));
            Err(JournalError::broken(attempt, path, format!("panic: {reason}")))
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}
