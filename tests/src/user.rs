//! Somebody at a shell: a home of their own with files to send, and `skiff` with whatever words they type.
//!
//! Lacks a server, and what is right for one: each test types that itself.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};
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
        let (mut script, transcript) = self.terminal(words, ("", ""));
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

    /// The same, where a signal comes while `prompt` stands there. What the terminal is like afterwards, in `stty`'s words.
    pub fn ended_on_a_terminal(&self, words: &[String], prompt: &str, signal: Signal) -> String {
        let after = self.home().join("stty");
        let (mut script, transcript) = self.terminal(words, ("", &format!("; stty -a >{}", after.display())));
        let shown = || String::from_utf8_lossy(&fs::read(&transcript).unwrap_or_default()).into_owned();
        assert!(wait::came_true(wait::LIMIT, || shown().contains(prompt)), "no {prompt:?} in {:?}", shown());
        let is_skiff = |pid: &Pid| {
            let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
            name.is_ok_and(|name| name.starts_with("skiff"))
        };
        let below = process::descendants(process::pid(&script));
        let skiff = below.into_iter().find(is_skiff).expect("it runs");
        process::signal(skiff, signal);
        assert!(process::wait_for_end(&mut script, wait::LIMIT).is_some(), "it goes on: {:?}", shown());
        fs::read_to_string(after).expect("stty has told")
    }

    /// The same on a terminal that goes away once it `is_under_way`. The exit code.
    pub fn left_by_a_terminal(&self, words: &[String], is_under_way: impl FnMut() -> bool) -> Option<i32> {
        // The kernel tells the shell alone, and the shell tells its jobs.
        const HUNG_UP: &str = "& trap \"kill -HUP $!\" HUP; wait $!; wait $!";
        let file = self.home().join("code");
        let (mut script, transcript) =
            self.terminal(words, ("", &format!("{HUNG_UP}; echo $? >{}", file.display())));
        let shown = || String::from_utf8_lossy(&fs::read(&transcript).unwrap_or_default()).into_owned();
        assert!(wait::came_true(wait::LIMIT, is_under_way), "{:?}", shown());
        script.kill().expect("it runs");
        script.wait().expect("a child can be waited for");
        let code = || fs::read_to_string(&file).ok().filter(|code| code.ends_with('\n'));
        assert!(wait::came_true(wait::LIMIT, || code().is_some()), "it goes on: {:?}", shown());
        code().and_then(|code| code.trim().parse().ok())
    }

    /// A terminal on which skiff runs with these words, what else runs before and after it, and where stands what it shows.
    fn terminal(&self, words: &[String], (before, after): (&str, &str)) -> (Child, PathBuf) {
        let quoted = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
        let line: Vec<_> = std::iter::once(binary().display().to_string()).chain(words.to_vec()).collect();
        let line = line.iter().map(quoted).collect::<Vec<_>>().join(" ");
        let line = format!("{before}{line}{after}");
        let transcript = self.home().join("transcript");
        // Of another command.
        let _gone = fs::remove_file(&transcript);
        let mut script = Command::new("script");
        script.args(["-qefc", &line]).arg(&transcript);
        script.current_dir(self.home()).env("HOME", self.home()).env_remove("SSH_AUTH_SOCK");
        script.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        (script.spawn().expect("script (bsdutils) is installed"), transcript)
    }
}
