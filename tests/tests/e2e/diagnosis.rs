//! What a user reads when a delivery can't work: each case of the usual troubleshooting page, told apart by its stable code,
//! its exit code and the gist of its text, against servers and accounts that are really like that.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::Value;
use skiff_tests::fault_proxy::Fault;
use skiff_tests::hole::Hole;
use skiff_tests::machine::{Mounted, is_root};
use skiff_tests::skiff::{Ended, command, run};
use skiff_tests::{Agent, FaultProxy, Sshd, Toolbox, Tree, process, tree, wait};
use tempfile::TempDir;

const IMPATIENT: &str = "connect_timeout = '2s'\nstall_timeout = '2s'";

fn scratch() -> TempDir {
    TempDir::new().expect("there is room for a temporary folder")
}

/// An agent that watches an empty folder of its own.
struct User {
    agent: Agent,
    _watched: TempDir,
}

impl User {
    fn of(agent: Agent) -> Self {
        let watched = scratch();
        User { agent: agent.watch("in", watched.path(), ""), _watched: watched }
    }

    fn to(sshd: &Sshd) -> Self {
        User::of(Agent::with_destination(sshd, IMPATIENT))
    }

    /// Who looks for the server at another port, and knows no other difference.
    fn at(sshd: &Sshd, port: u16) -> Self {
        User::of(Agent::at(sshd, ("127.0.0.1", port), &sshd.known_hosts(), IMPATIENT))
    }

    /// Who has these lines in the place of what is right.
    fn instead(self, right: &str, wrong: &str) -> Self {
        let text = fs::read_to_string(self.agent.config()).expect("it was written");
        assert!(text.contains(right), "{right} in {text}");
        fs::write(self.agent.config(), text.replace(right, wrong)).expect("it can be written");
        self
    }

    /// `check` has to end with this exit code, and name the one obstacle by `code` and all of `gist`.
    #[track_caller]
    fn is_told(&self, code: &str, exit: i32, gist: &[&str]) {
        let ended = self.agent.ask(&["check", "--json"]).expect_code(exit);
        let told = json(&ended);
        let checks = told["checks"].as_array().expect("a list of checks");
        let obstacles: Vec<_> = checks.iter().filter(|check| check["state"] == "fail").collect();
        assert_eq!(obstacles.len(), 1, "{told:#}");
        expect(&obstacles[0]["code"], &obstacles[0]["detail"], &obstacles[0]["hint"], code, gist);
        // The same for eyes.
        let plain = self.agent.ask(&["check"]).expect_code(exit);
        plain.expect_said("FAIL").expect_said("try: ");
    }
}

#[track_caller]
fn expect(code: &Value, what: &Value, hint: &Value, wanted: &str, gist: &[&str]) {
    let (what, hint) = (what.as_str().expect("a text"), hint.as_str().expect("a text"));
    println!("diagnosis: `{wanted}` | {what} | {hint}");
    assert_eq!(code, wanted, "{what}: {hint}");
    assert!(!hint.is_empty(), "{what}");
    for part in gist {
        assert!(what.contains(part) || hint.contains(part), "no {part:?} in: {what}. Try: {hint}");
    }
    let all = format!("{what}{hint}");
    assert!(!all.chars().any(char::is_control) && !all.contains("Error {"), "{all:?}");
}

#[track_caller]
fn json(ended: &Ended) -> Value {
    let start = ended.said.find('{').unwrap_or_else(|| panic!("no JSON in what skiff said:\n{}", ended.said));
    let mut values = serde_json::Deserializer::from_str(&ended.said[start..]).into_iter();
    values.next().expect("there is one").expect("it is JSON")
}

#[test]
fn names_and_ports_that_lead_nowhere() {
    let mut sshd = Sshd::start();
    let nowhere = Agent::at(&sshd, ("nowhere.invalid", 22), &sshd.known_hosts(), IMPATIENT);
    User::of(nowhere).is_told("host-not-found", 3, &["nowhere.invalid", "getent hosts"]);

    let hole = Hole::open();
    let user = User::at(&sshd, hole.port());
    user.is_told("connect-timed-out", 3, &["timed out after 2 s while connecting", "firewall"]);

    let user = User::to(&sshd);
    sshd.stop();
    user.is_told("connection-refused", 3, &["refused the connection", "ss -ltn"]);
}

