//! The words of `hand.sh`, parsed: lines, ended by one that begins with our nonce.

use skiff_common::escape::escaped_up_to;
use skiff_common::{Algorithm, Digest, RelPath};

use crate::remote::RemoteError;
use crate::remote::shell::{self, Buffer};

/// The most that one answer may hold: a batch's digests are a few hundred KiB.
const LONGEST_ANSWER: usize = 32 << 20;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Yes or no.
    pub(crate) ok: bool,
    /// The rest of the last line.
    pub(crate) words: Vec<u8>,
    /// The lines before it.
    pub(crate) lines: Vec<Vec<u8>>,
}

impl Answer {
    /// The server's reason, without the word that names it, fit to be shown.
    pub(crate) fn why(&self, word: &str) -> String {
        let words = self.words.strip_prefix(word.as_bytes()).unwrap_or(&self.words).trim_ascii();
        if words.is_empty() { "no reason was given".to_owned() } else { escaped_up_to(words, 300) }
    }

    /// Itself, if it is yes.
    pub(crate) fn expected(self, attempt: &'static str) -> Result<Self, RemoteError> {
        if self.ok { Ok(self) } else { Err(self.refused(attempt)) }
    }

    /// What a no is, where nothing more is known of `attempt`.
    pub(crate) fn refused(&self, attempt: &'static str) -> RemoteError {
        if self.words == b"gone" {
            RemoteError::Gone { attempt }
        } else {
            RemoteError::Refused { attempt, why: self.reason() }
        }
    }

    /// What a person makes of a refusal. The word in front is for us.
    fn reason(&self) -> String {
        let end = self.words.iter().position(|b| *b == b' ').unwrap_or(self.words.len());
        let (word, words) = self.words.split_at(end);
        match (word, words.trim_ascii()) {
            (b"bad" | b"outside", b"") => "the server takes no such name".to_owned(),
            (_, b"") => "no reason was given".to_owned(),
            (_, why) => escaped_up_to(why, 300),
        }
    }

    /// The words, split at blanks.
    pub(crate) fn split(&self) -> Vec<&[u8]> {
        self.words.split(|b| *b == b' ').filter(|word| !word.is_empty()).collect()
    }
}

/// Server output that waits to be understood.
#[derive(Debug)]
pub(crate) struct Lines {
    nonce: String,
    heard: Buffer,
    complete: Vec<Vec<u8>>,
    taken: usize,
    reads: u64,
}

impl Lines {
    pub(crate) fn new(nonce: String) -> Self {
        Self { nonce, heard: Buffer::default(), complete: Vec::new(), taken: 0, reads: 0 }
    }

    pub(crate) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Keeps what came. While a body is sent nobody takes it, and the server may go on talking.
    pub(crate) fn push(&mut self, bytes: &[u8], attempt: &'static str) -> Result<(), RemoteError> {
        self.heard.push(bytes);
        self.check(attempt)
    }

    fn check(&self, attempt: &'static str) -> Result<(), RemoteError> {
        if self.taken + self.waiting().len() > LONGEST_ANSWER {
            return Err(RemoteError::Nonsense { attempt, words: escaped_up_to(self.waiting(), 100) });
        }
        Ok(())
    }

    /// How many bytes it says that it reads before the next answer comes.
    pub(crate) const fn reads(&self) -> u64 {
        self.reads
    }

