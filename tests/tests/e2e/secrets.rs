//! What an agent lets nobody see: its memory, and the secrets that it logs in with or is asked with.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use skiff_tests::{Agent, Sshd, Tree, http, machine, process, skiff, tree};
use tempfile::TempDir;

/// Neither a passphrase nor a token; both stand in files of their own.
const CANARIES: [&str; 2] = ["opens-the-key-4711", "asks-the-agent-0815"];

fn private(path: &Path, text: &str) {
    fs::write(path, text).expect("the scratch folder is writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("ours");
}

/// S8: whatever the limits of who starts it. The parent of a process hears whether there was a core.
#[test]
fn a_crash_leaves_no_core() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.file("one", 100);
    let unlimited = machine::is_root("a core that the limits would allow");
    let words: &[&str] = if unlimited { &["prlimit", "--core=unlimited:unlimited"] } else { &[] };
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").under(words.iter().copied()).started();
    agent.wait_until("it is delivered", || tree::equal(source.root(), &sshd.root()));

    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.pid().as_raw_nonzero()));
    let limits = limits.expect("the agent runs");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a known limit");
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    assert_eq!(core.split_whitespace().nth(5), Some("0"), "{core}");
    agent.signal(Signal::ABORT);
    let status = agent.wait_for_end();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!status.core_dumped(), "it left a core");
}

/// S8: of a process that may not be dumped, the kernel gives what tells its memory to root, not to its own user.
#[test]
fn other_processes_of_its_user_cannot_read_its_memory() {
    // A server that says nothing: whoever asks it for its key waits.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let home = TempDir::new().expect("a temporary folder");
    let mut command = if machine::is_root("a process of another user") {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(skiff::binary());
        command
    } else {
        Command::new(skiff::binary())
    };
    command.args(["trust", "--known-hosts"]).arg(home.path().join("known_hosts"));
    command.arg(format!("127.0.0.1:{port}")).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().expect("it can be started");
    let (_connection, _) = listener.accept().expect("it connects");
    let memory = format!("/proc/{}/mem", child.id());
    let owner = fs::metadata(&memory).expect("it runs").uid();
    child.kill().expect("it runs");
    child.wait().expect("it was killed");
    assert_eq!(owner, 0, "{memory} belongs to its user");
}

/// S8: with everything logged that can be.
#[test]
fn secrets_are_nowhere_but_in_their_files() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let [passphrase, token] = ["passphrase", "token"].map(|name| scratch.path().join(name));
    private(&passphrase, CANARIES[0]);
    private(&token, CANARIES[1]);
    let key = scratch.path().join("key");
    fs::copy(sshd.key(), &key).expect("there is room");
    process::run(Command::new("ssh-keygen").args(["-q", "-p", "-P", "", "-N", CANARIES[0], "-f"]).arg(&key));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    source.small_files(3, 1);
    let mut agent =
        Agent::at(&sshd, ("127.0.0.1", sshd.port()), &sshd.known_hosts(), "").watch("in", source.root(), "");
    let text = fs::read_to_string(agent.config()).expect("it was written");
    let text = text
        .replace("format = 'human'", "format = 'human'\nlevel = 'trace'")
        .replace(&sshd.key().display().to_string(), &key.display().to_string())
        .replace(
            "[destination.server]",
            &format!(
                "[control]\nlisten = '127.0.0.1:{}'\ntoken_file = '{}'\n\
                 [destination.server]\npassphrase_file = '{}'",
                http::free_port(),
                token.display(),
                passphrase.display()
            ),
        );
    fs::write(agent.config(), text).expect("the agent's folder is writable");
    agent.start();
    agent.wait_until("all is delivered", || tree::equal(source.root(), &sshd.root()));

    let pid = agent.pid().as_raw_nonzero();
    let mut told = vec![
        ("the log", agent.log()),
        ("config show", agent.ask(&["config", "show"]).said),
        ("status", agent.ask(&["status", "--json"]).said),
        ("items", agent.ask(&["items", "--json"]).said),
    ];
    for what in ["cmdline", "environ", "comm"] {
        // Of a process that may not be dumped, not even its own user may read it.
        if what == "environ" && !machine::is_root("the environment of a process that may not be dumped") {
            continue;
        }
        let bytes = fs::read(format!("/proc/{pid}/{what}")).expect("the agent runs");
        told.push((what, String::from_utf8_lossy(&bytes).into_owned()));
    }
    private(&passphrase, &format!("{}-wrong", CANARIES[0]));
    told.push(("check", agent.ask(&["check"]).said));
    assert!(told[0].1.contains("TRACE"), "not everything was logged");
    assert!(told[7].1.contains("FAIL"), "a wrong passphrase opened the key: {}", told[7].1);
    agent.terminate();
    for (path, _) in tree::files(&agent.state_dir()).expect("the state folder is there") {
        let bytes = fs::read(agent.state_dir().join(&path)).expect("ours");
        told.push(("a file of its state", String::from_utf8_lossy(&bytes).into_owned()));
    }
    let body = fs::read_to_string(sshd.key()).expect("the key is there");
    let body = body.lines().nth(2).expect("a key has lines").to_owned();
    for (what, text) in &told {
        for secret in CANARIES.iter().copied().chain([body.as_str()]) {
            assert!(!text.contains(secret), "{secret} is in {what}");
        }
    }
}
