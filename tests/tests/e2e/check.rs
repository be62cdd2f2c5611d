//! What `skiff check` finds on this machine, and that it leaves nothing behind.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use skiff_tests::machine::{Mounted, is_root};
use skiff_tests::{Agent, Sshd, Tree, skiff, tree, wait};
use tempfile::TempDir;

/// A server, and a folder for all else.
fn start() -> (Sshd, TempDir, Tree) {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let source = Tree::new(scratch.path().join("in"), 1);
    (sshd, scratch, source)
}

/// What `check` says under the last of these words: its exit code, and all checks.
#[track_caller]
fn checked(agent: &Agent, under: &[&str]) -> (Option<i32>, Vec<Value>) {
    let words: Vec<_> = under.iter().map(Into::into).collect();
    let mut command = skiff::command_under(&words, agent.home());
    command.args(["check", "--json", "--config"]).arg(agent.config());
    let ended = skiff::run(&mut command, agent.home());
    let told: Value =
        serde_json::from_str(&ended.said).unwrap_or_else(|error| panic!("{error}: {}", ended.said));
    (ended.code, told["checks"].as_array().expect("a list").clone())
}

/// Whether one of them is of this state and says this.
fn says(checks: &[Value], state: &str, gist: &str) -> bool {
    checks.iter().any(|check| {
        check["state"] == state && check["detail"].as_str().is_some_and(|text| text.contains(gist))
    })
}

