//! `skiff push` and `skiff check`: what they do, and the exit codes that scripts rely on.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use skiff_tests::skiff::{Push, contents_of};
use skiff_tests::{Agent, Sshd, Tree, tree};
use tempfile::TempDir;

/// As rsync has it: the name of a folder sends the folder, a slash behind it what is in it. Again sends nothing.
#[test]
fn folder_is_pushed_and_the_second_time_nothing() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("data"), 1);
    source.small_files(100, 5);
    source.file("large.bin", 5 << 20);
    let push = Push::to(&sshd);

    push.run(source.root(), &sshd.root()).expect_code(0);
    push.run(contents_of(source.root()), &sshd.root().join("contents")).expect_code(0);
    tree::assert_equal(source.root(), &sshd.root().join("data"));
    tree::assert_equal(source.root(), &sshd.root().join("contents"));

    let before = tree::writings(&sshd.root());
    push.run(source.root(), &sshd.root()).expect_code(0);
    assert!(tree::writings(&sshd.root()) == before, "the second push wrote something");
}

/// Whichever of the two makes it.
#[test]
fn push_and_pause_make_a_state_folder_for_its_owner_alone() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("data"), 1);
    let file = source.file("one.bin", 10);
    let push = Push::to(&sshd);
    push.run(&file, &sshd.root()).expect_code(0);
    let agent = Agent::to(&sshd).watch("in", source.root(), "");
    agent.ask(&["pause"]).expect_code(0);

    for state in [push.state_dir(), agent.state_dir()] {
        let mode = fs::metadata(&state).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", state.display());
    }
}

/// A file goes into the folder, which is made if it is missing. Again sends nothing; changed, it is replaced.
#[test]
fn file_is_pushed_and_replaced_when_it_changed() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("data"), 2);
    let file = source.file("one.bin", 3 << 20);
    let push = Push::to(&sshd);
    let (same_name, new_name) = (sshd.root().join("one.bin"), sshd.root().join("new/one.bin"));

    push.run(&file, &contents_of(&sshd.root())).expect_code(0);
    push.run(&file, &sshd.root().join("new")).expect_code(0);
    assert!(tree::same_bytes(&file, &same_name));
    assert!(tree::same_bytes(&file, &new_name));

    let before = tree::writings(&sshd.root());
    push.run(&file, &contents_of(&sshd.root())).expect_code(0);
    assert!(tree::writings(&sshd.root()) == before, "the second push wrote something");

    source.replace("one.bin", 2 << 20);
    push.run(&file, &contents_of(&sshd.root())).expect_code(0);
    assert!(tree::same_bytes(&file, &same_name));
    assert_eq!(tree::count(&sshd.root()), 2, "no other names");
}

/// Each stands where it was sent, whatever else of the same folder is sent.
#[test]
fn folder_and_a_file_of_it_go_where_each_belongs() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("data"), 4);
    let file = source.file("a.txt", 100);
    let push = Push::to(&sshd);

    push.run_all(&[source.root(), &*file], &contents_of(&sshd.root())).expect_code(0);
    assert!(tree::same_bytes(&file, &sshd.root().join("data/a.txt")));
    assert!(tree::same_bytes(&file, &sshd.root().join("a.txt")));

    // Ours is known as ours, with or without the other.
    source.replace("a.txt", 200);
    push.run(&file, &contents_of(&sshd.root())).expect_code(0);
    push.run(source.root(), &contents_of(&sshd.root())).expect_code(0);
    assert_eq!(tree::count(&sshd.root()), 2, "no other names");
}

/// As scp and rsync have it; what it led to before is our own earlier version.
#[test]
fn what_is_pushed_is_called_what_was_written() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("rel/1"), 5);
    source.file("a.csv", 10);
    source.file("deep/b.csv", 10);
    let mut next = Tree::new(scratch.path().join("rel/2"), 6);
    next.file("a.csv", 20);
    let (current, latest) = (scratch.path().join("current"), scratch.path().join("latest.csv"));
    let push = Push::to(&sshd);
    for version in [&source, &next] {
        for (link, target) in [(&current, version.root().to_owned()), (&latest, version.root().join("a.csv"))]
        {
            let _former = fs::remove_file(link);
            symlink(target, link).expect("linked");
        }
        push.run_all(&[&current, &latest], &sshd.root()).expect_code(0);
        assert!(tree::same_bytes(&version.root().join("a.csv"), &sshd.root().join("latest.csv")));
        assert!(tree::same_bytes(&version.root().join("a.csv"), &sshd.root().join("current/a.csv")));
    }
    assert!(sshd.root().join("current/deep/b.csv").exists(), "nothing is removed there");
    assert_eq!(tree::count(&sshd.root()), 3, "no other names");

    for contents in ["rel/1/.", "rel/1/deep/.."] {
        let there = sshd.root().join(contents.replace(['/', '.'], "-"));
        push.run(scratch.path().join(contents), &there).expect_code(0);
        tree::assert_equal(source.root(), &there);
    }
}

/// Exit 1: one of two does not exist, the other still arrives.
#[test]
fn missing_source_fails_and_the_other_arrives() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("data"), 3);
    source.file("there", 100);
    let sources = [scratch.path().join("missing"), contents_of(source.root())];

    Push::to(&sshd).run_all(&sources, &sshd.root()).expect_code(1).expect_said("missing");

    tree::assert_equal(source.root(), &sshd.root());
}

