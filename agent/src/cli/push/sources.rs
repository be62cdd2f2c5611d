//! What `push` was told to send, as watches that are looked at once.
//!
//! A thing is called what somebody wrote, not what a symlink leads to; by that, too, a later push knows it again.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use skiff_common::RelPath;
use skiff_common::escape::escaped;
use skiff_config::Watch;

use crate::source::{Look, Named, Root, SourceError};

/// Watches, and for each the files that are meant; `None` means all.
pub(super) struct Sources {
    pub(super) watches: Vec<Watch>,
    pub(super) only: Vec<Option<Named>>,
    /// Folders among them.
    pub(super) folders: Vec<PathBuf>,
}

/// Where a source stands.
struct Place {
    /// As it was written, but for symlinks in the way to it: its last component may be one.
    written: PathBuf,
    /// What that leads to, without any symlink.
    whole: PathBuf,
    /// Whether only what is in it is meant.
    contents_only: bool,
}

/// What is meant of a folder.
enum Part<'a> {
    /// The folder itself, under its name.
    Folder(&'a str),
    /// All that is in it.
    Contents,
    /// These files.
    Files(Named),
}

/// Looks what the sources are; the error names the source that can't be sent.
pub(super) fn sources(paths: &[PathBuf]) -> (Sources, Vec<String>) {
    let mut files: BTreeMap<PathBuf, Named> = BTreeMap::new();
    let mut sources = Sources { watches: Vec::new(), only: Vec::new(), folders: Vec::new() };
    let mut problems = Vec::new();
    for path in paths {
        if let Err(problem) = sources.take(path, &mut files) {
            problems.push(problem);
        }
    }
    for (folder, mut named) in files {
        let mut seen = HashSet::new();
        named.paths.retain(|path| seen.insert(path.clone()));
        sources.add(&folder, &folder, Part::Files(named));
    }
    (sources, problems)
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let mut bytes = path.as_os_str().as_bytes();
        // An empty path is none, and `/` has nothing above it.
        let mut contents_only = false;
        while bytes.len() > 1 && (bytes.ends_with(b"/") || bytes.ends_with(b"/.")) {
            contents_only = true;
            bytes = &bytes[..bytes.len() - 1];
        }
        let whole = path.canonicalize()?;
        let name = bytes.rsplit(|b| *b == b'/').next().unwrap_or_default();
        if matches!(name, b"" | b"." | b"..") {
            return Ok(Self { written: whole.clone(), whole, contents_only: true });
        }
        let above = match &bytes[..bytes.len() - name.len()] {
            b"" => Path::new("."),
            above => Path::new(OsStr::from_bytes(above)),
        };
        Ok(Self { written: above.canonicalize()?.join(OsStr::from_bytes(name)), whole, contents_only })
    }
}

impl Sources {
    /// All files that are meant, as they are named here, with their sizes; and what can't be looked into.
    pub(super) fn files(&self) -> (Vec<(String, u64)>, Vec<String>) {
        let (mut files, mut problems) = (Vec::new(), Vec::new());
        for (watch, only) in self.watches.iter().zip(&self.only) {
            let listed = Root::open(&watch.path).and_then(|root| match only {
                Some(named) => {
                    let root = root.linking(&Arc::new(named.linked.clone()));
                    named.paths.iter().try_for_each(|name| {
                        let look = root.look(name)?;
                        add(&mut files, &root, name, look);
                        Ok(())
                    })
                }
                None => list(&root, None, &mut files),
            });
            problems.extend(listed.err().map(|error| error.to_string()));
        }
        files.sort();
        (files, problems)
    }

    fn take(&mut self, path: &Path, files: &mut BTreeMap<PathBuf, Named>) -> Result<(), String> {
        let place = Place::of(path).map_err(|error| format!("cannot send {}: {error}", path.display()))?;
        let Place { written, whole, contents_only } = place;
        if whole.is_dir() {
            let name = written.file_name().filter(|_| !contents_only).unwrap_or_default();
            let name = name.to_str().ok_or_else(|| {
                let shown = escaped(path.as_os_str().as_bytes());
                format!("cannot send {shown}: its name is not UTF-8; {shown}/ sends what is in it")
            })?;
            self.folders.push(path.to_owned());
            self.add(&written, &whole, if contents_only { Part::Contents } else { Part::Folder(name) });
            return Ok(());
        }
        if !whole.is_file() {
            return Err(format!("cannot send {}: it is neither a file nor a folder", path.display()));
        }
        let (Some(folder), Some(name)) = (written.parent(), written.file_name()) else {
            return Err(format!("cannot send {}", path.display()));
        };
        let name = RelPath::parse(name.as_bytes()).map_err(|error| error.to_string())?;
        let named = files.entry(folder.to_owned()).or_default();
        if whole != written {
            named.linked.insert(name.clone(), whole);
        }
        named.paths.push(name);
        Ok(())
    }

