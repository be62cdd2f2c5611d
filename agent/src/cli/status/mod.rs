//! `skiff status`: what the agent is doing.

mod live;
mod screen;
mod words;

use std::process::ExitCode;

use super::args::Status;
use super::ask::{Asked, ask};
use super::exit;
use crate::journal::Peek;
use crate::status::snapshot::{Held, Pending, Problem, Source};
use crate::status::{MOST_PROBLEMS, Snapshot};

/// Tells it.
pub(super) fn status(args: &Status) -> ExitCode {
    if args.watch {
        return live::watch(&args.agent);
    }
    let snapshot = match ask(&args.agent, "GET", "/v1/status", None) {
        Ok(Asked::Answer(answer)) => match serde_json::from_value(answer) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                let what = format!("the agent answers in words of another version: {error}");
                return exit::fail(exit::FAILED, &what, "use the skiff that is running");
            }
        },
        Ok(Asked::Nobody(peek)) => from_journal(&peek.unwrap_or_default()),
        Err(code) => return code,
    };
    if args.json {
        match serde_json::to_string_pretty(&snapshot) {
            Ok(text) => println!("{text}"),
            Err(error) => return exit::fail(exit::FAILED, &error.to_string(), ""),
        }
    } else {
        words::tell(&snapshot);
    }
    ExitCode::SUCCESS
}

/// What the journal of an agent that isn't running says.
fn from_journal(peek: &Peek) -> Snapshot {
    let items = || peek.pending.iter().flat_map(|shipment| &shipment.items);
    let changed_ms = |ctime_ns: i64| u64::try_from(ctime_ns.max(0) / 1_000_000).unwrap_or(0);
    let quarantined = peek.held.iter().filter(|held| held.quarantined).count() as u64;
    let problem = |held: &skiff_common::delivery::record::HeldItem| Problem {
        at_ms: 0,
        watch: held.watch.clone(),
        what: held.path.to_string(),
        reason: held.reason.clone(),
        quarantined: held.quarantined,
    };
    Snapshot {
        pending: Pending {
            items: items().count() as u64,
            bytes: items().map(|item| item.stamp.size).sum(),
            oldest_ms: items().map(|item| changed_ms(item.stamp.ctime_ns)).min(),
            more: true,
        },
        held: Held { waiting: peek.held.len() as u64 - quarantined, quarantined },
        problems: peek.held.iter().take(MOST_PROBLEMS).map(problem).collect(),
        ..Snapshot::empty(Source::Journal)
    }
}
