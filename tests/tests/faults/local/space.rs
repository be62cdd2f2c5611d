//! Files and disks that fail while the agent works.

use super::*;

/// Nothing is taken on or deleted while the state folder is full, and all goes on by itself.
#[test]
fn fault_01_no_space_in_the_state_folder_pauses_and_deletes_nothing() {
    let almost = |filler: &Path| fs::write(filler, vec![1; 50 << 20]).expect("there is room so far");
    state_folder_fills_up(almost, "waiting for space");
}

/// The same to the last byte: whatever needs the state folder then fails, and nothing is lost.
#[test]
fn fault_01_state_folder_full_to_the_last_byte() {
    state_folder_fills_up(fill_wholly, "space");
}

fn state_folder_fills_up(fill: impl FnOnce(&Path), said: &str) {
    if !machine::is_root("a full state folder") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    let mut agent = Agent::to(&sshd).watch("in", source.root(), DELETE);
    let _state = Mounted::tmpfs(&agent.state_dir(), "size=64m,mode=755");
    agent.start();
    source.file("first", 100);
    agent.wait_until("the agent works", || tree::is_empty(source.root()));

    let filler = agent.state_dir().join("filler");
    fill(&filler);
    source.small_files(50, 5);
    let kept = names(source.root());
    agent.wait_until_logged("it says so", |line| line.contains(said));
    assert_eq!(names(source.root()), kept, "nothing is deleted");
    fs::remove_file(filler).expect("it was written");

    agent.wait_until("all goes on", || tree::is_empty(source.root()));
    assert_eq!(tree::count(&sshd.root()), 51);
}

/// What is gone from the watched folder can't be forgotten while the state folder is full: that waits, too.
#[test]
fn fault_01_a_scan_waits_for_space() {
    if !machine::is_root("a full state folder") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "rescan = '1s'");
    let _state = Mounted::tmpfs(&agent.state_dir(), "size=64m,mode=755");
    agent.start();
    source.small_files(20, 3);
    agent.wait_until("all is delivered", || tree::equal(source.root(), &sshd.root()));

    let filler = agent.state_dir().join("filler");
    fs::write(&filler, vec![1; 50 << 20]).expect("there is room so far");
    for file in tree::files(source.root()).expect("it can be read").into_keys() {
        fs::remove_file(source.root().join(file)).expect("it is there");
    }
    agent.wait_until_logged("it says so", |line| line.contains("waiting for space"));
    fs::remove_file(filler).expect("it was written");
    expect_goes_on(&mut agent, &mut source, &sshd);
}

/// The agent has delivered, and then five files wait: its state folder, on a disk of its own, has no space.
fn fill_state_at_work(agent: &mut Agent, source: &mut Tree) -> Mounted {
    let state = Mounted::tmpfs(&agent.state_dir(), "size=64m,mode=755");
    agent.start();
    source.file("first", 100);
    agent.wait_until("the agent works", || tree::is_empty(source.root()));
    fs::write(agent.state_dir().join("filler"), vec![1; 50 << 20]).expect("there is room so far");
    source.small_files(5, 5);
    state
}

fn fill_wholly(filler: &Path) {
    let mut file = File::create(filler).expect("there is room so far");
    while file.write(&[1; 4096]).is_ok() {}
}

/// It is deaf to nobody while it waits.
#[test]
fn fault_01_full_state_folder_keeps_nobody_from_asking_and_from_stopping() {
    if !machine::is_root("a full state folder") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    let mut agent = Agent::to(&sshd).watch("in", source.root(), DELETE);
    let _state = fill_state_at_work(&mut agent, &mut source);
    agent.wait_until_logged("it waits", |line| line.contains("waiting for space"));

    agent.ask(&["items"]).expect_code(0);
    let told = || agent.ask(&["status"]).said.contains("no space");
    assert!(wait::came_true(wait::LIMIT, told), "it is told");
    assert!(agent.terminate().success());
    assert_eq!(names(source.root()).len(), 5, "nothing is deleted");
}

/// A follower that waits for space says so once, and is no obstacle to a stop.
#[test]
fn fault_01_a_log_waits_for_space_and_a_stop_is_a_good_end() {
    if !machine::is_root("a full state folder") {
        return;
    }
    let (sshd, scratch, _) = start();
    let folder = scratch.path().join("logs");
    fs::create_dir(&folder).expect("there is room");
    let mut agent = Agent::to(&sshd).watch("logs", &folder, "mode = 'append'\nflush_interval = '100ms'");
    let _state = Mounted::tmpfs(&agent.state_dir(), "size=64m,mode=755");
    agent.start();
    fs::write(folder.join("first.log"), "first\n").expect("there is room");
    agent.wait_until("the agent works", || sshd.root().join("first.log").exists());

    fs::write(agent.state_dir().join("filler"), vec![1; 50 << 20]).expect("there is room so far");
    fs::write(folder.join("second.log"), "second\n").expect("there is room");
    agent.wait_until_logged("it waits", |line| line.contains("nothing is shipped meanwhile"));
    assert!(agent.terminate().success(), "{}", agent.log());
    assert!(!sshd.root().join("second.log").exists(), "what isn't recorded isn't claimed");
}

