//! What a server lacks, refuses or changes meanwhile: it is told, and the rest arrives.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::geteuid;
use skiff_tests::pull::Pull;
use skiff_tests::skiff::contents_of;
use skiff_tests::{Sshd, Toolbox, Tree, tree};

use super::{DIGESTS, MIB, mixed, scratch, tools};

/// Exit 1: what is missing is named, what is there arrives.
#[test]
fn missing_source_fails_and_the_other_arrives() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root(), 5);
    let there = source.file("there", 100);

    let sources = [sshd.root().join("missing"), there.clone()];
    Pull::from(&sshd).run_all(&sources, scratch.path()).expect_code(1).expect_said("missing: no such file");

    assert!(tree::same_bytes(&there, &scratch.path().join("there")));
}

/// Exit 1: a file that the login may not read is named, as is a folder; the others arrive.
#[test]
fn unreadable_files_are_named_and_the_others_arrive() {
    // Root reads everything, so somebody else asks then.
    let drop = if geteuid().is_root() {
        "ForceCommand HOME=/ exec setpriv --reuid=65534 --clear-groups sh -c \"$SSH_ORIGINAL_COMMAND\""
    } else {
        ""
    };
    let (sshd, scratch) = (Sshd::start_with(drop), scratch());
    let mut source = Tree::new(scratch.path().join("data"), 6);
    source.small_files(20, 2);
    let secret = source.file("folder-000/secret", 5);
    let large = source.file("large", 6 * MIB);
    source.file("closed/inside", 5);
    let closed = source.root().join("closed");
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    set(scratch.path(), 0o755);
    for path in [&secret, &large, &closed] {
        set(path, 0o000);
    }
    let target = scratch.path().join("here");

    let ended = Pull::from(&sshd).with(&["--json"]).run(source.root(), &target);
    // Or nobody could take it away.
    set(&closed, 0o700);

    let ended = ended.expect_code(1);
    ended.expect_said("data/folder-000/secret").expect_said("data/large").expect_said("closed");
    assert_eq!(tree::count(&target), 20, "the others arrive");
}

/// Exit 3 and 4, as `push` has them; and a target that is a file.
#[test]
fn what_stops_a_pull_is_told() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut pull = Pull::from(&sshd);
    pull.known_hosts = sshd.empty_known_hosts();
    pull.run("x", scratch.path()).expect_code(4).expect_said("skiff trust");
    let mut pull = Pull::from(&sshd);
    pull.key = sshd.stranger_key();
    pull.run("x", scratch.path()).expect_code(3).expect_said(sshd.user());
    let file = scratch.path().join("file");
    fs::write(&file, "x").expect("the scratch folder is writable");
    Pull::from(&sshd).run("x", &file).expect_code(1).expect_said("no folder");
}

/// A file that grows all the time is reported, and not taken half; one that rests arrives.
#[test]
fn a_file_that_changes_all_the_time_is_reported() {
    // It grows whenever it is read. With one session, the digest comes afterwards.
    let changing = "for one; do :; done\n\
                    case $one in */changing) printf x >>\"$one\" ;; esac\n\
                    \"$REAL\" \"$@\"; case $one in */changing) printf x >>\"$one\" ;; esac";
    let toolbox = tools().with("cat", changing);
    let lines = format!("MaxSessions 1\n{}", toolbox.lines());
    let (sshd, scratch) = (Sshd::start_with(&lines), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 17);
    source.file("at-rest", 100);
    source.file("changing", 100);

    let ended = Pull::from(&sshd).run(source.root(), scratch.path()).expect_code(1);

    ended.expect_said("data/changing changes at the server");
    assert!(scratch.path().join("data/at-rest").exists() && !scratch.path().join("data/changing").exists());
    assert!(!scratch.path().join(tree::STAGING).exists(), "nothing of ours stays");
}

