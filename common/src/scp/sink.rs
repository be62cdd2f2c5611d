//! The receiving side: regular files, one after the other, from `scp -f` or from whoever speaks to our own `scp -t`; and
//! folders where they are asked for.
//!
//! The caller decides on each file ([`Sink::accept`], [`Sink::refuse`]) after its [`Event::Begin`] and after its
//! [`Event::End`]; until then no input is taken. Whether a name is the one that was asked for is the caller's to check.

use std::ops::Range;

use super::message::{Answer, AnswerReader, LineReader, Message, Times};
use super::{ScpError, shown};

/// What the sender did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The times of the file that comes next.
    Times(Times),
    /// A file begins: accept or refuse it.
    Begin {
        /// Permission bits, at most `0o7777`.
        mode: u32,
        /// Bytes of its body.
        size: u64,
        /// One component, neither `.` nor `..`.
        name: Vec<u8>,
    },
    /// A folder begins; what comes until its [`Event::FolderEnd`] is in it. Only from [`Sink::with_folders`].
    Folder {
        /// Permission bits, at most `0o7777`.
        mode: u32,
        /// One component, neither `.` nor `..`.
        name: Vec<u8>,
    },
    /// The folder that began last ends.
    FolderEnd,
    /// The sender could not send something and goes on with the next; its words, escaped and cut. Only from
    /// [`Sink::with_folders`].
    Skipped(String),
    /// As [`Event::End`], but the body is not what it should be; the sender's words. Only from [`Sink::with_folders`].
    Spoiled(String),
    /// A piece of its body: where it stands in the input, never empty.
    Data(Range<usize>),
    /// Its body is whole: accept it once it is written, or refuse it.
    End,
    /// The sender said that nothing follows.
    Finished,
}

/// How much of the input was taken, and what it meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Bytes that were taken; hand in the rest again.
    pub bytes: usize,
    /// What they meant, if they complete something.
    pub event: Option<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Line,
    Undecided { size: u64 },
    Body { left: u64 },
    Status,
    Unwritten,
    Finished,
}

/// Receives files.
#[derive(Debug)]
pub struct Sink {
    state: State,
    line: LineReader,
    status: AnswerReader,
    output: Vec<u8>,
    /// How many folders are open; `None`: none is taken.
    depth: Option<usize>,
}

impl Default for Sink {
    fn default() -> Self {
        Self::new()
    }
}

impl Sink {
    /// A sink whose first output tells the sender to start.
    pub fn new() -> Self {
        let output = Answer::Yes.encode();
        Self {
            state: State::Line,
            line: LineReader::default(),
            status: AnswerReader::default(),
            output,
            depth: None,
        }
    }

    /// One that takes folders too, and goes on after what the sender could not send, as `scp -r` does.
    pub fn with_folders() -> Self {
        Self { depth: Some(0), ..Self::new() }
    }

