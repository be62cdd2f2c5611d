//! What nothing but a destination that was taken away has kept here.
//!
//! Of several destinations the one that delivers a file last disposes of it. Where that one is taken away before, nobody would.
//! So the first scan that learns of it disposes of what all that are left have: by the journal, which has just that version
//! because its digest was read there. They aren't asked again, since what they have may have been fetched away. Lacks what
//! stayed because it was to be kept.

use skiff_common::{RelPath, Stamp};
use skiff_config::Route;

use super::by_others::ByOthers;
use super::{ScanError, Scanner};
use crate::finish::{self, After};
use crate::journal::{DeliveredFolder, LegsNote};
use crate::route;
use crate::source::Root;

/// What is known of it.
#[derive(Default)]
pub(super) struct Leftover {
    /// Whether a scan has looked into every folder since the watch began.
    is_over: bool,
    /// Whether a destination was taken away before that.
    clears: bool,
    /// What the other legs have of the folder that was looked at last.
    pub(super) others: ByOthers,
    went: u64,
}

impl Leftover {
    /// Whether a scan has looked into every folder since the watch began.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Scanner {
    /// Where the watch delivers to, if it does to all of several and this is the leg that looks for what is left over.
    fn legs(&self) -> Option<LegsNote> {
        let settings = &self.context.settings;
        let Route::All(names) = &settings.route else { return None };
        let is_first = route::siblings(settings).first() == Some(&settings.name);
        let looks = is_first && !self.context.once && self.context.only.is_none();
        looks.then(|| LegsNote::new(self.context.after != After::Keep, names))
    }

    /// Before a scan: whether a destination was taken away since the last one.
    pub(super) fn look_for_leftover(&mut self) -> Result<(), ScanError> {
        if self.leftover.is_over || self.leftover.clears {
            return Ok(());
        }
        if let (Some(journal), Some(now)) = (&self.journal, self.legs()) {
            let before = journal.legs(route::base(&self.context.settings.name))?;
            self.leftover.clears = before.is_some_and(|before| before.lost_one(&now));
        }
        Ok(())
    }

    /// The leg has this version: it goes, if it is left over.
    pub(super) fn clear_leftover(
        &mut self,
        root: &Root,
        path: &RelPath,
        stamp: Stamp,
        delivered: &DeliveredFolder,
    ) -> Result<(), ScanError> {
        if !self.leftover.clears || !self.is_meant(root, path, stamp) {
            return Ok(());
        }
        let Some(journal) = &self.journal else { return Ok(()) };
        let settings = &self.context.settings;
        let others = || route::others(settings);
        if !self.leftover.others.have(journal, others, path, stamp.fingerprint())?.all(|has| has) {
            return Ok(());
        }
        let Some(digest) = delivered.digest_of(self.id(path))? else { return Ok(()) };
        let marker = settings.settle_marker.as_deref();
        match finish::let_go(root, path, stamp, &digest, (&self.context.after, marker)) {
            Ok(gone) => self.leftover.went += u64::from(gone),
            Err(error) => {
                tracing::warn!(watch = %settings.name, %path, %error, "delivered, but it cannot be taken out of its folder");
            }
        }
        Ok(())
    }

    /// After a scan. One that looked into every folder has met all that is left over but what was on its way meanwhile, and
    /// the destinations are kept in mind.
    pub(super) fn end_leftover(&mut self, root: &Root) -> Result<(), ScanError> {
        if self.leftover.went > 0 {
            finish::tidy(root);
            tracing::info!(watch = %self.context.settings.name, files = self.leftover.went,
                "what only a destination that was taken away had kept is gone: all others have it");
            self.leftover.went = 0;
        }
        self.leftover.others.clear();
        if self.leftover.is_over || !self.is_whole() {
            return Ok(());
        }
        if let (Some(journal), Some(now)) = (&self.journal, self.legs()) {
            let base = route::base(&self.context.settings.name);
            if journal.legs(base)?.as_ref() != Some(&now) {
                journal.note_legs(base, now)?;
            }
        }
        self.leftover.is_over = true;
        Ok(())
    }
}
