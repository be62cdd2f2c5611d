//! What is in the watched folder: which file is called what, and the descriptors that are held open.
//!
//! While a file is held its number is not given to another one, and what was written to it can be read though it was
//! deleted. What stood in a folder that can't be looked into isn't gone, and a look that doesn't get beyond the top is none.

use std::collections::{HashMap, HashSet};
use std::fs::File;

use rustix::fs::fstat;
use skiff_common::growth::{FileId, Ledger, Log, Sighting};
use skiff_common::{RelPath, Stamp};

use crate::closed::Closed;
use crate::context::WatchContext;
use crate::ignores::Ignores;
use crate::source::{Look, OpenItem, Root, SourceError, stamp};

/// Files of a watch that are held open at most: those that grew last. Fewer than the 1,024 descriptors that a process
/// has by default, with room for a few such watches.
const MOST_HELD: usize = 192;

/// The most bytes of a path: two of them, and more, have to fit into a record of the journal.
pub(super) const LONGEST_PATH: usize = 1_500;

/// A file that is held open.
struct Held {
    item: OpenItem,
    size: u64,
    grew_at: u64,
}

/// What is known of a watched folder.
pub(super) struct Folder {
    ignores: Ignores,
    held: HashMap<FileId, Held>,
    paths: HashMap<FileId, RelPath>,
    look: u64,
    closed: Closed,
    /// Folders that this look could not look into.
    unseen: Vec<RelPath>,
    /// How many mount points it left out, and what was told of them last.
    mount_points: (usize, usize),
    /// Files that this look met whose paths are too long, and those of the look before, which were told of.
    too_long: (HashSet<RelPath>, HashSet<RelPath>),
}

impl Folder {
    pub(super) fn of(context: &WatchContext) -> Self {
        let ignores = Ignores::of(context.settings.taken.ignore_file.as_deref());
        Self {
            ignores,
            held: HashMap::new(),
            paths: HashMap::new(),
            look: 0,
            closed: Closed::default(),
            unseen: Vec::new(),
            mount_points: (0, 0),
            too_long: (HashSet::new(), HashSet::new()),
        }
    }

    /// Looks at all of it.
    pub(super) fn look(
        &mut self,
        root: &Root,
        context: &WatchContext,
        ledger: &Ledger,
    ) -> Option<Vec<Sighting>> {
        self.look += 1;
        let files = self.list_all(root, context)?;
        let devices = files.iter().map(|(_, stamp)| stamp.dev).collect();
        let followed = Followed::of(ledger, &devices);
        let numbers: HashMap<(u64, u64), FileId> =
            self.held.keys().map(|file| ((file.dev, file.ino), *file)).collect();
        let mut seen: HashMap<FileId, Sighting> = HashMap::new();
        for (path, stamp) in files {
            let held = numbers.get(&(stamp.dev, stamp.ino)).copied();
            let is_known = held.is_some() || followed.may_be(stamp);
            if !is_known && !self.is_meant(root, &path, stamp, context) {
                continue;
            }
            let Some(file) = held.or_else(|| identify(root, &path, context, &followed)) else { continue };
            if held.is_none() && !followed.is_one(file, &path) && !self.is_meant(root, &path, stamp, context)
            {
                continue;
            }
            // Met under two names (a hard link, or a rename meanwhile): the one that it had before, if it has it still.
            let had = followed.paths.get(&file);
            match seen.get(&file) {
                Some(_) if had != Some(&path) || root.look(&path).is_err() => {}
                _ => {
                    let sighting = Sighting { file, path: Some(path), size: stamp.size, written: true };
                    seen.insert(file, sighting);
                }
            }
        }
        self.tell_too_long(context);
        self.hold(root, &mut seen);
        self.see_unseen(ledger, &mut seen);
        self.see_nameless(&mut seen);
        let named = seen.values().filter_map(|sighting| Some((sighting.file, sighting.path.clone()?)));
        self.paths = named.collect();
        Some(seen.into_values().collect())
    }

    /// The open file, if it is that one.
    pub(super) fn open(&mut self, root: &Root, file: FileId, path: &RelPath) -> Result<&File, SourceError> {
        if !self.held.contains_key(&file) {
            let item = root.open_item(path)?;
            if item.id()? != file {
                return Err(SourceError::Gone { path: path.to_string() });
            }
            self.make_room();
            self.held.insert(file, Held { size: item.stamp.size, item, grew_at: self.look });
        }
        Ok(&self.held[&file].item.file)
    }

