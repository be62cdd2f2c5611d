//! A key that `packaging/server/skiff-shell` confines: it delivers below its folder, as any other, and does nothing else.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use skiff_tests::confined::{Confined, SHELL};
use skiff_tests::hand::{ASKED, HAND, program};
use skiff_tests::machine::{self, Mounted};
use skiff_tests::process::said;
use skiff_tests::skiff::{Push, contents_of};
use skiff_tests::{Agent, Tree, tree};
use tempfile::TempDir;

#[test]
fn a_confined_key_delivers() {
    for options in ["", "--box"] {
        if options == "--box" && !boxes_are_made() {
            continue;
        }
        let (confined, scratch) = (Confined::new(), TempDir::new().expect("a temporary folder"));
        let sshd = confined.sshd(options);
        let mut source = Tree::new(scratch.path().join("in"), 1);
        source.small_files(300, 12);
        source.file("large.bin", 3 << 20);
        let push = Push::to(&sshd);

        push.run(contents_of(source.root()), &confined.folder()).expect_code(0);
        tree::assert_equal(source.root(), &confined.folder());
        source.replace("large.bin", 3 << 20);
        push.run(contents_of(source.root()), &confined.folder()).expect_code(0);
        tree::assert_equal(source.root(), &confined.folder());
        push.run(contents_of(source.root()), Path::new("below/it")).expect_code(0);
        tree::assert_equal(source.root(), &confined.folder().join("below/it"));
    }
}

/// Whether bwrap is there, and may make what it makes for `--box`; if not, it says so.
fn boxes_are_made() -> bool {
    let why = match Command::new("bwrap").args(["--unshare-all", "--ro-bind", "/", "/", "true"]).output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => said(&output),
        Err(error) => format!("there is no bwrap (package bubblewrap): {error}"),
    };
    machine::not_shown("a confined key with --box", &why);
    false
}

#[test]
fn the_agent_says_that_its_key_is_for_another_folder() {
    let (confined, scratch) = (Confined::new(), TempDir::new().expect("a temporary folder"));
    let sshd = confined.sshd("");
    // The agent delivers to the server's usual folder, which isn't the one of this key.
    let agent = Agent::to(&sshd).watch("in", scratch.path(), "");

    agent.ask(&["check"]).expect_said("this key may only deliver below");
    assert!(tree::is_empty(&sshd.root()));
}

#[test]
fn a_skiff_that_the_server_does_not_know_is_told_so() {
    let (confined, scratch) = (Confined::new(), TempDir::new().expect("a temporary folder"));
    fs::write(confined.home().join("lib/hands/0.1.0.sh"), "# of another version\n:\n").expect("writable");
    let sshd = confined.sshd("");
    fs::write(scratch.path().join("a"), "a").expect("writable");

    let ended = Push::to(&sshd).run(contents_of(scratch.path()), &confined.folder());
    ended.expect_said("this version of skiff is not known here");
    assert!(tree::is_empty(&confined.folder()));
}

#[test]
fn a_confined_key_does_nothing_else() {
    let confined = Confined::new();
    let sshd = confined.sshd("");
    let ssh = |words: &[&str]| {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o"]);
        command.arg(format!("UserKnownHostsFile={}", sshd.known_hosts().display()));
        command.arg("-i").arg(sshd.key()).args(["-p", &sshd.port().to_string(), "-l", sshd.user()]);
        let output = command.args(words).stdin(Stdio::null()).output().expect("ssh runs");
        (output.status.success(), said(&output))
    };
    let secret = confined.home().join("secret");
    let outside = confined.home().join("outside");
    let cat = format!("cat {}", secret.display());
    let copy_out = format!("scp -f {}", secret.display());
    let copy_in = format!("scp -t {}", outside.display());
    let behind = format!("{ASKED}; {cat}");
    let before = format!("{cat}; {ASKED}");
    let hidden = format!("{ASKED}$(touch {})", outside.display());
    let attempts =
        ["id", &cat, &copy_out, &copy_in, &behind, &before, &hidden, "sh", "sh -c id skiff abcdef", ""];
    for attempt in attempts {
        let (done, said) = ssh(&["127.0.0.1", "--", attempt]);
        assert!(!done && said.contains("this key may only be used by skiff"), "{attempt}: {said}");
        assert!(!said.contains("uid=") && !said.contains("a secret"), "{attempt}: {said}");
    }
    for (attempt, words) in [
        ("a subsystem", vec!["-s", "127.0.0.1", "sftp"]),
        ("a terminal", vec!["-tt", "127.0.0.1", "sh"]),
        ("a forwarded port", vec!["-W", "127.0.0.1:22", "127.0.0.1"]),
        ("a remote port", vec!["-o", "ExitOnForwardFailure=yes", "-N", "-R", "0:127.0.0.1:22", "127.0.0.1"]),
    ] {
        let (done, said) = ssh(&words);
        assert!(!done, "{attempt}: {said}");
    }
    assert!(!outside.exists() && tree::is_empty(&confined.folder()));
}

