//! The exit codes that scripts rely on, all of them for each of `push`, `pull` and `check`: 0 all done, 1 some failed,
//! 2 usage or configuration, 3 could not reach or log in, 4 a host key problem, 130 interrupted, 141 read no longer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use skiff_tests::skiff::{Ended, command, run};
use skiff_tests::{Agent, Sshd, Tree, User, process, tree, wait};
use tempfile::TempDir;

/// A user, and the server where they have an account.
struct Account {
    user: User,
    sshd: Sshd,
}

impl Account {
    fn new() -> Self {
        Account { user: User::new(), sshd: Sshd::start() }
    }

    fn remote(&self, path: &Path) -> String {
        format!("{}@127.0.0.1:{}", self.sshd.user(), path.display())
    }

    /// `push` or `pull` with what is right, and then these flags.
    fn skiff(&self, verb: &str, flags: &[&str], from: &str, to: &str) -> Command {
        let mut command = command(self.user.home());
        command.args([verb, "-F", "none", "--state-dir", "state", "-P", &self.sshd.port().to_string(), "-i"]);
        command.arg(self.sshd.key()).arg("--known-hosts").arg(self.sshd.known_hosts());
        command.args(flags).args([from, to]);
        command
    }

    #[track_caller]
    fn push(&self, flags: &[&str], from: &Path) -> Ended {
        let (from, to) = (from.display().to_string(), self.remote(&self.sshd.root()));
        run(&mut self.skiff("push", flags, &from, &to), self.user.home())
    }

    #[track_caller]
    fn pull(&self, flags: &[&str], from: &Path) -> Ended {
        let (from, to) = (self.remote(from), self.user.home().join("here").display().to_string());
        run(&mut self.skiff("pull", flags, &from, &to), self.user.home())
    }

    /// A `known_hosts` file that knows nobody, as a flag; the last one of several counts for nothing more.
    fn nobody_known(&self) -> [String; 2] {
        ["--known-hosts".to_owned(), self.sshd.empty_known_hosts().display().to_string()]
    }
}

#[track_caller]
fn code_of(ended: &Ended) -> String {
    ended.told()["code"].as_str().unwrap_or("none").to_owned()
}

#[test]
fn of_push() {
    let account = Account::new();
    let data = account.user.data().to_owned();
    assert_eq!(code_of(&account.push(&["--json"], &data).expect_code(0)), "none");

    let standing = account.sshd.root().join("data/folder-000");
    fs::remove_dir_all(&standing).expect("it was delivered");
    fs::write(&standing, "in the way").expect("the server's folder is writable");
    assert_eq!(code_of(&account.push(&["--json"], &data).expect_code(1)), "undelivered");
    account.push(&["--no-such-flag"], &data).expect_code(2);
    assert_eq!(code_of(&account.push(&["--json", "-o", "Prot=22"], &data).expect_code(2)), "usage");

    let stranger = account.sshd.stranger_key().display().to_string();
    fs::remove_file(account.sshd.key()).expect("it was there");
    let refused = account.push(&["--json", "-i", &stranger], &data).expect_code(3);
    assert_eq!(code_of(&refused), "login-refused");

    fs::write(account.sshd.known_hosts(), "").expect("the server's folder is writable");
    assert_eq!(code_of(&account.push(&["--json"], &data).expect_code(4)), "host-key-unknown");
    let [flag, file] = account.nobody_known();
    account.push(&[&flag, &file], &data).expect_code(4);
}

