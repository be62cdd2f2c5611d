//! The same lines as `ssh-keygen -F`, on generated files; `-l` makes it read the keys, as `ssh` does. And the same decision
//! as `ssh` itself, about a real server and several files at once.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use russh::keys::ssh_encoding::base64::{Base64, Encoding as _};

use super::KnownHosts;
use super::name::HostName;
use super::pattern::hashed;
use super::sample::{ECDSA, RSA, ed25519_text};
use crate::remote::session::tests::{HOST, Sshd, keygen};
use crate::remote::session::{ConnectError, Login, Session};

const FILES: u64 = 1000;
/// Each takes two connections; `SKIFF_TEST_KNOWN_HOSTS=1000` has more.
const FILES_FOR_SSH: u64 = 80;
const HOSTS: [&str; 6] = ["a", "ab", "b.example", "host.example", "192.0.2.7", "fe80::1"];
const PORTS: [u16; 3] = [22, 2222, 22222];
const PATTERNS: [&str; 12] =
    ["*", "?", "a*", "*b", "*.example", "h?st.*", "192.0.2.*", "*:*", "[*]:2222", "[a]:*", "", "**a**"];
const BLANKS: [&str; 5] = [" ", " ", "\t", "  ", " \t "];
const INDENTS: [&str; 5] = ["", "", "", " ", "\t  "];
const TAILS: [&str; 7] = ["", "", " a comment", "\tx", "\r", " #", "\0 rest"];
const ODD_LINES: [&str; 12] = [
    "",
    "# a comment",
    " \t",
    "\t# a",
    "a",
    "a ",
    "* ssh-ed25519",
    "* ssh-ed25519 ",
    "* * *",
    "@",
    "@revoked",
    "\0",
];

#[test]
fn finds_the_lines_that_ssh_keygen_finds() {
    // Two at a time: it is the starting of processes that takes long.
    let found: usize = thread::scope(|scope| {
        let halves = [0..FILES / 2, FILES / 2..FILES];
        let threads = halves.map(|seeds| scope.spawn(move || agree_on(seeds)));
        threads.into_iter().map(|one| one.join().expect("they agree")).sum()
    });
    println!("{FILES} files, {found} lines found, all by both");
    assert!(found > 1000, "the generated files rarely have the host: {found}");
}

/// The number of lines found.
fn agree_on(seeds: Range<u64>) -> usize {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("known_hosts");
    let agree = |seed| {
        let mut dice = Dice::of(seed);
        let text = file(&mut dice);
        let host = dice.host();
        fs::write(&path, &text).expect("a file");
        let known = KnownHosts::load(std::slice::from_ref(&path)).expect("a readable file");
        let ours = known.line_numbers_for(&host);
        assert_eq!(ours, found_by_ssh_keygen(&path, host.as_str()), "seed {seed}, {host:?} in:\n{text}");
        ours.len()
    };
    seeds.map(agree).sum()
}

/// What became of the host's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    Trusted,
    Unknown,
    Changed,
    Revoked,
}

