//! `skiff verify`: reads digests at the destination again and compares them with the receipts.

mod grown;

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use skiff_common::{Digest, RelPath};
use skiff_config::{AfterDelivery, Destination, Mode, Route, Settings, Watch};

use super::args::Verify;
use super::transfer::RETRY;
use super::{config, exit, signals, size};
use crate::context::remote_root;
use crate::dispatch::{Stop, Urgency};
use crate::reach::reach;
use crate::receipts;
use crate::remote::{Limiter, RemoteError};
use crate::route;
use crate::source::Root;
use crate::supervise::{Agent, Plan};
use crate::telemetry;

/// Names that are asked for at once.
const AT_ONCE: usize = 500;
/// More names than these are counted, not listed.
const MOST_LISTED: usize = 50;

/// What was delivered, by its latest receipt.
struct Delivered {
    path: RelPath,
    name: RelPath,
    digests: [String; 2],
    size: u64,
    /// Of a log that grows: how many of those have later receipts.
    grown: Option<usize>,
}

/// All that was delivered of a watch.
#[derive(Default)]
struct Deliveries {
    all: Vec<Delivered>,
    /// Names of logs that grow, and how much of them there was; the latest first.
    grown: Vec<(RelPath, u64)>,
    /// Names that can't be asked for again.
    unknown: u64,
}

impl Delivered {
    /// Whether this is its digest; `None`: it is of another algorithm.
    fn is(&self, digest: &str) -> Option<bool> {
        if self.digests.iter().any(|known| known == digest) {
            return Some(true);
        }
        let algorithm = digest.split(':').next();
        self.digests.iter().any(|known| known.split(':').next() == algorithm).then_some(false)
    }
}

/// What has become of a watch's deliveries.
#[derive(Default)]
struct Comparison {
    verified: u64,
    missing: Vec<Delivered>,
    differs: Vec<Delivered>,
    /// Read by another algorithm than before.
    unknown: u64,
    repaired: u64,
}

/// Verifies all watches, or one.
pub(super) async fn verify(args: &Verify) -> ExitCode {
    let settings = match config::load_file(&args.agent.config) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    telemetry::start(settings.log.format, skiff_config::LogLevel::Error);
    let chosen = |watch: &&Watch| args.watch.as_ref().is_none_or(|name| *name == watch.name);
    let watches: Vec<Watch> = settings.watches.iter().filter(chosen).flat_map(route::each).collect();
    if watches.is_empty() {
        let names: Vec<_> = settings.watches.iter().map(|watch| watch.name.as_str()).collect();
        let why = format!("there is no such watch; there are {}", names.join(", "));
        return exit::fail(exit::USAGE, &why, "");
    }
    // Once, for all that is done: who listens a second time takes the signals from nobody, and hears of none before.
    let stop = match signals::listen_at_a_terminal() {
        Ok(stop) => stop,
        Err(error) => return exit::fail(exit::FAILED, &format!("cannot listen for signals: {error}"), ""),
    };
    let (mut all, mut whole) = (Vec::new(), true);
    for watch in &watches {
        let mut told = stop.clone();
        let looked = tokio::select! {
            looked = look(args, &settings, watch) => looked,
            _ = told.wait_for(|urgency| *urgency > Urgency::Run) => return interrupted(),
        };
        let mut found = match looked {
            Ok(found) => found,
            Err(code) => return code,
        };
        // Whoever follows logs has their copies in hand.
        if args.repair && watch.mode == Mode::Whole {
            found.repaired = match repair(args, &settings, watch, &found, stop.clone()).await {
                Some(files) => files,
                None => return interrupted(),
            };
        }
        let lost = (found.missing.len() + found.differs.len()) as u64;
        whole &= lost <= found.repaired;
        if args.json {
            all.push(as_json(watch, &found));
        } else {
            tell(watch, &found, args.repair);
        }
    }
    if args.json {
        println!("{}", Value::Array(all));
    }
    ExitCode::from(if whole { exit::DONE } else { exit::FAILED })
}

fn interrupted() -> ExitCode {
    eprintln!("skiff: interrupted; what was not looked at is not verified");
    ExitCode::from(exit::INTERRUPTED)
}

