//! `skiff push`: deliver now, verified and resumable.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use skiff_common::retry::Retry;
use skiff_config::{Destination, LogFormat, LogLevel, Settings};
use tokio::task::JoinHandle;

use super::args::Push;
use super::source::{Sources, sources};
use super::{exit, signals, size};
use crate::status::Status;
use crate::supervise::{Agent, Outcome, Plan};
use crate::telemetry;

/// What the one destination is called.
pub(super) const DESTINATION: &str = "push";

/// A person waits: trouble that lasts longer is told instead.
pub(super) const RETRY: Retry =
    Retry { first: Duration::from_secs(1), max: Duration::from_secs(10), attempts: Some(3) };

/// With all attempts, a server that says nothing is given up within a minute.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Delivers.
pub(super) async fn push(args: &Push) -> ExitCode {
    telemetry::start(LogFormat::Human, level(args.quiet, args.verbose));
    let destination = match destination(args) {
        Ok(destination) => destination,
        Err(what) => return exit::fail(exit::USAGE, &what, "skiff push SRC… [user@]host:DEST"),
    };
    let (sources, problems) = sources(&args.sources);
    for problem in &problems {
        eprintln!("skiff: {problem}");
    }
    if sources.watches.is_empty() {
        return ExitCode::from(exit::FAILED);
    }
    if !args.recursive && !args.quiet {
        sources.folders.iter().for_each(|f| eprintln!("{}: a folder, sent with all below it", f.display()));
    }
    let Some(state_dir) = args.state_dir.clone().or_else(state_dir) else {
        return exit::fail(exit::USAGE, "there is no home folder to keep receipts in", "--state-dir DIR");
    };
    let code = deliver(args, destination, sources, state_dir).await;
    if problems.is_empty() || code != ExitCode::SUCCESS { code } else { ExitCode::from(exit::FAILED) }
}

async fn deliver(args: &Push, destination: Destination, sources: Sources, state_dir: PathBuf) -> ExitCode {
    let Sources { watches, only, .. } = sources;
    let log = skiff_config::Log { format: LogFormat::Human, level: level(args.quiet, args.verbose) };
    let settings = Settings {
        state_dir,
        log,
        control: skiff_config::Control::default(),
        destinations: vec![destination],
        watches,
    };
    let limit = args.limit.map(|kbits| kbits.saturating_mul(1024));
    let plan = Plan { once: true, only, no_journal: true, retry: Some(RETRY), limit, service: None };
    let stop = match signals::listen() {
        // There is no configuration to read again.
        Ok((stop, _hung_up)) => stop,
        Err(error) => return exit::fail(exit::FAILED, &format!("cannot listen for signals: {error}"), ""),
    };
    let agent = match tokio::task::block_in_place(|| {
        std::fs::create_dir_all(&settings.state_dir)
            .map_err(|error| format!("cannot make {}: {error}", settings.state_dir.display()))?;
        Agent::start(&settings, &plan).map_err(|error| error.to_string())
    }) {
        Ok(agent) => agent,
        Err(error) => return exit::fail(exit::FAILED, &error, "--state-dir DIR names another folder"),
    };
    let started = Instant::now();
    let status = Arc::clone(&agent.status);
    let progress = (!args.quiet && !args.json && std::io::stderr().is_terminal()).then(|| show(&status));
    let outcome = agent.run(stop).await;
    if let Some((bar, task)) = progress {
        task.abort();
        bar.finish_and_clear();
    }
    match outcome {
        Ok(outcome) => conclude(args, &status, &outcome, started.elapsed()),
        Err(error) => exit::fail(exit::FAILED, &error.to_string(), "push again: it goes on where it was"),
    }
}

fn conclude(args: &Push, status: &Status, outcome: &Outcome, took: Duration) -> ExitCode {
    let failure =
        outcome.destination_failure.as_ref().filter(|_| outcome.undelivered > 0 || outcome.interrupted);
    let code = match (outcome.undelivered, outcome.interrupted, failure) {
        (_, true, _) => exit::INTERRUPTED,
        (0, ..) => exit::DONE,
        (_, _, Some((code, _))) => exit::of(code),
        _ => exit::FAILED,
    };
    if args.json {
        println!("{}", json(status, outcome, took));
    } else {
        tell(args, status, outcome, took);
    }
    ExitCode::from(code)
}

