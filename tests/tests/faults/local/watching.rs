//! Events, watches and the watched folder itself.

use super::*;

/// The agent sleeps while 10,000 files come, so the kernel keeps 16 events and drops the rest.
#[test]
fn fault_24_event_queue_overflow_loses_no_file() {
    if !machine::is_root("a short event queue") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    source.file("first", 10);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "");
    // A queue has the length that was set when it was made.
    let setting = Setting::set("fs/inotify/max_queued_events", "16");
    agent.start();
    agent.wait_until("the agent watches", || tree::equal(source.root(), &sshd.root()));
    drop(setting);

    agent.signal(Signal::STOP);
    for number in 0..10_000 {
        let path = source.root().join(format!("{:02}", number % 20));
        fs::create_dir_all(&path).expect("there is room");
        fs::write(path.join(number.to_string()), number.to_string()).expect("there is room");
    }
    agent.signal(Signal::CONT);

    agent.wait_until_logged("the loss is noticed", |line| line.contains("watch events were lost"));
    let log = agent.home().join("log");
    agent.wait_until("all are delivered", || delivered(&log) == 10_001);
    tree::assert_equal(source.root(), &sshd.root());
}

/// The words that run a command in a user namespace of its own with so many inotify watches.
fn with_watches(count: usize) -> [String; 7] {
    let set = format!("echo {count} > /proc/sys/user/max_inotify_watches && exec \"$@\"");
    let words = ["unshare", "--user", "--map-root-user", "sh", "-c", &set, "sh"];
    words.map(str::to_owned)
}

/// From the start there are more folders than watches: they are polled, which is said.
#[test]
fn fault_25_watch_limit_reached_at_start_polls() {
    if !machine::is_root("a watch limit of one's own") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    source.small_files(40, 40);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").under(with_watches(20)).started();
    agent.wait_until_logged("it is said", |line| line.contains("max_user_watches"));
    agent.wait_until("what was there is delivered", || tree::equal(source.root(), &sshd.root()));

    for folder in 0..40 {
        source.file(format!("folder-{folder:03}/late.dat"), 100);
    }

    agent.wait_until("what comes later is delivered", || tree::equal(source.root(), &sshd.root()));
}

/// New folders use the watches up: what is in them is still found.
#[test]
fn fault_25_watch_limit_reached_later_polls() {
    if !machine::is_root("a watch limit of one's own") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    source.file("first", 10);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").under(with_watches(20)).started();
    agent.wait_until("the agent watches", || tree::equal(source.root(), &sshd.root()));

    source.small_files(40, 40);
    agent.wait_until("what comes in new folders is delivered", || tree::equal(source.root(), &sshd.root()));
    agent.wait_until_logged("it is said", |line| line.contains("max_user_watches"));
    for folder in 0..40 {
        source.file(format!("folder-{folder:03}/late.dat"), 100);
    }

    agent.wait_until("what comes there later is delivered", || tree::equal(source.root(), &sshd.root()));
}

/// What was renamed away is left alone; under its name again, all goes on, and nothing is sent twice.
#[test]
fn fault_26_watched_folder_renamed_and_back() {
    let (sshd, scratch, mut source) = start();
    source.small_files(5, 2);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    agent.wait_until("the first files are delivered", || tree::equal(source.root(), &sshd.root()));
    let writings = tree::writings(&sshd.root());

    let elsewhere = scratch.path().join("elsewhere");
    fs::rename(source.root(), &elsewhere).expect("the name is free");
    agent.wait_until_logged("it is said", |line| line.contains("moved, deleted or unmounted"));
    fs::write(elsewhere.join("meanwhile"), "meanwhile").expect("there is room");
    fs::rename(&elsewhere, source.root()).expect("the name is free");

    agent.wait_until("what came meanwhile is delivered", || tree::equal(source.root(), &sshd.root()));
    expect_goes_on(&mut agent, &mut source, &sshd);
    let mut after = tree::writings(&sshd.root());
    after.retain(|path, _| writings.contains_key(path));
    assert_eq!(after, writings, "what was delivered is not sent again");
}

/// Made again, it is watched again; what was delivered stays at the destination.
#[test]
fn fault_27_watched_folder_deleted_and_made_again_is_attached_again() {
    let (sshd, _scratch, mut source) = start();
    source.file("first", 100);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    agent.wait_until("the first file is delivered", || tree::equal(source.root(), &sshd.root()));

    fs::remove_dir_all(source.root()).expect("it can be removed");
    agent.wait_until_logged("it is said", |line| line.contains("moved, deleted or unmounted"));
    fs::create_dir(source.root()).expect("the name is free");

    expect_goes_on(&mut agent, &mut source, &sshd);
    // By an event this time: the next scan is minutes away.
    let last = source.file("folder/last", 100);
    let there = sshd.root().join("folder/last");
    agent.wait_until("it is watched again", || tree::same_bytes(&last, &there));
    assert_eq!(names(&sshd.root()), ["after", "first", "folder/last"].map(PathBuf::from).into());
}