/// One that says nothing, one that says something else, and one that hangs up.
#[test]
fn ports_that_are_no_ssh_servers() {
    let sshd = Sshd::start();
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = silent.local_addr().expect("a listener knows its port").port();
    User::at(&sshd, port).is_told("no-greeting", 3, &["waiting for the SSH greeting", "SSH-2.0"]);

    for (says, gist) in [("HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1 400"), ("", "without a word")] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        let port = listener.local_addr().expect("a listener knows its port").port();
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                let _gone = stream.write_all(says.as_bytes());
                let _gone = stream.shutdown(Shutdown::Write);
                let _read = std::io::copy(&mut stream, &mut std::io::sink());
            }
        });
        User::at(&sshd, port).is_told("not-ssh", 3, &["does not answer as an SSH server", gist, "port"]);
    }
}

#[test]
fn servers_that_are_too_old() {
    let sshd = Sshd::start_with("Ciphers aes256-cbc,3des-cbc");
    let gist = ["no cipher in common", "aes128-gcm@openssh.com", "aes256-cbc", "Ciphers +"];
    User::to(&sshd).is_told("no-common-algorithm", 3, &gist);
}

/// Unknown, changed, revoked: three texts, and never a word to the server.
#[test]
fn host_keys_that_are_not_the_recorded_one() {
    let sshd = Sshd::start();
    let known = sshd.known_hosts();
    let right = fs::read_to_string(&known).expect("it was written");
    let other = fs::read_to_string(sshd.key().with_extension("pub")).expect("it was written");
    let name = right.split(' ').next().expect("a name");
    let user = User::to(&sshd);
    let write = |text: &str| fs::write(&known, text).expect("it can be written");

    write("");
    let trust = format!("skiff trust --known-hosts {} 127.0.0.1:{}", known.display(), sshd.port());
    user.is_told("host-key-unknown", 4, &["is unknown", "ssh-ed25519 SHA256:", "ssh-keygen -lf", &trust]);
    write(&format!("# old\n{name} {other}"));
    let forget = format!("ssh-keygen -f {} -R '{name}'", known.display());
    let place = format!("{}:2", known.display());
    user.is_told("host-key-changed", 4, &["has changed", &place, "somebody is in between", &forget, &trust]);
    write(&format!("{right}@revoked {right}"));
    user.is_told("host-key-revoked", 4, &["is revoked", &place, "do not connect"]);
    assert!(!sshd.log().contains("Accepted"), "nobody logged in");

    // The commands that are told do what they promise.
    write(&format!("{name} {other}"));
    process::run(Command::new("ssh-keygen").arg("-f").arg(&known).args(["-R", name]));
    user.is_told("host-key-unknown", 4, &[&trust]);
}

/// With the methods that the server takes, the modes of the key file and the key's fingerprint.
#[test]
fn logins_that_are_refused() {
    let sshd = Sshd::start();
    let (right, stranger) = (sshd.key().display().to_string(), sshd.stranger_key().display().to_string());
    let fingerprint = process::run(Command::new("ssh-keygen").arg("-lf").arg(sshd.stranger_key()));
    let fingerprint = fingerprint.split(' ').nth(1).expect("a fingerprint").to_owned();
    let shown = format!("{stranger} (mode 0600, ssh-ed25519 {fingerprint})");
    let copy = format!("ssh-copy-id -i {stranger}.pub -p {} {}@127.0.0.1", sshd.port(), sshd.user());
    let gist = ["refused the login of", &shown, "it takes: publickey", &copy, "authorized_keys"];
    User::to(&sshd).instead(&right, &stranger).is_told("login-refused", 3, &gist);

    let sshd = Sshd::start_with("PubkeyAuthentication no\nPasswordAuthentication yes");
    let gist = ["it takes: password", "password_file", "--password-file"];
    User::to(&sshd).is_told("login-refused", 3, &gist);
}