/// However long it waits, since the log may stand on the same disk.
#[test]
fn fault_01_a_full_state_folder_is_logged_once() {
    if !machine::is_root("a full state folder") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    let mut agent = Agent::to(&sshd).watch("in", source.root(), DELETE);
    let _state = fill_state_at_work(&mut agent, &mut source);
    let refused_at = || {
        let told: serde_json::Value = serde_json::from_str(&agent.ask(&["status", "--json"]).said).ok()?;
        let problems = told["problems"].as_array()?;
        problems.iter().find(|problem| problem["what"] == "the state folder")?["at_ms"].as_u64()
    };
    assert!(wait::came_true(wait::LIMIT, || refused_at().is_some()), "it waits");
    let first = refused_at();
    assert!(wait::came_true(wait::LIMIT, || refused_at() > first), "it tries again");
    assert_eq!(agent.log().matches("nothing is accepted or deleted meanwhile").count(), 1, "{}", agent.log());
}

/// A start finds no space, and no reserve on so small a disk: it waits, and goes on by itself.
#[test]
fn fault_41_start_on_a_full_disk_waits_for_space() {
    if !machine::is_root("a full state folder") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    let mut agent = Agent::to(&sshd).watch("in", source.root(), DELETE);
    let _state = Mounted::tmpfs(&agent.state_dir(), "size=64m,mode=755");
    let filler = agent.state_dir().join("filler");
    fill_wholly(&filler);
    source.file("first", 100);
    agent.start();
    agent.wait_until_logged("it waits", |line| line.contains("waiting for space"));
    assert!(agent.terminate().success(), "it hears of a stop");
    agent.start();
    fs::remove_file(filler).expect("it was written");
    agent.wait_until("all goes on", || tree::is_empty(source.root()));
}

/// What fills the disk is what waits for delivery: there is space for the journal to begin with that.
#[test]
fn fault_41_start_on_a_full_disk_delivers_and_frees_it() {
    if !machine::is_root("a full state folder") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    let mut agent = Agent::to(&sshd).watch("in", source.root(), DELETE);
    let _state = Mounted::tmpfs(&agent.state_dir(), "size=160m,mode=755");
    agent.start();
    source.file("first", 100);
    agent.wait_until("the agent works", || tree::is_empty(source.root()));
    assert!(agent.terminate().success());

    fill_wholly(&agent.state_dir().join("filler"));
    source.small_files(50, 5);
    agent.start();
    agent.wait_until("all is delivered", || tree::is_empty(source.root()));
    assert_eq!(tree::count(&sshd.root()), 51);
}

/// Two reads fail, then the disk recovers.
#[test]
fn fault_02_read_error_is_retried() {
    if !machine::is_root("an error of a single system call") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    let bad = source.file("bad.dat", 3_000);
    source.file("good.dat", 3_000);
    // Counted for each thread, so this is up to twice for each.
    let strace = inject("read:error=EIO:when=1..2", Some(&bad));

    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").under(strace).started();

    agent.wait_until("the good one is delivered", || sshd.root().join("good.dat").exists());
    agent.wait_until_logged("the error is told", |line| {
        line.contains("bad.dat") && line.contains("os error 5")
    });
    agent.wait_until("the bad one is delivered", || tree::equal(source.root(), &sshd.root()));
}

/// All reads fail: others go on, the file is tried as often as configured, and then quarantined, and stays.
#[test]
fn fault_02_read_error_that_stays_is_quarantined() {
    if !machine::is_root("an error of a single system call") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    let bad = source.file("bad.dat", 3_000);
    source.file("good.dat", 3_000);
    let rules = format!("{DELETE}\nretry_attempts = 3");
    let strace = inject("read:error=EIO", Some(&bad));

    let mut agent = Agent::to(&sshd).watch("in", source.root(), &rules).under(strace).started();

    agent.wait_until("the good one is delivered", || sshd.root().join("good.dat").exists());
    agent.wait_until_logged("it is quarantined, with its reason", |line| {
        line.contains("bad.dat") && line.contains("quarantined=true") && line.contains("os error 5")
    });
    assert!(bad.exists() && !sshd.root().join("bad.dat").exists());
    expect_goes_on(&mut agent, &mut source, &sshd);
}
