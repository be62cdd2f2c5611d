//! What the tests talk to: servers, ports, trees.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use skiff_tests::{Sshd, Tree, process, receipts, tree, wait};
use tempfile::TempDir;

#[test]
fn server_lets_in_only_the_right_key() {
    let sshd = Sshd::start();

    let right = ssh(&sshd, &sshd.key(), "echo in").output().expect("ssh can be started");
    let wrong = ssh(&sshd, &sshd.stranger_key(), "echo in").output().expect("ssh can be started");

    assert_eq!(right.stdout, b"in\n", "{}\n{}", process::said(&right), sshd.log());
    assert!(!wrong.status.success() && wrong.stdout.is_empty(), "{}", process::said(&wrong));
}

#[test]
fn server_comes_back_on_its_port_and_then_with_another_key() {
    let mut sshd = Sshd::start();
    let say =
        |sshd: &Sshd| -> Output { ssh(sshd, &sshd.key(), "echo in").output().expect("ssh can be started") };

    sshd.stop();
    assert!(!say(&sshd).status.success(), "a stopped server answers");
    sshd.start_again();
    assert_eq!(say(&sshd).stdout, b"in\n");

    sshd.change_host_key();
    let changed = say(&sshd);
    assert!(!changed.status.success(), "the old host key is still good");
    assert!(process::said(&changed).contains("IDENTIFICATION HAS CHANGED"), "{}", process::said(&changed));
}

#[test]
fn killed_session_ends_and_the_server_goes_on() {
    let sshd = Sshd::start();
    let flag = sshd.root().join("flag");
    let mut session = ssh(&sshd, &sshd.key(), &format!("touch {}; exec sleep 600", flag.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("ssh can be started");
    assert!(wait::came_true(wait::LIMIT, || flag.exists()), "{}", sshd.log());

    assert!(sshd.kill_sessions() > 0);

    assert!(process::wait_for_end(&mut session, wait::LIMIT).is_some(), "the session goes on");
    assert!(ssh(&sshd, &sshd.key(), "true").status().expect("ssh can be started").success());
}

#[test]
fn comparison_sees_every_difference() {
    let scratch = TempDir::new().expect("a temporary folder");
    let (left, right) = (scratch.path().join("left"), scratch.path().join("right"));
    let fill = |root: &Path| Tree::new(root, 7).small_files(20, 3);
    let refill = || {
        let _missing = fs::remove_dir_all(&right);
        fill(&right);
    };
    fill(&left);
    refill();
    tree::assert_equal(&left, &right);
    let path = right.join("folder-001/file-00004.dat");

    let mut bytes = fs::read(&path).expect("it was written");
    bytes[0] ^= 1;
    fs::write(&path, bytes).expect("it can be written again");
    assert!(!tree::equal(&left, &right), "a flipped bit");

    fs::remove_file(&path).expect("it can be removed");
    assert!(!tree::equal(&left, &right), "a missing file");

    refill();
    fs::write(right.join("file~1"), "").expect("it can be written");
    assert!(!tree::equal(&left, &right), "a second name");

    refill();
    fs::rename(&path, path.with_extension("part")).expect("it can be renamed");
    assert!(!tree::equal(&left, &right), "another name");

    refill();
    fs::create_dir(right.join(tree::STAGING)).expect("it can be made");
    fs::write(right.join(tree::STAGING).join("rest"), "12345").expect("it can be written");
    tree::assert_equal(&left, &right);
    assert_eq!(tree::staged_bytes(&right), 5);
}

/// A file in a folder's place, which stops root, too.
#[test]
#[should_panic(expected = "cannot list")]
fn what_cannot_be_listed_is_not_empty() {
    let scratch = TempDir::new().expect("a temporary folder");
    assert_eq!(tree::count(&scratch.path().join("missing")), 0);
    let file = scratch.path().join("file");
    fs::write(&file, "no folder").expect("it can be written");
    tree::count(&file);
}

#[test]
fn receipts_are_counted_by_whole_names() {
    let scratch = TempDir::new().expect("a temporary folder");
    let text = "{\"item\":\"a/slow.log\"}\n{\"items\":[{\"path\":\"slow.log\"}]}\n{\"item\":\"not-slow.log\"}\n{\"item\":";
    fs::write(scratch.path().join("receipts.jsonl"), text).expect("it can be written");

    let receipts = receipts::read(scratch.path());

    assert_eq!((receipts.len(), receipts::naming(&receipts, "slow.log")), (3, 2));
}

fn ssh(sshd: &Sshd, key: &Path, command: &str) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]);
    ssh.arg("-o").arg(format!("UserKnownHostsFile={}", sshd.known_hosts().display()));
    ssh.arg("-i").arg(key).args(["-p", &sshd.port().to_string(), "-l", sshd.user(), "127.0.0.1", command]);
    ssh.stdin(Stdio::null());
    ssh
}
