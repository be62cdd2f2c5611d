//! The matrix: every server that has to work, with every login shell, in both directions. Each test prints its rows.
//! `tests/matrix` shows them as one table.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use skiff_tests::asyncssh::AsyncSsh;
use skiff_tests::pull::{Pull, bytes};
use skiff_tests::skiff::{Ended, Push, contents_of};
use skiff_tests::{Dropbear, Sshd, Toolbox, Tree, tree};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn scratch() -> TempDir {
    TempDir::new().expect("there is room for a temporary folder")
}

/// What is sent and fetched: files small and large, empty ones, and names that a shell would trip over.
fn goods(root: &Path, odd_names: bool) -> Tree {
    let mut source = Tree::new(root, 1);
    source.small_files(30, 3);
    source.file("large.bin", 5 * MIB + 3);
    source.file("a 'b' \"c\" $(d) `e` !f * ~ {g,h} \\i", 100);
    if odd_names {
        source.file(bytes(b"new\nline\xff"), 100);
    }
    source
}

/// One line of the table; it fails the test unless the way works.
#[track_caller]
fn row(server: &str, shell: &str, way: &str, ended: &Ended, difference: Option<&str>) {
    let works = ended.code == Some(0) && difference.is_none();
    println!("matrix: {server:<22} | {shell:<30} | {way:<15} | {}", if works { "works" } else { "FAILS" });
    assert!(works, "{server}, {shell}, {way}: {difference:?}, skiff said:\n{}", ended.said);
}

/// Push, pull over the shell and, unless start-up files talk, pull by scp alone.
#[track_caller]
fn serves(server: &str, shell: &str, sshd: &Sshd, quiet: bool) {
    let (push, pull) = (Push::to(sshd), Pull::from(sshd));
    goes_both_ways(server, shell, &push, pull, &sshd.root(), quiet);
}

#[track_caller]
fn goes_both_ways(server: &str, shell: &str, push: &Push, pull: Pull, root: &Path, quiet: bool) {
    let scratch = scratch();
    let source = goods(&scratch.path().join("source"), true);
    let there = root.join("there");
    let ended = push.run(contents_of(source.root()), &there);
    row(server, shell, "push: shell+scp", &ended, tree::difference(source.root(), &there).as_deref());
    let here = scratch.path().join("by-shell");
    let ended = pull.run(contents_of(&there), &here);
    row(server, shell, "pull: shell", &ended, tree::difference(source.root(), &here).as_deref());
    if !quiet {
        return;
    }
    // A newline in a name is more than scp can say.
    fs::remove_file(there.join(bytes(b"new\nline\xff"))).expect("it was sent");
    let here = scratch.path().join("by-scp");
    let ended = pull.with(&["-q", "-O"]).run(contents_of(&there), &here);
    row(server, shell, "pull: scp", &ended, tree::difference(&there, &here).as_deref());
}

#[test]
fn openssh_serves_with_every_login_shell() {
    let home = scratch();
    let ash = home.path().join("ash");
    symlink("/bin/busybox", &ash).expect("the folder is writable");
    for name in ["bash", "dash", "zsh", "fish", "tcsh"] {
        let shell = ["/bin", "/usr/bin"].map(|folder| Path::new(folder).join(name));
        let shell = shell.iter().find(|path| path.exists());
        let shell = shell.unwrap_or_else(|| panic!("this machine has no {name}. Try: apt install {name}"));
        serves("OpenSSH", name, &Sshd::start_with_shell(shell, ""), true);
    }
    serves("OpenSSH", "busybox ash", &Sshd::start_with_shell(&ash, ""), true);
}

/// Start-up files that print: text, and a lot of what looks like anything.
#[test]
fn openssh_serves_with_start_up_files_that_print() {
    for (shell, file, text) in [
        ("bash", ".bashrc", "echo Welcome to this server; echo and mind the step >&2"),
        ("bash", ".bashrc", "head -c 700000 /dev/urandom"),
        ("zsh", ".zshenv", "echo Welcome; printf 'no end of line'"),
        ("fish", ".config/fish/config.fish", "echo Welcome"),
        ("tcsh", ".tcshrc", "echo Welcome"),
    ] {
        let sshd = Sshd::start_with_shell(&Path::new("/bin").join(shell), "");
        let path = sshd.session_home().join(file);
        fs::create_dir_all(path.parent().expect("it has one")).expect("the server's folder is writable");
        fs::write(path, format!("{text}\n")).expect("the server's folder is writable");
        let kind = if text.contains("urandom") { "700 kB of noise" } else { "prints" };
        serves("OpenSSH", &format!("{shell}, {file} {kind}").replace(".config/fish/", ""), &sshd, false);
    }
}

#[test]
fn openssh_serves_with_busybox_tools_only() {
    let toolbox = Toolbox::busybox().and_busybox(&["dd", "stat"]);
    serves("OpenSSH", "bash, busybox tools", &Sshd::start_with(&toolbox.lines()), true);
}

#[test]
fn dropbear_serves() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let dropbear = Dropbear::beside(&sshd, scratch.path());
    let push = Push::at(dropbear.port, &dropbear.known_hosts, &sshd);
    let pull = Pull::at(dropbear.port, sshd.user(), &sshd.key(), &dropbear.known_hosts);
    goes_both_ways("dropbear", "bash", &push, pull, &sshd.root(), true);
}

/// No shell at all: scp alone is found to be the way.
#[test]
fn asyncssh_serves_by_its_own_scp() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let server = match AsyncSsh::beside(&sshd, scratch.path(), Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(server) => server,
        Err(why) => {
            println!("matrix: {:<22} | {:<30} | {:<15} | SKIPPED: {why}", "asyncssh", "none", "pull: scp");
            eprintln!("SKIPPED: asyncssh can't be had here: {why}");
            return;
        }
    };
    let source = goods(&sshd.root().join("data"), false);
    let pull = Pull::at(server.port, sshd.user(), &sshd.key(), &server.known_hosts);
    let here = scratch.path().join("here");
    let ended = pull.run(source.root(), &here);
    row(
        "asyncssh",
        "none",
        "pull: scp",
        &ended,
        tree::difference(source.root(), &here.join("data")).as_deref(),
    );

    let push = Push::at(server.port, &server.known_hosts, &sshd);
    push.run(source.root(), &sshd.root().join("pushed")).expect_code(3).expect_said("login shell");
}
