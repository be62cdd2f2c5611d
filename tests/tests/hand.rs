//! `hand.sh` as each shell understands it, without a connection.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use skiff_tests::{Toolbox, hand};
use tempfile::TempDir;

/// A destination's folder, with a staging that any shell takes on.
fn destination() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    fs::create_dir_all(folder.path().join(".skiff/ab.0/m")).expect("a new folder is writable");
    folder
}

fn staged(folder: &TempDir, name: &str, content: &str) {
    let path = folder.path().join(".skiff/ab.0").join(name);
    fs::create_dir_all(path.parent().expect("it has one")).expect("the folder is writable");
    fs::write(path, content).expect("the folder is writable");
}

fn text(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap_or_else(|error| format!("{name}: {error}"))
}

fn say(command: &mut Command, verbs: &[&str]) -> String {
    hand::say(command, &hand::sent(), verbs)
}

/// With commands of ours. SHA-256 alone is read while a file comes.
fn with_tools(shell: &[PathBuf], folder: &Path, tools: &Toolbox) -> Command {
    let mut command = hand::command(shell, folder);
    command.env("PATH", tools.path()).env("HOME", tools.home());
    command
}

/// One failure of `ln`, as on a disk that is full for a moment, doesn't send all that comes later another way.
#[test]
fn a_link_that_could_not_be_made_once_is_tried_again() {
    for shell in hand::shells() {
        let fails = r#"[ -e "$HOME/failed" ] || { : >"$HOME/failed"; exit 1; }; exec "$REAL" "$@""#;
        let tools =
            Toolbox::usual().with("ln", fails).with("mv", r#"echo "$*" >>"$HOME/moves"; exec "$REAL" "$@""#);
        let folder = destination();
        for name in ["m/a", "m/b"] {
            staged(&folder, name, name);
        }
        let verbs = ["root .", "use ab", "place m/a a", "place m/b b"];
        let said = say(&mut with_tools(&shell, folder.path(), &tools), &verbs);

        assert_eq!([text(&folder, "a"), text(&folder, "b")], ["m/a", "m/b"], "{shell:?}: {said}");
        let moves = fs::read_to_string(tools.note("moves")).expect("the first was moved");
        assert!(moves.contains("m/a ./a") && !moves.contains("m/b"), "{shell:?}: {moves}");
    }
}
