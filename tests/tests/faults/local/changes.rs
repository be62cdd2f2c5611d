//! Files that change, vanish or are replaced between being found and being delivered.

use serde_json::Value;

use super::*;

/// Removed while it waits for its turn.
#[test]
fn fault_03_file_that_vanishes_before_it_is_opened_is_no_trouble() {
    let (sshd, _scratch, mut source) = start();
    source.file("large.bin", LARGE_BYTES);
    let alone = format!("{SLOW}\nin_flight = 1");
    let mut agent = Agent::with_destination(&sshd, &alone).watch("in", source.root(), "").started();
    agent.wait_until("the transfer is under way", || tree::staged_bytes(&sshd.root()) > 0);
    let gone = source.file("gone.dat", 100);
    let receipts = agent.receipts().len();
    // The next is planned after it, and both wait for the large one.
    source.file("next.dat", 2 << 20);
    fs::remove_file(&gone).expect("it was written");
    assert_eq!(agent.receipts().len(), receipts, "the large one is still under way, or this shows nothing");

    agent.wait_until("the rest is delivered", || tree::equal(source.root(), &sshd.root()));
    expect_goes_on(&mut agent, &mut source, &sshd);
    assert!(!agent.log().contains("gone.dat: "), "it is no trouble:\n{}", agent.log());
}

/// The open descriptor still reads it all, so it may arrive or not; no part of it does, and nothing stays behind.
#[test]
fn fault_04_file_that_vanishes_while_it_is_read() {
    let (sshd, scratch, mut source) = start();
    let mut agent = under_way(&sshd, &mut source, "");
    let kept = scratch.path().join("kept");
    fs::copy(source.root().join("large.bin"), &kept).expect("there is room");

    fs::remove_file(source.root().join("large.bin")).expect("it was written");

    expect_goes_on(&mut agent, &mut source, &sshd);
    expect_no_staging(&mut agent, &sshd);
    let there = sshd.root().join("large.bin");
    assert!(!there.exists() || tree::same_bytes(&there, &kept));
}

/// What changed under way is thrown away and sent again, in its last version.
fn changed_under_way(change: impl FnOnce(&Path)) {
    let (sshd, _scratch, mut source) = start();
    let mut agent = under_way(&sshd, &mut source, "");
    let before = blake3::hash(&fs::read(source.root().join("large.bin")).expect("it was written"));

    change(&source.root().join("large.bin"));

    let there = sshd.root().join("large.bin");
    agent.wait_until("the last version is delivered", || {
        let arrived = fs::read(&there).ok().map(|bytes| blake3::hash(&bytes));
        assert_ne!(arrived, Some(before), "the version that was thrown away arrived");
        tree::equal(source.root(), &sshd.root())
    });
    expect_no_staging(&mut agent, &sshd);
    agent.wait_until("nothing of what was thrown away is held open", || sshd.open_files().is_empty());
}

#[test]
fn fault_05_file_truncated_while_it_is_read_is_sent_again() {
    changed_under_way(|path| {
        let file = OpenOptions::new().write(true).open(path).expect("it is there");
        file.set_len(LARGE_BYTES / 4).expect("it can be cut");
    });
}

#[test]
fn fault_06_file_that_grows_while_it_is_read_is_sent_again() {
    changed_under_way(|path| {
        let mut file = OpenOptions::new().append(true).open(path).expect("it is there");
        file.write_all(b"one line more").expect("there is room");
    });
}

/// The first bytes, which are sent already; size and time of change of the content stay as they were.
#[test]
fn fault_07_same_size_rewrite_while_it_is_read_is_sent_again() {
    changed_under_way(|path| {
        let modified = fs::metadata(path).and_then(|data| data.modified()).expect("it is there");
        let file = OpenOptions::new().write(true).open(path).expect("it is there");
        file.write_all_at(b"other bytes", 0).expect("there is room");
        file.set_modified(modified).expect("its owner may");
    });
}

