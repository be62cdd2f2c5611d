//! Whether anybody can tell who writes to the files of a watch, where that decides when they are complete.

use skiff_common::RelPath;
use skiff_config::{Mode, Watch};

use super::lines::Lines;
use crate::source::Root;

/// So many files are asked about at most: the others are likely as these.
const MOST_ASKED: usize = 100;

/// What is asked of the files that a look at a watch meets.
pub(super) struct Writers {
    /// How many more are asked about.
    left: usize,
    /// A file of which nobody can tell.
    untold: Option<RelPath>,
}

impl Writers {
    /// A file that is sent too early is sent again, but for one that was removed; and without a quiet time each one may be.
    pub(super) fn of(watch: &Watch) -> Self {
        let is_whole = watch.mode == Mode::Whole && watch.settle_marker.is_none();
        let decide = is_whole && (watch.removes() || watch.settle.is_zero());
        Self { left: if decide { MOST_ASKED } else { 0 }, untold: None }
    }

    /// Whether more has to be known.
    pub(super) const fn ask(&self) -> bool {
        self.left > 0 && self.untold.is_none()
    }

    /// A file that is to be delivered.
    pub(super) fn met(&mut self, root: &Root, path: RelPath) {
        self.left -= 1;
        if root.open_item(&path).is_ok_and(|open| open.has_writer().is_none()) {
            self.untold = Some(path);
        }
    }

    pub(super) fn tell(&self, what: &str, lines: &mut Lines) {
        if let Some(path) = &self.untold {
            let why = format!(
                "nobody tells whether {path} is still written to, so the time that it holds still decides: rename files in \
                 when they are whole, raise `settle`, or give skiff CAP_LEASE where only the owner is another"
            );
            lines.warn(what, &why);
        }
    }
}
