//! `skiff verify` finds what was lost or has rotted at the destination, and mends it.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use skiff_tests::{Agent, Sshd, Tree, process, tree, wait};
use tempfile::TempDir;

#[test]
fn loss_and_rot_are_found_and_repaired_from_what_the_source_still_has() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    for name in ["a.csv", "sub/b.csv", "c.csv", "gone.csv", "with space.csv"] {
        source.file(name, 3_000);
    }
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    agent.wait_until("all arrives", || tree::equal(source.root(), &sshd.root()));
    let state = agent.state_dir();
    agent.wait_until("all receipts are there", || skiff_tests::receipts::read(&state).len() == 5);
    agent.ask(&["verify"]).expect_code(0).expect_said("in: 5 verified");

    // Names that no line of a listing holds are asked for as well.
    let odd = OsStr::from_bytes(b"od\\d \n\xff name");
    fs::write(source.root().join(odd), "odd").expect("writable");
    agent.wait_until("the odd one arrives", || sshd.root().join(odd).exists());
    agent.wait_until("so does its receipt", || skiff_tests::receipts::read(&state).len() == 6);
    agent.ask(&["verify"]).expect_code(0).expect_said("in: 6 verified\n");
    fs::remove_file(sshd.root().join(odd)).expect("it is there");
    agent.ask(&["verify"]).expect_code(1).expect_said(r"missing  od\\d \n\xff name");
    agent.ask(&["verify", "--repair"]).expect_code(0).expect_said("1 missing; 1 sent again");
    assert!(sshd.root().join(odd).exists());

    fs::remove_file(sshd.root().join("sub/b.csv")).expect("it is there");
    let mut rotten = fs::read(sshd.root().join("c.csv")).expect("it is there");
    rotten[1_500] ^= 1;
    fs::write(sshd.root().join("c.csv"), &rotten).expect("writable");
    for root in [source.root().to_owned(), sshd.root()] {
        fs::remove_file(root.join("gone.csv")).expect("it is there");
    }
    let found = agent.ask(&["verify", "in"]).expect_code(1).expect_said("3 verified, 2 missing, 1 different");
    found.expect_said("missing  sub/b.csv").expect_said("differs  c.csv");

    // What is different there is a conflict as any other: it is kept, and ours comes beside it.
    agent.ask(&["verify", "--repair"]).expect_code(1).expect_said("2 sent again");
    assert_eq!(fs::read(sshd.root().join("sub/b.csv")).ok(), fs::read(source.root().join("sub/b.csv")).ok());
    assert_eq!(fs::read(sshd.root().join("c.csv")).expect("it is there"), rotten);
    let ours = fs::read(source.root().join("c.csv")).expect("it is there");
    let beside = tree::files(&sshd.root()).expect("they can be read").into_keys();
    let beside: Vec<_> = beside.filter(|path| path.to_string_lossy().starts_with("c~")).collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
    assert_eq!(fs::read(sshd.root().join(&beside[0])).expect("it is there"), ours);
    agent.ask(&["verify", "nothing"]).expect_code(2).expect_said("there are in");
}