/// After delivery: the same name, size and time of change of the content.
#[test]
fn fault_07_same_size_rewrite_after_delivery_is_sent() {
    let (sshd, _scratch, mut source) = start();
    let path = source.file("log", 5_000);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    agent.wait_until("the first version is delivered", || tree::equal(source.root(), &sshd.root()));

    let modified = fs::metadata(&path).and_then(|data| data.modified()).expect("it is there");
    let file = OpenOptions::new().write(true).open(&path).expect("it is there");
    file.write_all_at(b"other bytes", 100).expect("there is room");
    file.set_modified(modified).expect("its owner may");
    drop(file);

    agent.wait_until("the second version is delivered", || tree::equal(source.root(), &sshd.root()));
}

/// What takes the place of a file under way isn't sent, isn't removed and stops nobody; the part that was sent goes.
fn replaced_under_way(replace: impl FnOnce(&Path)) {
    let (sshd, _scratch, mut source) = start();
    let mut agent = under_way(&sshd, &mut source, DELETE);
    let path = source.root().join("large.bin");
    let bytes = fs::read(&path).expect("it was written");
    fs::remove_file(&path).expect("it was written");

    replace(&path);

    source.file("after", 100);
    agent.wait_until("others go on", || sshd.root().join("after").exists());
    expect_no_staging(&mut agent, &sshd);
    assert!(fs::symlink_metadata(&path).is_ok_and(|data| !data.is_file()), "what took its place stays");
    let there = sshd.root().join("large.bin");
    // Whether the removed file still arrives is for its reader; another content never does.
    assert!(!there.exists() || fs::read(&there).is_ok_and(|there| there == bytes));
}

#[test]
fn fault_08_file_replaced_by_a_symlink_while_it_is_read() {
    let outside = TempDir::new().expect("a temporary folder");
    let canary = outside.path().join("canary");
    fs::write(&canary, "outside").expect("there is room");

    replaced_under_way(|path| symlink(&canary, path).expect("the name is free"));

    assert_eq!(fs::read(&canary).expect("it stays"), b"outside");
}

#[test]
fn fault_09_file_replaced_by_a_folder_while_it_is_read() {
    replaced_under_way(|path| fs::create_dir(path).expect("the name is free"));
}

#[test]
fn fault_10_file_replaced_by_a_fifo_while_it_is_read() {
    replaced_under_way(|path| mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("the name is free"));
}

#[test]
fn fault_11_file_replaced_by_a_socket_while_it_is_read() {
    replaced_under_way(|path| drop(UnixListener::bind(path).expect("the name is free")));
}

/// From the start: symlinks, a FIFO, a socket and a device are neither sent nor waited for nor removed, and are told.
#[test]
fn faults_08_to_11_other_kinds_of_files_are_refused() {
    let (sshd, _scratch, mut source) = start();
    let at = |name: &str| source.root().join(name);
    symlink("/etc/passwd", at("link")).expect("the name is free");
    symlink("/etc", at("link-to-folder")).expect("the name is free");
    symlink("nowhere", at("dangling")).expect("the name is free");
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RWXU, 0).expect("the name is free");
    drop(UnixListener::bind(at("socket")).expect("the name is free"));
    if machine::is_root("a device") {
        let null = rustix::fs::makedev(1, 3);
        mknodat(CWD, at("device"), FileType::CharacterDevice, Mode::RWXU, null).expect("root may");
    }
    let others = names(source.root());
    source.file("plain", 100);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), DELETE).started();

    agent.wait_until("the plain one is delivered", || tree::count(source.root()) == others.len());

    expect_goes_on(&mut agent, &mut source, &sshd);
    assert_eq!(names(&sshd.root()), ["after", "plain"].map(PathBuf::from).into());
}

/// Two names of one file: each is delivered and disposed of for itself; a name outside stays.
#[test]
fn fault_20_hard_links_only_the_delivered_name_is_disposed_of() {
    let (sshd, scratch, mut source) = start();
    let outside = source.file("one", 3_000);
    fs::hard_link(&outside, source.root().join("two")).expect("links work here");
    let kept = scratch.path().join("kept");
    fs::hard_link(&outside, &kept).expect("links work here");

    let mut agent = Agent::to(&sshd).watch("in", source.root(), DELETE).started();

    agent.wait_until("both names are disposed of", || tree::is_empty(source.root()));
    assert_eq!(names(&sshd.root()), ["one", "two"].map(PathBuf::from).into());
    for name in ["one", "two"] {
        assert!(tree::same_bytes(&kept, &sshd.root().join(name)));
    }
}

