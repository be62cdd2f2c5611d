//! Folders of a watch that can't be looked into: each told once, and shown for as long as it is so.
//!
//! Bounded, whatever the folder holds. Lacks what follows from it for the look.

use std::collections::BTreeSet;

use skiff_common::RelPath;

use crate::context::WatchContext;
use crate::source::SourceError;

/// As many as those who ask how things stand are shown; more are counted.
const MOST: usize = crate::status::MOST_PROBLEMS;

/// What of it one look has met, and the one before it.
#[derive(Debug, Default)]
pub(crate) struct Closed {
    met: Told,
    before: Told,
}

#[derive(Debug, Default)]
struct Told {
    reasons: BTreeSet<String>,
    more: usize,
}

impl Closed {
    /// This folder can't be looked into; `None`: the watched one.
    pub(crate) fn met(&mut self, context: &WatchContext, folder: Option<&RelPath>, error: &SourceError) {
        let reason = error.to_string();
        context.note_unseen(&reason);
        if self.met.reasons.len() == MOST && !self.met.reasons.contains(&reason) {
            self.met.more += 1;
            return;
        }
        match folder {
            Some(folder) => context.failed(folder, &reason),
            None => context.failed(&context.settings.path.display(), &reason),
        }
        if !self.met.reasons.contains(&reason) && !self.before.reasons.contains(&reason) {
            tracing::warn!(watch = %context.settings.name, "{reason}");
        }
        self.met.reasons.insert(reason);
    }

    /// The look at everything is over.
    pub(crate) fn looked(&mut self, context: &WatchContext) {
        if self.met.more > self.before.more {
            tracing::warn!(watch = %context.settings.name, folders = self.met.more, "more of its folders can't be looked into");
        }
        self.before = std::mem::take(&mut self.met);
    }
}