/// A server with keys of three kinds, whose lines stand in two files of the user's and one of the system's.
#[tokio::test]
async fn trusts_what_ssh_trusts() {
    let sshd = Sshd::start_prepared(|folder| {
        keygen("ecdsa", &folder.join("host_ecdsa"));
        keygen("rsa", &folder.join("host_rsa"));
        let more = ["ecdsa", "rsa"].map(|kind| format!("HostKey {}/host_{kind}\n", folder.display()));
        format!("MaxStartups 100\n{}", more.concat())
    });
    let at = sshd.folder.path();
    let files = ["one", "two", "three"].map(|name| at.join(name));
    let keys = ["host", "host_ecdsa", "host_rsa"].map(|name| {
        let text = fs::read_to_string(at.join(name).with_extension("pub")).expect("ssh-keygen wrote it");
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    });
    let count =
        std::env::var("SKIFF_TEST_KNOWN_HOSTS").map_or(FILES_FOR_SSH, |text| text.parse().expect("a number"));
    let (mut seen, mut stricter_than_ssh) = ([0; 4], 0);
    for seed in 0..count {
        let mut dice = Dice {
            state: seed,
            hosts: [HOST, HOST, HOST, "a", "b.example"].map(str::to_owned).to_vec(),
            ports: vec![22, sshd.port, sshd.port],
            keys: keys.to_vec(),
        };
        for path in &files {
            // Few lines, so that all ends come.
            let lines: Vec<String> = (0..dice.below(4)).map(|_| line(&mut dice)).collect();
            fs::write(path, lines.join("\n")).expect("the server's folder is writable");
        }
        let (ours, theirs) = (judged_by_us(&sshd, &files).await, judged_by_ssh(sshd.port, &files));
        let texts = files
            .each_ref()
            .map(|path| String::from_utf8_lossy(&fs::read(path).expect("it is there")).into_owned());
        // Of a name without its port we take revocations as well.
        let stricter = (ours, theirs) == (Judged::Revoked, Judged::Unknown);
        assert!(
            ours == theirs || stricter,
            "seed {seed}, port {}: {ours:?}, ssh {theirs:?} in:\n{texts:#?}",
            sshd.port
        );
        seen[ours as usize] += 1;
        stricter_than_ssh += usize::from(stricter);
    }
    println!(
        "{count} files: trusted, unknown, changed, revoked {seen:?}; stricter than ssh {stricter_than_ssh}"
    );
    assert!(seen.iter().all(|times| *times > 0), "some ends never come: {seen:?}");
}

/// By connecting, for it also counts which kind of key is asked for first.
async fn judged_by_us(sshd: &Sshd, files: &[PathBuf]) -> Judged {
    let login = Login { known_hosts: files.to_vec(), ..sshd.login("id_none") };
    match Session::connect(&login).await {
        // Only who trusts the host gets as far as having nothing to log in with.
        Err(ConnectError::NoKeys { .. } | ConnectError::KeyFile(_)) => Judged::Trusted,
        Err(ConnectError::HostKeyUnknown { .. }) => Judged::Unknown,
        Err(ConnectError::HostKeyChanged { .. }) => Judged::Changed,
        Err(ConnectError::HostKeyRevoked { .. }) => Judged::Revoked,
        other => panic!("{other:?}"),
    }
}

fn judged_by_ssh(port: u16, files: &[PathBuf; 3]) -> Judged {
    let [one, two, three] = files.each_ref().map(|path| path.display().to_string());
    let output = Command::new("ssh")
        .args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-p",
            &port.to_string(),
        ])
        .args(["-o", "PreferredAuthentications=none", "-o", "UpdateHostKeys=no"])
        .args([
            "-o",
            &format!("UserKnownHostsFile={one} {two}"),
            "-o",
            &format!("GlobalKnownHostsFile={three}"),
        ])
        .args([HOST, "true"])
        .output();
    let said = String::from_utf8_lossy(&output.expect("ssh is installed").stderr).into_owned();
    let ends = [
        ("Permission denied", Judged::Trusted),
        ("REVOKED HOST KEY", Judged::Revoked),
        ("IDENTIFICATION HAS CHANGED", Judged::Changed),
        ("host key is known for", Judged::Unknown),
    ];
    let end = ends.into_iter().find(|(words, _)| said.contains(words));
    end.unwrap_or_else(|| panic!("ssh said: {said}")).1
}

fn found_by_ssh_keygen(path: &Path, host: &str) -> Vec<usize> {
    let output = Command::new("ssh-keygen").args(["-l", "-F", host, "-f"]).arg(path).output();
    let output = output.expect("ssh-keygen (OpenSSH) must be installed to run this test");
    let text = String::from_utf8_lossy(&output.stdout);
    let heads = text.lines().filter(|line| line.starts_with("# Host "));
    heads.map(|head| number_in(head).unwrap_or_else(|| panic!("no line number in {head:?}"))).collect()
}

/// `# Host NAME found: line 7 REVOKED`.
fn number_in(head: &str) -> Option<usize> {
    head.split_once(" found: line ")?.1.split(' ').next()?.parse().ok()
}

