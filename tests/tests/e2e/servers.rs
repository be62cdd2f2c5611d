//! The matrix: every server that has to work, with every login shell, in both directions. Each test prints its rows.
//! `tests/matrix` shows them as one table.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use skiff_tests::asyncssh::AsyncSsh;
use skiff_tests::pull::{Pull, bytes};
use skiff_tests::skiff::{Ended, Push, contents_of};
use skiff_tests::{Dropbear, Rclone, Sshd, Toolbox, Tree, machine, tree};
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
    println!("matrix: {server:<22} | {shell:<30} | {way:<17} | {}", if works { "works" } else { "FAILS" });
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
    if !machine::is_root("OpenSSH with other login shells") {
        return;
    }
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
    if !machine::is_root("OpenSSH with other login shells") {
        return;
    }
    for talker in TALKERS {
        let (sshd, shell) = talks(talker, "");
        serves("OpenSSH", &shell, &sshd, false);
    }
}

/// The same where the shell runs the SFTP server: what it prints comes before SFTP's first word, on the same stream.
#[test]
fn openssh_serves_by_sftp_with_start_up_files_that_print() {
    if !machine::is_root("OpenSSH with other login shells") {
        return;
    }
    let server = skiff_tests::consumer::server();
    let by_sftp = ["-q", "--transport", "sftp"];
    for talker in TALKERS {
        let (sshd, shell) = talks(talker, &format!("Subsystem sftp {}", server.display()));
        let both = (Push::to(&sshd).with(&by_sftp), Pull::from(&sshd).with(&by_sftp));
        goes_by_sftp("OpenSSH, sftp-server", &shell, &both, (&sshd.root(), "there"), true);
    }
}

/// Login shells, their start-up files, and what those do.
const TALKERS: [[&str; 3]; 5] = [
    ["bash", ".bashrc", "echo Welcome to this server; echo and mind the step >&2"],
    ["bash", ".bashrc", "head -c 700000 /dev/urandom"],
    ["zsh", ".zshenv", "echo Welcome; printf 'no end of line'"],
    ["fish", ".config/fish/config.fish", "echo Welcome"],
    ["tcsh", ".tcshrc", "echo Welcome"],
];

/// A server with such a login shell, and what the table calls it.
fn talks([shell, file, text]: [&str; 3], more: &str) -> (Sshd, String) {
    let sshd = Sshd::start_with_shell(&Path::new("/bin").join(shell), more);
    let path = sshd.session_home().join(file);
    fs::create_dir_all(path.parent().expect("it has one")).expect("the server's folder is writable");
    fs::write(path, format!("{text}\n")).expect("the server's folder is writable");
    let kind = if text.contains("urandom") { "700 kB of noise" } else { "prints" };
    (sshd, format!("{shell}, {file} {kind}").replace(".config/fish/", ""))
}

#[test]
fn openssh_serves_with_busybox_tools_only() {
    let toolbox = Toolbox::busybox().and_busybox(&["dd", "stat"]);
    serves("OpenSSH", "bash, busybox tools", &Sshd::start_with(&toolbox.lines()), true);
}

#[test]
fn dropbear_serves() {
    if !machine::is_root("dropbear as a server") {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), scratch());
    let dropbear = Dropbear::beside(&sshd, scratch.path());
    let push = || Push::at(dropbear.port, &dropbear.known_hosts, &sshd);
    let pull = || Pull::at(dropbear.port, sshd.user(), &sshd.key(), &dropbear.known_hosts);
    goes_both_ways("dropbear", "bash", &push(), pull(), &sshd.root(), true);
    let by_sftp = ["-q", "--transport", "sftp"];
    let both = (push().with(&by_sftp), pull().with(&by_sftp));
    goes_by_sftp("dropbear, sftp-server", "bash", &both, (&sshd.root(), "by-sftp"), true);
}

/// Where dropbear finds no SFTP server, all goes over the shell, and whoever wants SFTP is told.
#[test]
fn dropbear_serves_without_sftp() {
    if !machine::is_root("dropbear as a server") {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), scratch());
    let dropbear = Dropbear::without_sftp(&sshd, scratch.path());
    let push = Push::at(dropbear.port, &dropbear.known_hosts, &sshd);
    let pull = Pull::at(dropbear.port, sshd.user(), &sshd.key(), &dropbear.known_hosts);
    goes_both_ways("dropbear, no SFTP", "bash", &push, pull, &sshd.root(), true);
    let source = goods(&scratch.path().join("forced"), false);
    let forced = push.with(&["-q", "--transport", "sftp"]);
    forced.run(source.root(), &sshd.root()).expect_code(3).expect_said("gives no SFTP");
}

