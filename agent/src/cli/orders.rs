//! `skiff retry`, `pause`, `resume` and `reload`: orders to a running agent, or to its journal.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use skiff_common::delivery::record::{HeldItem, Record};

use super::args::{AgentOf, Pause, Retry};
use super::ask::{Asked, ask, state_dir};
use super::{exit, size};
use crate::control::{Paused, Reloaded, is_named};
use crate::journal::{Journal, JournalError, Peek};

/// Has items tried again.
pub(super) fn retry(args: &Retry) -> ExitCode {
    let body = json!({ "items": args.items, "all": args.all });
    match ask(&args.agent, "POST", "/v1/retry", Some(&body)) {
        Ok(Asked::Answer(answer)) => {
            let count = answer["retried"].as_u64().unwrap_or(0);
            println!("{} tried now", verb(count));
            ExitCode::SUCCESS
        }
        Ok(Asked::Nobody(peek)) => retry_later(args, peek.unwrap_or_default()),
        Err(code) => code,
    }
}

fn verb(count: u64) -> String {
    format!("{} {}", size::count(count, "item"), if count == 1 { "is" } else { "are" })
}

/// Without an agent the journal is told, so that the next start tries them.
fn retry_later(args: &Retry, peek: Peek) -> ExitCode {
    let chosen = match choose(args, peek.held) {
        Ok(chosen) => chosen,
        Err(why) => return exit::fail(exit::USAGE, &why, "skiff items --state held lists what there is"),
    };
    let count = chosen.len() as u64;
    let state_dir = match state_dir(&args.agent) {
        Ok(folder) => folder,
        Err(code) => return code,
    };
    match forgive(&state_dir, chosen) {
        Ok(()) => {
            println!("no agent is running; {} tried when it is started", verb(count));
            ExitCode::SUCCESS
        }
        Err(error) => exit::fail(exit::FAILED, &error.to_string(), "start the agent and ask it"),
    }
}

fn choose(args: &Retry, held: Vec<HeldItem>) -> Result<Vec<HeldItem>, String> {
    if args.all {
        return Ok(held);
    }
    if let Some(unknown) = args.items.iter().find(|wanted| !held.iter().any(|held| is_named(held, wanted))) {
        return Err(format!("nothing waits or is quarantined under {unknown:?}"));
    }
    Ok(held.into_iter().filter(|held| args.items.iter().any(|wanted| is_named(held, wanted))).collect())
}

fn forgive(state_dir: &Path, held: Vec<HeldItem>) -> Result<(), JournalError> {
    if held.is_empty() {
        return Ok(());
    }
    let recorded = record_forgiven(state_dir, held);
    // Also after an error: the agent has to get into its journal.
    let handed_over = Journal::hand_over(state_dir);
    recorded.and(handed_over)
}

fn record_forgiven(state_dir: &Path, held: Vec<HeldItem>) -> Result<(), JournalError> {
    let (journal, _) = Journal::open(state_dir)?;
    let forgiven = held.into_iter().map(|held| HeldItem { attempts: 0, quarantined: false, ..held });
    let recorded = journal.record_blocking(&forgiven.map(Record::Held).collect::<Vec<_>>());
    let closed = journal.close_blocking();
    recorded.and(closed)
}

/// Pauses a watch, or lets it go on.
pub(super) fn pause(args: &Pause, paused: bool) -> ExitCode {
    let path = if paused { "/v1/pause" } else { "/v1/resume" };
    match ask(&args.agent, "POST", path, Some(&json!({ "watch": args.watch }))) {
        Ok(Asked::Answer(answer)) => {
            let watches: Vec<_> =
                answer["watches"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            println!("{}: {}", if paused { "paused" } else { "goes on" }, watches.join(", "));
            ExitCode::SUCCESS
        }
        Ok(Asked::Nobody(_)) => pause_later(args, paused),
        Err(code) => code,
    }
}

fn pause_later(args: &Pause, paused: bool) -> ExitCode {
    let settings = match super::config::load_file(&args.agent.config) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let mut watches: Vec<String> = settings.watches.iter().map(|watch| watch.name.clone()).collect();
    if let Some(watch) = &args.watch {
        if !watches.contains(watch) {
            let why = format!("there is no watch {watch:?}; there are {}", watches.join(", "));
            return exit::fail(exit::USAGE, &why, "");
        }
        watches = vec![watch.clone()];
    }
    let state_dir = args.agent.state_dir.clone().unwrap_or(settings.state_dir);
    let written = crate::journal::make_folder(&state_dir)
        .and_then(|()| Paused::read(&state_dir)?.set(&watches, paused));
    match written {
        Ok(()) => {
            let what = if paused { "rests" } else { "goes on" };
            println!("no agent is running; when it is started, {what}: {}", watches.join(", "));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let what = format!("cannot write down in {} what is paused: {error}", state_dir.display());
            exit::fail(exit::FAILED, &what, "run this as the user that skiff runs as, or as root")
        }
    }
}

/// Has the agent read its configuration again.
pub(super) fn reload(args: &AgentOf) -> ExitCode {
    match ask(args, "POST", "/v1/reload", None) {
        Ok(Asked::Answer(answer)) => {
            let reloaded: Reloaded = serde_json::from_value(answer).unwrap_or_default();
            println!("configuration read again: {reloaded}");
            ExitCode::SUCCESS
        }
        Ok(Asked::Nobody(_)) => {
            exit::fail(exit::FAILED, "no agent is running", "skiff run, or: systemctl start skiff")
        }
        Err(code) => code,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, chown};

    use skiff_common::{ItemId, RelPath};

    use super::*;
    use crate::not_shown::not_shown;

    #[test]
    fn what_root_made_is_handed_over_also_when_the_journal_cannot_be_opened() {
        let home = tempfile::tempdir().expect("a folder");
        let nobody = 65534;
        if chown(home.path(), Some(nobody), Some(nobody)).is_err() {
            return not_shown("whose a journal is that cannot be opened", "only root can make it happen");
        }
        let (journal, _) = Journal::open(home.path()).expect("there is room");
        journal.close_blocking().expect("it closes");
        // A folder in the place of the file beside the journal.
        let side = home.path().join("journal.seq");
        fs::remove_file(&side).expect("it was made");
        fs::create_dir(&side).expect("a new name");

        let path = RelPath::parse(b"held").expect("a path");
        let (item, reason) = (ItemId::of("w", &path), "why".to_owned());
        let held =
            HeldItem { item, watch: "w".to_owned(), path, stamp: 1, attempts: 3, reason, quarantined: true };
        forgive(home.path(), vec![held]).expect_err("it cannot be opened");
        for entry in fs::read_dir(home.path()).expect("it can be listed") {
            let entry = entry.expect("it can be listed");
            assert_eq!(entry.metadata().expect("it is there").uid(), nobody, "{:?}", entry.file_name());
        }
    }
}
