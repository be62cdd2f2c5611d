//! Files such as `.skiffignore`: which files of a folder are not meant, by git's rules.
//!
//! Read by the root's own descriptors, so that no symlink leads out. Rules that can't be read may name anything below
//! their folder: whoever asks is told so, and takes nothing of it.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use skiff_common::{RelPath, Stamp};

use crate::source::{Listing, OpenItem, Root, SourceError};

/// A list that is longer is no list of patterns.
const MOST_BYTES: u64 = 256 << 10;
/// Folders whose rules are kept in mind.
const MOST_FOLDERS: usize = 4096;

/// The rules of one watched folder.
#[derive(Debug, Default)]
pub(crate) struct Ignores {
    name: Option<String>,
    folders: HashMap<Option<RelPath>, (Option<Stamp>, Gitignore)>,
}

impl Ignores {
    /// Rules in files of this name.
    pub(crate) fn of(name: Option<&str>) -> Self {
        Self { name: name.map(str::to_owned), folders: HashMap::new() }
    }

    /// Lists a folder, with the rules in it known.
    pub(crate) fn list(&mut self, root: &Root, folder: Option<&RelPath>) -> Result<Listing, SourceError> {
        let listing = root.list(folder)?;
        self.refresh(root, folder)?;
        Ok(listing)
    }

    /// Looks whether the rules in `folder` have changed. To be asked before what is in it, from the top down.
    pub(crate) fn refresh(&mut self, root: &Root, folder: Option<&RelPath>) -> Result<(), SourceError> {
        let Some(name) = &self.name else { return Ok(()) };
        let Ok(path) = RelPath::in_folder(folder, name.as_bytes()) else { return Ok(()) };
        let read = match root.open_item(&path) {
            Ok(open) if self.knows(folder, Some(open.stamp)) => return Ok(()),
            Ok(open) => read(&path, &open).map(|rules| (Some(open.stamp), rules)),
            Err(SourceError::Gone { .. }) if self.knows(folder, None) => return Ok(()),
            Err(SourceError::Gone { .. }) => Ok((None, Gitignore::empty())),
            Err(error) => Err(error),
        };
        // Those of before are not known to hold.
        self.folders.remove(&folder.cloned());
        let known = read.map_err(|error| SourceError::Rules(Box::new(error)))?;
        self.make_room(1);
        self.folders.insert(folder.cloned(), known);
        Ok(())
    }

    /// Whether the file or folder at `path` is not meant, by the folders above it or by its own name.
    pub(crate) fn ignores(
        &mut self,
        root: &Root,
        path: &RelPath,
        is_folder: bool,
    ) -> Result<bool, SourceError> {
        if self.name.is_none() {
            return Ok(false);
        }
        let above: Vec<RelPath> = path.folders().collect();
        // Before any of them is looked for, as all are needed at the end.
        self.make_room(above.len() + 1);
        for folder in std::iter::once(None).chain(above.iter().map(Some)) {
            if !self.folders.contains_key(&folder.cloned()) {
                self.refresh(root, folder)?;
            }
        }
        Ok(above.iter().any(|folder| self.names(folder, true)) || self.names(path, is_folder))
    }

    fn knows(&self, folder: Option<&RelPath>, stamp: Option<Stamp>) -> bool {
        self.folders.get(&folder.cloned()).is_some_and(|(known, _)| *known == stamp)
    }

    fn make_room(&mut self, folders: usize) {
        if self.folders.len() + folders > MOST_FOLDERS {
            self.folders.clear();
        }
    }

    /// Whether the nearest rule that names it says so.
    fn names(&self, path: &RelPath, is_folder: bool) -> bool {
        let mut above = path.folder();
        loop {
            let start = above.as_ref().map_or(0, |folder| folder.as_bytes().len() + 1);
            let below = String::from_utf8_lossy(&path.as_bytes()[start..]).into_owned();
            let rules = self.folders.get(&above).map(|(_, rules)| rules);
            match rules.map_or(Match::None, |rules| rules.matched(Path::new(&below), is_folder)) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
            let Some(folder) = above else { return false };
            above = folder.folder();
        }
    }
}

