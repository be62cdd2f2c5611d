//! `skiff push`: deliver now, verified and resumable.

mod sources;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use skiff_common::RemotePath;
use skiff_config::address::split_path;
use skiff_config::{Destination, LogFormat, Settings};

use super::args::Push;
use super::bar::{Bar, Shown};
use super::transfer::{RETRY, login_of, server_of};
use super::{exit, signals, size};
use crate::dispatch::{Failure, Stop};
use crate::status::Status;
use crate::supervise::{Agent, Outcome, Plan};
use crate::telemetry;
use sources::{Sources, sources};

/// Delivers.
pub(super) async fn push(args: &Push) -> ExitCode {
    telemetry::start(LogFormat::Human, args.scp.level());
    let destination = match destination(args) {
        Ok(destination) => destination,
        Err(what) => return args.scp.misused(&what, "skiff push SRC… [user@]host:DEST"),
    };
    let (mut sources, problems) = sources(&args.sources);
    if let Some(manifest) = args.manifest {
        sources.watches.iter_mut().for_each(|watch| watch.manifest = manifest.into());
    }
    if sources.watches.is_empty() {
        let hint = "name files and folders that are there";
        return args.scp.failed(exit::FAILED, "source", &problems.join("; "), hint);
    }
    for problem in &problems {
        eprintln!("skiff: {problem}");
    }
    if !args.scp.recursive && !args.scp.quiet {
        sources.folders.iter().for_each(|f| eprintln!("{}: a folder, sent with all below it", f.display()));
    }
    let Some(state_dir) = args.state_dir.clone().or_else(state_dir) else {
        return args.scp.misused("there is no home folder to keep receipts in", "--state-dir DIR");
    };
    if args.scp.dry_run {
        return rehearse(args, &sources, &problems);
    }
    deliver(args, destination, sources, (state_dir, problems)).await
}

/// Delivers them. What is refused already has been told to people.
async fn deliver(
    args: &Push,
    destination: Destination,
    sources: Sources,
    (state_dir, refused): (PathBuf, Vec<String>),
) -> ExitCode {
    let (agent, stop) = match set_up(args, destination, sources, state_dir) {
        Ok(set_up) => set_up,
        Err(code) => return code,
    };
    let started = Instant::now();
    let status = Arc::clone(&agent.status);
    let shown = Arc::clone(&status);
    let bar = Bar::show(&args.scp, move || Shown {
        files: Status::get(&shown.delivered_files),
        found_files: Status::get(&shown.found_files),
        bytes: Status::get(&shown.sent_bytes),
        found_bytes: Status::get(&shown.found_bytes),
    });
    let outcome = agent.run(stop).await;
    drop(bar);
    match outcome {
        Ok(outcome) => conclude(args, &status, outcome, refused, started.elapsed()),
        Err(error) => {
            args.scp.failed(exit::FAILED, "local", &error.to_string(), "push again: it goes on where it was")
        }
    }
}

/// An agent that delivers them once, and who tells it to stop; or else the exit code of what was told.
fn set_up(
    args: &Push,
    destination: Destination,
    sources: Sources,
    state_dir: PathBuf,
) -> Result<(Agent, Stop), ExitCode> {
    let Sources { watches, only, .. } = sources;
    let log = skiff_config::Log { format: LogFormat::Human, level: args.scp.level() };
    let settings = Settings {
        bandwidth: None,
        state_dir,
        log,
        control: skiff_config::Control::default(),
        receipts: skiff_config::ReceiptFiles::default(),
        destinations: vec![destination],
        watches,
    };
    let login = match tokio::task::block_in_place(|| login_of(&settings.destinations[0], &args.scp)) {
        Ok(login) => login,
        Err((what, hint)) => return Err(args.scp.misused(&what, hint)),
    };
    let plan = Plan {
        login: Some(login),
        once: true,
        only,
        no_journal: true,
        retry: Some(RETRY),
        limit: args.scp.bits_limit(),
        service: None,
    };
    let stop = match signals::listen_at_a_terminal() {
        Ok(stop) => stop,
        Err(error) => {
            let what = format!("cannot listen for signals: {error}");
            return Err(args.scp.failed(exit::FAILED, "local", &what, "raise the limits of this process"));
        }
    };
    let agent = tokio::task::block_in_place(|| {
        crate::journal::make_folder(&settings.state_dir)
            .map_err(|error| format!("cannot make {}: {error}", settings.state_dir.display()))?;
        Agent::start(&settings, &plan).map_err(|error| error.to_string())
    });
    match agent {
        Ok(agent) => Ok((agent, stop)),
        Err(error) => {
            Err(args.scp.failed(exit::FAILED, "local", &error, "--state-dir DIR names another folder"))
        }
    }
}

