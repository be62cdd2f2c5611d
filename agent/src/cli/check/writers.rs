//! Whether anybody can tell who writes to the files of a watch, where that decides when they are complete.

use skiff_common::RelPath;
use skiff_config::{Mode, Watch};

use super::lines::Lines;
use crate::source::{Look, Root};

/// So many files are asked about at most, and so many entries looked at: the others are likely as these.
const MOST_ASKED: usize = 100;
const MOST_MET: usize = 10_000;

/// A file that is sent too early is sent again, but for one that was removed; and without a quiet time each one may be.
pub(super) fn check(what: &str, watch: &Watch, lines: &mut Lines) {
    let is_whole = watch.mode == Mode::Whole && watch.settle_marker.is_none();
    if !is_whole || !(watch.removes() || watch.settle.is_zero()) {
        return;
    }
    if let Some(path) = untold(watch) {
        let why = format!(
            "nobody tells whether {path} is still written to, so the time that it holds still decides: rename files in \
             when they are whole, raise `settle`, or give skiff CAP_LEASE where only the owner is another"
        );
        lines.warn(what, &why);
    }
}

/// A file of which nobody can tell.
fn untold(watch: &Watch) -> Option<RelPath> {
    let (root, globs) = (Root::open(&watch.path).ok()?, watch.globs().ok()?);
    let (mut folders, mut asked, mut met) = (vec![None], 0, 0);
    while let Some(folder) = folders.pop() {
        let Ok(listing) = root.list(folder.as_ref()) else { continue };
        for entry in listing.map_while(Result::ok) {
            met += 1;
            if asked >= MOST_ASKED || met >= MOST_MET {
                return None;
            }
            let Ok(path) = RelPath::in_folder(folder.as_ref(), &entry.name) else { continue };
            match entry.look {
                Look::Folder if globs.may_contain(path.as_bytes()) => folders.push(Some(path)),
                Look::File { stamp, .. }
                    if globs.matches(path.as_bytes()) && watch.taken.takes(path.as_bytes(), stamp.size) =>
                {
                    asked += 1;
                    if root.open_item(&path).is_ok_and(|open| open.has_writer().is_none()) {
                        return Some(path);
                    }
                }
                _ => {}
            }
        }
    }
    None
}
