//! Commands after a delivery and a quarantine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use skiff_tests::{Agent, Sshd, Tree, tree};
use tempfile::TempDir;

fn told(file: &std::path::Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line:?}")))
        .collect()
}

/// Each file's receipt is told, and the file is still there meanwhile though it is about to be deleted.
#[test]
fn the_command_gets_each_receipt_before_its_source_goes() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.small_files(30, 2);
    let expected = tree::files(source.root()).expect("it was written").len();
    let (out, script) = (scratch.path().join("told"), scratch.path().join("tell"));
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = 'a word; no shell' ] || exit 9\nls -R {} | grep -q . || exit 8\ncat >> {}\n",
        source.root().display(),
        out.display()
    );
    fs::write(&script, text).expect("writable");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("ours");
    let rules =
        format!("after_delivery = 'delete'\non_delivery = ['{}', 'a word; no shell']", script.display());
    let mut agent = Agent::to(&sshd).watch("in", source.root(), &rules).started();
    agent.wait_until("all is delivered", || tree::is_empty(source.root()));
    let receipts = told(&out);
    assert_eq!(receipts.len(), expected, "{}", agent.log());
    assert!(receipts.iter().all(|receipt| receipt["watch"] == "in" && receipt["digest"].is_string()));
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