#[test]
fn another_program_is_not_run() {
    let confined = Confined::new();
    let outside = confined.home().join("outside");
    let touch = format!("touch {}", outside.display());
    let hand = fs::read_to_string(HAND).expect("it is in the repository");
    for other in [touch.clone(), format!("{hand}\n{touch}"), format!("{touch}\n{hand}"), String::new()] {
        let said = confined.session(ASKED, &program(&other), &["root ."]);
        assert!(said.contains("this version of skiff is not known here"), "{said}");
    }
    assert!(!outside.exists());
}

/// S9: whoever has the key speaks the protocol as they like.
#[test]
fn no_verb_leaves_the_folder() {
    let confined = Confined::new();
    let (folder, outside) = (confined.folder(), confined.home().join("outside"));
    let (home, path) = (confined.home().display().to_string(), outside.display().to_string());
    // The administrator's own; the key can't make one.
    symlink(confined.home(), folder.join("way-out")).expect("writable");
    fs::write(folder.join("mine"), "mine").expect("writable");
    let absolute = format!("root {home}");
    let beside = format!("root {}-beside", folder.display());
    let up = format!("root {}/..", folder.display());
    let before_root = format!("recv {}", path.trim_start_matches('/'));
    let attacks: &[&[&str]] = &[
        &[&absolute],
        &[&beside],
        &[&up],
        &["root .."],
        &[r"root \056\056"],
        &[r"root a/\056\056/\056\056/outside"],
        &["root way-out"],
        &["root way-out/outside"],
        &[&before_root],
        &["open ab fresh", &before_root],
        &["root .", "cat ../secret"],
        &["root .", r"cat \056\056/secret"],
        &["root .", r"cat .\056/secret"],
        &["root .", "cat way-out/secret"],
        &["root .", "open ../../outside fresh"],
        &["root .", "open ab fresh", "recv ../../../outside"],
        &["root .", "open ab fresh", "member part ../../../../outside"],
        &["root .", "open ab fresh", "member ../../mine outside"],
        &["root .", "open ab fresh", r"place \056\056/\056\056/mine ../outside"],
        &["root .", "open ab fresh", "place ../../mine way-out/outside"],
        &["root .", "open ab fresh", "place part way-out/outside"],
        &["root .", "open ab fresh", "replace ../../mine way-out/secret any"],
        &["root .", "open ab fresh", "replace part ../secret any"],
        &["root .", "open ab fresh", "publish", "..", "/"],
        &["root .", "open ab fresh", "publish", "way-out", "/"],
        &["root .", "open ab fresh", "copy ../secret m/stolen 600 202601010000.00"],
        &["root .", "open ab fresh", "copy way-out/secret m/stolen 600 202601010000.00"],
        &["root .", "open ab fresh", "copy mine ../../../outside 600 202601010000.00"],
        &["root .", "open ab fresh", "own 0:0 m/x"],
        &["root .", "enter ../../.. abcdef"],
        &["root .", "open ab fresh", "enter ab ../../../.."],
        &["root .", "measure ../secret 9"],
        &["root .", "measure way-out/secret 9"],
        &["root .", "open ab fresh", "extend part ../secret 9"],
        &["root .", "open ab fresh", "extend part way-out/outside 0"],
        &["root .", "cut ../secret 1 0"],
        &["root .", "cut way-out/secret 1 0"],
        &["root .", "rename mine ../outside"],
        &["root .", "rename mine way-out/outside"],
        &["root .", "rename ../secret mine-now"],
        &["root .", "rename way-out/secret mine-now"],
        &["root .", "folders", "../outside", "/"],
        &["root .", "folders", "way-out/outside", "/"],
        &["root .", "drop ../../folder"],
        &["root .", "sweep ../.."],
        &["root .", "eval touch outside"],
        &["root .", "verb_root"],
    ];
    for attack in attacks {
        let said = confined.say(attack);
        assert!(!said.contains("a secret"), "{attack:?}: {said}");
        assert!(!outside.exists(), "{attack:?}: {said}");
        assert!(!PathBuf::from(format!("{}-beside", folder.display())).exists(), "{attack:?}: {said}");
        assert_eq!(fs::read(confined.home().join("secret")).expect("it stands"), b"a secret\n", "{attack:?}");
        assert_eq!(fs::read(folder.join("mine")).expect("it stands"), b"mine", "{attack:?}");
        let refused = said.contains("abcdef no ") || said.contains("folder way-out/outside: symlink");
        assert!(refused, "{attack:?} was not refused: {said}");
    }
    assert!(!confined.home().join(".skiff").exists());
}