#[test]
fn key_files_that_cannot_be_used() {
    let sshd = Sshd::start();
    let key = sshd.key();
    let user = User::to(&sshd);
    let mode = |mode| fs::set_permissions(&key, Permissions::from_mode(mode)).expect("it is ours");

    mode(0o644);
    let command = format!("chmod 600 {}", key.display());
    user.is_told("key-file-open", 3, &["(mode 0644) is open to other users", &command]);
    mode(0o600);
    process::run(Command::new("ssh-keygen").args(["-q", "-p", "-N", "secret", "-f"]).arg(&key));
    user.is_told("key-passphrase", 3, &["(mode 0600) needs a passphrase", "passphrase_file"]);
    fs::remove_file(&key).expect("it was there");
    user.is_told("key-file", 3, &["No such file", "ls -l"]);
}

/// Without SFTP either, which would do.
const NO_SFTP: &str = "Subsystem other /bin/false";

/// An account that may log in, but runs nothing.
#[test]
fn account_without_a_shell() {
    if !is_root("another account") {
        return;
    }
    let sshd = Sshd::start_for("nobody", None, NO_SFTP);
    let gist = ["the account runs no shell", "not available", "chsh"];
    User::to(&sshd).is_told("no-shell", 3, &gist);
}

/// A start-up file that keeps the login shell from running the SFTP server.
#[test]
fn start_up_file_that_stops_sftp() {
    if !is_root("another login shell") {
        return;
    }
    for (text, words) in [
        ("echo Welcome; exit 1", "gives no SFTP: Welcome"),
        ("echo Welcome; exec sleep 60", "gives no SFTP: Welcome, and then nothing"),
        ("exec cat /dev/zero", "gives no SFTP"),
    ] {
        let sshd = Sshd::start_with_shell(Path::new("/bin/bash"), "Subsystem sftp /bin/false");
        fs::write(sshd.session_home().join(".bashrc"), text).expect("the server's folder is writable");
        let by_sftp = format!("{IMPATIENT}\ntransport = 'sftp'");
        let user = User::of(Agent::with_destination(&sshd, &by_sftp));
        user.is_told("no-sftp", 3, &[words, "~/.bashrc", "internal-sftp"]);
    }
}

#[test]
fn server_without_scp() {
    let toolbox = Toolbox::without(&["scp"]);
    let sshd = Sshd::start_with(&format!("{}\n{NO_SFTP}", toolbox.lines()));
    User::to(&sshd).is_told("tool-missing", 1, &["`scp`", "install scp", "openssh-client"]);
}

/// A folder of somebody else's, for an account that really may not.
#[test]
fn folder_that_may_not_be_written() {
    if !is_root("another account") {
        return;
    }
    let sshd = Sshd::start_for("nobody", Some(Path::new("/bin/sh")), "");
    let root = sshd.root();
    let gist = ["cannot use the folder", "Permission denied", "ls -ld", "SELinux"];
    User::to(&sshd).is_told("no-permission", 1, &[&gist[..], &[root.to_str().expect("plain")]].concat());
    fs::set_permissions(&root, Permissions::from_mode(0o700)).expect("it is ours");
    User::to(&sshd).is_told("no-permission", 1, &gist[..1]);
}

