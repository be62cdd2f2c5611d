//! What is to come, sorted: each file under one name, and the folders that it goes to.

use std::collections::HashSet;

use skiff_common::RelPath;

use super::Report;

use super::listing::{self, Kind, Listed, is_own};
use super::source::Wanted;

/// One file to fetch.
#[derive(Debug, Clone)]
pub(super) struct Fetch {
    /// Its name at the server.
    pub(super) from: Vec<u8>,
    /// Where it goes.
    pub(super) to: RelPath,
    pub(super) size: u64,
    pub(super) mtime_ns: Option<i64>,
    pub(super) mode: u32,
}

/// A folder that is to be here in the end.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) to: RelPath,
    pub(super) mode: u32,
    pub(super) mtime_ns: Option<i64>,
}

/// What was found, by where it goes.
#[derive(Default)]
pub(super) struct Sorted {
    seen: HashSet<RelPath>,
    pub(super) fetches: Vec<Fetch>,
    pub(super) folders: Vec<Folder>,
}

impl Sorted {
    pub(super) fn file(&mut self, from: Vec<u8>, to: RelPath, listed: &Listed, report: &mut Report) {
        if is_own(&to) {
            return;
        }
        if !self.seen.insert(to.clone()) {
            report.problem(format!("{to} would come twice: the second is left out"));
            return;
        }
        self.fetches.push(Fetch {
            from,
            to,
            size: listed.size,
            mtime_ns: listed.mtime_ns,
            mode: listed.mode,
        });
    }

    pub(super) fn folder(&mut self, source: &Wanted, listed: Vec<Listed>, report: &mut Report) {
        let into = if source.contents_only { None } else { source.name.clone() };
        for listed in listed {
            let to = match &listed.path {
                Some(path) if is_own(path) => continue,
                Some(path) => RelPath::in_folder(into.as_ref(), path.as_bytes()).map(Some),
                None => Ok(into.clone()),
            };
            let to = match to {
                Ok(Some(to)) => to,
                Ok(None) => continue,
                Err(error) => {
                    report.problem(format!("cannot fetch: {error}"));
                    continue;
                }
            };
            match listed.kind {
                Kind::File => {
                    let Some(path) = &listed.path else { continue };
                    self.file(listing::below(&source.path, path), to, &listed, report);
                }
                Kind::Folder if !is_own(&to) => {
                    let (mode, mtime_ns) = (listed.mode, listed.mtime_ns);
                    self.folders.push(Folder { to, mode, mtime_ns });
                }
                Kind::Folder => {}
                Kind::Symlink | Kind::Other => report.left_out += 1,
            }
        }
    }
}
