//! Somebody at a shell: a home of their own with files to send, and `skiff` with whatever words they type.
//!
//! Lacks a server, and what is right for one: each test types that itself.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::skiff::{Ended, binary, command, run};
use crate::tree::{self, Tree};
use crate::{process, wait};

/// A user whose home is deleted in the end.
pub struct User {
    home: TempDir,
    source: Tree,
}

impl Default for User {
    fn default() -> Self {
        Self::new()
    }
}

impl User {
    /// One with five small files in the folder `data`.
    pub fn new() -> Self {
        let home = TempDir::new().expect("there is room for a temporary folder");
        let mut source = Tree::new(home.path().join("data"), 1);
        source.small_files(5, 1);
        User { home, source }
    }

    /// Where they work.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The folder with their files.
    pub fn data(&self) -> &Path {
        self.source.root()
    }

    /// Writes a file at home.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home().join(name);
        fs::write(&path, text).expect("a new folder is writable");
        path
    }

    /// Types `skiff` and these words.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Ended {
        run(command(self.home()).args(words), self.home())
    }

    /// Panics unless their files are in the folder `at`.
    #[track_caller]
    pub fn expect_arrived(&self, at: &Path) {
        tree::assert_equal(self.data(), &at.join("data"));
    }

    /// The same on a terminal of its own, where one of `typed` is typed each time that `prompt` stands there once more.
    /// Whether it succeeded, and what was shown.
    pub fn on_a_terminal(&self, words: &[String], prompt: &str, typed: &[&str]) -> (bool, String) {
        let quoted = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
        let line: Vec<_> = std::iter::once(binary().display().to_string()).chain(words.to_vec()).collect();
        let line = line.iter().map(quoted).collect::<Vec<_>>().join(" ");
        let transcript = self.home().join("transcript");
        let mut script = Command::new("script");
        script.args(["-qefc", &line]).arg(&transcript);
        script.current_dir(self.home()).env("HOME", self.home()).env_remove("SSH_AUTH_SOCK");
        script.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut script = script.spawn().expect("script (bsdutils) is installed");
        let shown = || String::from_utf8_lossy(&fs::read(&transcript).unwrap_or_default()).into_owned();
        let mut input = script.stdin.take().expect("it is a pipe");
        for (index, line) in typed.iter().enumerate() {
            let asked = || shown().matches(prompt).count() > index;
            assert!(wait::came_true(wait::LIMIT, asked), "no {prompt:?} in {:?}", shown());
            input.write_all(line.as_bytes()).and_then(|()| input.flush()).expect("it reads");
        }
        let ended = process::wait_for_end(&mut script, wait::LIMIT);
        if ended.is_none() {
            let _gone = script.kill();
        }
        drop(input);
        let status = script.wait().expect("a child can be waited for");
        (ended.is_some() && status.success(), shown())
    }
}
