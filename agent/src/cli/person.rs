//! A person at the terminal who is asked for a secret: nothing of the answer is shown.
//!
//! It asks at the terminal itself, so that standard input and output may be anything. Promises to leave the terminal as it
//! found it, also when the answer is ^C or SIGTERM, SIGHUP, SIGINT or SIGQUIT ends the process first. Lacks remembering:
//! that is for who asks.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};

use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use super::exit;
use super::signals::{self, Hangup};
use super::silence::{Silence, is_asked, unsilence};
use crate::remote::session::Asker;

const TERMINAL: &str = "/dev/tty";
/// Nobody types more.
const MOST_BYTES: usize = 1024;
const ETX: u8 = 0x03;
const EOT: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const NAK: u8 = 0x15;
const DELETE: u8 = 0x7f;

/// Somebody to ask, if there is a terminal. From then on signals end the process at the latest here, for by themselves
/// they would leave the terminal silent.
pub(super) fn asker() -> Option<Asker> {
    open().ok()?;
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(end_at_signals());
    }
    Some(Asker::new(|question| ask(question).ok().flatten()))
}

async fn end_at_signals() {
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut quit)] = signals else { return };
    let Ok(mut hangup) = Hangup::listen() else { return };
    loop {
        let is_heard_elsewhere = tokio::select! {
            _ = terminate.recv() => signals::are_listened_to(),
            () = hangup.recv() => signals::are_listened_to(),
            _ = interrupt.recv() => signals::are_listened_to(),
            // Nobody else listens for it.
            _ = quit.recv() => false,
        };
        if is_asked() || !is_heard_elsewhere {
            unsilence();
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
    }
}

fn open() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(TERMINAL)
}

/// Nothing where the person gave up.
fn ask(question: &str) -> io::Result<Option<Zeroizing<String>>> {
    let mut terminal = open()?;
    let _silence = Silence::over(terminal.try_clone()?)?;
    // What a bar has left on the line goes.
    let answer = write!(terminal, "\r\x1b[K{question}").and_then(|()| line(&mut terminal));
    terminal.write_all(b"\r\n")?;
    answer
}

/// Byte by byte: a signal that the terminal makes of ^C would end the process in the middle.
fn line(from: &mut impl Read) -> io::Result<Option<Zeroizing<String>>> {
    // Never grows, so that wiping it wipes the only copy.
    let mut line = Zeroizing::new(Vec::with_capacity(MOST_BYTES));
    let mut byte = [0];
    while from.read(&mut byte)? > 0 {
        match byte[0] {
            b'\n' | b'\r' => {
                let text = str::from_utf8(&line).map_err(|_| io::ErrorKind::InvalidData)?;
                return Ok(Some(Zeroizing::new(text.to_owned())));
            }
            ETX | EOT => return Ok(None),
            NAK => line.clear(),
            BACKSPACE | DELETE => {
                // The rest of a character first.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte if line.len() < MOST_BYTES => line.push(byte),
            _ => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Option<String> {
        line(&mut &*keys).expect("it is readable").map(|line| line.to_string())
    }

    #[test]
    fn lines_are_edited_as_they_are_typed() {
        assert_eq!(typed(b"open sesame\r").as_deref(), Some("open sesame"));
        assert_eq!(typed(b"ab\x7fc\n").as_deref(), Some("ac"));
        assert_eq!(typed("aü\x7fb\n".as_bytes()).as_deref(), Some("ab"));
        assert_eq!(typed(b"\x7f\x08wrong\x15right\n").as_deref(), Some("right"));
        assert_eq!(typed(b"ab\x03cd\n"), None);
        assert_eq!(typed(b"no end"), None);
        assert_eq!(typed(&[b'x'; MOST_BYTES + 1]), None);
    }
}