fn tell(args: &Push, status: &Status, outcome: &Outcome, took: Duration) {
    outcome.problems.iter().for_each(|problem| eprintln!("skiff: {problem}"));
    if outcome.undelivered > 0 {
        eprintln!("skiff: {} not delivered", size::count(outcome.undelivered, "file"));
    }
    if outcome.interrupted {
        eprintln!("skiff: interrupted; push again and it goes on where it was");
    }
    if !args.quiet {
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

fn json(status: &Status, outcome: &Outcome, took: Duration) -> serde_json::Value {
    serde_json::json!({
        "delivered_files": Status::get(&status.delivered_files),
        "delivered_bytes": Status::get(&status.delivered_bytes),
        "standing_files": Status::get(&status.standing_files),
        "sent_bytes": Status::get(&status.sent_bytes),
        "undelivered_files": outcome.undelivered,
        "problems": outcome.problems,
        "code": outcome.destination_failure.as_ref().map(|(code, _)| code),
        "interrupted": outcome.interrupted,
        "seconds": took.as_secs_f64(),
    })
}

fn show(status: &Arc<Status>) -> (ProgressBar, JoinHandle<()>) {
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {msg}")
        .expect("the template is right");
    let bar = ProgressBar::new(0).with_style(style);
    let (shown, status) = (bar.clone(), Arc::clone(status));
    let task = tokio::spawn(async move {
        loop {
            let (files, found) = (Status::get(&status.delivered_files), Status::get(&status.found_files));
            let total = Status::get(&status.found_bytes);
            // Of nothing, all would be done.
            if total > 0 {
                shown.set_length(total);
                shown.set_position(Status::get(&status.sent_bytes).min(total));
                shown.set_message(format!("{files}/{found} files verified"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    (bar, task)
}

fn destination(args: &Push) -> Result<Destination, String> {
    let (server, path) = split_target(&args.target)
        .ok_or_else(|| format!("{:?} names no server: a colon separates it from the folder", args.target))?;
    let mut destination = server_of(server, args.port, &args.identity, &args.known_hosts)?;
    path.clone_into(&mut destination.path);
    Ok(destination)
}

/// Where to log in, for `[user@]host` and the flags that go with it.
pub(super) fn server_of(
    server: &str,
    port: u16,
    identity: &[PathBuf],
    known_hosts: &[PathBuf],
) -> Result<Destination, String> {
    let (user, host) = match server.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, server),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty()
        || host.starts_with('-')
        || user.is_some_and(|user| user.is_empty() || user.starts_with('-'))
    {
        return Err(format!("{server:?} is no server"));
    }
    let mut destination = Destination::with_defaults(DESTINATION, host);
    destination.user = user.map(str::to_owned);
    destination.port = port;
    destination.connect_timeout = CONNECT_TIMEOUT;
    if !identity.is_empty() {
        identity.clone_into(&mut destination.identity);
    }
    if !known_hosts.is_empty() {
        known_hosts.clone_into(&mut destination.known_hosts);
    }
    Ok(destination)
}

/// Splits at the first colon that isn't inside brackets, as scp does.
pub(super) fn split_target(target: &str) -> Option<(&str, &str)> {
    let bracket = target.find(']').unwrap_or(0);
    let colon = bracket + target[bracket..].find(':')?;
    Some((&target[..colon], &target[colon + 1..]))
}

fn state_dir() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("skiff"))
}

pub(super) fn level(quiet: bool, verbose: u8) -> LogLevel {
    match (quiet, verbose) {
        // What went wrong is told in the end.
        (true, _) | (false, 0) => LogLevel::Error,
        (false, 1) => LogLevel::Info,
        (false, 2) => LogLevel::Debug,
        (false, _) => LogLevel::Trace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_split_as_scp_does() {
        assert_eq!(split_target("u@h:in/a:b"), Some(("u@h", "in/a:b")));
        assert_eq!(split_target("u@[::1]:in"), Some(("u@[::1]", "in")));
        assert_eq!(split_target("h:"), Some(("h", "")));
        assert_eq!(split_target("h"), None);
    }
}