/// A file system that takes nothing: read-only, without inodes, full.
#[test]
fn disks_that_take_nothing() {
    if !is_root("small disks") {
        return;
    }
    let sshd = Sshd::start();
    let disk = Mounted::tmpfs(&sshd.root(), "size=1m,ro");
    User::to(&sshd).is_told("read-only", 1, &["Read-only file system", "remount"]);
    disk.set("size=1m,nr_inodes=1,rw");
    User::to(&sshd).is_told("no-space", 1, &["No space left", "df -h", "df -i"]);
    disk.set("size=1m,nr_inodes=1000");
    fs::write(sshd.root().join("much"), vec![0; 800 << 10]).expect("so much fits");
    // Deliveries go on; too little is what leaves less than is to stay free.
    User::to(&sshd).agent.ask(&["check"]).expect_code(0).expect_said("warn").expect_said("KiB are free");
    let keeps = User::of(Agent::with_destination(&sshd, &format!("{IMPATIENT}\nkeep_free = '500 KiB'")));
    keeps.is_told("low-space", 1, &["only 2", "KiB are free", "500 KiB are to stay free", "df -h"]);
    let full = fs::write(sshd.root().join("more"), vec![0; 800 << 10]);
    assert!(full.is_err(), "so much does not fit");
    User::to(&sshd).is_told("no-space", 1, &["No space left", "df -i"]);
    fs::remove_file(sshd.root().join("more")).expect("a part of it is there");

    let home = scratch();
    let mut source = Tree::new(home.path().join("data"), 1);
    source.file("large.bin", 3 << 20);
    let told = json(&push(&sshd, home.path(), source.root()).expect_code(1));
    let gist = ["too little for 3 MiB", "make room"];
    expect(&told["code"], &told["failure"], &told["hint"], "low-space", &gist);
}

/// A line that can't be read is told: it may have been meant to revoke a key.
#[test]
fn revocations_that_say_nothing() {
    let sshd = Sshd::start();
    let mut known = fs::read_to_string(sshd.known_hosts()).expect("it was written");
    known += "@revoked * ssh-ed25519 AAAA\n";
    fs::write(sshd.known_hosts(), known).expect("it can be written");
    let checked = User::to(&sshd).agent.ask(&["check"]).expect_code(0);
    checked.expect_said(":2 can't be read (garbled key)").expect_said("revokes no key");
}

/// A disk that fills after it was asked: the remedy names the destination's folder. The server's `scp` says what it says then.
#[test]
fn disk_that_fills_meanwhile() {
    let full = "printf '\\001scp: part: No space left on device\\n'; exit 1";
    let toolbox = Toolbox::usual().with("scp", full);
    let (sshd, home) = (Sshd::start_with(&toolbox.lines()), scratch());
    let mut source = Tree::new(home.path().join("data"), 1);
    source.file("large.bin", 3 << 20);
    let told = json(&push(&sshd, home.path(), source.root()).expect_code(1));
    let gist = ["No space left", &format!("df -i {}/data`", sshd.root().display())];
    expect(&told["code"], &told["failure"], &told["hint"], "no-space", &gist);
}

/// Where `SELinux` says no. No kernel here has it, so the server's `mkdir` and `getenforce` answer as they do there.
#[test]
fn selinux_that_forbids_what_the_modes_allow() {
    let denied =
        "for W; do :; done; echo \"mkdir: cannot create directory '$W': Permission denied\" >&2; exit 1";
    let toolbox = Toolbox::usual().and(&["id"]).with("mkdir", denied).with("find", "exec \"$REAL\" \"$@\"");
    let sshd = Sshd::start_with(&toolbox.lines());
    User::to(&sshd).is_told("no-permission", 1, &["Permission denied"]);

    let enforcing = toolbox.home().join("bin/getenforce");
    fs::write(&enforcing, "#!/bin/sh\necho Enforcing\n").expect("it is ours");
    fs::set_permissions(&enforcing, Permissions::from_mode(0o755)).expect("it is ours");
    User::to(&sshd).is_told("selinux", 1, &["the modes allow it, but SELinux", "ausearch", "restorecon"]);
}

/// An idle connection that something on the way has dropped is told, with what may keep it awake.
#[test]
fn connection_that_is_dropped_when_idle() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let proxy = FaultProxy::to(sshd.port());
    let mut source = Tree::new(scratch.path().join("in"), 3);
    source.file("first", 100);
    let patience = "stall_timeout = '1s'\nkeepalive = '300ms'";
    let mut agent = Agent::through(&proxy, &sshd, patience).watch("in", source.root(), "").started();
    agent.wait_until_logged("it is at rest", |line| line.contains("delivered and verified"));

    proxy.break_all(Fault::Stall);
    agent.wait_until("the dead connection is given up", || proxy.last().1.over);
    source.file("second", 100);

    agent.wait_until("the next file is delivered", || tree::equal(source.root(), &sshd.root()));
    agent.wait_until_logged("the drop is told", |line| {
        line.contains("dropped-idle") && line.contains("while nothing was sent") && line.contains("keepalive")
    });
}

