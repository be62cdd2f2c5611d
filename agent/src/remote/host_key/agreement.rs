//! The same lines as `ssh-keygen -F`, on generated files. `-l` makes it read the keys, as `ssh` does.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::thread;

use russh::keys::ssh_encoding::base64::{Base64, Encoding as _};

use super::KnownHosts;
use super::name::HostName;
use super::pattern::hashed;
use super::sample::{ECDSA, RSA, ed25519_text};

const FILES: u64 = 1000;
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
    assert!(found > 1000, "the generated files rarely have the host: {found}");
}

/// The number of lines found.
fn agree_on(seeds: Range<u64>) -> usize {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("known_hosts");
    let agree = |seed| {
        let mut dice = Dice(seed);
        let text = file(&mut dice);
        let host = HostName::new(dice.pick(&HOSTS), dice.pick(&PORTS));
        fs::write(&path, &text).expect("a file");
        let known = KnownHosts::load(std::slice::from_ref(&path)).expect("a readable file");
        let ours = known.line_numbers_for(&host);
        assert_eq!(ours, found_by_ssh_keygen(&path, host.as_str()), "seed {seed}, {host:?} in:\n{text}");
        ours.len()
    };
    seeds.map(agree).sum()
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
    let name = HostName::new(dice.pick(&HOSTS), dice.pick(&PORTS));
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
        _ => HostName::new(dice.pick(&HOSTS), dice.pick(&PORTS)).as_str().to_owned(),
    };
    let pattern = if dice.below(4) == 0 { pattern.to_ascii_uppercase() } else { pattern };
    format!("{negation}{pattern}")
}

fn key(dice: &mut Dice) -> String {
    let good = match dice.below(6) {
        0 => RSA.to_owned(),
        1 => ECDSA.to_owned(),
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
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }
}