/// What was copied at the server is of the same batch as what comes by `tar`.
#[test]
fn what_was_copied_stays_when_the_rest_is_unpacked() {
    let confined = Confined::new();
    let staging = confined.folder().join(".skiff/ab.abcdef");
    fs::write(confined.folder().join("twin"), "twin").expect("writable");
    fs::create_dir_all(confined.home().join("in/a")).expect("writable");
    fs::write(confined.home().join("in/a/new"), "new").expect("writable");
    let copy = |to: &str| format!("copy twin {to} 644 202601010000.00 {}", blake3::hash(b"twin").to_hex());
    let [again, too] = ["m/again", "m/a/too"].map(copy);
    for copies in [&[][..], &[again.as_str(), too.as_str()]] {
        fs::create_dir_all(&staging).expect("writable");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(confined.home().join("in")).arg("-cf").arg(staging.join("part")).arg("./a/new");
        assert!(tar.status().expect("tar runs").success());
        let verbs = [&["root .", "use ab"], copies, &["unpack part", "publish", ".", "a", "/"]].concat();

        let said = confined.say(&verbs);

        assert!(said.contains("  ./a/new") && said.contains("abcdef ok cleared"), "{said}");
        assert_eq!(fs::read(confined.folder().join("a/new")).expect("it is there"), b"new");
        for name in ["again", "a/too"].into_iter().filter(|_| !copies.is_empty()) {
            assert!(said.contains(&format!("  ./{name}")), "{said}");
            assert_eq!(fs::read(confined.folder().join(name)).expect("it is there"), b"twin");
        }
        fs::remove_dir_all(confined.folder().join("a")).expect("it is there");
    }
}

/// A batch takes no more room than twice its size, which is what is asked for; and where even that isn't there, it is said.
#[test]
fn a_batch_lies_there_twice_at_most_and_a_full_disk_is_named() {
    if !machine::is_root("a small disk") {
        return;
    }
    let confined = Confined::new();
    let staging = confined.folder().join(".skiff/ab.abcdef");
    let disk = Mounted::tmpfs(&confined.folder(), "size=11m");
    fs::write(confined.home().join("file"), vec![7; 4 << 20]).expect("writable");
    for (size, fits) in [("size=11m", true), ("size=7m", false)] {
        disk.set(size);
        fs::create_dir_all(&staging).expect("writable");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(confined.home()).arg("-cf").arg(staging.join("part")).arg("./file");
        assert!(tar.status().expect("tar runs").success());

        let said = confined.say(&["root .", "use ab", "unpack part"]);

        let unpacked = fs::metadata(staging.join("m/file")).is_ok_and(|file| file.len() == 4 << 20);
        assert_eq!(unpacked, fits, "{said}");
        assert_eq!(said.contains("abcdef no unpack"), !fits, "{said}");
        assert_eq!(said.contains("No space left on device"), !fits, "{said}");
        fs::remove_dir_all(&staging).expect("it is there");
    }
}

