//! Asks a running agent: one HTTP request over its socket.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;
use skiff_config::Environment;

use super::args::AgentOf;
use super::exit;
use crate::control::connect;
use crate::journal::{Journal, JournalError, Peek};

/// Longer than the agent gives itself.
const PATIENCE: Duration = Duration::from_secs(70);

/// How long an agent may take between its lock and its first answer, or its last answer and its end.
const STARTING: Duration = Duration::from_secs(10);

/// What came of a question.
pub(super) enum Asked {
    /// The agent's answer.
    Answer(Value),
    /// No agent is running; what its journal says, if there is one.
    Nobody(Option<Peek>),
}

/// The folder of the agent that is meant, or the code of an exit that has said why.
pub(super) fn state_dir(agent: &AgentOf) -> Result<PathBuf, ExitCode> {
    if let Some(folder) = &agent.state_dir {
        return Ok(folder.clone());
    }
    match skiff_config::load(&agent.config, &Environment::from_process().with_credentials_of_service()) {
        Ok(settings) => Ok(settings.state_dir),
        Err(problems) => {
            eprintln!("{problems}");
            eprintln!("  try: --state-dir DIR names the agent's folder without its configuration");
            Err(ExitCode::from(exit::USAGE))
        }
    }
}

/// Asks, and looks into the journal where there is nobody to ask. An exit has said why.
pub(super) fn ask(
    agent: &AgentOf,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Asked, ExitCode> {
    let state_dir = state_dir(agent)?;
    let started = Instant::now();
    loop {
        let asked = request(&state_dir, method, path, body);
        if !asked.as_ref().is_err_and(is_absence) {
            return answered(&state_dir, asked);
        }
        match Journal::peek(&state_dir) {
            // It has the folder, but doesn't answer yet, or any more.
            Err(JournalError::Locked { .. }) if started.elapsed() < STARTING => {
                std::thread::sleep(Duration::from_millis(50));
            }
            peek => return nobody(peek).map(Asked::Nobody),
        }
    }
}

fn answered(state_dir: &Path, asked: io::Result<(u16, Value)>) -> Result<Asked, ExitCode> {
    match asked {
        Ok((200, answer)) => Ok(Asked::Answer(answer)),
        Ok((status, answer)) => {
            let why = answer["error"].as_str().map_or_else(|| format!("HTTP {status}"), str::to_owned);
            let code = if status < 500 { exit::USAGE } else { exit::FAILED };
            Err(exit::fail(code, &why, ""))
        }
        Err(error) => {
            let what = format!("cannot ask the agent with the state folder {}: {error}", state_dir.display());
            let hint = match error.kind() {
                ErrorKind::PermissionDenied => "run this as the user that skiff runs as, or as root",
                _ => "look at the agent's log; it may be very busy or ending",
            };
            Err(exit::fail(exit::FAILED, &what, hint))
        }
    }
}

/// Whether there is nobody to ask.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

fn nobody(peek: Result<Option<Peek>, JournalError>) -> Result<Option<Peek>, ExitCode> {
    peek.map_err(|error| {
        let hint = match &error {
            JournalError::Locked { .. } => {
                "it is starting or ending, or it is a skiff push; ask again in a moment"
            }
            JournalError::Broken { .. } => {
                "the next skiff run sets it aside and rebuilds it; no file is lost"
            }
            _ => "run this as the user that skiff runs as, or as root",
        };
        exit::fail(exit::FAILED, &format!("no agent answers, and its journal can't be read: {error}"), hint)
    })
}

/// One request. The answer's status and its JSON.
pub(super) fn request(
    state_dir: &Path,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> io::Result<(u16, Value)> {
    let mut stream = connect(state_dir)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: skiff\r\nX-Skiff: 1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "its answer makes no sense"))
}

/// The status and the JSON of a whole answer. The agent's have a length, so they come in one piece.
fn parse(answer: &[u8]) -> Option<(u16, Value)> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, serde_json::from_slice(&answer[end + 4..]).ok()?))
}

/// A text as part of a query.
pub(super) fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 15\r\n\r\n{\"error\":\"why\"}";
        assert_eq!(parse(answer), Some((404, serde_json::json!({ "error": "why" }))));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\n"), None);
        assert_eq!(escaped("a b&c/d"), "a%20b%26c/d");
    }
}