/// Its receipt is of what it was when it rested; after a rotation another log has its name.
#[test]
fn a_log_that_grew_since_its_receipt_is_whole() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let folder = scratch.path().join("in");
    fs::create_dir(&folder).expect("a new folder is writable");
    let mut agent =
        Agent::to(&sshd).watch("in", &folder, "mode = 'append'\nflush_interval = '100ms'").started();
    let state = agent.state_dir();
    let log =
        |name: &str| OpenOptions::new().append(true).create(true).open(folder.join(name)).expect("room");
    let copied = |name: &str| tree::same_bytes(&folder.join(name), &sshd.root().join(name));
    let received = |name: &str| {
        let receipts = skiff_tests::receipts::read(&state);
        receipts.iter().any(|receipt| receipt["name"] == name && receipt["grown"] == true)
    };
    log("app.log").write_all(b"the evening\n").expect("there is room");
    agent.wait_until("it has rested", || received("app.log"));
    log("app.log").write_all(b"the morning\n").expect("there is room");
    agent.wait_until("it has grown on", || copied("app.log"));
    let before = skiff_tests::receipts::read(&state).len();
    agent.ask(&["verify"]).expect_code(0).expect_said("in: 1 verified\n");

    fs::rename(folder.join("app.log"), folder.join("app.log.1")).expect("it is there");
    log("app.log").write_all(b"another day, which has more to tell\n").expect("there is room");
    agent.wait_until("both are there", || copied("app.log.1") && copied("app.log"));
    // With a receipt of its new name or without one.
    agent.ask(&["verify"]).expect_code(0);
    agent.wait_until("it is read back whole", || received("app.log.1"));
    assert!(skiff_tests::receipts::read(&state).len() > before);
    agent.ask(&["verify"]).expect_code(0);
    let staged = fs::read_dir(sshd.root().join(tree::STAGING)).expect("it is there").flatten();
    let staged: Vec<_> = staged.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(
        !staged.iter().any(|name| name.contains("0000000000000000")),
        "nothing is left there: {staged:?}"
    );

    let mut rotten = fs::read(sshd.root().join("app.log.1")).expect("it is there");
    *rotten.last_mut().expect("it has bytes") ^= 1;
    fs::write(sshd.root().join("app.log.1"), &rotten).expect("writable");
    agent.ask(&["verify"]).expect_code(1).expect_said("1 different").expect_said("differs  app.log.1");
    // Who repairs doesn't take the copies from who follows them.
    agent.ask(&["verify", "--repair"]).expect_code(1).expect_said("restart the agent");
    fs::remove_file(sshd.root().join("app.log.1")).expect("it is there");
    agent.ask(&["verify"]).expect_code(1).expect_said("missing  app.log.1");
    log("app.log").write_all(b"it goes on\n").expect("there is room");
    agent.wait_until("nobody was disturbed", || copied("app.log"));
}

/// A repair leaves nobody deaf: the signal ends what is looked at after it.
#[test]
fn a_signal_ends_it_also_after_a_repair() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    let file = source.file("a.csv", 3_000);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    let state = agent.state_dir();
    agent.wait_until("its receipt is there", || skiff_tests::receipts::read(&state).len() == 1);
    assert!(agent.terminate().success());
    // Another watch has delivered, too, to a server that no longer answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = silent.local_addr().expect("it has one");
    let receipts = state.join("receipts.jsonl");
    let receipt = fs::read_to_string(&receipts).expect("it is there");
    let other = receipt.replace("\"in\"", "\"out\"").replace("\"server\"", "\"silent\"");
    fs::write(&receipts, receipt + &other).expect("writable");
    let agent = agent.configured(&format!(
        "[destination.silent]\naddress = 'u@{address}'\npath = '/x'\nidentity = '{}'\nconnect_timeout = '60s'\n\
         [[watch]]\nname = 'out'\npath = '{}'\nto = 'silent'",
        sshd.key().display(),
        source.root().display()
    ));
    let there = sshd.root().join("a.csv");
    fs::remove_file(&there).expect("it was delivered");

    let mut command = skiff_tests::skiff::command(agent.home());
    let mut verify = command
        .args(["verify", "--repair", "--config"])
        .arg(agent.config())
        .spawn()
        .expect("the binary can be started");
    assert!(wait::came_true(wait::LIMIT, || tree::same_bytes(&file, &there)), "it is repaired");
    let (_connection, _) = silent.accept().expect("the other watch is looked at");
    process::signal(process::pid(&verify), rustix::process::Signal::INT);
    let ended = process::wait_for_end(&mut verify, Duration::from_secs(10));
    let _gone = verify.kill();
    assert_eq!(ended.and_then(|ended| ended.code()), Some(130));
}

skiff_tests::by_sftp_too! {
    loss_and_rot_are_found_and_repaired_from_what_the_source_still_has,
}
