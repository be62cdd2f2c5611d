//! A manifest for each shipment at the destination, read by the tools that it is for.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use skiff_tests::fault_proxy::{Fault, FaultProxy, Plan};
use skiff_tests::skiff::Push;
use skiff_tests::{Agent, Sshd, Tree, receipts, sshd, tree};
use tempfile::TempDir;

const FOLDER: &str = "skiff-manifests";

fn manifests(root: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(root.join(FOLDER)).into_iter().flatten();
    listing.map(|entry| entry.expect("it can be read").path()).collect()
}

/// What the tool says about all manifests, which has to be that all is well.
#[track_caller]
fn checked(tool: &str, root: &Path) -> BTreeSet<String> {
    let mut said = BTreeSet::new();
    for manifest in manifests(root) {
        let output = Command::new(tool).arg("-c").arg(&manifest).current_dir(root).output();
        let output = output.unwrap_or_else(|error| panic!("{tool}: {error}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{tool}: {text}{}", String::from_utf8_lossy(&output.stderr));
        let lines = text.lines().map(|line| line.strip_suffix(": OK").unwrap_or_else(|| panic!("{line}")));
        for line in lines {
            assert!(said.insert(line.to_owned()), "{line} stands in two manifests");
        }
    }
    said
}

fn put_odd_files(source: &Tree) {
    for name in
        [b"plain name".as_slice(), b"*star", b" lead", b"back\\slash", b"new\nline", b"cr\rhere", b"-c"]
    {
        fs::write(source.root().join(OsStr::from_bytes(name)), name).expect("writable");
    }
}

/// Both tools accept what they get, with odd names too, and nobody delivers a manifest as a file of its own.
#[test]
fn the_tools_accept_it_whatever_names_it_holds() {
    for (tool, ending) in [("sha256sum", "sha256"), ("b3sum", "b3")] {
        let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
        let mut source = Tree::new(scratch.path().join("in"), 1);
        source.small_files(20, 2);
        source.file("large.bin", 3 << 20);
        put_odd_files(&source);
        fs::write(source.root().join(OsStr::from_bytes(b"not utf8 \xff")), "odd").expect("writable");
        let expected = tree::files(source.root()).expect("it was written").len();
        let rules = format!("manifest = '{tool}'\nafter_delivery = 'delete'\ndestination_path = 'sub'");
        let mut agent = Agent::to(&sshd).watch("in", source.root(), &rules).started();
        agent.wait_until("all is delivered", || tree::is_empty(source.root()));
        let root = sshd.root().join("sub");
        let listed = checked(tool, &root);
        // b3sum has no way to name the one that isn't UTF-8; that is told.
        let left_out = usize::from(tool == "b3sum");
        assert_eq!(listed.len(), expected - left_out, "{listed:?}");
        assert_eq!(agent.log().matches("left out of the manifest").count(), left_out);
        assert!(manifests(&root).iter().all(|path| path.extension() == Some(OsStr::new(ending))));
        assert_eq!(agent.receipts().len(), expected, "a manifest has no receipt");
        assert!(receipts::naming(&agent.receipts(), FOLDER) == 0);
    }
}

/// Connections that are cut at many places from a file's sending to its end: each shipment has one manifest then, which
/// is whole.
#[test]
fn cuts_cost_no_manifest_and_make_none_twice() {
    const ROUNDS: u64 = 10;
    // Behind the greeting and, where there is a shell, the program that it gets.
    let (first, step) = if sshd::is_sftp_only() { (3_000, 400) } else { (17_000, 800) };
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    let proxy = FaultProxy::to(sshd.port());
    let mut agent =
        Agent::through(&proxy, &sshd, "").watch("in", source.root(), "manifest = 'sha256sum'").started();
    for round in 0..ROUNDS {
        proxy.next(Plan::up_at(first + step * round, Fault::Reset));
        proxy.break_all(Fault::Fin);
        source.file(format!("{round}.csv"), 2_000);
        let state = agent.state_dir();
        agent.wait_until("it has its receipt", || receipts::read(&state).len() as u64 > round);
    }
    let met = proxy.carried_after(0).iter().filter(|carried| carried.met).count();
    assert!(met >= 5, "only {met} connections met their cut: {:?}", proxy.carried_after(0));
    let listed = checked("sha256sum", &sshd.root());
    assert_eq!(listed.len() as u64, ROUNDS, "{listed:?}");
    assert_eq!(manifests(&sshd.root()).len() as u64, ROUNDS);
    assert_eq!(agent.receipts().len() as u64, ROUNDS);
}

/// What somebody else put under its name stays, and it comes beside.
#[test]
fn a_foreign_file_under_its_name_stays() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 3);
    source.file("a.csv", 2_000);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "manifest = 'b3sum'").started();
    let state = agent.state_dir();
    agent.wait_until("it has its receipt", || receipts::read(&state).len() == 1);
    let name = manifests(&sshd.root()).pop().expect("there is a manifest");
    // The same shipment once more, as on a machine that has forgotten it.
    agent.kill9();
    fs::remove_dir_all(&state).expect("ours");
    fs::remove_file(sshd.root().join("a.csv")).expect("it is there");
    fs::write(&name, "somebody else's").expect("writable");
    agent.start();
    agent.wait_until("it has its receipt again", || receipts::read(&state).len() == 1);
    assert_eq!(fs::read_to_string(&name).expect("it is there"), "somebody else's");
    fs::remove_file(&name).expect("it is there");
    assert_eq!(checked("b3sum", &sshd.root()).len(), 1, "ours stands beside it");
}

/// A push leaves one in the folder that its files go to, if that is wanted.
#[test]
fn a_push_leaves_one_where_it_is_told_to() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 4);
    source.small_files(20, 2);
    source.file("large.bin", 3 << 20);
    put_odd_files(&source);
    let expected = tree::files(source.root()).expect("it was written").len();
    for tool in ["sha256sum", "b3sum"] {
        let to = sshd.root().join(tool);
        Push::to(&sshd).with(&["--manifest", tool]).run(source.root(), &to).expect_code(0);
        assert_eq!(checked(tool, &to.join("in")).len(), expected);
    }
    let to = sshd.root().join("none");
    Push::to(&sshd).run(source.root(), &to).expect_code(0);
    assert!(manifests(&to.join("in")).is_empty(), "nobody asked for it");
}

skiff_tests::by_sftp_too! {
    a_push_leaves_one_where_it_is_told_to,
    the_tools_accept_it_whatever_names_it_holds,
    cuts_cost_no_manifest_and_make_none_twice,
    a_foreign_file_under_its_name_stays,
}
