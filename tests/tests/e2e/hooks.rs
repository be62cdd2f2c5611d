//! Commands after a delivery and a quarantine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use skiff_tests::{Agent, Sshd, Tree, tree};
use tempfile::TempDir;

/// The whole lines of what was told.
fn told(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line:?}")))
        .collect()
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).expect("writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
}

/// Each file's receipt is told, and the file is still there meanwhile though it is about to be deleted.
#[test]
fn the_command_gets_each_receipt_before_its_source_goes() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.small_files(30, 2);
    let expected = tree::files(source.root()).expect("it was written").len();
    let (out, script) = (scratch.path().join("told"), scratch.path().join("tell"));
    // What it doesn't tell on is missed below.
    let text = format!(
        "#!/bin/sh\n\
         [ \"$1\" = 'a word; no shell' ] || exit 9\n\
         while IFS= read -r receipt; do\n\
         path=${{receipt#*'\"path\":\"'}}; path=${{path%%'\"'*}}\n\
         [ -e \"{}/$path\" ] || exit 8\n\
         printf '%s\\n' \"$receipt\" >>{}\n\
         done\n",
        source.root().display(),
        out.display()
    );
    executable(&script, &text);
    let rules =
        format!("after_delivery = 'delete'\non_delivery = ['{}', 'a word; no shell']", script.display());
    let mut agent = Agent::to(&sshd).watch("in", source.root(), &rules).started();
    agent.wait_until("all is delivered", || tree::is_empty(source.root()));
    let receipts = told(&out);
    assert_eq!(receipts.len(), expected, "{}", agent.log());
    assert!(receipts.iter().all(|receipt| receipt["watch"] == "in" && receipt["digest"].is_string()));
    assert!(!agent.log().contains("its command failed"), "{}", agent.log());
}

/// A death while the command runs: the source is still there, nothing is sent again, and the command gets the receipt
/// once more.
#[test]
fn a_command_that_a_crash_cut_short_runs_again() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 5);
    let file = source.file("a.csv", 1_000);
    let (out, go) = (scratch.path().join("told"), scratch.path().join("go"));
    let script = scratch.path().join("tell");
    // It outlives the agent, but not this test.
    let text = format!(
        "#!/bin/sh\ncat >>{out}\nwhile [ -e {out} ] && [ ! -e {go} ]; do sleep 0.05; done\n",
        out = out.display(),
        go = go.display()
    );
    executable(&script, &text);
    let rules = format!("after_delivery = 'delete'\non_delivery = '{}'", script.display());
    let mut agent = Agent::to(&sshd).watch("in", source.root(), &rules).started();
    agent.wait_until("the command runs", || told(&out).len() == 1);
    agent.kill9();
    assert!(file.exists(), "its source went before the command had ended");
    let before = tree::writings(&sshd.root());

    agent.start();
    agent.wait_until("the command runs again", || told(&out).len() == 2);
    assert!(file.exists(), "its source went before the command had ended");
    fs::write(&go, "").expect("there is room");
    agent.wait_until("its source goes", || !file.exists());

    let receipts = told(&out);
    assert_eq!(receipts[0]["path"], "a.csv");
    for key in ["watch", "path", "digest"] {
        assert_eq!(receipts[0][key], receipts[1][key], "{key} of the two");
    }
    assert_eq!(tree::writings(&sshd.root()), before, "it was sent again");
}

/// One that fails, and one that hangs, are told in the log, and hold up nothing.
#[test]
fn a_command_that_fails_or_hangs_changes_nothing() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let (mut fails, mut hangs) =
        (Tree::new(scratch.path().join("fails"), 2), Tree::new(scratch.path().join("hangs"), 3));
    fails.file("a.csv", 1_000);
    hangs.file("b.csv", 1_000);
    let mut agent = Agent::to(&sshd)
        .watch("fails", fails.root(), "after_delivery = 'delete'\non_delivery = '/bin/false'")
        .watch(
            "hangs",
            hangs.root(),
            "after_delivery = 'delete'\non_delivery = ['/bin/sleep', '1000']\nhook_timeout = '500ms'",
        )
        .started();
    agent.wait_until("both are delivered", || tree::is_empty(fails.root()) && tree::is_empty(hangs.root()));
    agent.wait_until_logged("the failure is told", |line| {
        line.contains("/bin/false ended with exit status: 1")
    });
    agent.wait_until_logged("the hang is told", |line| line.contains("/bin/sleep was killed"));
}

#[test]
fn a_quarantine_is_told_with_its_reason() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    fs::write(sshd.root().join("a.csv"), "somebody else's").expect("the destination is writable");
    let mut source = Tree::new(scratch.path().join("in"), 4);
    source.file("a.csv", 1_000);
    let out = scratch.path().join("told");
    let rules = format!("on_conflict = 'park'\non_quarantine = ['/usr/bin/tee', '-a', '{}']", out.display());
    let mut agent = Agent::to(&sshd).watch("in", source.root(), &rules).started();
    agent.wait_until("it is told", || fs::read_to_string(&out).is_ok_and(|text| text.ends_with('\n')));
    let told = told(&out);
    assert_eq!((&told[0]["event"], &told[0]["path"]), (&Value::from("quarantined"), &Value::from("a.csv")));
    assert!(told[0]["reason"].as_str().is_some_and(|reason| reason.contains("another file")), "{told:?}");
}
