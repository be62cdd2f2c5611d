//! Which files are taken, beside the patterns.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use skiff_tests::{Agent, Sshd, Tree, tree, wait};
use tempfile::TempDir;

fn names(folder: &Path) -> BTreeSet<String> {
    let files = tree::files(folder).expect("it can be read");
    files.into_keys().map(|path| path.display().to_string()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What `.skiffignore` names stays where it is, also with `after_delivery = "delete"`; when the rule goes, so does the file.
#[test]
fn what_an_ignore_file_names_stays() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    for name in ["a.csv", "a.log", "build/x", "sub/b.csv", "sub/keep.log"] {
        source.file(name, 10);
    }
    fs::write(source.root().join(".skiffignore"), "*.log\n/build/\n").expect("there is room");
    fs::write(source.root().join("sub/.skiffignore"), "!keep.log\n").expect("there is room");
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "after_delivery = 'delete'").started();
    let arrived = set(&["a.csv", "sub/b.csv", "sub/keep.log"]);
    agent.wait_until("the others go", || {
        names(source.root()) == set(&[".skiffignore", "a.log", "build/x", "sub/.skiffignore"])
    });
    assert_eq!(names(&sshd.root()), arrived);
    source.file("new.log", 10);
    source.file("new.csv", 10);
    agent.wait_until("the new one goes", || sshd.root().join("new.csv").exists());
    assert!(!sshd.root().join("new.log").exists());

    fs::write(source.root().join(".skiffignore"), "/build/\n").expect("there is room");
    agent.wait_until("what is no longer named goes", || {
        sshd.root().join("a.log").exists() && sshd.root().join("new.log").exists()
    });
    assert!(!sshd.root().join("build").exists());
}

/// What rules that can't be read may name is neither sent nor deleted until they can; nothing else waits for them.
#[test]
fn what_an_ignore_file_that_can_not_be_read_may_name_stays_and_is_told() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 3);
    for name in ["a.csv", "sub/b.csv", "sub/secret", "sub/deep/c.csv"] {
        source.file(name, 10);
    }
    let (rules, elsewhere) = (source.root().join("sub/.skiffignore"), scratch.path().join("rules"));
    fs::write(&elsewhere, "secret\n").expect("there is room");
    symlink(&elsewhere, &rules).expect("linked");
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "after_delivery = 'delete'").started();
    agent.wait_until("the others go", || !source.root().join("a.csv").exists());
    let told = || agent.ask(&["status"]).said.contains("sub/.skiffignore");
    assert!(wait::came_true(wait::LIMIT, told), "{}", agent.ask(&["status"]).said);
    agent.wait_until_logged("it is told", |line| line.contains("warn") && line.contains("sub/.skiffignore"));
    // By an event, too.
    source.file("sub/new.csv", 10);
    source.file("last", 10);
    agent.wait_until("what is elsewhere goes", || !source.root().join("last").exists());
    assert_eq!(names(&sshd.root()), set(&["a.csv", "last"]));
    let stays = ["sub/.skiffignore", "sub/b.csv", "sub/deep/c.csv", "sub/new.csv", "sub/secret"];
    assert_eq!(names(source.root()), set(&stays));

    fs::rename(&elsewhere, &rules).expect("it is there");
    let kept = set(&["sub/.skiffignore", "sub/secret"]);
    agent.wait_until("the rest goes when they can be read", || names(source.root()) == kept);
    assert!(!sshd.root().join("sub/secret").exists());
}

/// Hidden, deep, small, large and young files are left alone.
#[test]
fn limits_hold() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    for (name, bytes) in [
        ("a", 100),
        ("sub/b", 100),
        (".hidden", 100),
        (".git/c", 100),
        ("x/y/z", 100),
        ("small", 5),
        ("large", 2000),
    ] {
        source.file(name, bytes);
    }
    let old = source.file("old", 100);
    let modified = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    fs::File::options().write(true).open(old).and_then(|file| file.set_modified(modified)).expect("ours");
    let rules = "hidden = 'skip'\nmax_depth = 1\nmin_size = '10 B'\nmax_size = '1 KiB'\nmax_age = '1h'";
    let mut agent = Agent::to(&sshd).watch("in", source.root(), rules).started();
    agent.wait_until("those within arrive", || names(&sshd.root()).len() >= 2);
    source.file("last", 100);
    agent.wait_until("the last arrives", || sshd.root().join("last").exists());
    assert_eq!(names(&sshd.root()), set(&["a", "sub/b", "last"]));
}
