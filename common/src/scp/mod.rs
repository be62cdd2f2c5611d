//! The SCP wire protocol, as `scp -t` and `scp -f` speak it: bytes in, bytes out.
//!
//! Owns the messages ([`message`]), the sending side ([`Source`]) and the receiving side ([`Sink`]) of regular files, and
//! of folders where they are asked for.
//! Promises that whatever a peer sends ends in an event or an error, in bounded memory, and that its text is escaped.
//! Deliberately lacks sending folders, wildcards, and everything that touches a file or a socket.

pub mod message;
mod sink;
mod source;

pub use message::{Answer, Message, Times};
pub use sink::{Event, Sink, Taken};
pub use source::{Output, Source, Step};

use crate::escape::escaped_up_to;

/// The most bytes of a peer's text that an error carries.
pub const LONGEST_TEXT: usize = 512;

/// Why a transfer over SCP ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScpError {
    /// The receiver said no.
    #[error("the server's scp refused {step}: {text}")]
    Refused {
        /// What it was asked for.
        step: Step,
        /// Its reason, escaped and cut.
        text: String,
    },
    /// The receiver's bytes are no answer; some other program is talking.
    #[error("what answered to {step} is not scp: {text}")]
    NotScp {
        /// What it was asked for.
        step: Step,
        /// What it said, escaped and cut.
        text: String,
    },
    /// An answer came that nothing had asked for.
    #[error("the server's scp answered before it was asked, in {step}")]
    Early {
        /// What was going on.
        step: Step,
    },
    /// The sender reports that it could not send.
    #[error("the sending scp failed: {text}")]
    SenderFailed {
        /// Its reason, escaped and cut.
        text: String,
    },
    /// A line that is no message.
    #[error("not an scp message, {reason}: {text}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
        /// The line, escaped and cut.
        text: String,
    },
    /// A folder came where only regular files are taken.
    #[error("the folder {name} came where a file was expected")]
    Folder {
        /// Its name, escaped and cut.
        name: String,
    },
    /// The input ended inside a message or a body.
    #[error("the input ended with {missing_bytes} bytes of the file missing, or inside a message")]
    Cut {
        /// How much of the body had not come.
        missing_bytes: u64,
    },
}