/// A transfer that hangs at its end: all is sent, and the server's disk never says that it is safe.
#[test]
fn transfer_that_hangs_at_its_end() {
    let hangs = "[ \"$2\" = /dev/null ] || exec sleep 60; exec \"$REAL\" \"$@\"";
    let toolbox = Toolbox::usual().and(&["sleep"]).with("sync", hangs);
    let (sshd, scratch) = (Sshd::start_with(&toolbox.lines()), scratch());
    let mut source = Tree::new(scratch.path().join("in"), 4);
    source.file("large.bin", 2 << 20);
    let mut agent =
        Agent::with_destination(&sshd, "stall_timeout = '1s'").watch("in", source.root(), "").started();

    agent.wait_until_logged("what it waits for is told", |line| {
        line.contains("nothing came from the server for")
            && line.contains("while reading the digest")
            && line.contains("stall_timeout")
            && line.contains("dmesg")
    });
    let told = || json(&agent.ask(&["status", "--json"]).expect_code(0)).to_string().contains("\"stalled\"");
    assert!(wait::came_true(wait::LIMIT, told), "the code is never shown:\n{}", agent.log());
    assert_eq!(tree::count(&sshd.root()), 0, "nothing is published");
}

/// `push` and `pull` say the same, with the same code, on both ways of telling.
#[test]
fn push_and_pull_tell_the_same() {
    let home = scratch();
    let mut source = Tree::new(home.path().join("data"), 5);
    source.small_files(5, 1);
    for (wrong, code, exit) in [
        (&["-P", "1"][..], "connection-refused", 3),
        (&["--known-hosts", "/dev/null"], "host-key-unknown", 4),
        (&["-i", "/nowhere/key"], "key-file", 3),
    ] {
        let sshd = Sshd::start();
        let mut flags = vec!["-F".to_owned(), "none".to_owned()];
        flags.extend(["-P".to_owned(), sshd.port().to_string()].into_iter().filter(|_| wrong[0] != "-P"));
        for (name, right) in [("-i", sshd.key()), ("--known-hosts", sshd.known_hosts())] {
            if wrong[0] != name {
                flags.extend([name.to_owned(), right.display().to_string()]);
            }
        }
        flags.extend(wrong.iter().map(|word| (*word).to_owned()));
        let there = format!("{}@127.0.0.1:{}", sshd.user(), sshd.root().display());
        for words in [
            vec!["push".to_owned(), source.root().display().to_string(), there.clone()],
            vec!["pull".to_owned(), there.clone(), home.path().join("here").display().to_string()],
        ] {
            let run_with = |more: &[&str]| {
                let mut skiff = command(home.path());
                skiff.arg(&words[0]).args(&flags).args(more).args(&words[1..]);
                run(&mut skiff, home.path()).expect_code(exit)
            };
            let told = json(&run_with(&["--json"]));
            expect(&told["code"], &told["failure"], &told["hint"], code, &[]);
            let what = told["failure"].as_str().expect("a text");
            let plain = run_with(&["-q"]).expect_said("try: ");
            assert_eq!(plain.said.matches(what).count(), 1, "once, not for each file:\n{}", plain.said);
        }
    }
}

#[track_caller]
fn push(sshd: &Sshd, home: &Path, source: &Path) -> Ended {
    let mut skiff = command(home);
    skiff.args(["push", "--json", "-F", "none", "-P", &sshd.port().to_string(), "-i"]).arg(sshd.key());
    skiff.arg("--known-hosts").arg(sshd.known_hosts()).arg("--state-dir").arg(home.join("state"));
    let mut target = String::new();
    let _written = write!(target, "{}@127.0.0.1:{}", sshd.user(), sshd.root().display());
    let source: PathBuf = source.to_owned();
    skiff.arg(source).arg(target);
    run(&mut skiff, home)
}