async fn look(args: &Verify, settings: &Settings, watch: &Watch) -> Result<Comparison, ExitCode> {
    let state_dir = args.agent.state_dir.as_ref().unwrap_or(&settings.state_dir);
    let delivered = delivered(state_dir, watch).map_err(|error| {
        let what = format!("cannot read the receipts in {}: {error}", state_dir.display());
        exit::fail(exit::FAILED, &what, "run this as the user that skiff runs as, or as root")
    })?;
    let destination = settings.destination(&watch.to).expect("the configuration was checked");
    let mut found = Comparison { unknown: delivered.unknown, ..Comparison::default() };
    let bar = progress(args, watch, delivered.all.len());
    let compared = Box::pin(compare(destination, watch, delivered, &mut found, &bar)).await;
    bar.finish_and_clear();
    compared.map_err(|error| {
        let (root, _) = remote_root(destination, watch).expect("the configuration was checked");
        let what = format!("cannot verify {} at {}: {error}", watch.name, destination.name);
        exit::fail(exit::of(error.code()), &what, &error.hint_in(&root))
    })?;
    Ok(found)
}

/// Seen where standard error is a terminal.
fn progress(args: &Verify, watch: &Watch, files: usize) -> ProgressBar {
    if args.json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{msg}: {bar:30} {human_pos} of {human_len} files read there, {eta} left",
    );
    let style = style.expect("the template is right");
    ProgressBar::new(files as u64).with_style(style).with_message(watch.name.clone())
}

async fn compare(
    destination: &Destination,
    watch: &Watch,
    delivered: Deliveries,
    found: &mut Comparison,
    bar: &ProgressBar,
) -> Result<(), RemoteError> {
    let (root, _) = remote_root(destination, watch).expect("the configuration was checked");
    let remote = reach(destination, &Arc::default(), (None, Arc::new(Limiter::new(None))));
    let Deliveries { all, grown, .. } = delivered;
    let (mut logs, mut rest) = grown::those_that_grew_on(watch, all);
    bar.inc(logs.len() as u64);
    let mut outcome = Ok(());
    while !rest.is_empty() && outcome.is_ok() {
        let some: Vec<Delivered> = rest.split_off(rest.len().saturating_sub(AT_ONCE));
        let names: Vec<&RelPath> = some.iter().map(|delivered| &delivered.name).collect();
        let bytes = some.iter().map(|delivered| delivered.size).sum();
        match remote.digests(&root, &names, bytes).await {
            Err(error) => outcome = Err(error),
            Ok(there) => {
                bar.inc(some.len() as u64);
                for delivered in some {
                    let digest = there.get(&delivered.name).copied();
                    found.judge(delivered, digest);
                }
            }
        }
    }
    if outcome.is_ok() {
        logs.extend(found.take_grown());
        outcome = grown::look(&remote, &root, watch, logs, &grown, found).await;
    }
    remote.close().await;
    outcome
}

impl Comparison {
    fn judge(&mut self, delivered: Delivered, there: Option<Digest>) {
        let Some(there) = there.map(|digest| digest.to_string()) else { return self.missing.push(delivered) };
        match delivered.is(&there) {
            Some(true) => self.verified += 1,
            Some(false) => self.differs.push(delivered),
            None => self.unknown += 1,
        }
    }

    /// Logs that grow, which may be right all the same.
    fn take_grown(&mut self) -> Vec<Delivered> {
        let mut logs = Vec::new();
        for lost in [&mut self.missing, &mut self.differs] {
            logs.extend(lost.extract_if(.., |delivered| delivered.grown.is_some()));
        }
        logs
    }
}

/// The latest receipt of each name.
fn delivered(state_dir: &std::path::Path, watch: &Watch) -> std::io::Result<Deliveries> {
    let mut seen = HashSet::new();
    let mut found = Deliveries::default();
    receipts::each(state_dir, |receipt| {
        let is_of_it = receipt["watch"] == *route::base(&watch.name) && receipt["destination"] == *watch.to;
        let text = |key: &str| receipt[key].as_str().unwrap_or_default().to_owned();
        let (name, path) = (text("name"), text("path"));
        if !is_of_it || !seen.insert(name.clone()) {
            return true;
        }
        match (shown_path(&name), shown_path(&path)) {
            (Some(name), Some(path)) => {
                let size = receipt["size"].as_u64().unwrap_or(0);
                // What was delivered whole grows when its watch is told so.
                let is_log = receipt["grown"] == true || watch.mode == Mode::Append;
                let grown = is_log.then_some(found.grown.len());
                if is_log {
                    found.grown.push((name.clone(), size));
                }
                let digests = [text("theirs"), text("digest")];
                found.all.push(Delivered { path, name, digests, size, grown });
            }
            _ => found.unknown += 1,
        }
        true
    })?;
    Ok(found)
}