/// Push and pull by SFTP, as it is found or forced.
#[track_caller]
fn goes_by_sftp(
    server: &str,
    shell: &str,
    (push, pull): &(Push, Pull),
    (root, name): (&Path, &str),
    odd_names: bool,
) {
    let scratch = scratch();
    let mut source = goods(&scratch.path().join("source"), odd_names);
    let (there, seen) = (root.join(name), Path::new("/").join(name));
    // What a chrooted server shows begins at its own root.
    let target = if push.is_chrooted { seen.as_path() } else { there.as_path() };
    let ended = push.run(contents_of(source.root()), target);
    row(server, shell, "push: sftp", &ended, tree::difference(source.root(), &there).as_deref());
    // A second version of a small file and of a large one takes the place of the first.
    source.replace("large.bin", 4 * MIB + 1);
    source.replace("a 'b' \"c\" $(d) `e` !f * ~ {g,h} \\i", 200);
    let ended = push.run(contents_of(source.root()), target);
    row(server, shell, "push: sftp, again", &ended, tree::difference(source.root(), &there).as_deref());
    let here = scratch.path().join("by-sftp");
    let ended = pull.run(contents_of(target), &here);
    row(server, shell, "pull: sftp", &ended, tree::difference(source.root(), &here).as_deref());
}

/// No shell, and all that is seen of the server is a folder.
#[test]
fn openssh_serves_by_sftp_alone() {
    let sshd = Sshd::start_with("ForceCommand internal-sftp");
    goes_by_sftp(
        "OpenSSH",
        "ForceCommand internal-sftp",
        &(Push::to(&sshd), Pull::from(&sshd)),
        (&sshd.root(), "there"),
        true,
    );

    if !machine::is_root("OpenSSH that shows one folder, or has a login shell that ends at once") {
        return;
    }
    // Where it may be changed to: nobody but root may write on the way.
    let jail = TempDir::new_in("/run").expect("root can write there");
    fs::set_permissions(jail.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let sshd =
        Sshd::start_with(&format!("ForceCommand internal-sftp\nChrootDirectory {}", jail.path().display()));
    let push = Push::to(&sshd).in_chroot();
    goes_by_sftp(
        "OpenSSH",
        "internal-sftp, chroot",
        &(push, Pull::from(&sshd)),
        (jail.path(), "there"),
        true,
    );

    let sshd = Sshd::start_with_shell(Path::new("/usr/sbin/nologin"), "");
    goes_by_sftp("OpenSSH", "nologin", &(Push::to(&sshd), Pull::from(&sshd)), (&sshd.root(), "there"), true);
}

/// Without what OpenSSH added to the protocol, files are published and replaced all the same.
#[test]
fn openssh_serves_by_sftp_without_its_additions() {
    for lacks in ["posix-rename", "hardlink", "fsync", "posix-rename,hardlink,fsync,statvfs,limits"] {
        let sshd = Sshd::start_with(&format!("ForceCommand internal-sftp -P {lacks}"));
        let shell = format!("internal-sftp -P {lacks}");
        let both = (Push::to(&sshd), Pull::from(&sshd));
        goes_by_sftp("OpenSSH", &shell, &both, (&sshd.root(), "there"), true);
    }
}

#[test]
fn rclone_serves_by_sftp() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let Some(server) = Rclone::beside(&sshd, scratch.path()) else {
        println!(
            "matrix: {:<22} | {:<30} | {:<15} | SKIPPED: it is not installed",
            "rclone", "none", "push: sftp"
        );
        machine::not_shown("rclone as a server", "there is no rclone (package rclone)");
        return;
    };
    let push = Push::at(server.port, &server.known_hosts, &sshd).in_chroot();
    let pull = Pull::at(server.port, sshd.user(), &sshd.key(), &server.known_hosts);
    // It takes names as text.
    goes_by_sftp("rclone serve sftp", "none", &(push, pull), (&sshd.root(), "there"), false);
}

/// No shell at all: by its own SFTP, and by its own scp where that is wanted.
#[test]
fn asyncssh_serves() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let server = match AsyncSsh::beside(&sshd, scratch.path(), Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(server) => server,
        Err(why) => {
            println!("matrix: {:<22} | {:<30} | {:<15} | SKIPPED: {why}", "asyncssh", "none", "pull: scp");
            machine::not_shown("asyncssh as a server", &why);
            return;
        }
    };
    let pull = || Pull::at(server.port, sshd.user(), &sshd.key(), &server.known_hosts);
    let push = Push::at(server.port, &server.known_hosts, &sshd);
    goes_by_sftp("asyncssh", "none", &(push, pull()), (&sshd.root(), "there"), true);

    let source = goods(&sshd.root().join("data"), false);
    let here = scratch.path().join("here");
    let ended = pull().with(&["-q", "-O"]).run(source.root(), &here);
    let difference = tree::difference(source.root(), &here.join("data"));
    row("asyncssh", "none", "pull: scp", &ended, difference.as_deref());
}