/// Delivered once; the disposal is retried, which is said, and succeeds when it can.
#[test]
fn fault_29_read_only_source_is_delivered_and_its_disposal_blocked() {
    if !machine::is_root("a read-only mount") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    source.small_files(5, 2);
    source.file("large.bin", 2 << 20);
    let kept = names(source.root());
    let read_only = Mounted::read_only(source.root());
    let mut agent = Agent::to(&sshd).watch("in", source.root(), DELETE).started();
    agent.wait_until("all are delivered", || tree::equal(source.root(), &sshd.root()));
    agent.wait_until_logged("the reason is told", |line| {
        line.contains("cannot take") && line.contains("read-only file system")
    });
    let writings = tree::writings(&sshd.root());
    let said = agent.log().lines().count();
    agent.wait_until_logged_after(said, "it is tried again", |line| line.contains("cannot take"));
    assert_eq!(names(source.root()), kept);
    assert_eq!(tree::writings(&sshd.root()), writings, "nothing is sent again");

    drop(read_only);

    agent.wait_until("they are disposed of", || tree::is_empty(source.root()));
    assert_eq!(tree::writings(&sshd.root()), writings, "nothing is sent again");
}

/// Nothing stood at the destination when the connection was made, and yet it is asked before the file goes again.
#[test]
fn fault_29_what_stays_is_sent_once() {
    if !machine::is_root("a read-only mount") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    source.file("stays.bin", 100_000);
    let _read_only = Mounted::read_only(source.root());

    let mut agent = Agent::to(&sshd).watch("in", source.root(), DELETE).started();

    let delivered = |line: &str| line.contains("delivered and verified");
    agent.wait_until_logged("it is sent", |line| delivered(line) && line.contains("standing=0"));
    let said = agent.log().lines().count();
    agent.wait_until_logged_after(said, "it is tried again", delivered);
    let again: Vec<String> =
        agent.log().lines().skip(said).filter(|line| delivered(line)).map(String::from).collect();
    assert!(again.iter().all(|line| line.contains("standing=1")), "it is sent again: {again:#?}");
}

/// Whether `make` makes `path` with this inode again: ext4 gives the one that was freed last. Others get out of the way.
fn is_made_again(inode: u64, path: &Path, aside: &Path, mut make: impl FnMut()) -> bool {
    (0..200).any(|number| {
        make();
        let same = fs::metadata(path).expect("it is there").ino() == inode;
        if !same {
            fs::rename(path, aside.join(format!("other-{number}"))).expect("the name is free");
        }
        same
    })
}

/// A folder on a file system that gives a freed inode to the next file. In memory and on btrfs each file has one of its own.
fn where_inodes_are_reused() -> Option<TempDir> {
    let places = [std::env::temp_dir(), PathBuf::from("/var/tmp"), env!("CARGO_TARGET_TMPDIR").into()];
    places.into_iter().filter_map(|place| TempDir::new_in(place).ok()).find(|folder| {
        let aside = TempDir::new_in(folder.path()).expect("a new folder is writable");
        let path = folder.path().join("probe");
        let make = || fs::write(&path, "probe").expect("a new folder is writable");
        make();
        let inode = fs::metadata(&path).expect("it is there").ino();
        fs::remove_file(&path).expect("it is there");
        is_made_again(inode, &path, aside.path(), make)
    })
}

/// Puts files one after the other, each when the one before has arrived, and waits for them at each of the servers.
#[track_caller]
fn expect_later_ones_go_on(agent: &mut Agent, source: &mut Tree, servers: &[&Sshd]) {
    for number in 0..6 {
        let name = format!("later-{number}");
        source.file(&name, 100);
        agent.wait_until("a later one arrives", || {
            servers.iter().all(|server| server.root().join(&name).exists())
        });
    }
}

/// How often it was tried, and how often it was delivered.
fn tried(agent: &Agent, name: &str) -> (usize, usize) {
    let attempts = agent.log().lines().filter(|line| line.contains(&format!("cannot take {name}"))).count();
    let receipts = agent.receipts();
    (attempts, receipts.iter().filter(|receipt| receipt["path"] == name).count())
}