fn shown(text: &[u8]) -> String {
    escaped_up_to(text, LONGEST_TEXT)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::{Child, Command, Stdio};

    use super::*;

    const BODY: &[u8] = b"C0644 1 looks like a message\n\0\x01\x02E\n";
    const TIMES: Times = Times { modified_s: 1_500_000_000, accessed_s: 1_500_000_001 };

    /// splitmix64: enough to be hostile with, the same in each run.
    struct Chance(u64);

    impl Chance {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        fn below(&mut self, bound: usize) -> usize {
            usize::try_from(self.next() >> 32).expect("32 bits fit") % bound
        }

        /// Bytes that go deeper into the machines than noise does.
        fn hostile(&mut self) -> Vec<u8> {
            let scraps = "\0|\x01|\x02no\n|C0644 3 a\nabc\0|T1 0 2 0\n|E\n|D0755 0 d\n|C|0644 |99999999999999999999|\n|../";
            let scraps: Vec<_> = scraps.split('|').collect();
            let mut bytes = Vec::new();
            for _ in 0..self.below(12) {
                match self.below(3) {
                    0 => bytes.push(self.next().to_be_bytes()[0]),
                    _ => bytes.extend(scraps[self.below(scraps.len())].bytes()),
                }
            }
            bytes
        }
    }

    fn source() -> Source {
        Source::new(b"token", 0o640, BODY.len() as u64, Some(TIMES)).expect("a good name")
    }

    fn attack_sink(chance: &mut Chance) {
        let input = chance.hostile();
        let sink = if chance.below(2) == 0 { Sink::new() } else { Sink::with_folders() };
        let (mut sink, mut at) = (sink, 0);
        while at < input.len() {
            let end = at + 1 + chance.below(input.len() - at);
            let Ok(taken) = sink.handle_input(&input[at..end]) else { return };
            assert!(taken.bytes <= end - at);
            if taken.bytes == 0 && taken.event.is_none() {
                break;
            }
            if chance.below(4) == 0 {
                sink.refuse("no");
            } else {
                sink.accept();
            }
            at += taken.bytes;
        }
        let _ = sink.handle_end();
    }

    fn attack_source(chance: &mut Chance) {
        let input = chance.hostile();
        let (mut source, mut at) = (source(), 0);
        while at < input.len() && !source.is_finished() {
            while chance.below(3) > 0 && source.poll_output().is_some() {}
            let end = at + 1 + chance.below(input.len() - at);
            let Ok(taken) = source.handle_input(&input[at..end]) else { return };
            assert!(taken == end - at || source.is_finished());
            at += taken;
        }
    }

    #[test]
    fn hostile_peers_cause_errors_and_no_panic() {
        let mut chance = Chance(0x5c1f_f5c9);
        for _ in 0..100_000 {
            attack_sink(&mut chance);
            attack_source(&mut chance);
        }
    }

    /// All that the source can send now.
    fn sent(source: &mut Source) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(output) = source.poll_output() {
            match output {
                Output::Bytes(piece) => bytes.extend(piece),
                Output::Body(size) => {
                    assert_eq!(size, BODY.len() as u64);
                    bytes.extend(BODY);
                }
            }
        }
        bytes
    }

    #[test]
    fn a_source_and_a_sink_understand_each_other() {
        let (mut source, mut sink) = (source(), Sink::new());
        let (mut wire, mut body, mut events) = (Vec::new(), Vec::<u8>::new(), Vec::new());
        while !source.is_finished() {
            wire.extend(sent(&mut source));
            let taken = sink.handle_input(&wire).expect("a good peer");
            match taken.event {
                Some(Event::Data(range)) => body.extend(&wire[range]),
                Some(event) => events.push(event),
                None => {}
            }
            wire.drain(..taken.bytes);
            sink.accept();
            source.handle_input(&sink.poll_output().unwrap_or_default()).expect("a good peer");
        }
        let begin = Event::Begin { mode: 0o640, size: BODY.len() as u64, name: b"token".to_vec() };
        assert_eq!(body, BODY);
        assert_eq!(events, [Event::Times(TIMES), begin, Event::End, Event::Finished]);
    }

    /// A script that goes on reading its input after `scp -t`.
    fn script(target: &str) -> Child {
        let text = format!("scp -p -t {target}; echo \"left $?\"; exec cat");
        let piped = || Stdio::piped();
        let command = &mut Command::new("sh");
        command.args(["-c", &text]).stdin(piped()).stdout(piped()).stderr(piped()).spawn().expect("sh starts")
    }

    /// Drives `source` until it is finished or fails; returns what came behind its last answer.
    fn drive(source: &mut Source, peer: &mut Child) -> Result<Vec<u8>, ScpError> {
        let mut buffer = [0; 100];
        loop {
            let bytes = sent(source);
            peer.stdin.as_mut().expect("it is piped").write_all(&bytes).expect("it reads");
            let count = peer.stdout.as_mut().expect("it is piped").read(&mut buffer).expect("it answers");
            assert!(count > 0, "scp ended in {:?}", source.step());
            let taken = source.handle_input(&buffer[..count])?;
            if source.is_finished() {
                return Ok(buffer[taken..count].to_vec());
            }
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the real scp writes a file")]
    fn the_real_scp_takes_it_and_the_script_goes_on() {
        let target = std::env::temp_dir().join(format!("skiff-scp-source-{}", std::process::id()));
        let mut peer = script(target.to_str().expect("a plain path"));
        let mut after = drive(&mut source(), &mut peer).expect("a delivery");
        peer.stdin.take().expect("it is piped").write_all(b"more").expect("cat reads");
        peer.stdout.take().expect("it is piped").read_to_end(&mut after).expect("cat answers");
        assert_eq!(after, b"left 0\nmore");
        let written = std::fs::read(&target).expect("it was written");
        let changed = std::fs::metadata(&target).and_then(|meta| meta.modified()).expect("a time");
        std::fs::remove_file(&target).expect("it is ours");
        assert_eq!(written, BODY);
        assert_eq!(changed, std::time::UNIX_EPOCH + std::time::Duration::from_secs(TIMES.modified_s));
        assert!(peer.wait().expect("it ended").success());
    }

    #[test]
    fn the_real_scps_refusal_is_told() {
        let mut peer = script("/nowhere/at/all");
        let error = drive(&mut source(), &mut peer).expect_err("no such folder");
        let text = "scp: /nowhere/at/all: No such file or directory".to_owned();
        assert_eq!(error, ScpError::Refused { step: Step::File, text });
        drop(peer.stdin.take());
        peer.wait().expect("it ended");
    }
}
