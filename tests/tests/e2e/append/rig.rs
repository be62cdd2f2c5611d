//! A server, logs, and an agent that follows them.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use skiff_tests::{Agent, Sshd};
use tempfile::TempDir;

pub(super) const RULES: &str = "mode = 'append'\nflush_interval = '100ms'\nexclude = ['*.gz']";

/// A server, a folder with logs and an agent that follows them.
pub(super) struct Rig {
    pub(super) sshd: Sshd,
    pub(super) folder: PathBuf,
    pub(super) agent: Agent,
    _scratch: TempDir,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with("")
    }

    /// With further lines for the destination.
    pub(super) fn with(more: &str) -> Self {
        let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
        let folder = scratch.path().join("in");
        fs::create_dir(&folder).expect("a new folder is writable");
        let agent = Agent::with_destination(&sshd, more).watch("logs", &folder, RULES);
        Rig { sshd, folder, agent, _scratch: scratch }
    }

    pub(super) fn started(mut self) -> Self {
        self.agent.start();
        self
    }

    /// The log of that name, kept open as a logger keeps it.
    pub(super) fn log(&self, name: &str) -> File {
        OpenOptions::new().append(true).create(true).open(self.folder.join(name)).expect("there is room")
    }

    pub(super) fn copy(&self, name: &str) -> PathBuf {
        self.sshd.root().join(name)
    }

    #[track_caller]
    pub(super) fn wait_for(&mut self, name: &str, content: &str) {
        let copy = self.copy(name);
        let what = format!("{name} holds {} bytes", content.len());
        self.agent.wait_until(&what, || fs::read(&copy).is_ok_and(|bytes| bytes == content.as_bytes()));
    }

    pub(super) fn names(&self) -> Vec<String> {
        names_in(&self.sshd.root())
    }

    /// What `skiff items` lists.
    pub(super) fn items(&self) -> Value {
        let said = self.agent.ask(&["items", "--json"]).expect_code(0).said;
        let json: String = said.lines().filter(|line| !line.starts_with("skiff:")).collect();
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error} in {said}"))
    }

    pub(super) fn losses(&self) -> String {
        fs::read_to_string(self.agent.state_dir().join("losses.jsonl")).unwrap_or_default()
    }
}

pub(super) fn names_in(root: &Path) -> Vec<String> {
    let listing = fs::read_dir(root).expect("it can be listed").flatten();
    let names = listing.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name != ".skiff").collect();
    names.sort();
    names
}

pub(super) fn say(log: &mut File, words: &str) {
    log.write_all(words.as_bytes()).expect("there is room");
}

pub(super) fn number(path: &Path) -> u64 {
    path.metadata().expect("it is there").ino()
}

/// Lines of a megabyte and more, so that more than one step is needed.
pub(super) fn many(what: &str) -> String {
    let line = |n: u32| [what, &format!(" {n:08} and some words\n")].concat();
    (0..150_000).map(line).collect()
}