fn file(dice: &mut Dice) -> String {
    let lines: Vec<String> = (0..20).map(|_| line(dice)).collect();
    let end = dice.pick(&["", "\n"]);
    lines.join("\n") + end
}

fn line(dice: &mut Dice) -> String {
    if dice.below(8) == 0 {
        return dice.pick(&ODD_LINES).to_owned();
    }
    let (indent, tail) = (dice.pick(&INDENTS), dice.pick(&TAILS));
    let (marker, hosts, key) = (marker(dice), hosts(dice), key(dice));
    format!("{indent}{marker}{hosts}{}{key}{tail}", dice.pick(&BLANKS))
}

/// No tab right after `@revoked`: there we are stricter on purpose.
fn marker(dice: &mut Dice) -> String {
    match dice.below(10) {
        0 => format!("@revoked{}", dice.pick(&[" ", "  ", " \t"])),
        1 => format!("@cert-authority{}", dice.pick(&BLANKS)),
        2 => dice
            .pick(&["@unheard-of ", "@Revoked ", "@revoked @revoked ", "@ ", "@cert-authority"])
            .to_owned(),
        _ => String::new(),
    }
}

fn hosts(dice: &mut Dice) -> String {
    match dice.below(4) {
        0 => hashed_host(dice),
        _ => (0..=dice.below(3)).map(|_| pattern(dice)).collect::<Vec<_>>().join(","),
    }
}

fn hashed_host(dice: &mut Dice) -> String {
    let salt = [dice.byte(); 20];
    let name = dice.host();
    let (salt, hash) = (Base64::encode_string(&salt), Base64::encode_string(&hashed(&name, &salt)));
    match dice.below(8) {
        0 => format!("|1|{salt}|{}", &hash[1..]),
        1 => format!("|1|{}|{hash}", &salt[4..]),
        2 => format!("|1|{salt}{hash}"),
        3 => format!("|2|{salt}|{hash}"),
        _ => format!("|1|{salt}|{hash}"),
    }
}

fn pattern(dice: &mut Dice) -> String {
    let negation = if dice.below(6) == 0 { "!" } else { "" };
    let pattern = match dice.below(3) {
        0 => dice.pick(&PATTERNS).to_owned(),
        _ => dice.host().as_str().to_owned(),
    };
    let pattern = if dice.below(4) == 0 { pattern.to_ascii_uppercase() } else { pattern };
    format!("{negation}{pattern}")
}

fn key(dice: &mut Dice) -> String {
    let good = match dice.below(6) {
        0 => RSA.to_owned(),
        1 => ECDSA.to_owned(),
        3.. if !dice.keys.is_empty() => dice.pick(&dice.keys.clone()),
        _ => ed25519_text(dice.byte()),
    };
    let good = good.replace(' ', dice.pick(&BLANKS));
    match dice.below(16) {
        0 => good[..good.len() - 1].to_owned(),
        1 => good.replace("ssh-", "ssx-"),
        2 => good.replace("ssh-rsa", "rsa-sha2-512"),
        3 => format!("{good}AAAA"),
        4 => good.replace("ssh-ed25519", "ssh-rsa"),
        5 => good.replacen("AAAA", "AA\u{b}AA", 1),
        _ => good,
    }
}

/// splitmix64: the same files every time.
struct Dice {
    state: u64,
    /// What lines are about.
    hosts: Vec<String>,
    ports: Vec<u16>,
    /// Keys that come more often than others.
    keys: Vec<String>,
}

impl Dice {
    fn of(seed: u64) -> Self {
        Self {
            state: seed,
            hosts: HOSTS.map(str::to_owned).to_vec(),
            ports: PORTS.to_vec(),
            keys: Vec::new(),
        }
    }

    fn host(&mut self) -> HostName {
        let (host, port) = (self.pick(&self.hosts.clone()), self.pick(&self.ports.clone()));
        HostName::new(&host, port)
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()].clone()
    }
}