/// Changed once between reading it and its digest: fetched again. With one session, the digest comes afterwards.
#[test]
fn a_file_that_changed_once_is_fetched_again() {
    let once = "[ -e \"$HOME/met\" ] || { : >\"$HOME/met\"; \"$REAL\" \"$@\"; echo more >>\"$2\"; exit; }\n\
                exec \"$REAL\" \"$@\"";
    let toolbox = tools().with("cat", once);
    let lines = format!("MaxSessions 1\n{}", toolbox.lines());
    let (sshd, scratch) = (Sshd::start_with(&lines), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 18);
    source.file("one", 100);

    Pull::from(&sshd).run(source.root(), scratch.path()).expect_code(0);

    assert!(toolbox.note("met").exists());
    tree::assert_equal(source.root(), &scratch.path().join("data"));
}

/// A server without this or that tool still serves: without `find -printf`, without `dd`, without any digest tool,
/// with busybox for everything, and with room for one session.
#[test]
fn poor_servers_serve() {
    let no_printf = "case \"$*\" in *-printf*) exit 1 ;; esac; exec \"$REAL\" \"$@\"";
    let boxes = [
        ("no -printf", tools().with("find", no_printf), ""),
        ("no stat", Toolbox::usual().and(&["dd"]).with("find", no_printf), ""),
        ("no dd", Toolbox::usual().and(&["stat"]), ""),
        ("no digest tool", Toolbox::without(DIGESTS).and(&["dd", "stat"]), ""),
        ("busybox", Toolbox::busybox().and_busybox(&["dd", "stat"]), ""),
        ("one session", tools(), "MaxSessions 1"),
    ];
    for (what, toolbox, more) in boxes {
        println!("{what}");
        let (sshd, scratch) = (Sshd::start_with(&format!("{more}\n{}", toolbox.lines())), scratch());
        let source = mixed(&sshd.root().join("data"), 19);
        Pull::from(&sshd).run(source.root(), scratch.path()).expect_code(0);
        tree::assert_equal(source.root(), &scratch.path().join("data"));
    }
}

/// By scp alone, as for a server without a shell: the same, read twice.
#[test]
fn by_scp_alone_the_same_arrives() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 20);
    source.small_files(300, 5);
    source.file("it's \"quoted\" \\ `id` $(id) *", 300);
    source.file("large.bin", 9 * MIB + 17);
    fs::create_dir_all(source.root().join("nothing/in/it")).expect("the server's folder is writable");
    let target = scratch.path().join("here");
    let pull = Pull::from(&sshd).with(&["-q", "-O"]);

    pull.run(source.root(), &target).expect_code(0);
    tree::assert_equal(source.root(), &target.join("data"));
    assert!(target.join("data/nothing/in/it").is_dir());
    let before = tree::writings(&target);
    pull.run(source.root(), &target).expect_code(0);
    assert!(tree::writings(&target) == before, "the second pull changed something");

    let odd = source.root().join("it's \"quoted\" \\ `id` $(id) *");
    pull.run(&odd, &scratch.path().join("one")).expect_code(0);
    assert_eq!(tree::count(&scratch.path().join("one")), 1);
    pull.run(source.root().join("*"), &scratch.path().join("star")).expect_code(1);
    pull.run(contents_of(source.root()), &scratch.path().join("contents")).expect_code(0);
    tree::assert_equal(source.root(), &scratch.path().join("contents"));
    pull.run(sshd.root().join("missing"), &target).expect_code(1).expect_said("No such file");
}

skiff_tests::by_sftp_too! {
    missing_source_fails_and_the_other_arrives,
}

/// A log that grows while it is read moves all that come behind it on the channel; they are files of their own.
#[test]
fn a_file_that_grows_all_the_time_costs_no_other() {
    let grow = "for f do case $f in */0-grows) echo more >>\"$f\" ;; esac; done\nexec $REAL \"$@\"";
    let tools = tools().with("cat", grow);
    let (sshd, scratch) = (Sshd::start_with(&tools.lines()), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 8);
    source.file("0-grows", 1000);
    source.small_files(50, 2);

    let ended = Pull::from(&sshd).with(&["--json"]).run(source.root(), scratch.path());

    // Whether it has been at rest for a moment or not.
    assert!(ended.number("fetched_files") >= 50, "{}", ended.said);
    assert!(ended.number("failed_files") == 0 || ended.said.contains("0-grows changes"), "{}", ended.said);
}