/// What can't move to where it is to go waits for its next attempt, whatever comes meanwhile.
#[test]
fn fault_29_what_cannot_move_is_tried_no_sooner_than_it_is_due() {
    let (sshd, scratch, mut source) = start();
    let target = scratch.path().join("sent");
    fs::write(&target, "no folder").expect("there is room");
    let rules =
        format!("after_delivery = {{ move = '{}' }}\nretry_first = '1d'\nretry_max = '1d'", target.display());
    source.file("stays", 100);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), &rules).started();
    agent.wait_until_logged("the reason is told", |line| line.contains("cannot take stays"));
    expect_later_ones_go_on(&mut agent, &mut source, &[&sshd]);
    assert_eq!(tried(&agent, "stays"), (1, 1), "{}", agent.log());
}

/// The same where that shows only when it has left its folder, so that it comes back with another stamp: it is no new version
/// for that, neither for the leg that was to dispose of it nor for the other.
#[test]
fn fault_29_what_comes_back_into_its_folder_is_no_new_version() {
    if !machine::is_root("a folder that root may not write to") {
        return;
    }
    let (sshd, scratch, mut source) = start();
    let mut other = Sshd::start();
    other.stop();
    let target = scratch.path().join("sent");
    fs::create_dir(&target).expect("there is room");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o555)).expect("it is ours");
    let rules = format!(
        "to = ['server', 'other']\nafter_delivery = {{ move = '{}' }}\nretry_first = '1d'\nretry_max = '1d'",
        target.display()
    );
    source.file("stays", 100);
    let agent = Agent::to(&sshd).and_destination("other", &other, "").watch_by("in", source.root(), &rules);
    let mut agent = agent.under(["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]).started();
    agent.wait_until_logged("one has it", |line| line.contains("delivered and verified"));
    agent.wait_until_logged("the other is away", |line| line.contains("refused the connection"));
    other.start_again();
    // It would wait as long as files do.
    agent.ask(&["retry", "--all"]).expect_code(0);
    agent.wait_until_logged("the reason is told", |line| line.contains("cannot take stays"));
    expect_later_ones_go_on(&mut agent, &mut source, &[&sshd, &other]);
    assert_eq!(tried(&agent, "stays"), (1, 2), "{}", agent.log());

    // A start asks the journal alone. The one that holds it may try again then.
    agent.terminate();
    agent.start();
    source.file("after", 100);
    agent.wait_until("both go on", || [&sshd, &other].iter().all(|at| at.root().join("after").exists()));
    let sent = |receipt: &&Value| receipt["path"] == "stays" && receipt["destination"] == "server";
    assert_eq!(agent.receipts().iter().filter(sent).count(), 1, "{}", agent.log());
}

/// The same inode, name, size and modification time with another content.
#[test]
fn fault_30_reused_inode_is_another_file() {
    let Some(scratch) = where_inodes_are_reused() else {
        return machine::not_shown("an inode that is used again", "no file system here does so");
    };
    let sshd = Sshd::start();
    let mut source = Tree::new(scratch.path().join("in"), 1);
    let path = source.file("reused", 5_000);
    let before = fs::metadata(&path).expect("it is there");
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    agent.wait_until("the first is delivered", || tree::equal(source.root(), &sshd.root()));

    agent.signal(Signal::STOP);
    fs::remove_file(&path).expect("it is there");
    let reused = is_made_again(before.ino(), &path, scratch.path(), || {
        source.file("reused", 5_000);
    });
    if !path.exists() {
        source.file("reused", 5_000);
    }
    let file = OpenOptions::new().write(true).open(&path).expect("it is there");
    file.set_modified(before.modified().expect("Linux has it")).expect("its owner may");
    drop(file);
    agent.signal(Signal::CONT);

    agent.wait_until("the second is delivered", || tree::equal(source.root(), &sshd.root()));
    assert!(reused, "no inode was used again, so this shows less than it says");
}

skiff_tests::by_sftp_too! {
    fault_05_file_truncated_while_it_is_read_is_sent_again,
    fault_07_same_size_rewrite_while_it_is_read_is_sent_again,
}
