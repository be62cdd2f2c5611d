//! `skiff status --watch`: the screen, again and again until somebody has seen enough.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, poll, read};

use super::from_journal;
use super::screen::{Shown, draw};
use crate::cli::args::AgentOf;
use crate::cli::ask::{is_absence, request, state_dir};
use crate::cli::exit;
use crate::cli::paint::Paint;
use crate::journal::Journal;
use crate::status::Histories;
use crate::status::snapshot::Source;

/// How often it is asked; the agent tells news as often.
const EVERY: Duration = Duration::from_millis(500);

/// Shows it until `q`, Escape or Ctrl-C.
pub(super) fn watch(agent: &AgentOf) -> ExitCode {
    let state_dir = match state_dir(agent) {
        Ok(folder) => folder,
        Err(code) => return code,
    };
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return exit::fail(exit::USAGE, "--watch needs a terminal", "skiff status, or skiff status --json");
    }
    let colour = Paint::stdout().is_on();
    let shown = ratatui::try_init().and_then(|mut terminal| {
        let outcome = show(&mut terminal, &state_dir, colour);
        ratatui::restore();
        outcome
    });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::fail(exit::FAILED, &format!("cannot use the terminal: {error}"), "skiff status"),
    }
}

fn show(terminal: &mut ratatui::DefaultTerminal, state_dir: &Path, colour: bool) -> std::io::Result<()> {
    let mut shown = Shown { colour, ..Shown::default() };
    loop {
        look(state_dir, &mut shown);
        terminal.draw(|frame| draw(frame, &shown))?;
        if wants_to_go()? {
            return Ok(());
        }
    }
}

/// What was seen last stays on the screen while nobody answers. With no agent running, its journal is read, once.
fn look(state_dir: &Path, shown: &mut Shown) {
    match request(state_dir, "GET", "/v1/status", None) {
        Ok((200, answer)) => match serde_json::from_value(answer) {
            Ok(snapshot) => (shown.snapshot, shown.silence) = (Some(snapshot), None),
            Err(error) => shown.silence = Some(format!("the agent speaks another version's words: {error}")),
        },
        Ok((status, _)) => shown.silence = Some(format!("the agent answers with HTTP {status}")),
        Err(error) => {
            let known = shown.snapshot.as_ref().is_some_and(|snapshot| snapshot.source == Source::Journal);
            if !known || !is_absence(&error) {
                shown.silence = Some(format!("no agent answers in {}: {error}", state_dir.display()));
            }
            if !known && is_absence(&error) {
                without_agent(state_dir, shown);
            }
            return;
        }
    }
    let history = request(state_dir, "GET", "/v1/history", None).ok();
    if let Some(history) = history.and_then(|(_, answer)| serde_json::from_value::<Histories>(answer).ok()) {
        shown.seconds = history.seconds;
    }
}

fn without_agent(state_dir: &Path, shown: &mut Shown) {
    // It may be starting or ending; then it is asked again in a moment.
    if let Ok(peek) = Journal::peek(state_dir) {
        let words = "no agent is running; as soon as one does, it is shown";
        shown.silence = Some(words.to_owned());
        (shown.snapshot, shown.seconds) = (Some(from_journal(&peek.unwrap_or_default())), Vec::new());
    }
}

fn wants_to_go() -> std::io::Result<bool> {
    if !poll(EVERY)? {
        return Ok(false);
    }
    let Event::Key(key) = read()? else { return Ok(false) };
    let ends = match key.code {
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        KeyCode::Char('q') | KeyCode::Esc => true,
        _ => false,
    };
    Ok(ends && key.kind == KeyEventKind::Press)
}