/// Receipts show odd bytes escaped.
fn shown_path(shown: &str) -> Option<RelPath> {
    RelPath::parse(&skiff_common::escape::unescaped(shown)?).ok()
}

/// Sends again what the source still has; returns how many files, `None` where it was told to stop.
async fn repair(
    args: &Verify,
    settings: &Settings,
    watch: &Watch,
    found: &Comparison,
    stop: Stop,
) -> Option<u64> {
    let Ok(root) = Root::open(&watch.path) else { return Some(0) };
    let lost = found.missing.iter().chain(&found.differs);
    let paths: Vec<RelPath> =
        lost.map(|delivered| delivered.path.clone()).filter(|path| root.look(path).is_ok()).collect();
    if paths.is_empty() {
        return Some(0);
    }
    let mut only = settings.clone();
    if let Some(folder) = &args.agent.state_dir {
        only.state_dir.clone_from(folder);
    }
    // What goes to several destinations isn't disposed of by one of them.
    let after_delivery = match watch.route {
        Route::All(_) => AfterDelivery::Keep,
        Route::One | Route::Failover(_) | Route::Spread(_) => watch.after_delivery.clone(),
    };
    let (name, route) = (route::base(&watch.name).to_owned(), Route::One);
    let watch = Watch { name, route, after_delivery, ..watch.clone() };
    only.watches = vec![Watch { settle: Duration::ZERO, retry_attempts: Some(3), ..watch }];
    // What is there is asked for first, so nothing is sent twice; what differs there is a conflict as any other.
    let plan = Plan {
        once: true,
        only: vec![Some(paths.into())],
        no_journal: true,
        retry: Some(RETRY),
        ..Plan::default()
    };
    let agent = match tokio::task::block_in_place(|| Agent::start(&only, &plan)) {
        Ok(agent) => agent,
        Err(error) => {
            eprintln!("skiff: cannot send again: {error}");
            return Some(0);
        }
    };
    let status = Arc::clone(&agent.status);
    match agent.run(stop).await {
        Ok(outcome) if outcome.interrupted => return None,
        Ok(outcome) => outcome.problems.iter().for_each(|problem| eprintln!("skiff: {problem}")),
        Err(error) => eprintln!("skiff: cannot send again: {error}"),
    }
    Some(crate::status::Status::get(&status.delivered_files))
}

fn tell(watch: &Watch, found: &Comparison, repair: bool) {
    let mut words = format!("{}: {} verified", watch.name, size::number(found.verified));
    for (count, what) in [
        (found.missing.len() as u64, "missing"),
        (found.differs.len() as u64, "different"),
        (found.unknown, "not comparable"),
    ] {
        if count > 0 {
            words = format!("{words}, {} {what}", size::number(count));
        }
    }
    let repairs = watch.mode == Mode::Whole;
    if repair && repairs && found.missing.len() + found.differs.len() > 0 {
        words = format!("{words}; {} sent again", size::number(found.repaired));
    }
    println!("{words}");
    let missing = found.missing.iter().map(|delivered| ("missing", delivered));
    let lost = missing.chain(found.differs.iter().map(|delivered| ("differs", delivered)));
    lost.take(MOST_LISTED).for_each(|(what, delivered)| println!("  {what}  {}", delivered.name));
    if !repairs && found.missing.len() + found.differs.len() > 0 {
        println!(
            "  try: restart the agent: it compares a log with its copy before it adds to it, and sends what is lost"
        );
    } else if !repair && found.missing.len() + found.differs.len() > 0 {
        println!("  try: skiff verify {} --repair sends again what the source still has", watch.name);
    }
}

fn as_json(watch: &Watch, found: &Comparison) -> Value {
    let names = |list: &[Delivered]| list.iter().map(|one| one.name.to_string()).collect::<Vec<_>>();
    json!({
        "watch": route::base(&watch.name),
        "to": watch.to,
        "verified": found.verified,
        "missing": names(&found.missing),
        "differs": names(&found.differs),
        "unknown": found.unknown,
        "repaired": found.repaired,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented() {
        let path = RelPath::parse(b"a").expect("a path");
        let lost = || {
            vec![Delivered {
                path: path.clone(),
                name: path.clone(),
                digests: Default::default(),
                size: 0,
                grown: None,
            }]
        };
        let found = Comparison { missing: lost(), differs: lost(), ..Comparison::default() };
        let watch = Watch::with_defaults("w", "/w", "d");
        let value = Value::Array(vec![as_json(&watch, &found)]);
        crate::documented::assert_documented("skiff verify --json", &value);
    }
}
