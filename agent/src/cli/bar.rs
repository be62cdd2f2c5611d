//! The bar of `push` and `pull`, for who watches.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use super::args::Scp;
use super::silence;

/// How far it is.
pub(super) struct Shown {
    /// Verified.
    pub(super) files: u64,
    /// All that are known of.
    pub(super) found_files: u64,
    /// Carried.
    pub(super) bytes: u64,
    /// Of all that are known of.
    pub(super) found_bytes: u64,
}

/// A bar that moves until it is dropped.
pub(super) struct Bar {
    bar: ProgressBar,
    task: JoinHandle<()>,
}

impl Bar {
    /// Shows what `look` sees, if somebody is there to watch it.
    pub(super) fn show(flags: &Scp, look: impl Fn() -> Shown + Send + 'static) -> Option<Self> {
        if flags.quiet || flags.json || !std::io::stderr().is_terminal() {
            return None;
        }
        let style =
            ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {msg}")
                .expect("the template is right");
        let bar = ProgressBar::new(0).with_style(style);
        let moved = bar.clone();
        let task = tokio::spawn(async move {
            loop {
                let Shown { files, found_files, bytes, found_bytes } = look();
                // Of nothing, all would be done.
                if found_bytes > 0 && !silence::is_asked() {
                    moved.set_length(found_bytes);
                    moved.set_position(bytes.min(found_bytes));
                    moved.set_message(format!("{files}/{found_files} files verified"));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Some(Self { bar, task })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}