/// A batch may hold files only: a symlink in it would be a way out for the next verb.
#[test]
fn a_batch_with_a_way_out_is_not_unpacked() {
    let (confined, scratch) = (Confined::new(), TempDir::new().expect("a temporary folder"));
    let make = |name: &str, members: &[&str], options: &[&str]| {
        let archive = confined.folder().join(".skiff/ab.abcdef/part");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(scratch.path()).args(options).arg("-cf").arg(&archive).args(members);
        assert!(tar.status().expect("tar runs").success(), "{name}");
    };
    fs::write(scratch.path().join("file"), "text").expect("writable");
    symlink("/", scratch.path().join("link")).expect("writable");
    fs::hard_link(scratch.path().join("file"), scratch.path().join("hard")).expect("one file system");
    Command::new("mkfifo").arg(scratch.path().join("pipe")).status().expect("mkfifo runs");
    let staging = confined.folder().join(".skiff/ab.abcdef");
    for (name, members, options, taken) in [
        ("a file", vec!["./file"], vec![], true),
        ("a symlink", vec!["./link"], vec![], false),
        ("a symlink behind a file", vec!["./file", "./link"], vec![], false),
        ("a hard link", vec!["./file", "./hard"], vec![], false),
        ("a pipe", vec!["./pipe"], vec![], false),
        ("an absolute name", vec!["./file"], vec!["-P", "--transform=s,^./file,/tmp/x,"], false),
        ("a name above", vec!["./file"], vec!["-P", "--transform=s,^./file,a/../../x,"], false),
    ] {
        let _ = fs::remove_dir_all(&staging);
        fs::create_dir_all(&staging).expect("writable");
        make(name, &members, &options);
        let said = confined.say(&["root .", "use ab", "unpack part"]);
        assert_eq!(staging.join("m/file").is_file(), taken, "{name}: {said}");
        assert_eq!(said.contains("not a batch of plain files"), !taken, "{name}: {said}");
        let left = tree::files(&confined.folder()).expect("readable");
        assert!(left.values().all(|facts| facts.permissions().mode() & 0o170_000 == 0o100_000), "{name}");
    }
}

/// Some tars list a hard link as a file. busybox's makes it to anywhere, too.
#[test]
fn a_hard_link_is_no_way_out_with_a_tar_that_does_not_tell() {
    let confined = Confined::new();
    let (home, folder) = (confined.home(), confined.folder());
    fs::create_dir(home.join("tools")).expect("writable");
    let is_there = Command::new("busybox").arg("true").status().is_ok_and(|status| status.success());
    assert!(is_there, "busybox is one of the packages that the tests install");
    let busybox = Command::new("sh").args(["-c", "command -v busybox"]).output().expect("sh runs").stdout;
    let busybox = String::from_utf8(busybox).expect("a path");
    symlink(busybox.trim(), home.join("tools/tar")).expect("writable");
    let shell = fs::read_to_string(SHELL).expect("it is in the repository");
    let with_tools = shell.replacen("PATH=", &format!("PATH={}:", home.join("tools").display()), 1);
    assert_ne!(shell, with_tools);
    fs::write(confined.shell(), with_tools).expect("writable");

    let scratch = TempDir::new().expect("a temporary folder");
    fs::write(scratch.path().join("file"), "text").expect("writable");
    fs::hard_link(scratch.path().join("file"), scratch.path().join("stolen")).expect("one file system");
    let elsewhere = format!("--transform=s,^file$,{},RSh", home.join("secret").display());
    let staging = folder.join(".skiff/ab.abcdef");
    for (members, member, taken) in [(vec!["file"], "file", true), (vec!["file", "stolen"], "stolen", false)]
    {
        let _ = fs::remove_dir_all(&staging);
        fs::create_dir_all(&staging).expect("writable");
        let mut tar = Command::new("tar");
        tar.args(["-P", &elsewhere, "-C"]).arg(scratch.path()).arg("-cf").arg(staging.join("part"));
        assert!(tar.args(members).status().expect("tar runs").success());
        let cat = format!("cat .skiff/ab.abcdef/m/{member}");
        let said = confined.say(&["root .", "use ab", "unpack part", &cat]);
        assert!(!said.contains("a secret"), "{said}");
        assert_eq!(said.contains("text"), taken, "{said}");
        assert_eq!(said.contains("not a batch of plain files"), !taken, "{said}");
    }
    let left = fs::read_dir(folder.join(".skiff")).expect("readable").count();
    assert_eq!(left, 1, "what was looked at is taken away");
}