    /// A part of the folder that was written as `written`, which is `whole`.
    fn add(&mut self, written: &Path, whole: &Path, part: Part<'_>) {
        // What stands before a `>` would be taken for the whole name, which other folders have, too.
        let shown = escaped(written.as_os_str().as_bytes()).replace('>', "\\x3e");
        // By its name a later push knows what it delivered. Each part has its own, as it goes elsewhere.
        let (name, below, only) = match part {
            Part::Folder(below) => (format!("push-{shown}"), below, None),
            Part::Contents => (format!("push-{shown}/"), "", None),
            Part::Files(named) => (format!("push-{shown}/*"), "", Some(named)),
        };
        if self.watches.iter().any(|watch| watch.name == name) {
            // Named twice.
            return;
        }
        let mut watch = Watch::with_defaults(&name, whole, crate::cli::transfer::DESTINATION);
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
    use std::fs;
    use std::os::unix::fs::symlink;

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
        fs::create_dir(home.path().join("x")).expect("a new name");
        fs::write(home.path().join("x/a.txt"), "a").expect("there is room");
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
            fs::create_dir_all(home.path().join(name)).expect("there is room");
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

    /// The parts that were meant, as `what it is called there` < `what is read`.
    fn meant(folder: &Path, names: &[&str]) -> Vec<String> {
        let (sources, problems) = of(folder, names);
        assert_eq!(problems, [""; 0]);
        let at = |path: &Path| path.strip_prefix(folder).expect("below").display().to_string();
        let each = sources.watches.iter().zip(&sources.only);
        let meant = each.flat_map(|(watch, only)| match only {
            None => vec![format!("{}/ < {}", watch.destination_path, at(&watch.path))],
            Some(only) => {
                let source_of = |name: &RelPath| {
                    let own = watch.path.join(name.to_string());
                    at(only.linked.get(name).unwrap_or(&own))
                };
                only.paths.iter().map(|name| format!("{name} < {}", source_of(name))).collect()
            }
        });
        meant.collect()
    }

    /// As scp and rsync have it, and `skiff pull`.
    #[test]
    fn a_thing_is_called_what_was_written() {
        let home = tempfile::tempdir().expect("a folder");
        let home = home.path().canonicalize().expect("it is there");
        fs::create_dir_all(home.join("rel/42/sub")).expect("made");
        fs::write(home.join("rel/42/2026-11.csv"), "a").expect("room");
        symlink("rel/42", home.join("current")).expect("linked");
        symlink("current/2026-11.csv", home.join("latest.csv")).expect("linked");
        symlink("latest.csv", home.join("again.csv")).expect("linked");
        for (written, called) in [
            ("latest.csv", "latest.csv < rel/42/2026-11.csv"),
            ("current/2026-11.csv", "2026-11.csv < rel/42/2026-11.csv"),
            ("./rel/../latest.csv", "latest.csv < rel/42/2026-11.csv"),
            ("current", "current/ < rel/42"),
            ("current/sub", "sub/ < rel/42/sub"),
            ("rel/42", "42/ < rel/42"),
            ("current/", "/ < rel/42"),
            ("current/.", "/ < rel/42"),
            ("current/.//./", "/ < rel/42"),
            ("rel/42/..", "/ < rel"),
            ("rel/42/sub/../.", "/ < rel/42"),
        ] {
            assert_eq!(meant(&home, &[written]), [called], "{written}");
        }
        let two = meant(&home, &["latest.csv", "again.csv", "latest.csv"]);
        assert_eq!(two, ["latest.csv < rel/42/2026-11.csv", "again.csv < rel/42/2026-11.csv"]);
        let (shown, problems) = of(&home, &["latest.csv"]).0.files();
        assert_eq!((shown, problems.len()), (vec![(home.join("latest.csv").display().to_string(), 1)], 0));
        assert!(of(&home, &["latest.csv/"]).1[0].contains("cannot send"));
    }

    /// Or its earlier version would be a stranger's when the link leads elsewhere.
    #[test]
    fn a_link_that_leads_elsewhere_is_the_same_source() {
        let home = tempfile::tempdir().expect("a folder");
        let names = ["a", "b"].map(|target| {
            let _former = fs::remove_file(home.path().join("link"));
            fs::create_dir(home.path().join(target)).expect("made");
            symlink(target, home.path().join("link")).expect("linked");
            let (sources, _) = of(home.path(), &["link", "link/"]);
            sources.watches.into_iter().map(|watch| watch.name).collect::<Vec<_>>()
        });
        assert_eq!(names[0], names[1]);
        assert_eq!(of(home.path(), &["a/"]).0.watches[0].name, of(home.path(), &["a/."]).0.watches[0].name);
    }

    #[test]
    fn a_folder_whose_name_cannot_be_said_is_refused_and_its_contents_go() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join(OsStr::from_bytes(b"od\xffd"));
        fs::create_dir(&folder).expect("a new name");
        let (found, problems) = sources(std::slice::from_ref(&folder));
        assert!(found.watches.is_empty() && problems[0].contains("not UTF-8"), "{problems:?}");
        let contents = [folder.as_os_str().as_bytes(), b"/"].concat();
        let (found, problems) = sources(&[PathBuf::from(OsStr::from_bytes(&contents))]);
        assert_eq!((found.watches.len(), problems.len()), (1, 0));
    }
}