    /// Bytes for the sender; `None` if there are none.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        (!self.output.is_empty()).then(|| std::mem::take(&mut self.output))
    }

    /// How many bytes can be read without reading past the transfer, into what a script behind it is to read. Nought
    /// while a decision is due, and at the end.
    pub fn wanted_bytes(&self) -> u64 {
        match self.state {
            State::Line | State::Status => 1,
            State::Body { left } => left,
            State::Undecided { .. } | State::Unwritten | State::Finished => 0,
        }
    }

    /// Takes input up to the next event. Takes none while a decision is due, and none after the end.
    pub fn handle_input(&mut self, input: &[u8]) -> Result<Taken, ScpError> {
        match self.state {
            State::Line if self.status.is_inside() || matches!(input.first(), Some(0..=2)) => {
                self.take_failure(input)
            }
            State::Line => self.take_line(input),
            State::Body { left } => Ok(self.take_body(input, left)),
            State::Status => self.take_status(input),
            State::Undecided { .. } | State::Unwritten | State::Finished => {
                Ok(Taken { bytes: 0, event: None })
            }
        }
    }

    /// The input has ended. Fine between two files; anywhere else, something is missing.
    pub fn handle_end(&mut self) -> Result<Event, ScpError> {
        let missing_bytes = match self.state {
            State::Line
                if !self.line.is_inside() && !self.status.is_inside() && self.depth.unwrap_or(0) == 0 =>
            {
                return Ok(Event::Finished);
            }
            State::Finished => return Ok(Event::Finished),
            State::Undecided { size: left } | State::Body { left } => left,
            State::Line | State::Status | State::Unwritten => 0,
        };
        Err(ScpError::Cut { missing_bytes })
    }

    /// Yes: to the file that begins, or it is written. Does nothing where no decision is due.
    pub fn accept(&mut self) {
        self.state = match self.state {
            State::Undecided { size: 0 } => State::Status,
            State::Undecided { size } => State::Body { left: size },
            State::Unwritten => State::Line,
            State::Line | State::Body { .. } | State::Status | State::Finished => return,
        };
        self.output.extend(Answer::Yes.encode());
    }

    /// No, for this reason: to the file that begins (its body doesn't come then), or to one that could not be
    /// written. The sender may go on with another. Does nothing where no decision is due.
    pub fn refuse(&mut self, reason: &str) {
        if matches!(self.state, State::Undecided { .. } | State::Unwritten) {
            self.state = State::Line;
            self.output.extend(Answer::No(reason.as_bytes().to_vec()).encode());
        }
    }

    fn take_line(&mut self, input: &[u8]) -> Result<Taken, ScpError> {
        let (bytes, line) = self.line.take(input)?;
        let event = line.map(|line| self.on_message(Message::parse(&line)?)).transpose()?;
        Ok(Taken { bytes, event })
    }

    fn on_message(&mut self, message: Message) -> Result<Event, ScpError> {
        match message {
            Message::File { mode, size, name } => {
                self.state = State::Undecided { size };
                Ok(Event::Begin { mode, size, name })
            }
            Message::Folder { name, mode } => {
                let Some(depth) = &mut self.depth else {
                    return Err(ScpError::Folder { name: shown(&name) });
                };
                *depth += 1;
                self.output.extend(Answer::Yes.encode());
                Ok(Event::Folder { mode, name })
            }
            Message::End => {
                self.output.extend(Answer::Yes.encode());
                if let Some(depth) = self.depth.as_mut().filter(|depth| **depth > 0) {
                    *depth -= 1;
                    return Ok(Event::FolderEnd);
                }
                self.state = State::Finished;
                Ok(Event::Finished)
            }
            Message::Times(times) => {
                self.output.extend(Answer::Yes.encode());
                Ok(Event::Times(times))
            }
        }
    }

    fn take_body(&mut self, input: &[u8], left: u64) -> Taken {
        let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        // A usize fits.
        let left = left - bytes as u64;
        self.state = if left == 0 { State::Status } else { State::Body { left } };
        Taken { bytes, event: (bytes > 0).then_some(Event::Data(0..bytes)) }
    }

    fn take_status(&mut self, input: &[u8]) -> Result<Taken, ScpError> {
        let (bytes, status) = self.status.take(input);
        let event = match status {
            None => None,
            Some(Answer::Yes) => {
                self.state = State::Unwritten;
                Some(Event::End)
            }
            Some(Answer::No(text)) if self.depth.is_some() => {
                self.state = State::Unwritten;
                Some(Event::Spoiled(shown(&text)))
            }
            Some(Answer::No(text) | Answer::Never(text) | Answer::Noise(text)) => return Err(failed(&text)),
        };
        Ok(Taken { bytes, event })
    }

    fn take_failure(&mut self, input: &[u8]) -> Result<Taken, ScpError> {
        match self.status.take(input) {
            (bytes, None) => Ok(Taken { bytes, event: None }),
            (_, Some(Answer::Yes)) => Err(failed(b"an answer where a message was due")),
            (bytes, Some(Answer::No(text))) if self.depth.is_some() => {
                Ok(Taken { bytes, event: Some(Event::Skipped(shown(&text))) })
            }
            (_, Some(Answer::No(text) | Answer::Never(text) | Answer::Noise(text))) => Err(failed(&text)),
        }
    }
}

