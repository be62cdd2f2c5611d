//! Against a real sshd, or something that pretends to listen as one.

mod login;
mod traps;
mod way;

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use skiff_common::Fault;
use tempfile::TempDir;

use super::*;
use crate::remote::session::credentials::{AgentUse, Credentials};

pub(in crate::remote) const HOST: &str = "127.0.0.1";

pub(in crate::remote) struct Sshd {
    child: Child,
    pub(in crate::remote) folder: TempDir,
    pub(in crate::remote) port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    /// With one host key, accepting the keys `id_*` of its folder that were made before.
    fn start(extra: &str) -> Self {
        Self::start_with_keys(extra, &["ed25519"])
    }

    fn start_with_keys(extra: &str, kinds: &[&str]) -> Self {
        Self::start_as(kinds, |_| extra.to_owned())
    }

    /// `prepare` is given the folder, where the host key is, and gives further lines.
    pub(in crate::remote) fn start_prepared(prepare: impl FnOnce(&Path) -> String) -> Self {
        Self::start_as(&["ed25519"], prepare)
    }

    fn start_as(kinds: &[&str], prepare: impl FnOnce(&Path) -> String) -> Self {
        let folder = TempDir::new().expect("a folder");
        let at = folder.path();
        keygen("ed25519", &at.join("host"));
        let mut authorized = String::new();
        for kind in kinds {
            let key = at.join(format!("id_{kind}"));
            keygen(kind, &key);
            authorized += &text(&key.with_extension("pub"));
        }
        keygen("ed25519", &at.join("stranger"));
        fs::write(at.join("authorized"), authorized).expect("written");
        let extra = prepare(at);
        // Another test may take a free port first.
        let serving = (0..20).find_map(|_| serve(at, &extra));
        let (child, port) = serving.expect("sshd listens");
        let sshd = Self { child, folder, port };
        sshd.record(&sshd.host_line());
        sshd
    }

    fn host_line(&self) -> String {
        format!("[{HOST}]:{} {}", self.port, text(&self.folder.path().join("host.pub")))
    }

    fn record(&self, known_hosts: &str) {
        fs::write(self.folder.path().join("known_hosts"), known_hosts).expect("written");
    }

    pub(in crate::remote) fn login(&self, key: &str) -> Login {
        Login {
            credentials: with(&[self.folder.path().join(key)]),
            known_hosts: vec![self.folder.path().join("known_hosts")],
            ..login_to(self.port)
        }
    }

    async fn refusal(&self, login: &Login) -> ConnectError {
        Session::connect(login).await.expect_err("no session")
    }
}

