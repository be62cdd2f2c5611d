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

/// Taken names cost the others nothing, whatever the names are: each is linked or left.
#[test]
fn what_is_left_is_what_cannot_be_linked() {
    for shell in hand::shells() {
        let folder = destination();
        let names: Vec<String> = (0..250).map(|number| format!("d/{number}")).collect();
        let odd = ["d/-a b", "d/*", "{}/x", "a {} {}/x", "$(touch x)/'"].map(str::to_owned);
        for name in names.iter().chain(&odd) {
            staged(&folder, &format!("m/{name}"), name);
        }
        for taken in ["d/0", "d/120", "d/249"] {
            fs::create_dir_all(folder.path().join("d")).expect("the folder is writable");
            fs::write(folder.path().join(taken), "somebody else's").expect("the folder is writable");
        }
        std::os::unix::fs::symlink("nowhere", folder.path().join("d/7")).expect("the folder is writable");
        // What stands already is not moved as a whole.
        for stands in ["{}", "a {} {}", "$(touch x)"] {
            fs::create_dir_all(folder.path().join(stands)).expect("the folder is writable");
        }

        let folders = ["publish", "d", "{}", r"a\0040{}\0040{}", r"$(touch\0040x)", "/"];
        let said =
            say(&mut hand::command(&shell, folder.path()), &[&["root .", "use ab"], &folders[..]].concat());

        let left: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("./")).collect();
        let mut sorted = left.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ["d/0", "d/120", "d/249", "d/7"], "{shell:?}: {said}");
        for name in names.iter().chain(&odd).filter(|name| !left.contains(&name.as_str())) {
            assert_eq!(text(&folder, name), *name, "{shell:?}");
        }
        assert_eq!(text(&folder, "d/120"), "somebody else's");
        assert!(!folder.path().join("x").exists());
    }
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
