//! What is the same with each program that a shell of the server's runs for us: `hand.sh`, which takes deliveries, and
//! `giver.sh`, which a pull asks.
//!
//! Owns the one command line, how a program and a name are sent, how an answer and a digest are told, and by what an
//! account without a shell is known. Lacks the verbs, and who reads when: a hand hears all the time, also while it
//! writes; what is asked of a giver waits in a queue.

mod buffer;
mod words;

use std::fmt::Write as _;

use skiff_common::{Algorithm, Digest};

pub(crate) use buffer::Buffer;
pub(crate) use words::LastWords;

/// What the server says before our own first word is somebody's shell start-up file; more than this is no shell.
pub(crate) const MOST_NOISE: usize = 4 << 20;

/// Has any login shell evaluate the first line that comes, with `nonce` as `$N`.
pub(crate) fn command_line(nonce: &str) -> String {
    format!(r#"exec sh -c 'IFS= read -r P && N=$1 && eval "$(printf %b "$P")"' skiff {nonce}"#)
}

/// A program as [`command_line`] reads it: one line, without its comments.
pub(crate) fn first_line<'a>(program: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let lines = program.filter(|line| !line.trim_start().starts_with('#'));
    let program: String = lines.flat_map(|line| [line, "\n"]).collect();
    (word(program.as_bytes()) + "\n").into_bytes()
}

/// What either program says first.
pub(crate) fn ready(nonce: &str) -> Vec<u8> {
    format!("{nonce} ok ready\n").into_bytes()
}

/// Bytes as `printf %b` reads them back: one word of ASCII.
pub(crate) fn word(bytes: &[u8]) -> String {
    let mut word = String::with_capacity(bytes.len() + bytes.len() / 8);
    for byte in bytes {
        match byte {
            b'\\' => word.push_str("\\\\"),
            b'\n' => word.push_str("\\n"),
            0x21..=0x7e => word.push(char::from(*byte)),
            byte => write!(word, "\\0{byte:03o}").expect("writing to a String does not fail"),
        }
    }
    word
}

/// Yes or no, and the words behind it; `rest` is what follows the nonce. `None`: it is neither.
pub(crate) fn verdict(rest: &[u8]) -> Option<(bool, &[u8])> {
    let yes = rest.strip_prefix(b" ok").map(|words| (true, words));
    let said = yes.or_else(|| rest.strip_prefix(b" no").map(|words| (false, words)));
    said.map(|(ok, words)| (ok, words.trim_ascii()))
}

/// `HEX  name` or `HEX *name`, as the digest tools print it.
pub(crate) fn digest_line(line: &[u8], algorithm: Algorithm) -> Option<(&[u8], Digest)> {
    let (hex, rest) = line.split_at_checked(64)?;
    let name = rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *"))?;
    Some((name, Digest::from_hex(algorithm, hex)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_that_printf_reads_back() {
        let name = b"-a b\n\\c'$(x)`;*\xff\x01%s!\t";
        let word = word(name);
        assert!(word.bytes().all(|b| (0x21..0x7f).contains(&b)));
        let printf = std::process::Command::new("sh").args(["-c", "printf %b \"$1\"", "sh", &word]).output();
        assert_eq!(printf.expect("sh runs").stdout, name);
    }

    #[test]
    fn a_program_is_sent_on_one_line_without_its_comments() {
        let sent = first_line("# why\na b\n  # why\nc # d".lines());
        assert_eq!(sent, b"a\\0040b\\nc\\0040#\\0040d\\n\n");
    }
}