    /// What a file was called at the last look.
    pub(super) fn path_of(&self, file: FileId) -> Option<RelPath> {
        self.paths.get(&file).cloned()
    }

    /// Lets go of a file.
    pub(super) fn let_go(&mut self, file: FileId) {
        self.held.remove(&file);
    }

    /// All files, but those in folders that can't be looked into.
    fn list_all(&mut self, root: &Root, context: &WatchContext) -> Option<Vec<(RelPath, Stamp)>> {
        self.unseen.clear();
        self.mount_points.0 = 0;
        let mut files = Vec::new();
        let listed = self.list(root, None, context, &mut files);
        if let Err(error) = &listed {
            self.closed.met(context, None, error);
        }
        self.closed.looked(context);
        let (met, told) = self.mount_points;
        if met != told {
            self.mount_points.1 = met;
            tracing::info!(watch = %context.settings.name, left_out = met, "mount points are left out: each takes a watch of its own");
        }
        listed.ok().map(|()| files)
    }

    fn list(
        &mut self,
        root: &Root,
        folder: Option<&RelPath>,
        context: &WatchContext,
        files: &mut Vec<(RelPath, Stamp)>,
    ) -> Result<(), SourceError> {
        let listing = root.list(folder);
        let listing = match listing.and_then(|it| self.ignores.refresh(root, folder).map(|()| it)) {
            Ok(listing) => listing,
            Err(SourceError::Gone { .. }) if folder.is_some() => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut folders = Vec::new();
        for entry in listing {
            let entry = entry?;
            let Ok(path) = RelPath::in_folder(folder, &entry.name) else { continue };
            match entry.look {
                Look::Folder => {
                    if context.enters(root, &path, &mut self.ignores)? {
                        folders.push(path);
                    }
                }
                Look::File { stamp, .. } => files.push((path, stamp)),
                Look::Other(_) => {}
            }
        }
        for folder in folders {
            match self.list(root, Some(&folder), context, files) {
                Ok(()) => {}
                // Another file system's files are not this folder's.
                Err(SourceError::Escapes { .. }) => self.mount_points.0 += 1,
                Err(error) => {
                    self.closed.met(context, Some(&folder), &error);
                    self.unseen.push(folder);
                }
            }
        }
        Ok(())
    }

    fn is_meant(&mut self, root: &Root, path: &RelPath, stamp: Stamp, context: &WatchContext) -> bool {
        let is_meant =
            context.wants(root, path) && context.takes(path, stamp) && !self.is_ignored(root, path, context);
        if is_meant && path.as_bytes().len() > LONGEST_PATH {
            self.too_long.0.insert(path.clone());
            return false;
        }
        is_meant
    }

    /// What may be ignored waits until that can be told.
    fn is_ignored(&mut self, root: &Root, path: &RelPath, context: &WatchContext) -> bool {
        self.ignores.ignores(root, path, false).unwrap_or_else(|error| {
            self.closed.met(context, path.folder().as_ref(), &error);
            true
        })
    }

    /// Once of each, for as long as it stands there.
    fn tell_too_long(&mut self, context: &WatchContext) {
        let (met, told) = std::mem::take(&mut self.too_long);
        for path in met.difference(&told) {
            let why = format!(
                "it is not followed, for its path has {} bytes, and {LONGEST_PATH} are the most. Try: a watch of a folder further down",
                path.as_bytes().len()
            );
            tracing::warn!(watch = %context.settings.name, %path, "{why}");
            context.failed(path, &why);
        }
        self.too_long.1 = met;
    }

    fn hold(&mut self, root: &Root, seen: &mut HashMap<FileId, Sighting>) {
        for sighting in seen.values_mut() {
            if let Some(held) = self.held.get_mut(&sighting.file) {
                if held.size != sighting.size {
                    (held.size, held.grew_at) = (sighting.size, self.look);
                }
                continue;
            }
            let path = sighting.path.clone().expect("only files with a name were met so far");
            // What went away meanwhile, or can't be read, its first step will say.
            if self.held.len() < MOST_HELD {
                let _ = self.open(root, sighting.file, &path).is_ok();
            }
        }
    }

    /// Those in folders that can't be looked into, as they were when they were seen last.
    fn see_unseen(&self, ledger: &Ledger, seen: &mut HashMap<FileId, Sighting>) {
        if self.unseen.is_empty() {
            return;
        }
        let is_unseen = |log: &Log| log.path.folders().any(|folder| self.unseen.contains(&folder));
        for (log, size) in ledger.all().filter(|(log, _)| !log.ended && is_unseen(log)) {
            let held = self.held.get(&log.file).and_then(|held| held.item.stamp_now().ok());
            let size = held.map(|now| now.size).or(size).unwrap_or(log.shipped);
            let sighting = Sighting { file: log.file, path: Some(log.path.clone()), size, written: true };
            seen.entry(log.file).or_insert(sighting);
        }
    }

    /// Those without a name in the folder.
    fn see_nameless(&mut self, seen: &mut HashMap<FileId, Sighting>) {
        for (file, held) in &self.held {
            if !seen.contains_key(file)
                && let Ok(now) = held.item.stamp_now()
            {
                let written = held.item.has_writer() == Some(true);
                seen.insert(*file, Sighting { file: *file, path: None, size: now.size, written });
            }
        }
    }

    /// Lets go of files that are followed no longer.
    pub(super) fn keep_only(&mut self, ledger: &Ledger) {
        let followed: HashSet<FileId> = ledger.files().collect();
        self.held.retain(|file, _| followed.contains(file));
    }

    fn make_room(&mut self) {
        while self.held.len() >= MOST_HELD {
            let Some(file) = self.held.iter().min_by_key(|(_, held)| held.grew_at).map(|(file, _)| *file)
            else {
                return;
            };
            self.held.remove(&file);
        }
    }
}

/// Which files are followed, as far as that tells which of those that are met have to be looked into.
struct Followed {
    files: HashSet<FileId>,
    /// Devices and numbers.
    numbers: HashSet<(u64, u64)>,
    /// What logs are called.
    paths: HashMap<FileId, RelPath>,
    /// Numbers and births of those of whose device nothing is there, which may have another number now; and what they are called.
    lost: HashMap<(u64, i64), Option<RelPath>>,
    lost_numbers: HashSet<u64>,
}

impl Followed {
    /// Files of logs and of what may become one, where something is on `devices`.
    fn of(ledger: &Ledger, devices: &HashSet<u64>) -> Self {
        let files: HashSet<FileId> = ledger.files().collect();
        let logs = ledger.all().filter(|(log, _)| !log.ended);
        let paths: HashMap<FileId, RelPath> = logs.map(|(log, _)| (log.file, log.path.clone())).collect();
        let lost = files.iter().filter(|file| !devices.contains(&file.dev));
        let lost: HashMap<_, _> =
            lost.map(|file| ((file.ino, file.born_ns), paths.get(file).cloned())).collect();
        Self {
            numbers: files.iter().map(|file| (file.dev, file.ino)).collect(),
            lost_numbers: lost.keys().map(|(ino, _)| *ino).collect(),
            files,
            paths,
            lost,
        }
    }

