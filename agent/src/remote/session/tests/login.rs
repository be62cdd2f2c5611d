//! What logs in, apart from plain key files.

use std::borrow::Cow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use russh::keys::PrivateKey;
use russh::server::{self, Auth, Response};
use russh::{MethodKind, MethodSet};
use zeroize::Zeroizing;

use super::*;
use crate::remote::session::credentials::Asker;

const PASSPHRASE: &str = "correct horse";

/// Encrypts a key of the server's folder.
fn lock(path: &Path) {
    let locked =
        Command::new("ssh-keygen").args(["-q", "-p", "-P", "", "-N", PASSPHRASE, "-f"]).arg(path).output();
    assert!(locked.expect("ssh-keygen runs").status.success());
}

/// A file that only its owner reads.
fn private(path: &Path, text: &str) -> PathBuf {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("changed");
    path.to_owned()
}

/// An agent of this test's own.
struct SshAgent {
    child: Child,
    socket: PathBuf,
}

impl SshAgent {
    fn with(folder: &Path, keys: &[PathBuf]) -> Self {
        let socket = folder.join("agent");
        let child = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn();
        let agent = Self { child: child.expect("ssh-agent runs"), socket };
        while !agent.socket.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        for key in keys {
            let added =
                Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &agent.socket).status();
            assert!(added.expect("ssh-add runs").success());
        }
        agent
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Signs a user's key; the certificate stands beside it.
fn certify(folder: &Path, key: &Path, more: &[&str]) {
    if !folder.join("ca").exists() {
        keygen("ed25519", &folder.join("ca"));
    }
    let signed = Command::new("ssh-keygen")
        .args(["-q", "-s"])
        .arg(folder.join("ca"))
        .args(["-I", "test", "-V", "+1h"])
        .args(more)
        .arg(key.with_extension("pub"))
        .output();
    assert!(signed.expect("ssh-keygen runs").status.success());
}

/// A server that knows no key, but the authority of its folder.
fn certified_only(kinds: &[&str]) -> Sshd {
    Sshd::start_prepared(|folder| {
        keygen("ed25519", &folder.join("ca"));
        for kind in kinds {
            keygen(kind, &folder.join(format!("user_{kind}")));
        }
        format!("TrustedUserCAKeys {}/ca.pub\nAuthorizedKeysFile none", folder.display())
    })
}

#[tokio::test]
async fn an_agent_signs_for_a_named_key_that_is_locked() {
    let sshd = Sshd::start("");
    let key = sshd.folder.path().join("id_ed25519");
    let agent = SshAgent::with(sshd.folder.path(), std::slice::from_ref(&key));
    lock(&key);
    let mut login = sshd.login("id_ed25519");
    assert_eq!(sshd.refusal(&login).await.code(), "key-passphrase");
    login.credentials.agent = AgentUse::Named;
    login.credentials.agent_socket = Some(agent.socket.clone());
    Session::connect(&login).await.expect("the agent signs");
}

#[tokio::test]
async fn an_agents_other_keys_are_tried_only_if_that_is_wanted() {
    let sshd = Sshd::start("");
    let agent = SshAgent::with(sshd.folder.path(), &[sshd.folder.path().join("id_ed25519")]);
    let mut login = sshd.login("stranger");
    login.credentials.agent_socket = Some(agent.socket.clone());
    for (agent_use, works) in [(AgentUse::Never, false), (AgentUse::Named, false), (AgentUse::All, true)] {
        login.credentials.agent = agent_use;
        assert_eq!(Session::connect(&login).await.is_ok(), works, "{agent_use:?}");
    }
    login.credentials.identities.clear();
    login.credentials.agent = AgentUse::Named;
    Session::connect(&login).await.expect("none is named, so all are tried");
}

#[tokio::test]
async fn a_public_key_stands_for_the_one_that_the_agent_has() {
    let sshd = Sshd::start("");
    let key = sshd.folder.path().join("id_ed25519");
    let agent = SshAgent::with(sshd.folder.path(), std::slice::from_ref(&key));
    fs::remove_file(&key).expect("removed");
    let mut login = sshd.login("id_ed25519.pub");
    login.credentials.agent = AgentUse::Named;
    login.credentials.agent_socket = Some(agent.socket.clone());
    Session::connect(&login).await.expect("the agent signs");
}

#[tokio::test]
async fn an_agent_that_is_gone_is_named() {
    let sshd = Sshd::start("");
    let mut login = sshd.login("stranger");
    login.credentials.agent = AgentUse::All;
    login.credentials.agent_socket = Some(sshd.folder.path().join("no-agent"));
    let ConnectError::LoginRefused { tried, .. } = sshd.refusal(&login).await else {
        panic!("another error")
    };
    assert!(tried[0].starts_with("ssh-agent ("), "{tried:?}");
}

#[tokio::test]
async fn a_file_has_the_passphrase_of_each_form_of_key() {
    let sshd = Sshd::start_with_keys("", &["ed25519", "ecdsa", "rsa"]);
    let at = sshd.folder.path();
    let file = private(&at.join("passphrase"), &format!("{PASSPHRASE}\nignored\n"));
    for kind in ["ed25519", "ecdsa", "rsa"] {
        lock(&at.join(format!("id_{kind}")));
        let mut login = sshd.login(&format!("id_{kind}"));
        login.credentials.passphrase_file = Some(file.clone());
        Session::connect(&login).await.expect(kind);
    }
    let mut login = sshd.login("id_rsa");
    login.credentials.passphrase_file = Some(private(&at.join("wrong"), "of-another"));
    let error = sshd.refusal(&login).await;
    assert!(error.to_string().contains("does not open"), "{error}");
    assert!(!format!("{error:?}{login:?}").contains("of-another"), "{error:?}");
}

#[tokio::test]
async fn a_passphrase_file_that_others_can_read_is_refused() {
    let sshd = Sshd::start("");
    let at = sshd.folder.path();
    lock(&at.join("id_ed25519"));
    let file = private(&at.join("passphrase"), PASSPHRASE);
    fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("changed");
    let mut login = sshd.login("id_ed25519");
    login.credentials.passphrase_file = Some(file);
    let error = sshd.refusal(&login).await;
    assert!(error.to_string().contains("passphrase (mode 0640) is open to other users"), "{error}");
}

/// Answers as told, and counts.
fn answering(answers: &[&str]) -> (Asker, Arc<AtomicUsize>) {
    let answers: Mutex<Vec<String>> = Mutex::new(answers.iter().rev().map(|one| (*one).to_owned()).collect());
    let times = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&times);
    let asker = Asker::new(move |question| {
        assert!(question.starts_with("Passphrase for /"), "{question}");
        count.fetch_add(1, Ordering::SeqCst);
        answers.lock().expect("nobody panics").pop().map(Zeroizing::new)
    });
    (asker, times)
}

