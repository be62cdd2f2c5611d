//! P12: no name runs a command, and every name arrives byte for byte.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use skiff_tests::skiff::{Push, contents_of};
use skiff_tests::{Agent, Sshd, Tree, process, tree};
use tempfile::TempDir;

/// Faults 13 to 17: names of a watched folder.
#[test]
fn odd_names_arrive_and_stay_inert() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let canary = canary_name(&scratch);
    let source = odd_tree(&scratch.path().join("in"), &canary);

    // None is excluded: a list of one's own replaces the usual one.
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "exclude = []").started();

    agent.wait_until("all names are delivered", || tree::equal(source.root(), &sshd.root()));
    assert_no_canary(&canary, &[agent.home(), source.root(), &sshd.root()]);
}

/// Faults 13 to 17: the same names pushed.
#[test]
fn odd_names_can_be_pushed() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let canary = canary_name(&scratch);
    let source = odd_tree(&scratch.path().join("in"), &canary);

    Push::to(&sshd).run(contents_of(source.root()), &sshd.root()).expect_code(0);

    tree::assert_equal(source.root(), &sshd.root());
    assert_no_canary(&canary, &[source.root(), &sshd.root()]);
}

/// Fault 14 in the log: a name cannot begin a line of its own.
#[test]
fn newline_in_a_name_forges_no_log_line() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    let name = "a\nFORGED line";
    source.file(name, 10);
    // In its way, so that the log has to name it.
    fs::write(sshd.root().join(name), "somebody else's").expect("the destination is writable");
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "on_conflict = 'park'").started();

    agent.wait_until_logged("the name is in the log, on one line", |line| {
        line.contains("a\\nforged line") && line.contains("quarantined=true")
    });
    assert!(agent.terminate().success());

    let log = agent.log();
    assert!(!log.lines().any(|line| line.starts_with("FORGED")), "a name began a line of the log:\n{log}");
}

fn odd_tree(root: &Path, canary: &str) -> Tree {
    let mut source = Tree::new(root, 1);
    let run = format!("touch {canary}");
    let texts = [
        "two\nlines".to_owned(),
        "newline at the end\n".to_owned(),
        "C0644 5 forged\n".to_owned(),
        "single ' quote".to_owned(),
        "double \" quote".to_owned(),
        format!("$({run})"),
        format!("'$({run})'"),
        format!("\"$({run})\""),
        format!("`{run}`"),
        format!("; {run} ;"),
        format!("| {run}"),
        format!("&& {run}"),
        format!("\n{run}\n"),
        format!("$({})", run.replace(' ', "${IFS}")),
        "*".to_owned(),
        "?[a-z]*{a,b}".to_owned(),
        "-rf".to_owned(),
        "--help".to_owned(),
        "-".to_owned(),
        "~".to_owned(),
        "#hash".to_owned(),
        "!history".to_owned(),
        "%s%n".to_owned(),
        "back\\slash".to_owned(),
        "slash n \\n".to_owned(),
        "backslash at the end\\".to_owned(),
        " ".to_owned(),
        "  spaces around  ".to_owned(),
        "tab\tand\rreturn".to_owned(),
        "\u{1b}[31mred".to_owned(),
        "bücher 本".to_owned(),
        "n".repeat(255),
    ];
    for text in &texts {
        source.file(text, 20);
    }
    source.file(OsStr::from_bytes(b"not \xff\xfe UTF-8"), 20);
    source.file(OsStr::from_bytes(&[0x80; 255]), 20);
    // The same as folders: with one small file, and with one that travels alone.
    source.file(format!("$({run})\n-folder/in side"), 20);
    source.file(format!("-folder '\"`{run}`/large"), 2 << 20);
    source
}

/// A name that no other run uses.
fn canary_name(scratch: &TempDir) -> String {
    let unique = scratch.path().file_name().and_then(OsStr::to_str).expect("temporary names are plain");
    format!("canary{}", unique.replace('.', "-"))
}

/// Looks wherever a command of either side may have had its working folder.
fn assert_no_canary(canary: &str, places: &[&Path]) {
    let login_folder = PathBuf::from(process::run(Command::new("sh").args(["-c", "eval echo ~$(id -un)"])));
    let here = std::env::current_dir().expect("a process has a working folder");
    let tmp = std::env::temp_dir();
    let parents = places.iter().filter_map(|place| place.parent());
    let everywhere =
        places.iter().copied().chain(parents).chain([&*login_folder, &*here, &*tmp, Path::new("/")]);
    for place in everywhere {
        let exists = fs::symlink_metadata(place.join(canary)).is_ok();
        assert!(!exists, "a name ran as a command in {}", place.display());
    }
    for place in places {
        let files = tree::files(place).expect("a folder at rest can be read");
        let planted = files.keys().find(|path| path.file_name() == Some(OsStr::new(canary)));
        assert_eq!(planted, None, "a name ran as a command below {}", place.display());
    }
}

skiff_tests::by_sftp_too! {
    odd_names_arrive_and_stay_inert,
    odd_names_can_be_pushed,
}