fn conclude(
    args: &Push,
    status: &Status,
    mut outcome: Outcome,
    refused: Vec<String>,
    took: Duration,
) -> ExitCode {
    let failure = outcome.destination_failure.take();
    let failure = failure.filter(|_| outcome.undelivered > 0 || outcome.interrupted);
    if !args.scp.json {
        tell(args, status, &outcome, failure.as_ref(), took);
    }
    outcome.problems = [refused, outcome.problems].concat();
    let code = match (outcome.undelivered, outcome.interrupted, &failure) {
        (_, true, _) => exit::INTERRUPTED,
        (0, ..) if outcome.problems.is_empty() => exit::DONE,
        (_, _, Some(failure)) => exit::of(failure.code),
        _ => exit::FAILED,
    };
    if args.scp.json {
        println!("{}", result(status, &outcome, failure.as_ref(), took));
    }
    ExitCode::from(code)
}

/// Says what would be sent. The server is not asked, for to look there is to write there.
fn rehearse(args: &Push, sources: &Sources, problems: &[String]) -> ExitCode {
    let (files, unread) = sources.files();
    let bytes = files.iter().map(|(_, bytes)| bytes).sum();
    if args.scp.json {
        println!("{}", rehearsal(&files, &[problems, &unread].concat()));
    } else {
        for problem in &unread {
            eprintln!("skiff: {problem}");
        }
        for (path, bytes) in &files {
            println!("{path}  {}", size::bytes(*bytes));
        }
        let count = size::count(files.len() as u64, "file");
        println!(
            "{count}, {} would be sent to {}, but for those that stand there already",
            size::bytes(bytes),
            args.target
        );
    }
    let code = if problems.is_empty() && unread.is_empty() { exit::DONE } else { exit::FAILED };
    ExitCode::from(code)
}

fn rehearsal(files: &[(String, u64)], problems: &[String]) -> serde_json::Value {
    let would_send = files.iter().map(|(path, bytes)| json!({ "path": path, "bytes": bytes }));
    json!({ "would_send": would_send.collect::<Vec<_>>(), "problems": problems })
}

fn tell(args: &Push, status: &Status, outcome: &Outcome, failure: Option<&Failure>, took: Duration) {
    // What stopped all files is said once.
    let common = failure.map(Failure::reason);
    let own = |problem: &&String| common.as_ref().is_none_or(|common| !problem.ends_with(common));
    outcome.problems.iter().filter(own).for_each(|problem| eprintln!("skiff: {problem}"));
    if let Some(failure) = failure {
        let _told = exit::fail(exit::FAILED, &failure.what, &failure.hint);
    }
    if outcome.undelivered > 0 {
        eprintln!("skiff: {} not delivered", size::count(outcome.undelivered, "file"));
    }
    if outcome.interrupted {
        eprintln!("skiff: interrupted; push again and it goes on where it was");
    }
    if !args.scp.quiet {
        let (files, bytes) = (Status::get(&status.delivered_files), Status::get(&status.delivered_bytes));
        let standing = Status::get(&status.standing_files);
        let there =
            if standing > 0 { format!(", {standing} of them were there already") } else { String::new() };
        println!(
            "{}, {} delivered and verified in {} ({}){there}",
            size::count(files, "file"),
            size::bytes(bytes),
            size::time(took),
            size::rate(bytes, took)
        );
    }
}

fn result(
    status: &Status,
    outcome: &Outcome,
    failure: Option<&Failure>,
    took: Duration,
) -> serde_json::Value {
    // Nobody knows how many files stand where nobody could look.
    let unseen = (!outcome.problems.is_empty()).then_some("source");
    let undelivered = (outcome.undelivered > 0).then_some("undelivered").or(unseen);
    json!({
        "delivered_files": Status::get(&status.delivered_files),
        "delivered_bytes": Status::get(&status.delivered_bytes),
        "standing_files": Status::get(&status.standing_files),
        "sent_bytes": Status::get(&status.sent_bytes),
        "undelivered_files": outcome.undelivered,
        "problems": outcome.problems,
        "code": failure.map(|failure| failure.code).or(undelivered),
        "failure": failure.map(|failure| &failure.what),
        "hint": failure.map(|failure| &failure.hint),
        "interrupted": outcome.interrupted,
        "seconds": took.as_secs_f64(),
    })
}

fn destination(args: &Push) -> Result<Destination, String> {
    let (server, path) = split_path(&args.target)
        .ok_or_else(|| format!("{:?} names no server: a colon separates it from the folder", args.target))?;
    RemotePath::parse(path.as_bytes()).map_err(|error| error.to_string())?;
    let mut destination = server_of(server, &args.scp)?;
    destination.path = skiff_config::PathTemplate::literal(path);
    Ok(destination)
}

fn state_dir() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("skiff"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented() {
        let outcome = Outcome { problems: vec![String::new()], ..Outcome::default() };
        let value = result(&Status::default(), &outcome, None, Duration::ZERO);
        crate::documented::assert_documented("skiff push --json", &value);
        let value = rehearsal(&[(String::new(), 0)], &[String::new()]);
        crate::documented::assert_documented("skiff push --dry-run --json", &value);
    }
}