/// A file system of its own with some files, so that what lies below where it is mounted is on another.
fn filled_disk(disk: &Path) -> (Mounted, Tree) {
    let mounted = Mounted::tmpfs(disk, "size=16m,mode=755");
    let mut source = Tree::new(disk, 2);
    source.small_files(20, 3);
    (mounted, source)
}

fn mount(disk: &Path, at: &Path) -> Mounted {
    fs::create_dir_all(at).expect("there is room");
    process::run(Command::new("mount").arg("--bind").arg(disk).arg(at));
    Mounted::already(at)
}

/// Nothing of what was delivered counts as deleted, so when it comes back nothing is sent again.
#[test]
fn fault_28_unmounted_watched_folder_pauses() {
    if !machine::is_root("a mount") {
        return;
    }
    let (sshd, scratch, _) = start();
    let (disk, at) = (scratch.path().join("disk"), scratch.path().join("mounted"));
    let (_disk, mut source) = filled_disk(&disk);
    let mounted = mount(&disk, &at);
    let mut agent = Agent::to(&sshd).watch("in", &at, "").started();
    agent.wait_until("the files are delivered", || tree::equal(&disk, &sshd.root()));
    let writings = tree::writings(&sshd.root());

    agent.wait_until("an idle agent doesn't keep it from being unmounted", || mounted.try_unmount());
    agent.wait_until_logged("it is said", |line| line.contains("unmounted"));
    agent.wait_until_logged("and what it means", |line| line.contains("paused"));
    let _again = mount(&disk, &at);
    source.file("zz-last", 100);

    agent.wait_until("it goes on", || tree::equal(&disk, &sshd.root()));
    let mut after = tree::writings(&sshd.root());
    after.remove(Path::new("zz-last"));
    assert_eq!(after, writings, "nothing is sent again");
}

/// The machine starts skiff before it mounts: the empty folder below doesn't say that all was deleted.
#[test]
fn fault_28_mounted_after_the_start() {
    if !machine::is_root("a mount") {
        return;
    }
    let (sshd, scratch, _) = start();
    let (disk, at) = (scratch.path().join("disk"), scratch.path().join("mounted"));
    let (_disk, mut source) = filled_disk(&disk);
    let mounted = mount(&disk, &at);
    let mut agent = Agent::to(&sshd).watch("in", &at, "rescan = '1s'").started();
    agent.wait_until("the files are delivered", || tree::equal(&disk, &sshd.root()));
    let writings = tree::writings(&sshd.root());
    agent.terminate();
    assert!(mounted.try_unmount());
    let receipts = agent.state_dir().join("receipts.jsonl");
    let all = || fs::read_to_string(&receipts).unwrap_or_default();
    // What comes here meanwhile is delivered, and says nothing of the mount, nor to the next start.
    for name in ["aa-below", "ab-below"] {
        agent.start();
        fs::write(at.join(name), "below").expect("there is room");
        agent.wait_until("the folder is scanned", || all().contains(name));
        let told = || agent.ask(&["status"]).said.contains("a file system was mounted at");
        assert!(wait::came_true(wait::LIMIT, told), "it is told: {}", agent.ask(&["status"]).said);
        agent.terminate();
    }
    agent.start();
    let _again = mount(&disk, &at);
    source.file("zz-last", 100);

    agent.wait_until("it goes on", || all().contains("zz-last"));
    let mut after = tree::writings(&sshd.root());
    for name in ["aa-below", "ab-below", "zz-last"] {
        after.remove(Path::new(name));
    }
    assert_eq!(after, writings, "nothing is sent again");
    assert_eq!(all().lines().count(), writings.len() + 3, "nor asked for again");
}

const APPEND: &str = "mode = 'append'\nflush_interval = '100ms'";

fn append(log: &Path, words: &str) {
    let mut log = OpenOptions::new().append(true).create(true).open(log).expect("there is room");
    log.write_all(words.as_bytes()).expect("there is room");
}

