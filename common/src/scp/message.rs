//! Messages and answers: what one side sends, and how the other takes it. Bytes only, bounded in length.

use super::{LONGEST_TEXT, ScpError, shown};

/// The longest name of a file that is taken, in bytes.
const LONGEST_NAME: usize = 255;
/// The longest line that is taken for a message: a name, and before it a mode and a size of 20 digits.
const LONGEST_LINE: usize = LONGEST_NAME + 32;
/// How much of an answer without a line's end is waited for; a banner may be longer than what is kept of it.
const LONGEST_ANSWER: usize = 16 * 1024;

/// When a file was last changed and read, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The last change.
    pub modified_s: u64,
    /// The last access.
    pub accessed_s: u64,
}

/// What the sending side says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// `C`: a regular file; its body of `size` bytes follows once the line is answered.
    File {
        /// Permission bits, at most `0o7777`.
        mode: u32,
        /// Bytes of the body.
        size: u64,
        /// One component, neither `.` nor `..`.
        name: Vec<u8>,
    },
    /// `D`: a folder; what it holds follows.
    Folder {
        /// Permission bits, at most `0o7777`.
        mode: u32,
        /// One component, neither `.` nor `..`.
        name: Vec<u8>,
    },
    /// `E`: the folder ends; at the top level, the transfer.
    End,
    /// `T`: the times of the file that comes next.
    Times(Times),
}

impl Message {
    /// The line on the wire.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::File { mode, size, name } => named(b'C', *mode, *size, name),
            Self::Folder { mode, name } => named(b'D', *mode, 0, name),
            Self::End => b"E\n".to_vec(),
            Self::Times(times) => format!("T{} 0 {} 0\n", times.modified_s, times.accessed_s).into_bytes(),
        }
    }

    /// Takes a line, without its newline.
    pub fn parse(line: &[u8]) -> Result<Self, ScpError> {
        parse(line).map_err(|reason| ScpError::Malformed { reason, text: shown(line) })
    }
}

fn named(letter: u8, mode: u32, size: u64, name: &[u8]) -> Vec<u8> {
    let mut line = vec![letter];
    line.extend_from_slice(format!("{:04o} {size} ", mode & 0o7777).as_bytes());
    line.extend_from_slice(name);
    line.push(b'\n');
    line
}

fn parse(line: &[u8]) -> Result<Message, &'static str> {
    match line {
        [b'C', rest @ ..] => file(rest),
        [b'D', rest @ ..] => file(rest).map(folder),
        [b'E'] => Ok(Message::End),
        [b'T', rest @ ..] => times(rest).map(Message::Times),
        _ => Err("unknown letter"),
    }
}

fn folder(file: Message) -> Message {
    match file {
        Message::File { mode, name, .. } => Message::Folder { mode, name },
        other => other,
    }
}

fn file(rest: &[u8]) -> Result<Message, &'static str> {
    let mut fields = rest.splitn(3, |b| *b == b' ');
    let mode = octal(fields.next().unwrap_or_default())?;
    let size = decimal(fields.next().unwrap_or_default())?;
    let name = fields.next().ok_or("no name")?;
    check_name(name)?;
    Ok(Message::File { mode, size, name: name.to_vec() })
}

/// Whether `name` is one component that stays where it is put.
pub(super) fn check_name(name: &[u8]) -> Result<(), &'static str> {
    match name {
        b"" | b"." | b".." => Err("a name that is empty, '.' or '..'"),
        name if name.len() > LONGEST_NAME => Err("a name that is too long"),
        name if name.iter().any(|b| matches!(b, b'/' | b'\0' | b'\n')) => {
            Err("a name with a '/', NUL or newline")
        }
        _ => Ok(()),
    }
}