#[tokio::test]
async fn a_person_is_asked_up_to_three_times_and_only_once_for_each_key() {
    let sshd = Sshd::start("");
    lock(&sshd.folder.path().join("id_ed25519"));
    let (asker, times) = answering(&["wrong", "wrong again", PASSPHRASE]);
    let mut login = sshd.login("id_ed25519");
    login.credentials.asker = Some(asker);
    Session::connect(&login).await.expect("the third answer is right");
    Session::connect(&login).await.expect("the answer is remembered");
    assert_eq!(times.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn nobody_is_asked_for_a_key_that_the_server_does_not_take() {
    let sshd = Sshd::start("");
    lock(&sshd.folder.path().join("stranger"));
    let (asker, times) = answering(&[PASSPHRASE]);
    let mut login = sshd.login("stranger");
    login.credentials.asker = Some(asker);
    assert_eq!(sshd.refusal(&login).await.code(), "login-refused");
    assert_eq!(times.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_deadline_waits_for_a_person() {
    let sshd = Sshd::start("");
    lock(&sshd.folder.path().join("id_ed25519"));
    let mut login = sshd.login("id_ed25519");
    login.connect_timeout = Duration::from_secs(3);
    login.credentials.asker = Some(Asker::new(|_| {
        std::thread::sleep(Duration::from_secs(4));
        Some(Zeroizing::new(PASSPHRASE.to_owned()))
    }));
    Session::connect(&login).await.expect("the answer came late, but it came");
}

#[tokio::test]
async fn a_certificate_beside_the_key_logs_in_and_so_does_a_named_one() {
    let sshd = certified_only(&["ed25519", "ecdsa", "rsa"]);
    let at = sshd.folder.path();
    let user = login_to(sshd.port).user;
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = at.join(format!("user_{kind}"));
        let mut login = sshd.login(&format!("user_{kind}"));
        assert_eq!(sshd.refusal(&login).await.code(), "login-refused");
        certify(at, &key, &["-n", &user]);
        Session::connect(&login).await.expect(kind);
        let elsewhere = at.join(format!("{kind}.cert"));
        fs::rename(at.join(format!("user_{kind}-cert.pub")), &elsewhere).expect("moved");
        login.credentials.certificates = vec![elsewhere];
        Session::connect(&login).await.expect(kind);
    }
}

#[tokio::test]
async fn a_certificate_for_another_user_is_refused_by_the_server() {
    let sshd = certified_only(&["ed25519"]);
    let at = sshd.folder.path();
    certify(at, &at.join("user_ed25519"), &["-n", "somebody-else"]);
    let ConnectError::LoginRefused { tried, .. } = sshd.refusal(&sshd.login("user_ed25519")).await else {
        panic!("another error")
    };
    assert!(tried[0].contains("with its certificate"), "{tried:?}");
}

#[tokio::test]
async fn a_certificate_that_is_none_is_named() {
    let sshd = Sshd::start("");
    let mut login = sshd.login("stranger");
    login.credentials.certificates = vec![sshd.folder.path().join("host.pub")];
    let error = sshd.refusal(&login).await;
    assert!(error.to_string().contains("no usable certificate in"), "{error}");
}

#[tokio::test]
async fn two_proofs_are_given_where_two_are_wanted() {
    let sshd = Sshd::start_with_keys("AuthenticationMethods publickey,publickey", &["ed25519", "rsa"]);
    let mut login = sshd.login("id_ed25519");
    let ConnectError::LoginRefused { tried, .. } = sshd.refusal(&login).await else {
        panic!("another error")
    };
    assert!(tried.iter().any(|one| one.contains("wants more")), "{tried:?}");
    login.credentials.identities.push(sshd.folder.path().join("id_rsa"));
    Session::connect(&login).await.expect("both are given");
}

#[tokio::test]
async fn without_a_key_the_servers_methods_are_told() {
    let sshd = Sshd::start("");
    let mut login = login_to(sshd.port);
    login.known_hosts = vec![sshd.folder.path().join("known_hosts")];
    login.credentials.agent = AgentUse::Named;
    login.credentials.identities = vec![sshd.folder.path().join("id_ed25519.pub")];
    let ConnectError::NoKeys { offered, .. } = sshd.refusal(&login).await else { panic!("another error") };
    assert_eq!(offered, ["publickey"]);
}

/// A server that asks these questions, each shown or hidden while it is answered, and lets in whoever answers.
#[derive(Clone)]
struct Asks {
    questions: &'static [(Cow<'static, str>, bool)],
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl server::Handler for Asks {
    type Error = russh::Error;

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some(answers) = response else {
            let (name, instructions, prompts) = (Cow::default(), Cow::default(), self.questions.into());
            return Ok(Auth::Partial { name, instructions, prompts });
        };
        self.heard.lock().expect("no panic").extend(answers.map(|answer| answer.to_vec()));
        Ok(Auth::Accept)
    }
}

/// What is asked for openly is no password, and more than one question is none that a password answers.
#[tokio::test]
async fn a_password_answers_one_hidden_question_and_no_other() {
    const HIDDEN: &[(Cow<'static, str>, bool)] = &[(Cow::Borrowed("Password: "), false)];
    const SHOWN: &[(Cow<'static, str>, bool)] = &[(Cow::Borrowed("Your name: "), true)];
    const TWO: &[(Cow<'static, str>, bool)] =
        &[(Cow::Borrowed("Password: "), false), (Cow::Borrowed("Code: "), false)];
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    keygen("ed25519", &at("host"));
    let listener = tokio::net::TcpListener::bind((HOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    fs::write(at("known_hosts"), format!("[{HOST}]:{port} {}", text(&at("host.pub")))).expect("written");
    let password_file = Some(private(&at("secret"), "open sesame\n"));
    let login = Login {
        credentials: Credentials { password_file, ..with(&[]) },
        known_hosts: vec![at("known_hosts")],
        ..login_to(port)
    };
    for (questions, is_answered) in [(HIDDEN, true), (SHOWN, false), (TWO, false)] {
        let config = Arc::new(server::Config {
            keys: vec![PrivateKey::from_openssh(text(&at("host"))).expect("a key")],
            methods: MethodSet::from(&[MethodKind::KeyboardInteractive][..]),
            auth_rejection_time: Duration::ZERO,
            ..server::Config::default()
        });
        let asks = Asks { questions, heard: Arc::default() };
        let serving = async {
            let (stream, _) = listener.accept().await.expect("a client");
            let session =
                server::run_stream(config, stream, asks.clone()).await.expect("a client that greets");
            tokio::spawn(session);
        };
        let (outcome, ()) = tokio::join!(Session::connect(&login), serving);
        let heard = asks.heard.lock().expect("no panic").clone();
        if is_answered {
            outcome.expect("it is let in");
            assert_eq!(heard, [b"open sesame"]);
        } else {
            let error = outcome.expect_err("nobody answers");
            assert_eq!(error.code(), "login-refused", "{error}");
            assert!(error.to_string().contains("it asks: "), "{error}");
            assert!(heard.is_empty(), "{heard:?} was said to {questions:?}");
        }
    }
}