/// By the empty folder below it, logs would have vanished; they go on in their copies when it is mounted.
#[test]
fn fault_28_logs_whose_folder_is_mounted_after_the_start() {
    if !machine::is_root("a mount") {
        return;
    }
    let (sshd, scratch, _) = start();
    let (disk, at) = (scratch.path().join("disk"), scratch.path().join("mounted"));
    fs::create_dir(&disk).expect("there is room");
    let _disk = Mounted::tmpfs(&disk, "size=16m,mode=755");
    append(&disk.join("app.log"), "before\n");
    let mounted = mount(&disk, &at);
    let mut agent = Agent::to(&sshd).watch("logs", &at, APPEND).started();
    let copy = sshd.root().join("app.log");
    agent.wait_until("the log is delivered", || tree::same_bytes(&disk.join("app.log"), &copy));
    agent.terminate();
    assert!(mounted.try_unmount());

    agent.start();
    agent.wait_until_logged("it waits", |line| line.contains("is paused"));
    append(&disk.join("app.log"), "after\n");
    let _again = mount(&disk, &at);

    agent.wait_until("it goes on", || tree::same_bytes(&disk.join("app.log"), &copy));
    assert_eq!(names(&sshd.root()), [PathBuf::from("app.log")].into(), "nothing is put aside");
    assert!(!agent.state_dir().join("losses.jsonl").exists(), "nothing counts as lost");
}

/// A folder below that may not be read keeps no other log from being followed, and its own logs don't count as lost.
#[test]
fn a_closed_folder_ends_no_following() {
    if !machine::is_root("a folder that its owner may not read") {
        return;
    }
    let (sshd, scratch, _) = start();
    let folder = scratch.path().join("in");
    let set_mode = |mode| {
        fs::set_permissions(folder.join("audit"), fs::Permissions::from_mode(mode)).expect("its owner may");
    };
    fs::create_dir_all(folder.join("audit")).expect("there is room");
    append(&folder.join("audit/audit.log"), "one\n");
    append(&folder.join("app.log"), "one\n");
    let mut agent = Agent::to(&sshd).watch("logs", &folder, APPEND);
    agent.set_under(["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]);
    agent.start();
    agent.wait_until("they are delivered", || tree::equal(&folder, &sshd.root()));
    agent.terminate();

    set_mode(0o000);
    append(&folder.join("app.log"), "two\n");
    agent.start();
    let copy = |name: &str| sshd.root().join(name);
    agent.wait_until("others go on", || tree::same_bytes(&folder.join("app.log"), &copy("app.log")));
    let told = || agent.ask(&["status"]).said.contains("cannot read audit");
    assert!(wait::came_true(wait::LIMIT, told), "it is told");

    set_mode(0o700);
    append(&folder.join("audit/audit.log"), "two\n");
    agent.wait_until("it goes on", || tree::equal(&folder, &sshd.root()));
    assert!(!agent.state_dir().join("losses.jsonl").exists(), "nothing counts as lost");
}

/// Where a log itself may not be read, neither.
#[test]
fn a_closed_log_ends_no_following() {
    if !machine::is_root("a file that its owner may not read") {
        return;
    }
    let (sshd, scratch, _) = start();
    let folder = scratch.path().join("in");
    let (closed, moved) = (folder.join("audit.log"), folder.join("audit.log.1"));
    let set_mode = |log, mode| {
        fs::set_permissions(log, fs::Permissions::from_mode(mode)).expect("its owner may");
    };
    append(&closed, "audit one\n");
    append(&folder.join("app.log"), "app one\n");
    let mut agent = Agent::to(&sshd).watch("logs", &folder, APPEND);
    agent.set_under(["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]);
    agent.start();
    agent.wait_until("they are delivered", || tree::equal(&folder, &sshd.root()));
    agent.terminate();

    append(&closed, "audit two\n");
    set_mode(&closed, 0o000);
    append(&folder.join("app.log"), "app two\n");
    append(&folder.join("new.log"), "new one\n");
    agent.start();
    for name in ["app.log", "new.log"] {
        let goes_on = || tree::same_bytes(&folder.join(name), &sshd.root().join(name));
        agent.wait_until("others go on, and begin", goes_on);
    }
    let told = |gist: &str| wait::came_true(wait::LIMIT, || agent.ask(&["status"]).said.contains(gist));
    assert!(told("cannot read audit.log:"), "it is told");
    fs::rename(&closed, &moved).expect("there is room");
    assert!(told("cannot read audit.log.1:"), "also where it goes");
    // Each takes another look.
    for round in 0..5 {
        append(&folder.join("app.log"), &format!("app, round {round}\n"));
        let goes_on = || tree::same_bytes(&folder.join("app.log"), &sshd.root().join("app.log"));
        agent.wait_until("others go on", goes_on);
    }

    set_mode(&moved, 0o600);
    append(&moved, "audit three\n");
    agent.wait_until("it goes on", || tree::equal(&folder, &sshd.root()));
    assert!(!agent.state_dir().join("losses.jsonl").exists(), "nothing counts as lost");
}