fn times(rest: &[u8]) -> Result<Times, &'static str> {
    let fields: Vec<_> = rest.splitn(5, |b| *b == b' ').collect();
    let [modified, modified_us, accessed, accessed_us] = fields[..] else {
        return Err("not four numbers");
    };
    if decimal(modified_us)? >= 1_000_000 || decimal(accessed_us)? >= 1_000_000 {
        return Err("a second with too many microseconds");
    }
    Ok(Times { modified_s: decimal(modified)?, accessed_s: decimal(accessed)? })
}

fn octal(digits: &[u8]) -> Result<u32, &'static str> {
    if digits.len() != 4 || !digits.iter().all(|b| matches!(b, b'0'..=b'7')) {
        return Err("a mode that is not four octal digits");
    }
    Ok(digits.iter().fold(0, |mode, b| mode * 8 + u32::from(b - b'0')))
}

// Sizes and times are signed in every peer: what doesn't fit there isn't taken here.
fn decimal(digits: &[u8]) -> Result<u64, &'static str> {
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return Err("a number that is none");
    }
    let number = digits.iter().fold(0, |number, b| number * 10 + u64::from(b - b'0'));
    i64::try_from(number).map(|_| number).map_err(|_| "a number that is too large")
}

/// What the receiving side answers to each message and each body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `\0`: go on.
    Yes,
    /// `\1`: this one failed.
    No(Vec<u8>),
    /// `\2`: all of it failed.
    Never(Vec<u8>),
    /// Bytes that are no answer: a line of text from another program.
    Noise(Vec<u8>),
}

impl Answer {
    /// The bytes on the wire. Text is kept to one line of at most [`LONGEST_TEXT`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Yes => vec![0],
            Self::No(text) => line(Some(1), text),
            Self::Never(text) => line(Some(2), text),
            Self::Noise(text) => line(None, text),
        }
    }
}

fn line(code: Option<u8>, text: &[u8]) -> Vec<u8> {
    let text = text.iter().take(LONGEST_TEXT).map(|b| if *b < b' ' { b' ' } else { *b });
    code.into_iter().chain(text).chain([b'\n']).collect()
}

/// Collects an answer that comes in pieces; keeps the first [`LONGEST_TEXT`] bytes of its text.
#[derive(Debug, Clone, Default)]
pub(super) struct AnswerReader {
    code: Option<u8>,
    text: Vec<u8>,
    length: usize,
}

impl AnswerReader {
    /// Takes bytes up to the end of one answer; says how many, and the answer if it is whole.
    pub(super) fn take(&mut self, input: &[u8]) -> (usize, Option<Answer>) {
        for (at, byte) in input.iter().enumerate() {
            if let Some(answer) = self.push(*byte) {
                *self = Self::default();
                return (at + 1, Some(answer));
            }
        }
        (input.len(), None)
    }

    /// Whether an answer has begun.
    pub(super) fn is_inside(&self) -> bool {
        self.code.is_some()
    }

    fn push(&mut self, byte: u8) -> Option<Answer> {
        match self.code {
            None if byte == 0 => return Some(Answer::Yes),
            None => self.begin(byte),
            Some(_) if byte == b'\n' => return Some(self.answer()),
            Some(_) => self.keep(byte),
        }
        // A line of noise may consist of its end alone.
        let is_whole = self.length >= LONGEST_ANSWER || (self.code == Some(b'\n'));
        is_whole.then(|| self.answer())
    }

    fn begin(&mut self, byte: u8) {
        self.code = Some(byte);
        if byte > 2 && byte != b'\n' {
            self.keep(byte);
        }
    }

    fn keep(&mut self, byte: u8) {
        self.length += 1;
        if self.text.len() < LONGEST_TEXT {
            self.text.push(byte);
        }
    }

    fn answer(&mut self) -> Answer {
        let text = std::mem::take(&mut self.text);
        match self.code {
            Some(1) => Answer::No(text),
            Some(2) => Answer::Never(text),
            _ => Answer::Noise(text),
        }
    }
}

/// Collects a line that comes in pieces.
#[derive(Debug, Clone, Default)]
pub(super) struct LineReader(Vec<u8>);