fn failed(text: &[u8]) -> ScpError {
    ScpError::SenderFailed { text: shown(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSFER: &[u8] = b"T7 0 8 0\nC0644 5 a.csv\nhello\0C0600 0 b\n\0E\nafter";

    /// What a transfer came to, whatever pieces it came in.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Received {
        events: Vec<Event>,
        body: Vec<u8>,
        output: Vec<u8>,
        left: Vec<u8>,
    }

    fn feed(sink: &mut Sink, mut input: &[u8], received: &mut Received) -> Result<(), ScpError> {
        while !input.is_empty() {
            let taken = sink.handle_input(input)?;
            let stuck = taken.bytes == 0 && taken.event.is_none();
            match taken.event {
                Some(Event::Data(range)) => received.body.extend(&input[range]),
                Some(event) => received.events.push(event),
                None => {}
            }
            sink.accept();
            received.output.extend(sink.poll_output().unwrap_or_default());
            input = &input[taken.bytes..];
            if stuck {
                break;
            }
        }
        received.left.extend(input);
        Ok(())
    }

    fn receive(pieces: &[&[u8]]) -> Result<Received, ScpError> {
        let (mut sink, mut received) = (Sink::new(), Received::default());
        for piece in pieces {
            feed(&mut sink, piece, &mut received)?;
        }
        Ok(received)
    }

    #[test]
    fn files_come_one_after_the_other() {
        let received = receive(&[TRANSFER]).expect("a transfer");
        let events = [
            Event::Times(Times { modified_s: 7, accessed_s: 8 }),
            Event::Begin { mode: 0o644, size: 5, name: b"a.csv".to_vec() },
            Event::End,
            Event::Begin { mode: 0o600, size: 0, name: b"b".to_vec() },
            Event::End,
            Event::Finished,
        ];
        assert_eq!(received.events, events);
        assert_eq!(received.body, b"hello");
        assert_eq!(received.output, [0; 7]);
        assert_eq!(received.left, b"after", "what follows the end is not taken");
    }

    #[test]
    fn every_split_gives_the_same() {
        let whole = receive(&[TRANSFER]).expect("a transfer");
        for at in 0..=TRANSFER.len() {
            let (head, tail) = TRANSFER.split_at(at);
            assert_eq!(receive(&[head, tail]).expect("a transfer"), whole, "split at {at}");
        }
        let bytes: Vec<_> = TRANSFER.chunks(1).collect();
        assert_eq!(receive(&bytes).expect("a transfer"), whole);
    }

    #[test]
    fn reading_what_is_wanted_never_reads_past_the_end() {
        let (mut sink, mut at) = (Sink::new(), 0);
        while sink.wanted_bytes() > 0 {
            let wanted = usize::try_from(sink.wanted_bytes()).expect("a short body");
            let taken = sink.handle_input(&TRANSFER[at..at + wanted]).expect("a transfer");
            assert_eq!(taken.bytes, wanted);
            sink.accept();
            at += wanted;
        }
        assert_eq!(&TRANSFER[at..], b"after");
    }

    #[test]
    fn a_refused_file_has_no_body() {
        let mut sink = Sink::new();
        sink.poll_output();
        sink.handle_input(b"C0644 5 a\n").expect("a file");
        assert_eq!(
            sink.handle_input(b"x").expect("nothing"),
            Taken { bytes: 0, event: None },
            "a decision is due"
        );
        sink.refuse("disk\nfull");
        assert_eq!(sink.poll_output().expect("an answer"), b"\x01disk full\n");
        assert_eq!(sink.handle_input(b"E\n").expect("the end").event, Some(Event::Finished));
    }

    #[test]
    fn a_senders_failure_is_told() {
        let error = receive(&[b"\x01scp: missing: No such ", b"file\n"]).expect_err("a failure");
        assert_eq!(error, ScpError::SenderFailed { text: "scp: missing: No such file".into() });
        let error = receive(&[b"C0644 1 a\nx\x01read failed\n"]).expect_err("a failure");
        assert_eq!(error, ScpError::SenderFailed { text: "read failed".into() });
    }

    #[test]
    fn folders_and_names_that_lead_away_are_errors() {
        assert_eq!(receive(&[b"D0755 0 d\n"]), Err(ScpError::Folder { name: "d".into() }));
        assert!(matches!(receive(&[b"C0644 1 ../x\n"]), Err(ScpError::Malformed { .. })));
    }

    #[test]
    fn folders_are_taken_where_they_are_asked_for() {
        let mut sink = Sink::with_folders();
        let mut received = Received::default();
        let wire =
            b"T7 0 8 0\nD0755 0 d\n\x01scp: d/x: denied\nC0600 1 a\nx\x01read failed\nD0700 0 e\nE\nE\nE\n";
        feed(&mut sink, wire, &mut received).expect("a transfer");
        let folder = |mode, name: &[u8]| Event::Folder { mode, name: name.to_vec() };
        let events = [
            Event::Times(Times { modified_s: 7, accessed_s: 8 }),
            folder(0o755, b"d"),
            Event::Skipped("scp: d/x: denied".into()),
            Event::Begin { mode: 0o600, size: 1, name: b"a".to_vec() },
            Event::Spoiled("read failed".into()),
            folder(0o700, b"e"),
            Event::FolderEnd,
            Event::FolderEnd,
            Event::Finished,
        ];
        assert_eq!(received.events, events);
        let mut cut = Sink::with_folders();
        feed(&mut cut, b"D0755 0 d\n", &mut Received::default()).expect("no error yet");
        assert!(cut.handle_end().is_err(), "an open folder is a cut");
    }

    #[test]
    fn an_end_in_the_middle_is_a_cut() {
        for (input, missing_bytes) in
            [(&b"C0644 9 a\nxyz"[..], Some(6)), (b"C06", Some(0)), (b"C0644 0 a\n", Some(0))]
        {
            let mut sink = Sink::new();
            feed(&mut sink, input, &mut Received::default()).expect("no error yet");
            assert_eq!(
                sink.handle_end().err(),
                missing_bytes.map(|missing_bytes| ScpError::Cut { missing_bytes })
            );
        }
        assert_eq!(Sink::new().handle_end(), Ok(Event::Finished));
    }
}