/// The one obstacle has to have this code, and this in its text.
#[track_caller]
fn fails(agent: &Agent, under: &[&str], code: &str, gist: &str) {
    let (exit, checks) = checked(agent, under);
    let obstacles: Vec<_> = checks.iter().filter(|check| check["state"] == "fail").collect();
    assert_eq!((exit, obstacles.len()), (Some(1), 1), "{checks:#?}");
    assert_eq!(obstacles[0]["code"], code, "{checks:#?}");
    assert!(obstacles[0]["detail"].as_str().is_some_and(|text| text.contains(gist)), "{checks:#?}");
    assert!(obstacles[0]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{checks:#?}");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn versions_that_are_set_aside_are_told_of() {
    let (sshd, _scratch, source) = start();
    let aside = source.root().join(".skiff/set-aside/0");
    fs::create_dir_all(&aside).expect("a new folder is writable");
    fs::write(aside.join("file"), "a version").expect("there is room");
    let (exit, checks) = checked(&Agent::to(&sshd).watch("in", source.root(), ""), &[]);
    assert!(exit == Some(0) && says(&checks, "warn", ".skiff/set-aside/0/file"), "{checks:#?}");
}

/// Whoever checks may be root, and the folder is to be the service's.
#[test]
fn a_check_makes_no_state_folder_and_tells_of_an_open_one() {
    let (sshd, _scratch, mut source) = start();
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "");

    let (exit, checks) = checked(&agent, &[]);

    assert_eq!(exit, Some(0), "{checks:#?}");
    assert!(says(&checks, "ok", "can be made"), "{checks:#?}");
    assert!(!agent.state_dir().exists());

    fs::create_dir(agent.state_dir()).expect("made");
    fs::set_permissions(agent.state_dir(), Permissions::from_mode(0o755)).expect("ours");
    let (exit, checks) = checked(&agent, &[]);
    assert_eq!(exit, Some(0), "{checks:#?}");
    assert!(says(&checks, "warn", "open to others (mode 755)"), "{checks:#?}");

    agent.start();
    let socket = agent.state_dir().join("control.sock");
    agent.wait_until("the agent answers", || socket.exists());
    assert_eq!(mode(&agent.state_dir()), 0o700, "the agent closes it");
    let (_, checks) = checked(&agent, &[]);
    assert!(!says(&checks, "warn", "open to others"), "{checks:#?}");

    // Nor does anything that it makes there keep it from that.
    source.file("a", 10);
    let receipts = agent.state_dir().join("receipts.jsonl");
    agent.wait_until("it delivers", || fs::metadata(&receipts).is_ok_and(|receipts| receipts.len() > 0));
    agent.ask(&["pause"]).expect_code(0);
    agent.terminate();
    fs::set_permissions(agent.state_dir(), Permissions::from_mode(0o755)).expect("ours");
    agent.start();
    agent.wait_until("the agent answers", || socket.exists());
    assert_eq!(mode(&agent.state_dir()), 0o700, "{}", agent.log());

    let agent = Agent::to(&sshd).watch("in", source.root(), "");
    fs::write(agent.state_dir(), "no folder").expect("room");
    fails(&agent, &[], "state-folder", "cannot write in");
}

#[test]
fn what_a_server_lacks_for_sftp_is_told() {
    let (sync, replace) = ("the server cannot sync", "the server neither links nor replaces");
    for (lacks, told) in [("fsync", [true, false]), ("posix-rename,hardlink", [false, true])] {
        let sshd = Sshd::start_with(&format!("ForceCommand internal-sftp -P {lacks}"));
        let scratch = TempDir::new().expect("a temporary folder");
        let agent = Agent::to(&sshd).watch("in", scratch.path(), "");

        let (exit, checks) = checked(&agent, &[]);

        assert_eq!(exit, Some(0), "{checks:#?}");
        assert_eq!([sync, replace].map(|gist| says(&checks, "warn", gist)), told, "{lacks}: {checks:#?}");
    }
}

#[test]
fn a_folder_to_move_to_has_to_be_one() {
    let (sshd, scratch, source) = start();
    let to = |target: &Path| {
        let rules = format!("after_delivery = {{ move = '{}' }}", target.display());
        Agent::to(&sshd).watch("in", source.root(), &rules)
    };
    let target = scratch.path().join("sent/today");

    let (exit, checks) = checked(&to(&target), &[]);
    assert_eq!(exit, Some(0), "{checks:#?}");
    assert!(says(&checks, "ok", "can be moved there"), "{checks:#?}");
    assert!(!target.exists() && !scratch.path().join("sent").exists());

    let (_, checks) = checked(&to(Path::new("/dev/shm/skiff-sent")), &[]);
    assert!(says(&checks, "ok", "it is another file system"), "{checks:#?}");

    fs::write(scratch.path().join("sent"), "no folder").expect("room");
    fails(&to(&target), &[], "move-target", "is not a folder");

    if is_root("a folder that its owner may not write to") {
        fs::remove_file(scratch.path().join("sent")).expect("it is there");
        fs::create_dir(scratch.path().join("sent")).expect("room");
        fs::set_permissions(scratch.path().join("sent"), Permissions::from_mode(0o555)).expect("ours");
        fails(&to(&target), &WITHOUT_OVERRIDE, "move-target", "no right to write");
    }
}

/// Root as any user: modes hold for it.
const WITHOUT_OVERRIDE: [&str; 2] = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];

#[test]
fn a_folder_below_that_is_closed_is_found_unless_nothing_in_it_is_meant() {
    if !is_root("a folder that its owner may not read") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    source.file("open/a", 10);
    for folder in ["open/closed", "closed"] {
        let path = source.root().join(folder);
        fs::create_dir(&path).expect("room");
        fs::set_permissions(&path, Permissions::from_mode(0o000)).expect("ours");
    }

    let agent = Agent::to(&sshd).watch("in", source.root(), "");
    fails(&agent, &WITHOUT_OVERRIDE, "watch", "permission denied");
    let (_, checks) = checked(&agent, &WITHOUT_OVERRIDE);
    assert!(says(&checks, "fail", "1 more of its folders"), "{checks:#?}");

    for rules in ["max_depth = 0", "exclude = ['closed/']"] {
        let (exit, checks) = checked(&Agent::to(&sshd).watch("in", source.root(), rules), &WITHOUT_OVERRIDE);
        assert_eq!(exit, Some(0), "{rules}: {checks:#?}");
    }
}