/// Exit 4: a host key that nobody has confirmed; what to do about it is said.
#[test]
fn unknown_host_key_is_refused() {
    let sshd = Sshd::start();
    let mut push = Push::to(&sshd);
    push.known_hosts = sshd.empty_known_hosts();

    push.run(push.key.clone(), &sshd.root()).expect_code(4).expect_said("skiff trust");

    assert_eq!(tree::count(&sshd.root()), 0);
}

/// Exit 4, fault 52: the host key changed.
#[test]
fn changed_host_key_is_refused() {
    let mut sshd = Sshd::start();
    sshd.change_host_key();
    let push = Push::to(&sshd);

    push.run(push.key.clone(), &sshd.root()).expect_code(4).expect_said("changed");

    assert_eq!(tree::count(&sshd.root()), 0);
}

/// Exit 3: the server does not let us in.
#[test]
fn refused_login_is_reported() {
    let sshd = Sshd::start();
    let mut push = Push::to(&sshd);
    push.key = sshd.stranger_key();

    push.run(push.key.clone(), &sshd.root()).expect_code(3).expect_said(sshd.user());

    assert_eq!(tree::count(&sshd.root()), 0);
}

/// Exit 3: nobody listens.
#[test]
fn unreachable_server_is_reported() {
    let mut sshd = Sshd::start();
    let push = Push::to(&sshd);
    sshd.stop();

    push.run(push.key.clone(), &sshd.root()).expect_code(3).expect_said("127.0.0.1");
}

/// Exit 3, fault 49: somebody listens and says nothing. The deadline is skiff's own.
#[test]
fn silent_server_is_given_up() {
    let mut sshd = Sshd::start();
    let push = Push::to(&sshd);
    sshd.stop();
    let _silent = TcpListener::bind(("127.0.0.1", sshd.port())).expect("the server's port is free again");

    push.run(push.key.clone(), &sshd.root()).expect_code(3).expect_said("127.0.0.1");
}

/// Fault 68: what shell start-up files say, on both outputs, is skipped.
#[test]
fn noisy_shell_is_not_noticed() {
    let noisy =
        "ForceCommand echo noise; echo more noise >&2; printf unfinished; eval \"$SSH_ORIGINAL_COMMAND\"";
    let (sshd, scratch) = (Sshd::start_with(noisy), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("data"), 4);
    source.small_files(50, 5);
    source.file("large.bin", 2 << 20);

    Push::to(&sshd).run(contents_of(source.root()), &sshd.root()).expect_code(0);

    tree::assert_equal(source.root(), &sshd.root());
}

/// Fault 83: an account without a shell is recognised at once, and served by SFTP.
#[test]
fn server_without_a_shell_is_served_by_sftp() {
    let (sshd, scratch) = (Sshd::start_with("ForceCommand internal-sftp"), TempDir::new().expect("a folder"));
    let mut source = Tree::new(scratch.path().join("data"), 5);
    source.small_files(50, 5);
    source.file("large.bin", 2 << 20);

    Push::to(&sshd).run(contents_of(source.root()), &sshd.root()).expect_code(0);
    tree::assert_equal(source.root(), &sshd.root());

    let agent = Agent::to(&sshd).watch("in", source.root(), "");
    agent.ask(&["check"]).expect_code(0).expect_said("files go by SFTP, since the account runs no shell");
    let forced = Push::to(&sshd).with(&["--transport", "scp"]);
    forced.run(contents_of(source.root()), &sshd.root()).expect_code(3).expect_said("runs no shell");
}

/// Fault 83: one that has neither is told so, by both ways, and nothing is written.
#[test]
fn server_without_a_shell_and_without_sftp_is_recognised() {
    let (sshd, scratch) = (Sshd::start_with("ForceCommand /bin/false"), TempDir::new().expect("a folder"));
    let mut source = Tree::new(scratch.path().join("data"), 5);
    source.small_files(5, 5);

    Push::to(&sshd).run(contents_of(source.root()), &sshd.root()).expect_code(3).expect_said("no shell");
    let forced = Push::to(&sshd).with(&["--transport", "sftp"]);
    forced.run(contents_of(source.root()), &sshd.root()).expect_code(3).expect_said("no SFTP");

    assert_eq!(tree::count(&sshd.root()), 0);
}

/// A subsystem that is not there is refused at once; nothing waits for it.
#[test]
fn missing_subsystem_is_told_at_once() {
    let (sshd, scratch) = (Sshd::start_with("Subsystem other /bin/false"), TempDir::new().expect("a folder"));
    let mut source = Tree::new(scratch.path().join("data"), 5);
    source.small_files(5, 5);
    let forced = Push::to(&sshd).with(&["--transport", "sftp"]);
    forced.run(contents_of(source.root()), &sshd.root()).expect_code(3).expect_said("no such subsystem");
}

/// `check` says what is well and exits 0, and leaves nothing behind at the destination.
#[test]
fn check_is_content_with_a_good_setup() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let agent = Agent::to(&sshd).watch("in", scratch.path(), "");

    agent.ask(&["check"]).expect_code(0).expect_said("ok");

    assert_eq!(tree::count(&sshd.root()), 0);
}

/// `check` names a changed host key and its exit code.
#[test]
fn check_says_what_stops_a_delivery() {
    let (mut sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let agent = Agent::to(&sshd).watch("in", scratch.path(), "");
    fs::write(sshd.known_hosts(), "").expect("the server's folder is writable");
    agent.ask(&["check"]).expect_code(4).expect_said("skiff trust");

    sshd.stop();
    let ended = agent.ask(&["check"]).expect_said("127.0.0.1");
    assert_eq!(ended.code, Some(3), "{}", ended.said);
}