fn read(path: &RelPath, open: &OpenItem) -> Result<Gitignore, SourceError> {
    let failed = |attempt| move |source| SourceError::Io { attempt, path: path.to_string(), source };
    let mut text = Vec::new();
    (&open.file).take(MOST_BYTES + 1).read_to_end(&mut text).map_err(failed("read"))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(failed("use")(io::Error::other("it is longer than a list of patterns may be, 256 KiB")));
    }
    let mut builder = GitignoreBuilder::new("");
    for line in String::from_utf8_lossy(&text).lines() {
        if let Err(error) = builder.add_line(None, line) {
            tracing::warn!(%path, %error, "a line is no pattern, and is passed over");
        }
    }
    builder.build().map_err(|error| failed("use")(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_nearest_rule_counts_and_an_ignored_folder_ignores_all_in_it() {
        let home = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(home.path().join("keep/deep")).expect("made");
        fs::write(home.path().join(".skiffignore"), "*.log\n/build/\n!top.log\n# no rule\n").expect("room");
        fs::write(home.path().join("keep/.skiffignore"), "!*.log\nsecret\n").expect("room");
        let root = Root::open(home.path()).expect("it opens");
        let mut ignores = Ignores::of(Some(".skiffignore"));
        let mut is = |path: &str| is(&mut ignores, &root, path).expect("it can be read");
        assert!(
            is("a.log")
                && is("other/a.log")
                && is("build/x/y")
                && is("keep/secret")
                && is("keep/deep/secret")
        );
        assert!(
            !is("top.log") && !is("keep/a.log") && !is("keep/deep/a.log") && !is("keep/build") && !is("a")
        );
        assert!(matches!(self::is(&mut Ignores::of(None), &root, "a.log"), Ok(false)));
    }

    #[test]
    fn a_changed_file_of_rules_counts_from_the_next_look() {
        let home = tempfile::tempdir().expect("a folder");
        let root = Root::open(home.path()).expect("it opens");
        let mut ignores = Ignores::of(Some(".skiffignore"));
        assert!(matches!(is(&mut ignores, &root, "a"), Ok(false)));
        fs::write(home.path().join(".skiffignore"), "a").expect("room");
        ignores.refresh(&root, None).expect("it can be read");
        assert!(matches!(is(&mut ignores, &root, "a"), Ok(true)));
        fs::remove_file(home.path().join(".skiffignore")).expect("it is there");
        ignores.refresh(&root, None).expect("there are none");
        assert!(matches!(is(&mut ignores, &root, "a"), Ok(false)));
    }

    /// Neither is what they name taken, nor do those of before count.
    #[test]
    fn rules_that_can_not_be_read_are_told_and_are_not_none() {
        let home = tempfile::tempdir().expect("a folder");
        let root = Root::open(home.path()).expect("it opens");
        let rules = home.path().join("sub/.skiffignore");
        fs::create_dir(home.path().join("sub")).expect("made");
        let long = "#".repeat(usize::try_from(MOST_BYTES).expect("it fits into memory") + 1);
        let ways: [&dyn Fn(); 3] = [
            &|| symlink("/etc/hostname", &rules).expect("linked"),
            &|| fs::create_dir(&rules).expect("made"),
            &|| fs::write(&rules, &long).expect("room"),
        ];
        for make in ways {
            let mut ignores = Ignores::of(Some(".skiffignore"));
            fs::write(&rules, "other").expect("room");
            assert!(matches!(is(&mut ignores, &root, "sub/a"), Ok(false)));
            fs::remove_file(&rules).expect("it is there");
            make();
            let folder = RelPath::parse(b"sub").expect("a path");
            assert!(matches!(ignores.refresh(&root, Some(&folder)), Err(SourceError::Rules(_))));
            let told = is(&mut ignores, &root, "sub/a").expect_err("they can't be read").to_string();
            assert!(told.contains("sub/.skiffignore"), "{told}");
            assert!(is(&mut ignores, &root, "sub/deep/a").is_err());
            assert!(matches!(is(&mut ignores, &root, "a"), Ok(false)), "those above don't hang on it");
            fs::remove_file(&rules).or_else(|_| fs::remove_dir(&rules)).expect("it is there");
            assert!(matches!(is(&mut ignores, &root, "sub/a"), Ok(false)));
        }
    }

    /// Before, those above were forgotten when what is below them had to be kept in mind.
    #[test]
    fn more_folders_than_are_kept_in_mind_cost_no_rule() {
        let home = tempfile::tempdir().expect("a folder");
        let root = Root::open(home.path()).expect("it opens");
        fs::write(home.path().join(".skiffignore"), "secret\n").expect("room");
        let mut ignores = Ignores::of(Some(".skiffignore"));
        for number in 0..MOST_FOLDERS + 10 {
            let path = format!("{number}/x/secret");
            assert!(matches!(is(&mut ignores, &root, &path), Ok(true)), "{path}");
        }
    }

    fn is(ignores: &mut Ignores, root: &Root, path: &str) -> Result<bool, SourceError> {
        ignores.ignores(root, &RelPath::parse(path.as_bytes()).expect("a path"), false)
    }
}
