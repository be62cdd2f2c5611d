//! Trusting a host, and all ways to log in: keys of both forms, locked ones, passwords; and what `-v` shows of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use skiff_tests::machine::is_root;
use skiff_tests::skiff::Ended;
use skiff_tests::{Sshd, User, process};

/// A file that only its owner reads.
fn secret(user: &User, text: &str) -> PathBuf {
    let path = user.write("secret", text);
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
    path
}

/// The words of a push to `sshd`, with these flags.
fn push_words(user: &User, sshd: &Sshd, flags: &[&str], to: &Path) -> Vec<String> {
    let port = sshd.port().to_string();
    let known = sshd.known_hosts().display().to_string();
    let mut words: Vec<String> =
        ["push", "-F", "none", "-P", &port, "--known-hosts", &known, "--state-dir", "state"]
            .map(str::to_owned)
            .into();
    words.extend(flags.iter().map(|flag| (*flag).to_owned()));
    words.push(user.data().display().to_string());
    words.push(format!("{}@127.0.0.1:{}", sshd.user(), to.display()));
    words
}

#[track_caller]
fn push(user: &User, sshd: &Sshd, flags: &[&str], to: &Path) -> Ended {
    let words = push_words(user, sshd, flags, to);
    user.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The fingerprint and the picture are those of `ssh-keygen -lv`; without a terminal only the right fingerprint records.
#[test]
fn trust_records_after_the_right_fingerprint_only() {
    let (sshd, user) = (Sshd::start(), User::new());
    let known = user.home().join("known").display().to_string();
    let place = format!("127.0.0.1:{}", sshd.port());
    let lines = process::run(Command::new("ssh-keygen").args(["-lv", "-f"]).arg(sshd.known_hosts()));
    let (first, art) = lines.split_once('\n').expect("a fingerprint and a picture");
    let fingerprint = first.split(' ').nth(1).expect("a fingerprint");
    let trust =
        |more: &[&str]| user.run(&[&["trust", "-F", "none", "--known-hosts", &known, &place], more].concat());

    let shown = trust(&[]).expect_code(4).expect_said("nobody to ask").expect_said("--fingerprint");
    let shown = shown.expect_said(&format!("256 {fingerprint} (ED25519)")).expect_said(art.trim_end());
    drop(shown);
    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    trust(&["--fingerprint", other])
        .expect_code(4)
        .expect_said(&format!("presented {fingerprint}, not {other}"));
    assert!(!Path::new(&known).exists(), "nothing is recorded");
    trust(&["--fingerprint", fingerprint]).expect_code(0).expect_said("Recorded in");
    trust(&[]).expect_code(0).expect_said("trusted already");
    let found = process::run(Command::new("ssh-keygen").args([
        "-F",
        &format!("[127.0.0.1]:{}", sshd.port()),
        "-f",
        &known,
    ]));
    assert!(found.contains("found: line 1"), "{found}");
    fs::write(
        &known,
        format!(
            "[127.0.0.1]:{} {}",
            sshd.port(),
            fs::read_to_string(sshd.key().with_extension("pub")).expect("it is there")
        ),
    )
    .expect("it is ours");
    trust(&["--fingerprint", fingerprint]).expect_code(4).expect_said("another key is recorded");
}

/// On a terminal a yes records, anything else does not.
#[test]
fn trust_asks_on_a_terminal() {
    let (sshd, user) = (Sshd::start(), User::new());
    let known = user.home().join("known");
    let words = ["trust", "-F", "none", "--known-hosts", "known"].map(str::to_owned).to_vec();
    let words = [words, vec![format!("127.0.0.1:{}", sshd.port())]].concat();

    let (done, shown) = user.on_a_terminal(&words, "(yes/no/fingerprint)", &["y\r"]);
    assert!(!done && !known.exists(), "{shown}");
    let (done, shown) = user.on_a_terminal(&words, "(yes/no/fingerprint)", &["yes\r"]);
    assert!(done && known.exists(), "{shown}");
}

/// A host behind another is trusted through it, by the command that the refusal tells.
#[test]
fn trust_goes_the_way_that_a_push_goes() {
    let (gate, inner, user) = (Sshd::start(), Sshd::start(), User::new());
    let known = user.home().join("known");
    fs::copy(gate.known_hosts(), &known).expect("a new folder is writable");
    let config = format!(
        "Host inner\n HostName 127.0.0.1\n Port {}\n ProxyJump gate\nHost gate\n HostName 127.0.0.1\n Port {}\n\
         Host *\n User {}\n UserKnownHostsFile {}\n IdentityFile {}\n",
        inner.port(),
        gate.port(),
        inner.user(),
        known.display(),
        gate.key().display(),
    );
    let file = user.home().join("config");
    fs::write(&file, &config).expect("a new folder is writable");
    let file = file.display().to_string();
    let source = user.data().display().to_string();
    let to = format!("inner:{}", inner.root().display());
    let inner_key = inner.key().display().to_string();
    let push =
        || user.run(&["push", "-q", "-F", &file, "-i", &inner_key, "--state-dir", "state", &source, &to]);

    push().expect_code(4).expect_said(&format!(
        "-J {}@127.0.0.1:{} 127.0.0.1:{}",
        gate.user(),
        gate.port(),
        inner.port()
    ));
    let shown = process::run(Command::new("ssh-keygen").arg("-lf").arg(inner.known_hosts()));
    let fingerprint = shown.split(' ').nth(1).expect("a fingerprint");
    user.run(&["trust", "-F", &file, "--fingerprint", fingerprint, "inner"]).expect_code(0);
    push().expect_code(0);
    user.expect_arrived(&inner.root());
}

/// A locked key is opened by what a file, a credential or a person says; a PEM key as well as one in OpenSSH's form.
#[test]
fn locked_keys_are_opened() {
    let (sshd, user) = (Sshd::start(), User::new());
    let key = sshd.key().display().to_string();
    process::run(Command::new("ssh-keygen").args(["-q", "-p", "-N", "open sesame", "-f", &key]));
    let secret = secret(&user, "open sesame\n").display().to_string();

    push(&user, &sshd, &["-q", "-i", &key], &sshd.root()).expect_code(3).expect_said("needs a passphrase");
    push(&user, &sshd, &["-q", "-i", &key, "--passphrase-file", &secret], &sshd.root().join("file"))
        .expect_code(0);
    user.expect_arrived(&sshd.root().join("file"));

    // Of a terminal, and nothing of it is shown.
    let to = sshd.root().join("asked");
    let words = push_words(&user, &sshd, &["-q", "-i", &key], &to);
    let prompt = format!("Passphrase for {key}:");
    let (done, shown) = user.on_a_terminal(&words, &prompt, &["wrong\r", "open sesame\r"]);
    assert!(done, "{shown}");
    assert!(!shown.contains("sesame"), "{shown}");
    user.expect_arrived(&to);
    let (done, _) = user.on_a_terminal(&words, &prompt, &["\x03"]);
    assert!(!done, "who gives up is not let in");

    // In PEM's form, as other programs write it.
    let pem = user.home().join("pem");
    process::run(
        Command::new("ssh-keygen")
            .args(["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "open sesame", "-f"])
            .arg(&pem),
    );
    let known = sshd.key().parent().expect("it is in a folder").join("authorized_keys");
    fs::copy(pem.with_extension("pub"), known).expect("the server's folder is writable");
    let pem = pem.display().to_string();
    push(&user, &sshd, &["-q", "-i", &pem, "--passphrase-file", &secret], &sshd.root().join("pem"))
        .expect_code(0);
    user.expect_arrived(&sshd.root().join("pem"));
}

/// By either method, from a file alone; a wrong one is told without being repeated.
#[test]
fn passwords_come_from_a_file() {
    if !is_root("an account with a password") {
        return;
    }
    for (method, lines) in [
        ("password", "PubkeyAuthentication no\nPasswordAuthentication yes"),
        ("keyboard-interactive", "PubkeyAuthentication no\nUsePAM yes\nKbdInteractiveAuthentication yes"),
    ] {
        let (sshd, user) = (Sshd::start_with_password("nobody", "open sesame", lines), User::new());
        fs::set_permissions(sshd.root(), Permissions::from_mode(0o777)).expect("it is ours");
        let secret = secret(&user, "open sesame\n").display().to_string();
        let flags = ["-vvv", "--password-file", &secret];

        let shown = push(&user, &sshd, &flags, &sshd.root().join("there")).expect_code(0);
        assert!(!shown.said.contains("sesame"), "{method}: {}", shown.said);
        let shown = shown.expect_said(&format!("goes on with: {method}"));
        shown.expect_said(&format!("{method}, the password in"));
        user.expect_arrived(&sshd.root().join("there"));

        fs::write(&secret, "open barley\n").expect("it is ours");
        let shown = push(&user, &sshd, &flags, &sshd.root().join("nowhere")).expect_code(3);
        assert!(!shown.said.contains("barley"), "{method}: {}", shown.said);
        shown.expect_said("refused the login").expect_said(method);
    }
}

/// `keygen`: modes, a line that lets in and forbids what skiff doesn't need, and nothing is overwritten.
#[test]
fn keygens_key_logs_in_and_does_nothing_else() {
    let (sshd, user) = (Sshd::start(), User::new());
    let key = user.home().join("new/id");
    let name = key.display().to_string();
    let said = user.run(&["keygen", &name]).expect_code(0).said;
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&key), mode(&key.with_extension("pub"))), (0o600, 0o644));
    let line = said.lines().find(|line| line.starts_with("restrict ")).expect("a line for the server");
    let known = sshd.key().parent().expect("it is in a folder").join("authorized_keys");
    fs::write(known, format!("{line}\n")).expect("the server's folder is writable");

    push(&user, &sshd, &["-q", "-i", &name], &sshd.root()).expect_code(0);
    user.expect_arrived(&sshd.root());
    let inner = Sshd::start();
    let (port, gate) = (inner.port().to_string(), format!("{}@127.0.0.1:{}", sshd.user(), sshd.port()));
    let known = sshd.known_hosts().display().to_string();
    let through =
        ["trust", "-F", "none", "-J", &gate, "-i", &name, "--known-hosts", &known, "-P", &port, "127.0.0.1"];
    user.run(&through).expect_code(3).expect_said("makes no connection to");
    user.run(&["keygen", &name]).expect_code(1).expect_said("exists");
}

