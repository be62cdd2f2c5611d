//! What `push` was told to send, as watches that are looked at once.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use skiff_common::RelPath;
use skiff_common::escape::escaped;
use skiff_config::Watch;

use crate::source::{Look, Root, SourceError};

/// Watches, and for each the paths that are meant; `None` means all.
pub(super) struct Sources {
    pub(super) watches: Vec<Watch>,
    pub(super) only: Vec<Option<Vec<RelPath>>>,
    /// Folders among them.
    pub(super) folders: Vec<PathBuf>,
}

/// What is meant of a folder.
enum Part<'a> {
    /// The folder itself, under its name.
    Folder(&'a str),
    /// All that is in it.
    Contents,
    /// These files.
    Files(Vec<RelPath>),
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
        sources.add(&folder, Part::Files(names));
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
            let below = whole.file_name().filter(|_| !contents_only).unwrap_or_default();
            let below = below.to_str().ok_or_else(|| {
                let shown = escaped(path.as_os_str().as_bytes());
                format!("cannot send {shown}: its name is not UTF-8; {shown}/ sends what is in it")
            })?;
            self.folders.push(path.to_owned());
            self.add(&whole, if contents_only { Part::Contents } else { Part::Folder(below) });
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

    fn add(&mut self, folder: &Path, part: Part<'_>) {
        // What stands before a `>` would be taken for the whole name, which other folders have, too.
        let shown = escaped(folder.as_os_str().as_bytes()).replace('>', "\\x3e");
        // By its name a later push knows what it delivered. Each part has its own, as it goes elsewhere.
        let (name, below, only) = match part {
            Part::Folder(below) => (format!("push-{shown}"), below, None),
            Part::Contents => (format!("push-{shown}/"), "", None),
            Part::Files(names) => (format!("push-{shown}/*"), "", Some(names)),
        };
        if self.watches.iter().any(|watch| watch.name == name) {
            // Named twice.
            return;
        }
        let mut watch = Watch::with_defaults(&name, folder, crate::cli::transfer::DESTINATION);
        watch.settle = std::time::Duration::ZERO;
        watch.exclude = Vec::new();
        // What somebody names is what is meant.
        watch.taken = skiff_config::Taken::everything();
        watch.retry_attempts = Some(3);
        watch.retry_max = std::time::Duration::from_secs(5);
        watch.destination_path = skiff_config::PathTemplate::literal(below);
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn of(folder: &Path, names: &[&str]) -> (Sources, Vec<String>) {
        sources(
            &names
                .iter()
                .map(|name| PathBuf::from(format!("{}/{name}", folder.display())))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_folder_its_contents_and_its_files_are_watches_of_their_own() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(home.path().join("x")).expect("a new name");
        std::fs::write(home.path().join("x/a.txt"), "a").expect("there is room");
        let (sources, problems) = of(home.path(), &["x", "x/a.txt", "x/", "x"]);
        assert_eq!(problems, [""; 0]);
        let names: std::collections::BTreeSet<_> = sources.watches.iter().map(|watch| &watch.name).collect();
        assert_eq!((sources.watches.len(), names.len()), (3, 3), "{names:?}");
    }

    /// By what stands before a `>` in a name, legs of one watch are known: those of two folders are not one.
    #[test]
    fn folders_with_an_arrow_in_their_names_are_different_watches() {
        let home = tempfile::tempdir().expect("a folder");
        let folders = ["x>1/", "x>2/", "x>1"];
        for name in folders {
            std::fs::create_dir_all(home.path().join(name)).expect("there is room");
        }
        let (sources, problems) = of(home.path(), &folders);
        assert_eq!(problems, [""; 0]);
        let bases: std::collections::BTreeSet<_> =
            sources.watches.iter().map(|watch| crate::route::base(&watch.name)).collect();
        assert_eq!(bases.len(), 3, "{bases:?}");
        let shown = sources.watches[0].name.strip_prefix("push-").and_then(|name| name.strip_suffix('/'));
        let path = skiff_common::escape::unescaped(shown.expect("that is its form"));
        assert_eq!(path.as_deref(), Some(sources.watches[0].path.as_os_str().as_bytes()));
    }

    #[test]
    fn a_folder_whose_name_cannot_be_said_is_refused_and_its_contents_go() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join(OsStr::from_bytes(b"od\xffd"));
        std::fs::create_dir(&folder).expect("a new name");
        let (found, problems) = sources(std::slice::from_ref(&folder));
        assert!(found.watches.is_empty() && problems[0].contains("not UTF-8"), "{problems:?}");
        let contents = [folder.as_os_str().as_bytes(), b"/"].concat();
        let (found, problems) = sources(&[PathBuf::from(OsStr::from_bytes(&contents))]);
        assert_eq!((found.watches.len(), problems.len()), (1, 0));
    }
}
