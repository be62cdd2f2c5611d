//! Everything that reads bytes from outside, and what has to hold whatever they are.
//!
//! Each target takes bytes and panics where a promise is broken. `tests/fuzz` runs them under libFuzzer, the test below
//! over the seeds in `tests/fuzz/corpus` and mutations of them. Not part of a usual build.

use std::path::Path;

use skiff_common::digest::{Algorithm, Digest};
use skiff_common::escape::{escaped, escaped_up_to};
use skiff_common::scp::{Event, Message, Output, Sink, Source, Taken};
use skiff_common::sftp::{Limits, Replies, Reply, Space};
use skiff_common::{RelPath, RemotePath};
use skiff_config::Environment;

use crate::remote::scp::answer::{Lines, number, parse_digest_line};
use crate::remote::scp::facts::parse_facts;
use crate::remote::shell;

/// A target: its name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("scp-answers", scp_answers),
    ("scp-messages", scp_messages),
    ("shell-answers", shell_answers),
    ("digest-output", digest_output),
    ("configuration", configuration),
    ("journal-values", crate::journal::any_value),
    ("known-hosts", crate::remote::host_key::any_file),
    ("paths", paths),
    ("greeting", greeting),
    ("sftp-replies", sftp_replies),
];

/// Runs the target of this name.
///
/// # Panics
/// Where there is none, and where a promise is broken.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(of, _)| *of == name).expect("the target exists");
    target(bytes);
}

/// The first byte says in what pieces the rest comes, as a network cuts it.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (size, rest) =
        bytes.split_first().map_or((1, bytes), |(size, rest)| (usize::from(*size).max(1), rest));
    rest.chunks(size)
}

/// Nothing in it moves a cursor, breaks a line or turns the direction of what stands beside it.
pub(crate) fn assert_printable(text: &str) {
    let deceives = |c| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    assert!(!text.chars().any(|c| c.is_control() || deceives(c)), "{text:?}");
}

/// Whatever a server says first.
fn greeting(bytes: &[u8]) {
    assert_printable(&crate::remote::session::any_greeting(bytes));
}

/// What a server's `scp -t` answers while a file is sent to it.
fn scp_answers(bytes: &[u8]) {
    let mut source = Source::new(b"token", 0o644, 5, None).expect("a good name");
    let mut body_bytes = 0;
    for piece in pieces(bytes) {
        while let Some(output) = source.poll_output() {
            if let Output::Body(size) = output {
                body_bytes += size;
            }
        }
        match source.handle_input(piece) {
            Ok(taken) => assert!(taken == piece.len() || source.is_finished()),
            Err(error) => return assert_printable(&error.to_string()),
        }
    }
    assert!(body_bytes <= 5, "the body is asked for once");
    assert!(!source.is_finished() || body_bytes == 5);
}

/// What a server answers over SFTP.
fn sftp_replies(bytes: &[u8]) {
    let (mut replies, mut came, mut taken) = (Replies::default(), 0, 0);
    for piece in pieces(bytes) {
        came += piece.len();
        replies.push(piece);
        loop {
            match replies.next_reply() {
                Ok(Some((_, reply))) => {
                    taken += held_by(&reply);
                    assert!(taken <= came, "more than came: {reply:?}");
                }
                Ok(None) => break,
                Err(error) => return assert_printable(&error.to_string()),
            }
        }
    }
}

/// What a reply holds of the server's bytes.
fn held_by(reply: &Reply) -> usize {
    match reply {
        Reply::Greeting(_) | Reply::Attributes(_) => 0,
        Reply::Status(status) => {
            assert_printable(&status.to_string());
            status.words.len()
        }
        Reply::Handle(bytes) | Reply::Data(bytes) => bytes.len(),
        Reply::Names(entries) => entries.iter().map(|entry| entry.name.len() + 12).sum(),
        Reply::Extended(bytes) => {
            let _room_or_not = (Space::parse(bytes.clone()), Limits::parse(bytes.clone()));
            bytes.len()
        }
    }
}

/// What a server's `scp -f` sends.
fn scp_messages(bytes: &[u8]) {
    if let Ok(message) = Message::parse(bytes.strip_suffix(b"\n").unwrap_or(bytes)) {
        let again = message.encode();
        let line = again.strip_suffix(b"\n").unwrap_or(&again);
        assert_eq!(Message::parse(line), Ok(message), "what was read is written so that it is read");
    }
    let mut sink = Sink::new();
    let mut left = 0;
    for mut piece in pieces(bytes) {
        while !piece.is_empty() {
            match sink.handle_input(piece) {
                Err(error) => return assert_printable(&error.to_string()),
                Ok(Taken { bytes: 0, event: None }) => return,
                Ok(taken) => {
                    left = after_event(&taken, left);
                    piece = &piece[taken.bytes..];
                }
            }
            sink.accept();
            while sink.poll_output().is_some() {}
        }
    }
    if let Err(error) = sink.handle_end() {
        assert_printable(&error.to_string());
    }
}

