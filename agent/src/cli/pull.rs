//! `skiff pull`: fetch now, verified and resumable.

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use skiff_config::LogFormat;
use tokio::task::JoinHandle;

use super::args::Pull;
use super::push::{RETRY, level, server_of};
use super::{exit, signals, size};
use crate::pull::{Progress, Report, Source, Wish};
use crate::telemetry;

const USAGE: &str = "skiff pull [user@]host:SRC… DEST";

/// Fetches.
pub(super) async fn pull(args: &Pull) -> ExitCode {
    telemetry::start(LogFormat::Human, level(args.quiet, args.verbose));
    let wish = match wish(args) {
        Ok(wish) => wish,
        Err(what) => return exit::fail(exit::USAGE, &what, USAGE),
    };
    let (mut stop, _) = match signals::listen() {
        Ok(stop) => stop,
        Err(error) => return exit::fail(exit::FAILED, &format!("cannot listen for signals: {error}"), ""),
    };
    let progress = Arc::new(Progress::default());
    let started = Instant::now();
    let bar = (!args.quiet && !args.json && std::io::stderr().is_terminal()).then(|| show(&progress));
    let report = tokio::select! {
        report = crate::pull::pull(&wish, &progress) => Some(report),
        // What came so far stays, and is gone on with.
        _ = stop.changed() => None,
    };
    if let Some((bar, task)) = bar {
        task.abort();
        bar.finish_and_clear();
    }
    conclude(args, &progress, report, started.elapsed())
}

fn wish(args: &Pull) -> Result<Wish, String> {
    let words = args.sources.iter().map(|source| -> &OsStr { source });
    let (server, sources) = Source::parse_all(words).map_err(|error| error.to_string())?;
    let destination = server_of(&server, args.port, &args.identity, &args.known_hosts)?;
    if args.target.to_string_lossy().contains(':') && !args.target.exists() {
        // Somebody who meant `push` would find a strange folder here.
        return Err(format!(
            "{} looks like a server; `pull` fetches to this machine, `./NAME` names a folder here",
            args.target.display()
        ));
    }
    Ok(Wish {
        login: crate::login::login(&destination),
        sources,
        target: args.target.clone(),
        replace: args.replace,
        dry_run: args.dry_run,
        scp_only: args.scp_only,
        limit: args.limit.map(|kbits| kbits.saturating_mul(1024)),
        retry: RETRY,
    })
}

fn conclude(args: &Pull, progress: &Progress, report: Option<Report>, took: Duration) -> ExitCode {
    let interrupted = report.is_none();
    let report = report.unwrap_or_default();
    let code = match &report.failure {
        _ if interrupted => exit::INTERRUPTED,
        Some(failure) => exit::of(failure.code),
        None if report.problems.is_empty() && report.failed_files == 0 => exit::DONE,
        None => exit::FAILED,
    };
    if args.json {
        println!("{}", json(progress, &report, interrupted, took));
    } else {
        tell(args, progress, &report, interrupted, took);
    }
    ExitCode::from(code)
}

fn tell(args: &Pull, progress: &Progress, report: &Report, interrupted: bool, took: Duration) {
    report.problems.iter().for_each(|problem| eprintln!("skiff: {problem}"));
    if let Some(failure) = &report.failure {
        let _told = exit::fail(exit::FAILED, &failure.what, &failure.hint);
    }
    if report.failed_files > 0 {
        eprintln!("skiff: {} not fetched", size::count(report.failed_files, "file"));
    }
    if interrupted {
        eprintln!("skiff: interrupted; pull again and it goes on where it was");
    }
    if args.quiet {
        return;
    }
    if !args.recursive {
        report.folders.iter().for_each(|folder| eprintln!("{folder}: a folder, fetched with all below it"));
    }
    if report.left_out > 0 {
        let left_out = size::count(report.left_out, "symlink or special file");
        eprintln!("skiff: {left_out} at the server left out: only files and folders are fetched");
    }
    if args.dry_run {
        let bytes = report.would_fetch.iter().map(|(_, bytes)| bytes).sum();
        report.would_fetch.iter().for_each(|(path, bytes)| println!("{path}  {}", size::bytes(*bytes)));
        let files = size::count(report.would_fetch.len() as u64, "file");
        println!("{files}, {} would be fetched", size::bytes(bytes));
        return;
    }
    let (files, bytes) = (get(&progress.fetched_files), get(&progress.fetched_bytes));
    let standing = get(&progress.standing_files);
    let there = if standing > 0 { format!(", {standing} stood here already") } else { String::new() };
    println!(
        "{}, {} fetched and verified in {} ({}){there}",
        size::count(files, "file"),
        size::bytes(bytes),
        size::time(took),
        size::rate(bytes, took)
    );
}

fn json(progress: &Progress, report: &Report, interrupted: bool, took: Duration) -> serde_json::Value {
    let would_fetch = report.would_fetch.iter();
    let would_fetch: Vec<_> = would_fetch
        .map(|(path, bytes)| serde_json::json!({ "path": path.to_string(), "bytes": bytes }))
        .collect();
    serde_json::json!({
        "fetched_files": get(&progress.fetched_files),
        "fetched_bytes": get(&progress.fetched_bytes),
        "standing_files": get(&progress.standing_files),
        "received_bytes": get(&progress.received_bytes),
        "failed_files": report.failed_files,
        "left_out": report.left_out,
        "problems": report.problems,
        "would_fetch": would_fetch,
        "code": report.failure.as_ref().map(|failure| failure.code),
        "failure": report.failure.as_ref().map(|failure| &failure.what),
        "interrupted": interrupted,
        "seconds": took.as_secs_f64(),
    })
}

fn show(progress: &Arc<Progress>) -> (ProgressBar, JoinHandle<()>) {
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {msg}")
        .expect("the template is right");
    let bar = ProgressBar::new(0).with_style(style);
    let (shown, progress) = (bar.clone(), Arc::clone(progress));
    let task = tokio::spawn(async move {
        loop {
            let (files, found) = (get(&progress.fetched_files), get(&progress.found_files));
            let total = get(&progress.found_bytes);
            // Of nothing, all would be done.
            if total > 0 {
                shown.set_length(total);
                shown.set_position(get(&progress.received_bytes).min(total));
                shown.set_message(format!("{files}/{found} files verified"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    (bar, task)
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
