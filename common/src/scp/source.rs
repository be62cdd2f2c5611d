//! The sending side: one file of known size, under one name, to `scp -t`.
//!
//! Saves round trips where nothing is risked by it: the headers go out at once, and what ends the transfer goes out right
//! behind the body. Only the body waits for its header's answer, for after a refused one it would be read as commands.
//! `E` at the top level makes `scp -t` (OpenSSH's and dropbear's) return without the end of its input, so the script that
//! called it goes on reading the same channel.

use std::collections::VecDeque;
use std::fmt;

use super::message::{Answer, AnswerReader, Message, Times, check_name};
use super::{ScpError, shown};

/// What the receiver is asked for, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// To start.
    Start,
    /// To take the times.
    Times,
    /// To create the file.
    File,
    /// To write its body.
    Body,
    /// To end.
    End,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "to start",
            Self::Times => "the file's times",
            Self::File => "to create the file",
            Self::Body => "to write the file",
            Self::End => "to end",
        })
    }
}

/// What is to be sent next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes of the file, never none; ask for more output when they are sent.
    Body(u64),
}

/// Sends one file.
#[derive(Debug)]
pub struct Source {
    output: VecDeque<Output>,
    // What the body's header was answered with decides whether this is sent.
    held: VecDeque<Output>,
    asked: VecDeque<Step>,
    reader: AnswerReader,
    current: Step,
}

impl Source {
    /// Sends `size` bytes as `name`, a token of one component.
    pub fn new(name: &[u8], mode: u32, size: u64, times: Option<Times>) -> Result<Self, ScpError> {
        check_name(name).map_err(|reason| ScpError::Malformed { reason, text: shown(name) })?;
        let mut header = times.map(|times| Message::Times(times).encode()).unwrap_or_default();
        header.extend(Message::File { mode, size, name: name.to_vec() }.encode());
        let body = (size > 0).then_some(Output::Body(size));
        let end = Output::Bytes([Answer::Yes.encode(), Message::End.encode()].concat());
        let asked = [Some(Step::Start), times.map(|_| Step::Times), Some(Step::File)];
        Ok(Self {
            output: [Output::Bytes(header)].into(),
            held: body.into_iter().chain([end]).collect(),
            asked: asked.into_iter().flatten().collect(),
            reader: AnswerReader::default(),
            current: Step::Start,
        })
    }

    /// What to send next; `None` while an answer has to come first, and at the end.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.output.pop_front()?;
        if self.asked.is_empty() && self.output.is_empty() {
            self.asked = [Step::Body, Step::End].into();
            self.current = Step::Body;
        }
        Some(output)
    }

    /// Takes the receiver's answers and says how many bytes they were. What comes behind the last one is left: it
    /// belongs to whoever speaks next on the channel.
    pub fn handle_input(&mut self, input: &[u8]) -> Result<usize, ScpError> {
        let mut taken = 0;
        while taken < input.len() && !self.is_finished() {
            let (piece, answer) = self.reader.take(&input[taken..]);
            taken += piece;
            if let Some(answer) = answer {
                self.on_answer(answer)?;
            }
        }
        Ok(taken)
    }

    /// Whether all is sent and answered with yes.
    pub fn is_finished(&self) -> bool {
        self.is_sent() && self.asked.is_empty()
    }

    /// Whether all is sent, though not all may be answered.
    pub fn is_sent(&self) -> bool {
        self.output.is_empty() && self.held.is_empty()
    }

    /// What the receiver is busy with.
    pub fn step(&self) -> Step {
        self.current
    }

    fn on_answer(&mut self, answer: Answer) -> Result<(), ScpError> {
        let step = self.asked.front().copied().unwrap_or(Step::Body);
        match answer {
            Answer::Yes if self.asked.is_empty() => Err(ScpError::Early { step }),
            Answer::Yes => {
                self.go_on();
                Ok(())
            }
            Answer::No(text) | Answer::Never(text) => Err(ScpError::Refused { step, text: shown(&text) }),
            Answer::Noise(text) => Err(ScpError::NotScp { step, text: shown(&text) }),
        }
    }

    fn go_on(&mut self) {
        self.asked.pop_front();
        match self.asked.front() {
            Some(next) => self.current = *next,
            None => self.output.append(&mut self.held),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times { modified_s: 7, accessed_s: 8 };

    fn bytes(text: &[u8]) -> Output {
        Output::Bytes(text.to_vec())
    }

    fn source(size: u64) -> Source {
        Source::new(b"token", 0o600, size, None).expect("a good name")
    }

    #[test]
    fn it_sends_the_bytes_that_scp_expects() {
        let mut source = Source::new(b"token", 0o644, 5, Some(TIMES)).expect("a good name");
        assert_eq!(source.poll_output(), Some(bytes(b"T7 0 8 0\nC0644 5 token\n")));
        assert_eq!(source.poll_output(), None, "the body waits");
        assert_eq!(source.handle_input(b"\0\0").expect("two answers"), 2);
        assert_eq!(source.poll_output(), None, "the body waits for the answer to C");
        assert_eq!(source.handle_input(b"\0").expect("the third"), 1);
        assert_eq!(source.poll_output(), Some(Output::Body(5)));
        assert_eq!(source.poll_output(), Some(bytes(b"\0E\n")));
        assert_eq!(source.poll_output(), None);
        assert!(!source.is_finished());
        assert_eq!(
            source.handle_input(b"\0\0after").expect("the last answers"),
            2,
            "the rest is the script's"
        );
        assert!(source.is_finished());
        assert_eq!(source.handle_input(b"after").expect("nothing is taken"), 0);
    }

    #[test]
    fn an_empty_file_has_no_body() {
        let mut source = source(0);
        source.poll_output();
        source.handle_input(b"\0\0").expect("yes");
        assert_eq!(source.poll_output(), Some(bytes(b"\0E\n")));
    }

    #[test]
    fn a_refused_file_sends_no_body() {
        let mut source = source(5);
        source.poll_output();
        let error = source.handle_input(b"\0\x01scp: /x: Permission \x1b[2Jdenied\n").expect_err("refused");
        let text = "scp: /x: Permission \\x1b[2Jdenied".to_owned();
        assert_eq!(error, ScpError::Refused { step: Step::File, text });
        assert_eq!(source.poll_output(), None);
    }

    #[test]
    fn a_full_disk_is_told_while_the_body_is_sent() {
        let mut source = source(5);
        source.poll_output();
        source.handle_input(b"\0\0").expect("yes");
        source.poll_output();
        let error = source.handle_input(b"\x01No space left on device\n").expect_err("refused");
        assert_eq!(error, ScpError::Refused { step: Step::Body, text: "No space left on device".into() });
    }

    #[test]
    fn noise_and_early_answers_are_errors() {
        let error = source(5).handle_input(b"Welcome!\n\0").expect_err("noise");
        assert_eq!(error, ScpError::NotScp { step: Step::Start, text: "Welcome!".into() });
        let mut source = source(5);
        assert_eq!(source.handle_input(b"\0\0\0"), Err(ScpError::Early { step: Step::Body }));
    }

    #[test]
    fn a_servers_text_is_cut() {
        let error = source(5).handle_input(&[&[1][..], &[b'x'; 5000], b"\n"].concat()).expect_err("refused");
        assert!(error.to_string().len() < 600, "{error}");
    }

    #[test]
    fn names_that_lead_away_are_refused() {
        for name in [&b""[..], b".", b"..", b"a/b", b"a\nC0644 1 b", b"a\0"] {
            assert!(Source::new(name, 0o600, 1, None).is_err(), "{} was taken", name.escape_ascii());
        }
    }
}
