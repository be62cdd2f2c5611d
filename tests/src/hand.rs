//! `hand.sh`, the program that skiff has run at a destination, and whoever speaks its protocol without a skiff.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::process::{self, wait_for_end};
use crate::{machine, wait};

/// The program.
pub const HAND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src/remote/scp/hand.sh");
/// What skiff asks a server to run; its word for the session is `abcdef`.
pub const ASKED: &str = r#"exec sh -c 'IFS= read -r P && N=$1 && eval "$(printf %b "$P")"' skiff abcdef"#;

/// A program as the agent sends it.
pub fn program(hand: &str) -> String {
    let kept = hand.lines().filter(|line| !line.trim_start().starts_with('#'));
    kept.flat_map(|line| [line, "\n"]).flat_map(str::bytes).fold(String::new(), |mut text, byte| {
        match byte {
            b'\\' => text.push_str("\\\\"),
            0x21..=0x7e => text.push(byte.into()),
            byte => write!(text, "\\0{byte:03o}").expect("a text takes more text"),
        }
        text
    })
}

/// The program itself, as it is sent.
///
/// # Panics
///
/// If it has moved.
pub fn sent() -> String {
    program(&fs::read_to_string(HAND).expect("it is in the repository"))
}

/// What a server may have for its `sh`, as far as this machine has it; what it lacks is told.
pub fn shells() -> Vec<Vec<PathBuf>> {
    let all =
        [&["dash"][..], &["busybox", "sh"], &["bash"], &["zsh", "--emulate", "sh"], &["ksh"], &["mksh"]];
    let found = all.into_iter().filter_map(|words| {
        let (name, more) = words.split_first()?;
        let path = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
        let Some(path) = path.into_iter().find(|path| path.exists()) else {
            machine::not_shown("a server's shell", &format!("there is no {name} (package {name})"));
            return None;
        };
        Some([path].into_iter().chain(more.iter().map(PathBuf::from)).collect())
    });
    found.collect()
}

/// The command that has `shell` run it in `folder`, and waits for the program and for verbs.
pub fn command(shell: &[PathBuf], folder: &Path) -> Command {
    let mut command = Command::new(&shell[0]);
    command.args(&shell[1..]).args(["-c", r#"IFS= read -r P && N=$1 && eval "$(printf %b "$P")""#]);
    command.args(["skiff", "abcdef"]).current_dir(folder);
    command
}

/// Says the program and these verbs to what `command` starts; all that it says, once it has ended.
///
/// # Panics
///
/// If it doesn't end in time.
pub fn say(command: &mut Command, program: &str, verbs: &[&str]) -> String {
    // A file, not a pipe: what is still running at the end could keep that open.
    let mut said = tempfile::tempfile().expect("there is room for a temporary file");
    let shared = || said.try_clone().expect("a file can be shared");
    let mut child =
        command.stdin(Stdio::piped()).stdout(shared()).stderr(shared()).spawn().expect("there is a shell");
    let text = format!("{program}\n{}\n", verbs.join("\n"));
    // It may have ended before it read all.
    let _ = child.stdin.take().expect("it is piped").write_all(text.as_bytes());
    let ended = wait_for_end(&mut child, wait::LIMIT);
    if ended.is_none() {
        for below in process::descendants(process::pid(&child)) {
            process::signal(below, Signal::KILL);
        }
        let _gone = child.kill();
        child.wait().expect("a child can be waited for");
    }
    let mut bytes = Vec::new();
    said.rewind().and_then(|()| said.read_to_end(&mut bytes)).expect("what was written can be read");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(ended.is_some(), "after {verbs:?} it does not end; it said: {text}");
    text
}