fn serve(folder: &Path, extra: &str) -> Option<(Child, u16)> {
    let (port, at) = (free_port(), folder.display());
    let config = format!(
        "{extra}\nPort {port}\nListenAddress {HOST}\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\n\
         PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n"
    );
    fs::write(folder.join("config"), config).expect("written");
    // It insists on this folder where it runs as root.
    let _ = fs::create_dir_all("/run/sshd");
    let log = folder.join("log");
    let mut child = Command::new("/usr/sbin/sshd")
        .args(["-D", "-f"])
        .arg(folder.join("config"))
        .arg("-E")
        .arg(&log)
        .stderr(Stdio::null())
        .spawn()
        .expect("sshd runs");
    while child.try_wait().expect("looked at").is_none() {
        if fs::read_to_string(&log).is_ok_and(|log| log.contains("Server listening")) {
            return Some((child, port));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

fn login_to(port: u16) -> Login {
    let id = Command::new("id").arg("-un").output().expect("id runs");
    Login {
        connect_timeout: Duration::from_secs(20),
        ..Login::to(String::from_utf8(id.stdout).expect("a name").trim(), HOST, port)
    }
}

fn with(identities: &[PathBuf]) -> Credentials {
    Credentials { identities: identities.to_vec(), agent: AgentUse::Never, ..Credentials::default() }
}

pub(in crate::remote) fn keygen(kind: &str, path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-f"]).arg(path).status();
    assert!(made.expect("ssh-keygen runs").success());
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("readable")
}

fn free_port() -> u16 {
    TcpListener::bind((HOST, 0)).and_then(|listener| listener.local_addr()).expect("a port").port()
}

async fn run(session: &Session, command: &str) -> (Vec<Said>, Vec<u8>) {
    let mut channel = session.open_exec(command, Duration::from_secs(10)).await.expect("a channel");
    let (mut all, mut out) = (Vec::new(), Vec::new());
    while let Some(said) = channel.read.next().await.expect("a proper end") {
        match said {
            Said::Out(bytes) => out.extend(bytes),
            other => all.push(other),
        }
    }
    (all, out)
}

#[tokio::test]
async fn each_kind_of_key_logs_in_and_runs_commands() {
    let sshd = Sshd::start_with_keys("", &["ed25519", "ecdsa", "rsa"]);
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let session = Session::connect(&sshd.login(&format!("id_{kind}"))).await.expect(kind);
        assert!(session.host_key().starts_with("SHA256:"));
        let (said, out) = run(&session, "printf hi; exit 3").await;
        assert_eq!(out, b"hi");
        assert!(said.contains(&Said::Status(3)), "{said:?}");
        assert!(!session.is_closed());
        session.disconnect().await;
        assert!(session.is_closed());
    }
}

#[tokio::test]
async fn dropped_channels_are_closed_so_that_others_can_open() {
    let sshd = Sshd::start("MaxSessions 1");
    let session = Session::connect(&sshd.login("id_ed25519")).await.expect("a session");
    for _ in 0..5 {
        drop(open_soon(&session, "cat").await);
    }
}

#[tokio::test]
async fn one_channel_too_many_is_denied_and_harms_nothing() {
    let sshd = Sshd::start("MaxSessions 1");
    let session = Session::connect(&sshd.login("id_ed25519")).await.expect("a session");
    let open = open_soon(&session, "cat").await;
    let denied = session.open_exec("cat", Duration::from_secs(10)).await.expect_err("one too many");
    assert!(matches!(denied, ChannelError::Denied { .. }), "{denied}");
    drop(open);
    open_soon(&session, "cat").await;
}

/// sshd counts a session until its command has ended and the channel is cleared away, a moment after the close.
async fn open_soon(session: &Session, command: &str) -> ExecChannel {
    for _ in 0..100 {
        match session.open_exec(command, Duration::from_secs(10)).await {
            Ok(channel) => return channel,
            Err(ChannelError::Denied { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the channel before stays open");
}

#[tokio::test]
async fn dropping_the_session_ends_its_channels() {
    let sshd = Sshd::start("");
    let session = Session::connect(&sshd.login("id_ed25519")).await.expect("a session");
    let mut channel = session.open_exec("cat", Duration::from_secs(10)).await.expect("a channel");
    drop(session);
    let end = async { while let Ok(Some(_)) = channel.read.next().await {} };
    timeout(Duration::from_secs(5), end).await.expect("the channel ends with the session");
}

#[tokio::test]
async fn an_unknown_host_key_is_refused_with_what_trust_would_see() {
    let sshd = Sshd::start("");
    sshd.record("");
    let error = sshd.refusal(&sshd.login("id_ed25519")).await;
    let key = offered_key(&login_to(sshd.port)).await.expect("a key");
    let ConnectError::HostKeyUnknown { fingerprint: seen, .. } = &error else { panic!("{error}") };
    assert_eq!(*seen, fingerprint(&key));
    assert_eq!(error.fault(), Fault::Fatal);
    let known_hosts = sshd.folder.path().join("known_hosts");
    let trust = format!("skiff trust --known-hosts {} {HOST}:{}", known_hosts.display(), sshd.port);
    assert_eq!(error.hint().split(": ").last(), Some(&*trust));
}

#[tokio::test]
async fn a_changed_host_key_is_refused() {
    let sshd = Sshd::start("");
    let other = text(&sshd.folder.path().join("stranger.pub"));
    sshd.record(&format!("[{HOST}]:{} {other}", sshd.port));
    let error = sshd.refusal(&sshd.login("id_ed25519")).await;
    assert_eq!(error.code(), "host-key-changed", "{error}");
}

#[tokio::test]
async fn a_revoked_host_key_is_refused() {
    let sshd = Sshd::start("");
    let line = sshd.host_line();
    sshd.record(&format!("{line}@revoked {line}"));
    let error = sshd.refusal(&sshd.login("id_ed25519")).await;
    assert_eq!(error.code(), "host-key-revoked", "{error}");
}

#[tokio::test]
async fn a_refused_login_names_the_keys_and_the_methods() {
    let sshd = Sshd::start("");
    let error = sshd.refusal(&sshd.login("stranger")).await;
    let ConnectError::LoginRefused { tried, offered, .. } = &error else { panic!("{error}") };
    assert!(tried.len() == 1 && tried[0].contains("/stranger (mode 0600, ssh-ed25519 SHA256:"), "{tried:?}");
    assert_eq!(offered, &["publickey"]);
}

#[tokio::test]
async fn too_many_refused_keys_bring_the_servers_reason() {
    let sshd = Sshd::start("MaxAuthTries 2");
    let mut login = sshd.login("stranger");
    login.credentials.identities = vec![login.credentials.identities[0].clone(); 5];
    let error = sshd.refusal(&login).await;
    let ConnectError::LoginRefused { message: Some(message), .. } = &error else { panic!("{error}") };
    assert!(message.contains("Too many authentication failures"), "{message}");
}

#[tokio::test]
async fn a_missing_key_file_matters_only_if_no_other_works() {
    let sshd = Sshd::start("");
    let mut login = sshd.login("absent");
    assert_eq!(sshd.refusal(&login).await.code(), "key-file");
    login.credentials.identities.push(sshd.folder.path().join("id_ed25519"));
    Session::connect(&login).await.expect("the other key works");
}

#[tokio::test]
async fn a_key_file_open_to_others_is_always_an_error() {
    let sshd = Sshd::start("");
    let mut login = sshd.login("id_ed25519");
    let open = sshd.folder.path().join("stranger");
    fs::set_permissions(&open, Permissions::from_mode(0o644)).expect("changed");
    login.credentials.identities.push(open);
    let error = sshd.refusal(&login).await;
    assert!(matches!(error, ConnectError::KeyFile(_)) && error.hint().starts_with("chmod"), "{error}");
}

#[tokio::test]
async fn a_refused_port_is_told() {
    let error = Session::connect(&login_to(free_port())).await.expect_err("nobody listens");
    assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn a_silent_listener_meets_the_deadline() {
    let listener = TcpListener::bind((HOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let login = Login { connect_timeout: Duration::from_secs(1), ..login_to(port) };
    let began = Instant::now();
    let error = Session::connect(&login).await.expect_err("nobody greets");
    assert!(matches!(error, ConnectError::TimedOut { step: Step::Greeting, .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_server_silent_after_its_greeting_is_let_go_of() {
    use std::io::{Read as _, Write as _};
    let listener = TcpListener::bind((HOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.write_all(b"SSH-2.0-mute\r\n").expect("written");
        stream.read_to_end(&mut Vec::new())
    });
    let login = Login { connect_timeout: Duration::from_secs(2), ..login_to(port) };
    let error = Session::connect(&login).await.expect_err("no keys are exchanged");
    assert!(matches!(error, ConnectError::TimedOut { step: Step::KeyExchange, .. }), "{error}");
    let ended = timeout(Duration::from_secs(5), tokio::task::spawn_blocking(|| server.join()));
    ended.await.expect("the connection is cut").expect("joined").expect("no panic").ok();
}

#[tokio::test]
async fn what_a_server_that_is_none_says_is_shown() {
    use std::io::Write as _;
    let listener = TcpListener::bind((HOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.write_all(b"Exceeded MaxStartups\r\n").expect("written");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        std::io::copy(&mut stream, &mut std::io::sink())
    });
    let error = Session::connect(&login_to(port)).await.expect_err("not a server");
    let ConnectError::NotSsh { said, .. } = &error else { panic!("{error}") };
    assert_eq!(said, "Exceeded MaxStartups");
    let _ = server.join();
}