/// Nothing of such a folder is delivered.
#[test]
fn rules_that_can_not_be_read_are_found() {
    let (sshd, scratch, mut source) = start();
    source.file("sub/a", 10);
    let rules = source.root().join("sub/.skiffignore");
    std::os::unix::fs::symlink(scratch.path().join("rules"), &rules).expect("linked");
    for mode in ["", "mode = 'append'"] {
        let agent = Agent::to(&sshd).watch("in", source.root(), mode);
        fails(&agent, &[], "watch", "sub/.skiffignore leads through a symlink");
    }
    let agent = Agent::to(&sshd).watch("in", source.root(), "ignore_file = ''");
    assert_eq!(checked(&agent, &[]).0, Some(0));
    fs::remove_file(&rules).expect("it is there");
    fs::write(&rules, "b\n").expect("room");
    if is_root("a file that its owner may not read") {
        fs::set_permissions(&rules, Permissions::from_mode(0o000)).expect("ours");
        let agent = Agent::to(&sshd).watch("in", source.root(), "");
        fails(&agent, &WITHOUT_OVERRIDE, "watch", "cannot read sub/.skiffignore: permission denied");
    }
}

/// Deliveries work without it, and no right would get it in.
#[test]
fn a_mount_point_below_is_told_and_no_obstacle() {
    if !is_root("a mount") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    source.file("a", 10);
    let at = source.root().join("x");
    fs::create_dir(&at).expect("room");
    let _mounted = Mounted::tmpfs(&at, "size=1m,mode=755");
    for (rules, warned) in [("", true), ("mode = 'append'", true), ("exclude = ['x/']", false)] {
        let (exit, checks) = checked(&Agent::to(&sshd).watch("in", source.root(), rules), &[]);
        assert_eq!(exit, Some(0), "{rules}: {checks:#?}");
        assert_eq!(says(&checks, "warn", "left out: x;"), warned, "{rules}: {checks:#?}");
    }
}

#[track_caller]
fn tells(agent: &Agent, gist: &str) {
    let told = || agent.ask(&["status"]).said.contains(gist);
    assert!(wait::came_true(wait::LIMIT, told), "{}", agent.ask(&["status"]).said);
}

/// The folder below it can be read, but what is to be delivered isn't there.
#[test]
fn a_mount_that_is_missing_is_told_by_the_agent_and_without_one() {
    if !is_root("a mount") {
        return;
    }
    let (sshd, scratch, _) = start();
    let at = scratch.path().join("mounted");
    let mounted = Mounted::tmpfs(&at, "size=1m,mode=755");
    fs::write(at.join("a"), "a").expect("room");
    let mut agent = Agent::to(&sshd).watch("in", &at, "");
    agent.start();
    agent.wait_until("it is delivered", || tree::equal(&at, &sshd.root()));
    let (exit, checks) = checked(&agent, &[]);
    assert_eq!(exit, Some(0), "{checks:#?}");

    agent.wait_until("it is idle", || mounted.try_unmount());
    tells(&agent, "is paused");
    fails(&agent, &[], "watch", "a file system was mounted at");
    agent.terminate();
    let state = tree::writings(&agent.state_dir());
    fails(&agent, &[], "watch", "a file system was mounted at");
    assert_eq!(tree::writings(&agent.state_dir()), state, "a check changes nothing");
    agent.start();
    tells(&agent, "a file system was mounted at");
    fails(&agent, &[], "watch", "a file system was mounted at");
    agent.terminate();

    let _again = Mounted::tmpfs(&at, "size=1m,mode=755");
    let (exit, checks) = checked(&agent, &[]);
    assert_eq!(exit, Some(0), "{checks:#?}");
}