    pub(crate) fn waiting(&self) -> &[u8] {
        self.heard.waiting()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    /// Takes up to `most` raw bytes.
    pub(crate) fn take(&mut self, most: usize) -> Vec<u8> {
        self.heard.take(most)
    }

    /// Skips what comes before the first word of ours; `false`: it hasn't come yet.
    pub(crate) fn skip_to_ready(&mut self) -> bool {
        self.heard.skip_past(&shell::ready(&self.nonce))
    }

    /// The next answer, if it is here whole.
    pub(crate) fn next_answer(&mut self, attempt: &'static str) -> Result<Option<Answer>, RemoteError> {
        while let Some(line) = self.heard.take_line() {
            // An empty line takes room as well.
            self.taken += line.len() + size_of::<Vec<u8>>();
            if let Some(rest) = line.strip_prefix(self.nonce.as_bytes()) {
                if let Some(bytes) = rest.strip_prefix(b" reads ") {
                    self.reads = self.reads.saturating_add(number(bytes).unwrap_or(0));
                    continue;
                }
                (self.taken, self.reads) = (0, 0);
                return last_line(rest, std::mem::take(&mut self.complete), attempt).map(Some);
            }
            self.complete.push(line);
        }
        self.check(attempt)?;
        Ok(None)
    }
}

fn last_line(rest: &[u8], lines: Vec<Vec<u8>>, attempt: &'static str) -> Result<Answer, RemoteError> {
    let nonsense = || RemoteError::Nonsense { attempt, words: escaped_up_to(rest, 100) };
    let (ok, words) = shell::verdict(rest).ok_or_else(nonsense)?;
    Ok(Answer { ok, words: words.to_vec(), lines })
}

/// A digest tool's line, of a path below the folder.
pub(crate) fn parse_digest_line(line: &[u8], algorithm: Algorithm) -> Option<(RelPath, Digest)> {
    let (name, digest) = shell::digest_line(line, algorithm)?;
    let path = RelPath::parse(name.strip_prefix(b"./").unwrap_or(name)).ok()?;
    Some((path, digest))
}

/// Decimal digits.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_before_the_first_word_is_skipped() {
        let mut lines = Lines::new("n0".to_owned());
        lines.push(b"Welcome!\nn0 ok rea", "x").expect("little");
        assert!(!lines.skip_to_ready());
        lines.push(b"dy\nn0 ok 5\n", "x").expect("little");
        assert!(lines.skip_to_ready());
        assert_eq!(lines.next_answer("x").expect("sense").expect("whole").words, b"5");
    }

    #[test]
    fn answers_hold_the_lines_before_them() {
        let mut lines = Lines::new("n0".to_owned());
        lines.push(b"left a b\nn0 no sync I/O error\nn0 ok\nrest", "x").expect("little");
        let answer = lines.next_answer("x").expect("sense").expect("whole");
        assert_eq!((answer.ok, answer.why("sync"), answer.lines.len()), (false, "I/O error".to_owned(), 1));
        assert!(lines.next_answer("x").expect("sense").expect("whole").ok);
        assert_eq!(lines.next_answer("x").expect("sense"), None);
        assert_eq!(lines.waiting(), b"rest");
    }

    #[test]
    fn what_is_read_before_an_answer_is_counted_until_it_comes() {
        let mut lines = Lines::new("n0".to_owned());
        lines
            .push(b"n0 reads 5\nn0 reads 7\nn0 reads x\nn0 reads 18446744073709551615\n", "x")
            .expect("little");
        assert_eq!((lines.next_answer("x").expect("sense"), lines.reads()), (None, u64::MAX));
        lines.push(b"n0 ok\n", "x").expect("little");
        assert!(lines.next_answer("x").expect("sense").expect("whole").lines.is_empty());
        assert_eq!(lines.reads(), 0);
    }

    /// What comes while nobody takes it is bounded, and so are lines of nothing.
    #[test]
    fn a_server_that_does_not_stop_talking_is_given_up() {
        let piece = vec![b'x'; 1 << 20];
        let mut lines = Lines::new("n0".to_owned());
        let mut pushed = (0..LONGEST_ANSWER >> 19).map(|_| lines.push(&piece, "x"));
        assert!(pushed.any(|one| matches!(one, Err(RemoteError::Nonsense { .. }))));

        let mut lines = Lines::new("n0".to_owned());
        let mut answers = (0..LONGEST_ANSWER >> 20).map(|_| {
            lines.push(&vec![b'\n'; 1 << 20], "x")?;
            lines.next_answer("x")
        });
        assert!(answers.any(|one| matches!(one, Err(RemoteError::Nonsense { .. }))));
    }

    #[test]
    fn a_reply_that_is_neither_yes_nor_no_is_an_error() {
        let mut lines = Lines::new("n0".to_owned());
        lines.push(b"n0 perhaps\n", "x").expect("little");
        assert!(matches!(lines.next_answer("x"), Err(RemoteError::Nonsense { .. })));
    }

    #[test]
    fn refusals_say_what_a_person_understands() {
        for (said, why) in [
            ("n0 no join I/O error", "I/O error"),
            ("n0 no join", "no reason was given"),
            ("n0 no gone", "what was staged has gone"),
            ("n0 no", "no reason was given"),
        ] {
            let mut lines = Lines::new("n0".to_owned());
            lines.push(format!("{said}\n").as_bytes(), "x").expect("little");
            let answer = lines.next_answer("x").expect("sense").expect("whole");
            let error = answer.expected("joining").expect_err("it is a no");
            assert_eq!(error.to_string(), format!("joining failed at the server: {why}"));
        }
    }

    #[test]
    fn digest_lines_of_all_tools_are_understood() {
        let hex = "ab".repeat(32);
        for line in [format!("{hex}  ./a b"), format!("{hex} *./a b"), format!("{hex}  a b")] {
            let (path, digest) = parse_digest_line(line.as_bytes(), Algorithm::Sha256).expect("a digest");
            assert_eq!((path.to_string(), digest.hex()), ("a b".to_owned(), hex.clone()));
        }
        for bad in ["", "ab  ./a", &format!("{hex}  ../a"), &format!("{hex}x ./a"), &format!("{hex}  /etc/a")]
        {
            assert_eq!(parse_digest_line(bad.as_bytes(), Algorithm::Sha256), None, "{bad}");
        }
    }
}
