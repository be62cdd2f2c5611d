//! `skiff status --watch`: the screen, again and again until somebody has seen enough.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, poll, read};

use super::screen::{Shown, draw};
use crate::cli::args::AgentOf;
use crate::cli::ask::{request, state_dir};
use crate::cli::exit;
use crate::cli::paint::Paint;
use crate::status::Histories;

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

/// What was seen last stays on the screen while nobody answers.
fn look(state_dir: &Path, shown: &mut Shown) {
    let ask = |path: &str| match request(state_dir, "GET", path, None) {
        Ok((200, answer)) => Ok(answer),
        Ok((status, _)) => Err(format!("the agent answers with HTTP {status}")),
        Err(error) => Err(format!("no agent answers: {error}")),
    };
    match ask("/v1/status") {
        Ok(answer) => {
            shown.snapshot = serde_json::from_value(answer).ok();
            shown.silence = None;
        }
        Err(why) => shown.silence = Some(why),
    }
    let history: Option<Histories> =
        ask("/v1/history").ok().and_then(|answer| serde_json::from_value(answer).ok());
    if let Some(history) = history {
        shown.seconds = history.seconds.iter().map(|sample| sample.sent_bytes).collect();
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
