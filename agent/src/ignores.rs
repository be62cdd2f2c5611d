//! Files such as `.skiffignore`: which files of a folder are not meant, by git's rules.
//!
//! Read by the root's own descriptors, so that no symlink leads out. What can't be read says nothing.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use skiff_common::{RelPath, Stamp};

use crate::source::Root;

/// A list that is longer is no list of patterns; of this much the rest is left out.
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

    /// Looks whether the rules in `folder` have changed. To be asked before what is in it, from the top down.
    pub(crate) fn refresh(&mut self, root: &Root, folder: Option<&RelPath>) {
        let Some(name) = &self.name else { return };
        let Ok(path) = RelPath::in_folder(folder, name.as_bytes()) else { return };
        let open = root.open_item(&path).ok();
        let stamp = open.as_ref().map(|open| open.stamp);
        if self.folders.get(&folder.cloned()).is_some_and(|(known, _)| *known == stamp) {
            return;
        }
        let mut text = Vec::new();
        if let Some(open) = open {
            // What was read before an error holds.
            let _ = open.file.take(MOST_BYTES).read_to_end(&mut text);
        }
        if self.folders.len() >= MOST_FOLDERS {
            self.folders.clear();
        }
        self.folders.insert(folder.cloned(), (stamp, rules(&path, &String::from_utf8_lossy(&text))));
    }

    /// Whether the file or folder at `path` is not meant, by the folders above it or by its own name.
    pub(crate) fn ignores(&mut self, root: &Root, path: &RelPath, is_folder: bool) -> bool {
        if self.name.is_none() {
            return false;
        }
        let above: Vec<RelPath> = path.folders().collect();
        for folder in std::iter::once(None).chain(above.iter().map(Some)) {
            if !self.folders.contains_key(&folder.cloned()) {
                self.refresh(root, folder);
            }
        }
        above.iter().any(|folder| self.names(folder, true)) || self.names(path, is_folder)
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

fn rules(path: &RelPath, text: &str) -> Gitignore {
    let mut builder = GitignoreBuilder::new("");
    for line in text.lines() {
        if let Err(error) = builder.add_line(None, line) {
            tracing::warn!(%path, %error, "a line is no pattern, and is passed over");
        }
    }
    builder.build().unwrap_or_else(|error| {
        tracing::warn!(%path, %error, "these patterns can't be used");
        Gitignore::empty()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_nearest_rule_counts_and_an_ignored_folder_ignores_all_in_it() {
        let home = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(home.path().join("keep/deep")).expect("made");
        fs::write(home.path().join(".skiffignore"), "*.log\n/build/\n!top.log\n# no rule\n").expect("room");
        fs::write(home.path().join("keep/.skiffignore"), "!*.log\nsecret\n").expect("room");
        let root = Root::open(home.path()).expect("it opens");
        let mut ignores = Ignores::of(Some(".skiffignore"));
        let mut is =
            |path: &str| ignores.ignores(&root, &RelPath::parse(path.as_bytes()).expect("a path"), false);
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
        let none = &mut Ignores::of(None);
        assert!(!none.ignores(&root, &RelPath::parse(b"a.log").expect("a path"), false));
    }

    #[test]
    fn a_changed_file_of_rules_counts_from_the_next_look() {
        let home = tempfile::tempdir().expect("a folder");
        let root = Root::open(home.path()).expect("it opens");
        let mut ignores = Ignores::of(Some(".skiffignore"));
        let path = RelPath::parse(b"a").expect("a path");
        assert!(!ignores.ignores(&root, &path, false));
        fs::write(home.path().join(".skiffignore"), "a").expect("room");
        ignores.refresh(&root, None);
        assert!(ignores.ignores(&root, &path, false));
    }
}