/// How many bytes of the body are still to come.
fn after_event(taken: &Taken, left: u64) -> u64 {
    match &taken.event {
        Some(Event::Begin { size, name, .. }) => {
            assert!(!name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/'));
            *size
        }
        Some(Event::Data(range)) => {
            assert!(range.end <= taken.bytes);
            left.checked_sub(range.len() as u64).expect("no more than was said")
        }
        Some(_) | None => left,
    }
}

/// What comes from the shell at the destination, noise of its start-up files included.
fn shell_answers(bytes: &[u8]) {
    let mut lines = Lines::new("n0nce".to_owned());
    let mut ready = false;
    for piece in pieces(bytes) {
        if let Err(error) = lines.push(piece, "looking") {
            return assert_printable(&error.to_string());
        }
        ready = ready || lines.skip_to_ready();
        if !ready {
            continue;
        }
        loop {
            match lines.next_answer("looking") {
                Ok(Some(answer)) => {
                    assert_printable(&answer.why("looking"));
                    let said = answer.lines.iter().map(Vec::len).sum::<usize>();
                    assert!(said <= bytes.len(), "nothing is made up");
                    parse_facts(&answer.words);
                    number(&answer.words);
                }
                Ok(None) => break,
                Err(error) => return assert_printable(&error.to_string()),
            }
        }
    }
    assert!(ready || find(bytes, b"n0nce ok ready\n").is_none());
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let at = haystack.windows(needle.len()).position(|window| window == needle);
    // The first byte is the size of the pieces, not theirs.
    at.filter(|at| *at > 0)
}

/// What a digest tool prints.
fn digest_output(bytes: &[u8]) {
    for algorithm in [Algorithm::Blake3, Algorithm::Sha256] {
        if let Some((path, digest)) = parse_digest_line(bytes, algorithm) {
            assert_eq!(Digest::from_hex(algorithm, digest.hex().as_bytes()), Some(digest));
            assert_eq!(RelPath::parse(path.as_bytes()), Ok(path));
        }
        if let Some(digest) = Digest::from_hex(algorithm, bytes) {
            assert_eq!(digest.hex().as_bytes(), bytes.to_ascii_lowercase());
        }
    }
}

/// A configuration.
fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(problems) = skiff_config::parse(text, Path::new("skiff.toml"), &Environment::default()) {
        assert!(problems.iter().next().is_some(), "a refusal has a reason");
        problems.iter().for_each(|problem| assert_printable(&problem.to_string()));
    }
}

/// Names of files, and what is shown and sent of them.
fn paths(bytes: &[u8]) {
    match RelPath::parse(bytes) {
        Ok(path) => {
            assert_eq!(path.as_bytes(), bytes);
            let above: Vec<_> = path.components().filter(|name| *name == b".." || name.is_empty()).collect();
            assert!(above.is_empty() && !bytes.starts_with(b"/"));
            assert_printable(&path.to_string());
        }
        Err(error) => assert_printable(&error.to_string()),
    }
    if let Err(error) = RemotePath::parse(bytes) {
        assert_printable(&error.to_string());
    }
    assert_printable(&escaped(bytes));
    let short = escaped_up_to(bytes, 10);
    assert!(short.chars().count() <= 11);
    assert_printable(&short);
    let sent = shell::word(bytes);
    assert!(sent.bytes().all(|b| b.is_ascii_graphic()), "one word on one line");
    assert_eq!(printed(sent.as_bytes()), bytes, "printf %b reads it back");
}

/// What `printf %b` makes of the escapes that we use.
fn printed(mut words: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((first, rest)) = words.split_first() {
        words = rest;
        match (first, rest) {
            (b'\\', [b'0', a, b, c, ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                words = &rest[4..];
            }
            (b'\\', [b'n', ..]) => {
                bytes.push(b'\n');
                words = &rest[1..];
            }
            (b'\\', [b'\\', ..]) => {
                bytes.push(b'\\');
                words = &rest[1..];
            }
            (byte, _) => bytes.push(*byte),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUTATIONS: u64 = 3_000;

    /// The seeds of a target: files in the folder of its name.
    fn seeds(name: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(name);
        let files =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        files.map(|file| std::fs::read(file.expect("listed").path()).expect("a seed")).collect()
    }

    struct Chance(u64);

    impl Chance {
        fn next(&mut self, below: usize) -> usize {
            // xorshift64
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % below.max(1) as u64).expect("below a usize")
        }

        fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
            let at = self.next(bytes.len() + 1);
            match self.next(5) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.next(8),
                1 => bytes.truncate(at),
                2 => bytes.insert(at, u8::try_from(self.next(256)).expect("a byte")),
                3 if at < bytes.len() => drop(bytes.remove(at)),
                _ => {
                    let from = self.next(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
            }
        }
    }

    #[test]
    fn seeds_and_their_mutations_keep_the_promises() {
        for (name, target) in TARGETS {
            let seeds = seeds(name);
            assert!(!seeds.is_empty(), "{name} has no seeds");
            for seed in &seeds {
                target(seed);
            }
            let mut chance = Chance(0x5eed);
            for _ in 0..MUTATIONS {
                let mut bytes = seeds[chance.next(seeds.len())].clone();
                let other = seeds[chance.next(seeds.len())].clone();
                (0..=chance.next(4)).for_each(|_| chance.mutate(&mut bytes, &other));
                target(&bytes);
            }
        }
    }
}