    /// Whether a file with that stamp can be one of them.
    fn may_be(&self, stamp: Stamp) -> bool {
        self.numbers.contains(&(stamp.dev, stamp.ino)) || self.lost_numbers.contains(&stamp.ino)
    }

    fn is_one(&self, file: FileId, path: &RelPath) -> bool {
        self.files.contains(&file) || self.is_lost(file, path)
    }

    /// Whether a log has that file.
    fn is_logs(&self, file: FileId, path: &RelPath) -> bool {
        self.paths.contains_key(&file) || self.is_lost(file, path)
    }

    fn is_lost(&self, file: FileId, path: &RelPath) -> bool {
        let was = self.lost.get(&(file.ino, file.born_ns));
        // Without a birth the number alone says little.
        was.is_some_and(|was| file.born_ns != 0 || was.as_ref() == Some(path))
    }
}

/// Which file it is, of one that can be read. One that can't be is met only if it is followed: it isn't gone.
fn identify(root: &Root, path: &RelPath, context: &WatchContext, followed: &Followed) -> Option<FileId> {
    let error = match root.open_item(path).and_then(|item| item.id()) {
        Ok(file) => return Some(file),
        Err(SourceError::Gone { .. }) => return None,
        Err(error) => error.to_string(),
    };
    context.complain(&error);
    context.failed(path, &error);
    root.id_of(path).ok().filter(|file| followed.is_logs(*file, path))
}

/// The stamp of an open file.
pub(super) fn stamp_of(file: &File) -> std::io::Result<(Stamp, u32)> {
    let stat = fstat(file)?;
    Ok((stamp(&stat), stat.st_mode & 0o777))
}
