//! `skiff pull`: fetch now, verified and resumable.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use skiff_config::LogFormat;
use skiff_config::address::split_path_bytes;

use super::args::Pull;
use super::bar::{Bar, Shown};
use super::transfer::{RETRY, login_of, server_of};
use super::{exit, signals, size};
use crate::pull::{Progress, Report, Wanted, Wish};
use crate::telemetry;

const USAGE: &str = "skiff pull [user@]host:SRC… DEST";

/// Fetches.
pub(super) async fn pull(args: &Pull) -> ExitCode {
    telemetry::start(LogFormat::Human, args.scp.level());
    let wish = match wish(args) {
        Ok(wish) => wish,
        Err((what, hint)) => return args.scp.misused(&what, hint),
    };
    let mut stop = match signals::listen_at_a_terminal() {
        Ok(stop) => stop,
        Err(error) => return exit::fail(exit::FAILED, &format!("cannot listen for signals: {error}"), ""),
    };
    let progress = Arc::new(Progress::default());
    let started = Instant::now();
    let shown = Arc::clone(&progress);
    let bar = Bar::show(&args.scp, move || Shown {
        files: get(&shown.fetched_files),
        found_files: get(&shown.found_files),
        bytes: get(&shown.received_bytes),
        found_bytes: get(&shown.found_bytes),
    });
    let report = tokio::select! {
        report = crate::pull::pull(&wish, &progress) => Some(report),
        // What came so far stays, and is gone on with.
        _ = stop.changed() => None,
    };
    drop(bar);
    conclude(args, &progress, report, started.elapsed())
}

fn wish(args: &Pull) -> Result<Wish, (String, &'static str)> {
    let words = args.sources.iter().map(|source| -> &OsStr { source });
    let (server, sources) = Wanted::parse_all(words).map_err(|error| (error.to_string(), USAGE))?;
    let destination = server_of(&server, &args.scp).map_err(|what| (what, USAGE))?;
    if split_path_bytes(args.target.as_os_str().as_bytes()).is_some() && !args.target.exists() {
        // Somebody who meant `push` would find a strange folder here.
        let what = format!(
            "{} looks like a server; `pull` fetches to this machine, `./NAME` names a folder here",
            args.target.display()
        );
        return Err((what, USAGE));
    }
    Ok(Wish {
        login: login_of(&destination, &args.scp)?,
        sources,
        target: args.target.clone(),
        replace: args.replace,
        dry_run: args.scp.dry_run,
        scp_only: args.scp_only,
        transport: args.scp.transport.into(),
        limit: args.scp.bits_limit(),
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
    if args.scp.json {
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
    if args.scp.quiet {
        return;
    }
    if !args.scp.recursive {
        report.folders.iter().for_each(|folder| eprintln!("{folder}: a folder, fetched with all below it"));
    }
    if report.left_out > 0 {
        let left_out = size::count(report.left_out, "symlink or special file");
        eprintln!("skiff: {left_out} at the server left out: only files and folders are fetched");
    }
    if args.scp.dry_run {
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
    let unfetched = (report.failed_files > 0 || !report.problems.is_empty()).then_some("unfetched");
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
        "code": report.failure.as_ref().map(|failure| failure.code).or(unfetched),
        "failure": report.failure.as_ref().map(|failure| &failure.what),
        "hint": report.failure.as_ref().map(|failure| &failure.hint),
        "interrupted": interrupted,
        "seconds": took.as_secs_f64(),
    })
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented() {
        let path = skiff_common::RelPath::parse(b"a").expect("a path");
        let mut report = Report::default();
        report.problems.push(String::new());
        report.would_fetch.push((path, 0));
        let value = json(&Progress::default(), &report, false, Duration::ZERO);
        crate::documented::assert_documented("skiff pull --json", &value);
    }
}