#[test]
fn more_folders_than_the_system_watches_are_told() {
    if !is_root("a watch limit of one's own") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    source.small_files(40, 40);
    let few = "echo 20 > /proc/sys/user/max_inotify_watches && exec \"$@\"";
    let words = ["unshare", "--user", "--map-root-user", "sh", "-c", few, "sh"];

    let (exit, checks) = checked(&Agent::to(&sshd).watch("in", source.root(), ""), &words);
    assert_eq!(exit, Some(0), "{checks:#?}");
    let told = "41 folders at least, but user.max_inotify_watches is 20";
    assert!(says(&checks, "warn", told), "{checks:#?}");

    // Logs are looked at without being told.
    let (_, checks) = checked(&Agent::to(&sshd).watch("in", source.root(), "mode = 'append'"), &words);
    assert!(!says(&checks, "warn", "max_inotify_watches"), "{checks:#?}");
}

/// Another owner's, for whoever lacks `CAP_LEASE`; it matters where a file is removed, or no quiet time is waited for.
#[test]
fn files_whose_writers_nobody_can_tell() {
    const DELETE: &str = "after_delivery = 'delete'";
    if !is_root("another owner's file") {
        return;
    }
    let (sshd, _scratch, mut source) = start();
    let file = source.file("sub/a.csv", 10);
    let without_lease = ["setpriv", "--bounding-set", "-lease"];
    let warns = |rules: &str, under: &[&str]| {
        let (exit, checks) = checked(&Agent::to(&sshd).watch("in", source.root(), rules), under);
        assert_eq!(exit, Some(0), "{rules}: {checks:#?}");
        says(&checks, "warn", "whether sub/a.csv is still written to")
    };
    assert!(!warns(DELETE, &without_lease), "its own file");
    std::os::unix::fs::chown(&file, Some(1), None).expect("root may");
    assert!(!warns(DELETE, &[]), "it has the right to ask");
    assert!(warns(DELETE, &without_lease));
    assert!(warns("settle = '0s'", &without_lease));
    for rules in ["", "settle = '0s'\nsettle_marker = '.done'", "settle = '0s'\nexclude = ['*.csv']"] {
        assert!(!warns(rules, &without_lease), "{rules}");
    }
}

#[test]
fn the_port_has_to_be_free_or_our_own_and_the_token_private() {
    let (sshd, scratch, mut source) = start();
    let other = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = other.local_addr().expect("it is bound");
    let token = scratch.path().join("token");
    fs::write(&token, "0123456789abcdef\n").expect("room");
    fs::set_permissions(&token, Permissions::from_mode(0o600)).expect("ours");
    let control = format!("[control]\nlisten = '{address}'\ntoken_file = '{}'", token.display());
    let mut agent = Agent::with_destination(&sshd, &control).watch("in", source.root(), "");

    fails(&agent, &[], "listen", "cannot listen at 127.0.0.1");
    drop(other);
    let (exit, checks) = checked(&agent, &[]);
    assert_eq!(exit, Some(0), "{checks:#?}");
    assert!(says(&checks, "ok", "is free"), "{checks:#?}");

    source.file("first", 10);
    agent.start();
    agent.wait_until("the agent works", || tree::equal(source.root(), &sshd.root()));
    let (exit, checks) = checked(&agent, &[]);
    assert_eq!(exit, Some(0), "{checks:#?}");
    assert!(says(&checks, "ok", "the agent that runs answers"), "{checks:#?}");
    let stranger = Agent::with_destination(&sshd, &control).watch("in", source.root(), "");
    fails(&stranger, &[], "listen", "cannot listen at 127.0.0.1");

    fs::set_permissions(&token, Permissions::from_mode(0o644)).expect("ours");
    fails(&agent, &[], "token", "others can read it");
    agent.terminate();
    let nowhere = "[control]\nlisten = '192.0.2.1:9723'\ntoken_file = '/dev/null'";
    let (_, checks) = checked(&Agent::with_destination(&sshd, nowhere).watch("in", source.root(), ""), &[]);
    assert!(says(&checks, "fail", "cannot listen at 192.0.2.1"), "{checks:#?}");
}