/// What is told to programs says as much as the exit code, also of a source that isn't there.
#[test]
fn of_push_of_what_is_not_there() {
    let account = Account::new();
    let alone = account.push(&["--json"], Path::new("/nowhere")).expect_code(1).told();
    assert_eq!(alone["code"], "source", "{alone}");
    assert!(alone["failure"].as_str().is_some_and(|what| what.contains("/nowhere")), "{alone}");
    assert!(alone["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{alone}");
    assert_eq!(alone.as_object().map(serde_json::Map::len), Some(3), "no other key: {alone}");
    account.push(&[], Path::new("/nowhere")).expect_code(1).expect_said("cannot send /nowhere");

    let beside = account.push(&["--json", "/nowhere"], account.user.data()).expect_code(1);
    let told = beside.told();
    assert_eq!(told["code"], "source", "{told}");
    assert_eq!(told["undelivered_files"], 0, "{told}");
    let problems = told["problems"].as_array().expect("a list");
    assert!(
        problems.len() == 1 && problems[0].as_str().is_some_and(|why| why.contains("/nowhere")),
        "{told}"
    );
    account.user.expect_arrived(&account.sshd.root());
}

#[test]
fn of_pull() {
    let account = Account::new();
    let mut there = Tree::new(account.sshd.root().join("data"), 2);
    there.small_files(5, 1);
    let data = there.root().to_owned();
    assert_eq!(code_of(&account.pull(&["--json"], &data).expect_code(0)), "none");

    assert_eq!(code_of(&account.pull(&["--json"], Path::new("/nowhere")).expect_code(1)), "unfetched");

    account.pull(&["--no-such-flag"], &data).expect_code(2);
    assert_eq!(code_of(&account.pull(&["--json", "-o", "Prot=22"], &data).expect_code(2)), "usage");

    let stranger = account.sshd.stranger_key().display().to_string();
    fs::remove_file(account.sshd.key()).expect("it was there");
    let refused = account.pull(&["--json", "-i", &stranger], &data).expect_code(3);
    assert_eq!(code_of(&refused), "login-refused");

    fs::write(account.sshd.known_hosts(), "").expect("the server's folder is writable");
    assert_eq!(code_of(&account.pull(&["--json"], &data).expect_code(4)), "host-key-unknown");
}

/// Of names with brackets and colons, and of homes, what scp makes of them.
#[test]
fn of_names_with_brackets_colons_and_tildes() {
    let account = Account::new();
    let root = account.sshd.root();
    let file = account.user.write("data[1].csv", "a");
    let there = root.join("[2026]");
    let run = |verb: &str, from: &str, to: &str| {
        run(&mut account.skiff(verb, &["-q"], from, to), account.user.home())
    };
    run("push", &file.display().to_string(), &account.remote(&there)).expect_code(0);
    assert!(tree::same_bytes(&file, &there.join("data[1].csv")));
    for here in ["./12:00", "sub/12:00"] {
        run("pull", &account.remote(&there.join("data[1].csv")), here).expect_code(0);
        assert!(tree::same_bytes(&file, &account.user.home().join(here).join("data[1].csv")));
    }
    run("pull", &account.remote(&there), "h:x").expect_code(2).expect_said("looks like a server");
    run("push", "data[1].csv", "./12:00").expect_code(2).expect_said("names no server");
    for home in ["~bob", "~bob/in"] {
        let remote = account.remote(Path::new(home));
        run("push", "data[1].csv", &remote).expect_code(2).expect_said("another user");
        run("pull", &remote, "here").expect_code(2).expect_said("another user");
    }
    let login = std::env::home_dir().expect("there is one");
    assert!(!login.join("~bob").exists());
}

#[test]
fn of_check() {
    let (mut sshd, watched) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let agent = Agent::to(&sshd).watch("in", watched.path(), "");
    agent.ask(&["check"]).expect_code(0);

    let config = fs::read_to_string(agent.config()).expect("it was written");
    let write = |text: &str| fs::write(agent.config(), text).expect("it can be written");
    write(&config.replace(&watched.path().display().to_string(), "/nowhere"));
    agent.ask(&["check"]).expect_code(1);
    write(&format!("{config}\nunheard = 1\n"));
    agent.ask(&["check"]).expect_code(2);
    write(&config);
    let known = fs::read(sshd.known_hosts()).expect("it was written");
    fs::write(sshd.known_hosts(), "").expect("the server's folder is writable");
    agent.ask(&["check"]).expect_code(4);
    fs::write(sshd.known_hosts(), known).expect("the server's folder is writable");
    sshd.stop();
    agent.ask(&["check"]).expect_code(3);
}

/// 130 after ^C, SIGTERM and SIGHUP; it says so, and goes on where it was.
#[test]
fn of_the_interrupted() {
    let account = Account::new();
    let home = account.user.home();
    let mut large = Tree::new(home.join("large"), 3);
    large.file("large.bin", 4 << 20);
    let mut there = Tree::new(account.sshd.root().join("there"), 4);
    there.file("large.bin", 4 << 20);
    let here = home.join("here");
    let (local, remote) =
        (large.root().display().to_string(), account.remote(&account.sshd.root().join("pushed")));
    let (from, to) = (account.remote(there.root()), here.display().to_string());
    let hung_up = account.remote(&account.sshd.root().join("hung-up"));
    for (signal, verb, from, to, at) in [
        (Signal::INT, "push", &local, &remote, account.sshd.root().join("pushed/large")),
        (Signal::TERM, "pull", &from, &to, here.clone()),
        (Signal::HUP, "push", &local, &hung_up, account.sshd.root().join("hung-up/large")),
    ] {
        // A quarter of a megabyte a second.
        let mut skiff = account.skiff(verb, &["-l", "2048"], from, to);
        let said = home.join("said");
        let file = fs::File::create(&said).expect("the folder is writable");
        let mut child = skiff.stdout(Stdio::null()).stderr(file).spawn().expect("skiff can be started");
        let under_way = wait::came_true(wait::LIMIT, || tree::staged_bytes(&at) > 0);
        assert!(under_way, "{verb}: {}", fs::read_to_string(&said).expect("it was made"));
        process::signal(process::pid(&child), signal);
        assert_eq!(end_of(&mut child), Some(130), "{verb}");
        let said = fs::read_to_string(&said).expect("it was made");
        assert!(said.contains("interrupted"), "{verb}: {said}");
        run(&mut account.skiff(verb, &["-q"], from, to), home).expect_code(0);
    }
    tree::assert_equal(large.root(), &account.sshd.root().join("pushed/large"));
    tree::assert_equal(there.root(), &here.join("there"));
}

/// Who types `nohup` wants it to go on.
#[test]
fn of_the_hung_up_that_ignore_it() {
    let account = Account::new();
    let home = account.user.home();
    let mut large = Tree::new(home.join("large"), 6);
    large.file("large.bin", 1 << 20);
    let to = account.sshd.root().join("pushed");
    let skiff = account.skiff("push", &["-q", "-l", "2048"], "large", &account.remote(&to));
    let mut nohup = Command::new("nohup");
    nohup.arg(skiff.get_program()).args(skiff.get_args()).current_dir(home);
    nohup.env("HOME", home).env_remove("SSH_AUTH_SOCK").stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = nohup.spawn().expect("nohup can be started");
    assert!(wait::came_true(wait::LIMIT, || tree::staged_bytes(&to.join("large")) > 0), "it is under way");
    process::signal(process::pid(&child), Signal::HUP);
    assert_eq!(end_of(&mut child), Some(0));
    tree::assert_equal(large.root(), &to.join("large"));
}

/// Who was typed at a terminal that goes away ends with it, and not by a panic, though nobody hears a last word.
#[test]
fn of_those_whose_terminal_goes_away() {
    let account = Account::new();
    let mut large = Tree::new(account.user.home().join("large"), 7);
    large.file("large.bin", 4 << 20);
    let to = account.sshd.root().join("pushed");
    let skiff = account.skiff("push", &["-l", "1024"], "large", &account.remote(&to));
    let words: Vec<_> = skiff.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let under_way = || tree::staged_bytes(&to.join("large")) > 0;
    let code = account.user.left_by_a_terminal(&words, under_way);
    assert!(matches!(code, Some(130 | 141)), "{code:?}");
    assert!(!to.join("large/large.bin").exists(), "it was not waited for");
}

/// 141 and not a word where the reader has ended, as in `skiff items | head`.
#[test]
fn of_the_unread() {
    let (sshd, watched) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let agent = Agent::to(&sshd).watch("in", watched.path(), "");
    let config = agent.config().display().to_string();
    let unread: [&[&str]; 4] = [&["check"], &["status"], &["config", "show"], &["config", "schema"]];
    for words in unread {
        let (reader, writer) = io::pipe().expect("a pipe can be made");
        drop(reader);
        let mut skiff = command(watched.path());
        skiff.args(words).stdout(writer).stderr(Stdio::piped());
        if words != ["config", "schema"] {
            skiff.args(["--config", &config]);
        }
        let ended = skiff.output().expect("skiff can be started");
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{words:?}");
        assert_eq!(ended.status.code(), Some(141), "{words:?}");
    }
}

fn end_of(child: &mut Child) -> Option<i32> {
    let status = process::wait_for_end(child, wait::LIMIT);
    if status.is_none() {
        let _gone = child.kill();
        child.wait().expect("a child can be waited for");
    }
    status.and_then(|status| status.code())
}

/// `-l` holds the average within 5 %: never more over the whole transfer, in either direction.
#[test]
fn limit_holds_the_average() {
    const BYTES: u64 = 4 << 20;
    let account = Account::new();
    let mut large = Tree::new(account.user.home().join("large"), 5);
    large.file("large.bin", BYTES);
    let there = account.sshd.root().join("large");
    let here: PathBuf = account.user.home().join("here/large");
    let timed = |work: &dyn Fn() -> Ended| {
        let began = Instant::now();
        work().expect_code(0);
        began.elapsed()
    };
    // 8 Mbit/s as scp has them: a MiB a second.
    let ideal = Duration::from_secs(BYTES >> 20);
    let pushed = timed(&|| account.push(&["-l", "8192"], large.root()));
    let pulled = timed(&|| account.pull(&["-l", "8192"], &there));
    tree::assert_equal(large.root(), &here);
    println!("4 MiB at 8192 Kbit/s: pushed in {pushed:?}, pulled in {pulled:?}");
    for took in [pushed, pulled] {
        assert!(took >= ideal.mul_f64(0.95), "{took:?} is more than the limit allows");
        // What starting and verifying take is no part of it; a busy machine may take longer.
        assert!(took < ideal * 2 + Duration::from_secs(5), "{took:?}");
    }
}

/// A dry run says what would be done and does nothing, at the server neither.
#[test]
fn dry_run_touches_nothing() {
    let account = Account::new();
    let data = account.user.data().to_owned();
    let ended = account.push(&["--dry-run"], &data).expect_code(0).expect_said("5 files, ");
    ended.expect_said("folder-000").expect_said("would be sent");
    let ended = account.push(&["--dry-run", "--json"], &data).expect_code(0);
    assert_eq!(ended.told()["would_send"].as_array().map(Vec::len), Some(5));
    assert_eq!(tree::count(&account.sshd.root()), 0);
    assert!(
        !account.sshd.root().join(tree::STAGING).exists()
            && !account.user.home().join("state/receipts.jsonl").exists()
    );
}