/// `-vvv` shows the negotiation step by step; `-vv` less, `-v` a line for the connection.
#[test]
fn verbosity_shows_the_negotiation() {
    let (sshd, user) = (Sshd::start(), User::new());
    let (key, stranger) = (sshd.key().display().to_string(), sshd.stranger_key().display().to_string());
    let flags = |level| ["-i", &*stranger, "-i", &*key, level].map(str::to_owned);
    let push = |level, to: &str| {
        let flags = flags(level);
        push(&user, &sshd, &flags.each_ref().map(String::as_str), &sshd.root().join(to)).expect_code(0).said
    };
    let [one, two, three] = [push("-v", "1"), push("-vv", "2"), push("-vvv", "3")];

    let fingerprint = |key: &str| {
        let said = process::run(Command::new("ssh-keygen").args(["-lf", key]));
        said.split(' ').nth(1).expect("a fingerprint").to_owned()
    };
    let place = format!("the key matches {}:1", sshd.known_hosts().display());
    let connected = format!("logged in to 127.0.0.1:{} as {} with {key}", sshd.port(), sshd.user());
    let steps = [
        "connecting to 127.0.0.1",
        "the server's version: SSH-2.0-OpenSSH",
        "chosen: KEX algorithm ",
        "chosen: cipher aes",
        "the server's host key: ssh-ed25519 SHA256:",
        &place,
        &format!("publickey, {stranger} (mode 0600, ssh-ed25519 {})", fingerprint(&stranger)),
        "refused; the server goes on with: publickey",
        &format!("publickey, {key} (mode 0600, ssh-ed25519 {})", fingerprint(&key)),
        "accepted",
        "open, a command is asked for",
    ];
    let details = [
        "we offer KEX algorithms: ",
        "the server offers KEX algorithms: ",
        "the server offers ciphers to us: ",
        "we offer host key algorithms: ssh-ed25519,",
        "methods by \"none\"",
        "command: exec sh -c",
    ];
    for step in steps {
        assert!(two.contains(step) && three.contains(step), "no {step:?} in:\n{three}");
        assert!(!one.contains(step), "{step:?} in:\n{one}");
    }
    for detail in details {
        assert!(three.contains(detail) && !two.contains(detail), "{detail:?} in:\n{three}");
    }
    assert!([&one, &two, &three].iter().all(|said| said.contains(&connected)), "{one}");
    assert!(one.lines().count() < two.lines().count() && two.lines().count() < three.lines().count());
    let private = fs::read_to_string(&key).expect("it is there");
    let secret = private.lines().nth(2).expect("it has many lines");
    assert!(!three.contains(secret), "the key is shown");
    println!("{three}");
}

/// However it ends while it asks, the terminal shows again what is typed.
#[test]
fn a_signal_while_a_passphrase_is_asked_leaves_the_terminal_as_it_was() {
    let sshd = Sshd::start();
    let key = sshd.key().display().to_string();
    process::run(Command::new("ssh-keygen").args(["-q", "-p", "-N", "open sesame", "-f", &key]));
    let (known, server) = (sshd.known_hosts().display().to_string(), format!("127.0.0.1:{}", sshd.port()));
    let jump = format!("{}@{server}", sshd.user());
    // Here nobody listens for signals but who asks.
    let trust = ["trust", "-F", "none", "-J", &jump, "-i", &key, "--known-hosts", &known, &server];
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT] {
        let user = User::new();
        let push = push_words(&user, &sshd, &["-q", "-i", &key], &sshd.root());
        for words in [push, trust.map(str::to_owned).to_vec()] {
            let after = user.ended_on_a_terminal(&words, &format!("Passphrase for {key}:"), signal);
            assert!(after.contains(" echo ") && after.contains(" icanon"), "{signal:?} {words:?}: {after}");
        }
    }
}