impl LineReader {
    /// Takes bytes up to and with a newline; says how many, and the line without it if it is whole.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<(usize, Option<Vec<u8>>), ScpError> {
        let end = input.iter().position(|b| *b == b'\n');
        let piece = &input[..end.unwrap_or(input.len())];
        if self.0.len() + piece.len() > LONGEST_LINE {
            return Err(ScpError::Malformed { reason: "too long", text: shown(&[&self.0, piece].concat()) });
        }
        self.0.extend_from_slice(piece);
        match end {
            Some(end) => Ok((end + 1, Some(std::mem::take(&mut self.0)))),
            None => Ok((input.len(), None)),
        }
    }

    /// Whether a line has begun.
    pub(super) fn is_inside(&self) -> bool {
        !self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32, size: u64, name: &[u8]) -> Message {
        Message::File { mode, size, name: name.to_vec() }
    }

    #[test]
    fn messages_are_the_bytes_that_openssh_sends() {
        let times = Message::Times(Times { modified_s: 1_700_000_000, accessed_s: 5 });
        for (message, wire) in [
            (file(0o644, 12, b"a b.csv"), &b"C0644 12 a b.csv\n"[..]),
            (file(0o4755, 0, b"x"), b"C4755 0 x\n"),
            (file(0o600, 9_223_372_036_854_775_807, b"\xff"), b"C0600 9223372036854775807 \xff\n"),
            (Message::Folder { mode: 0o755, name: b"d".to_vec() }, b"D0755 0 d\n"),
            (Message::End, b"E\n"),
            (times, b"T1700000000 0 5 0\n"),
        ] {
            assert_eq!(message.encode(), wire);
            assert_eq!(Message::parse(&wire[..wire.len() - 1]).expect("a message"), message);
        }
    }

    #[test]
    fn other_lines_are_no_messages() {
        let lines = "|C|C0644|C0644 1|C0644 1 |C644 1 x|C0648 1 x|C00644 1 x|C0644 -1 x|C0644 +1 x|C0644  x|C0644 1 .\
            |C0644 9223372036854775808 x|C0644 99999999999999999999 x|C0644 1 ..|C0644 1 a/b|C0644 1 /etc/passwd\
            |C0644 1 a\0|E0|T1 0 2|T1 0 2 0 0|T1 0 2 1000000|Tx 0 2 0|X|\x01no";
        for line in lines.split('|') {
            assert!(Message::parse(line.as_bytes()).is_err(), "{line:?} was taken");
        }
        assert!(Message::parse(&[b"C0644 1 ", &[b'x'; 256][..]].concat()).is_err());
    }

    #[test]
    fn answers_come_in_pieces_and_stop_at_their_end() {
        let mut reader = AnswerReader::default();
        assert_eq!(reader.take(b"\0rest"), (1, Some(Answer::Yes)));
        assert_eq!(reader.take(b"\x01no sp"), (6, None));
        assert_eq!(reader.take(b"ace\n\0"), (4, Some(Answer::No(b"no space".to_vec()))));
        assert_eq!(reader.take(b"\x02\n"), (2, Some(Answer::Never(Vec::new()))));
        assert_eq!(reader.take(b"motd\nx"), (5, Some(Answer::Noise(b"motd".to_vec()))));
        assert_eq!(reader.take(b"\n"), (1, Some(Answer::Noise(Vec::new()))));
    }

    #[test]
    fn answers_and_lines_without_end_are_bounded() {
        let mut reader = AnswerReader::default();
        let (taken, answer) = reader.take(&b"x".repeat(1 << 20));
        assert_eq!((taken, answer), (LONGEST_ANSWER, Some(Answer::Noise(b"x".repeat(LONGEST_TEXT)))));
        assert!(LineReader::default().take(&[b'C'; LONGEST_LINE + 1]).is_err());
    }

    #[test]
    fn an_answer_is_one_line() {
        assert_eq!(Answer::No(b"a\nC0644 1 x\r".to_vec()).encode(), b"\x01a C0644 1 x \n");
    }
}
