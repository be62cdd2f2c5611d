//! What `push` was told to send, as watches that are looked at once.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use skiff_common::RelPath;
use skiff_config::Watch;

use crate::source::{Look, Root, SourceError};

/// Watches, and for each the paths that are meant; `None` means all.
pub(super) struct Sources {
    pub(super) watches: Vec<Watch>,
    pub(super) only: Vec<Option<Vec<RelPath>>>,
    /// Folders among them.
    pub(super) folders: Vec<PathBuf>,
}

/// Looks what the sources are; the error names the source that can't be sent.
pub(super) fn sources(paths: &[PathBuf]) -> (Sources, Vec<String>) {
    let mut files: BTreeMap<PathBuf, Vec<RelPath>> = BTreeMap::new();
    let mut sources = Sources { watches: Vec::new(), only: Vec::new(), folders: Vec::new() };
    let mut problems = Vec::new();
    for path in paths {
        if let Err(problem) = sources.take(path, &mut files) {
            problems.push(problem);
        }
    }
    for (folder, names) in files {
        sources.add(&folder, None, Some(names));
    }
    (sources, problems)
}

impl Sources {
    /// All files that are meant, as they are named here, with their sizes; and what can't be looked into.
    pub(super) fn files(&self) -> (Vec<(String, u64)>, Vec<String>) {
        let (mut files, mut problems) = (Vec::new(), Vec::new());
        for (watch, only) in self.watches.iter().zip(&self.only) {
            let listed = Root::open(&watch.path).and_then(|root| match only {
                Some(names) => names.iter().try_for_each(|name| {
                    let look = root.look(name)?;
                    add(&mut files, &root, name, look);
                    Ok(())
                }),
                None => list(&root, None, &mut files),
            });
            problems.extend(listed.err().map(|error| error.to_string()));
        }
        files.sort();
        (files, problems)
    }

    fn take(&mut self, path: &Path, files: &mut BTreeMap<PathBuf, Vec<RelPath>>) -> Result<(), String> {
        let whole =
            path.canonicalize().map_err(|error| format!("cannot send {}: {error}", path.display()))?;
        if whole.is_dir() {
            let contents_only = path.as_os_str().as_bytes().ends_with(b"/") || whole.file_name().is_none();
            let below = if contents_only { None } else { whole.file_name().map(OsStr::to_owned) };
            self.folders.push(path.to_owned());
            self.add(&whole, below.as_deref(), None);
            return Ok(());
        }
        if !whole.is_file() {
            return Err(format!("cannot send {}: it is neither a file nor a folder", path.display()));
        }
        let (Some(folder), Some(name)) = (whole.parent(), whole.file_name()) else {
            return Err(format!("cannot send {}", path.display()));
        };
        let name = RelPath::parse(name.as_bytes()).map_err(|error| error.to_string())?;
        files.entry(folder.to_owned()).or_default().push(name);
        Ok(())
    }

    fn add(&mut self, folder: &Path, below: Option<&OsStr>, only: Option<Vec<RelPath>>) {
        let name = format!("push-{}", folder.display());
        let mut watch = Watch::with_defaults(&name, folder, super::scp::DESTINATION);
        watch.settle = std::time::Duration::ZERO;
        watch.exclude = Vec::new();
        // What somebody names is what is meant.
        watch.taken = skiff_config::Taken::everything();
        watch.retry_attempts = Some(3);
        watch.retry_max = std::time::Duration::from_secs(5);
        watch.destination_path =
            skiff_config::PathTemplate::literal(&below.unwrap_or_default().to_string_lossy());
        self.watches.push(watch);
        self.only.push(only);
    }
}

fn list(root: &Root, folder: Option<&RelPath>, files: &mut Vec<(String, u64)>) -> Result<(), SourceError> {
    for entry in root.list(folder)? {
        let entry = entry?;
        let above = folder.map(|folder| [folder.as_bytes(), b"/"].concat()).unwrap_or_default();
        // A name that can't be sent is reported by who sends.
        let Ok(path) = RelPath::parse(&[&above, &*entry.name].concat()) else { continue };
        match entry.look {
            Look::Folder => list(root, Some(&path), files)?,
            look => add(files, root, &path, look),
        }
    }
    Ok(())
}

fn add(files: &mut Vec<(String, u64)>, root: &Root, path: &RelPath, look: Look) {
    if let Look::File { stamp, .. } = look {
        files.push((format!("{}/{path}", root.path().display()), stamp.size));
    }
}
