//! A snapshot in lines of text.

use std::time::Duration;

use crate::cli::paint::{Paint, table};
use crate::size;
use crate::status::Snapshot;
use crate::status::snapshot::{Destination, DestinationState, OnItsWay, Problem, Source, Watch};

/// Tells all of it on standard output.
pub(super) fn tell(snapshot: &Snapshot) {
    let paint = Paint::stdout();
    head(paint, snapshot);
    destinations(paint, snapshot);
    watches(paint, snapshot);
    on_its_way(paint, snapshot);
    problems(paint, snapshot);
}

fn head(paint: Paint, snapshot: &Snapshot) {
    match snapshot.source {
        Source::Agent => {
            let up = size::age(ms(snapshot.time_ms.saturating_sub(snapshot.started_ms)));
            println!(
                "{} process {}, running for {up}",
                paint.bold(&format!("skiff {}", snapshot.skiff)),
                snapshot.pid
            );
        }
        Source::Journal => println!("{}", paint.warn("no agent is running; this is what its journal says")),
    }
    let totals = &snapshot.totals;
    if snapshot.source == Source::Agent {
        let again = match totals.resent_bytes {
            0 => String::new(),
            bytes => format!(", {} of it again", size::bytes(bytes)),
        };
        println!(
            "delivered  {}, {}; sent {}{again}",
            files(totals.delivered_files, ""),
            size::bytes(totals.delivered_bytes),
            size::bytes(totals.sent_bytes)
        );
    }
    println!("pending    {}", pending(snapshot));
    let held = &snapshot.held;
    if held.quarantined + held.waiting > 0 {
        let words = format!("held       {} quarantined, {} waiting", held.quarantined, held.waiting);
        println!("{}: skiff items --state held", paint.bad(&words));
    }
}

/// `120 files, 3.0 MiB, oldest 12 s, done in about 2 s`; `120+` where more lies in the folders.
pub(super) fn pending(snapshot: &Snapshot) -> String {
    let pending = &snapshot.pending;
    let more = if pending.more && snapshot.source == Source::Agent { "+" } else { "" };
    if pending.items == 0 && more.is_empty() {
        return "nothing".to_owned();
    }
    let mut words = format!("{}, {}", files(pending.items, more), size::bytes(pending.bytes));
    if let Some(oldest) = pending.oldest_ms {
        let age = size::age(ms(snapshot.time_ms.saturating_sub(oldest)));
        words = format!("{words}, oldest {age}");
    }
    if let Some(seconds) = snapshot.throughput.drain_seconds {
        let lasts = size::age(Duration::from_secs(seconds));
        words = format!("{words}, done in about {lasts}");
    }
    words
}

/// `1 file`, `1,234 files`, `1+ files`.
pub(super) fn files(count: u64, more: &str) -> String {
    let several = if more.is_empty() { count } else { u64::MAX };
    format!("{}{more} {}", size::number(count), size::of(several, "file"))
}

fn destinations(paint: Paint, snapshot: &Snapshot) {
    if snapshot.destinations.is_empty() {
        return;
    }
    println!();
    let mut rows =
        vec![["DESTINATION", "ADDRESS", "ON THE WAY", "QUEUED", "STATE"].map(str::to_owned).to_vec()];
    for destination in &snapshot.destinations {
        let state = state(snapshot, destination);
        let state = match destination.state {
            DestinationState::Connected => paint.good(&state),
            DestinationState::Waiting => paint.bad(&state),
            DestinationState::Idle | DestinationState::Connecting | DestinationState::Paused => state,
        };
        rows.push(vec![
            destination.name.clone(),
            destination.address.clone(),
            destination.running.to_string(),
            destination.queued.to_string(),
            state,
        ]);
    }
    table(paint, &rows);
}

/// `connected`, `idle`, `connection-refused, again in 12 s`.
pub(super) fn state(snapshot: &Snapshot, destination: &Destination) -> String {
    match destination.state {
        DestinationState::Idle => "idle".to_owned(),
        DestinationState::Connecting => "connecting".to_owned(),
        DestinationState::Connected => "connected".to_owned(),
        DestinationState::Paused => match &destination.paused {
            Some(why) => format!("paused: {why}"),
            None => "paused".to_owned(),
        },
        DestinationState::Waiting => {
            let code = destination.last_error.as_ref().map_or("in trouble", |error| &error.code);
            match destination.retry_at_ms {
                Some(at) if at > snapshot.time_ms => {
                    format!("{code}, again in {}", size::age(ms(at - snapshot.time_ms)))
                }
                _ => format!("{code}, trying again"),
            }
        }
    }
}

fn watches(paint: Paint, snapshot: &Snapshot) {
    if snapshot.watches.is_empty() {
        return;
    }
    println!();
    let head = ["WATCH", "TO", "DELIVERED", "PENDING", "OLDEST", "HELD", "LAST", "FOLDER"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(snapshot.watches.iter().map(|watch| row(paint, snapshot, watch)));
    table(paint, &rows);
}

fn row(paint: Paint, snapshot: &Snapshot, watch: &Watch) -> Vec<String> {
    let since = |then: Option<u64>| {
        then.map_or_else(|| "-".to_owned(), |then| size::age(ms(snapshot.time_ms.saturating_sub(then))))
    };
    let folder = match (&watch.trouble, watch.paused) {
        (Some(trouble), _) => format!("{} {}", watch.path, paint.bad(&format!("({trouble})"))),
        (None, true) => format!("{} {}", watch.path, paint.warn("(paused)")),
        (None, false) if watch.settling.files > 0 => {
            let open = format!("({} still written to: skiff items)", size::number(watch.settling.files));
            format!("{} {}", watch.path, paint.warn(&open))
        }
        (None, false) => watch.path.clone(),
    };
    vec![
        watch.name.clone(),
        watch.to.clone(),
        size::number(watch.delivered_files),
        size::number(watch.pending.items),
        since(watch.pending.oldest_ms),
        (watch.held.waiting + watch.held.quarantined).to_string(),
        since(watch.last_delivery_ms),
        folder,
    ]
}

fn on_its_way(paint: Paint, snapshot: &Snapshot) {
    if snapshot.on_its_way.is_empty() {
        return;
    }
    println!();
    let mut rows =
        vec![["ON ITS WAY", "TO", "FILES", "SIZE", "DONE", "RATE", "STEP"].map(str::to_owned).to_vec()];
    rows.extend(snapshot.on_its_way.iter().map(|shipment| {
        vec![
            label(shipment),
            shipment.destination.clone(),
            shipment.files.to_string(),
            size::bytes(shipment.bytes),
            format!("{} %", percent(shipment)),
            size::bytes(shipment.bytes_per_second) + "/s",
            shipment.step.clone(),
        ]
    }));
    table(paint, &rows);
}

/// The file, or the first of them.
pub(super) fn label(shipment: &OnItsWay) -> String {
    match shipment.files {
        1 => shipment.first.clone(),
        files => format!("{} and {} more", shipment.first, files - 1),
    }
}

/// How much of it has been sent.
pub(super) fn percent(shipment: &OnItsWay) -> u64 {
    (shipment.sent_bytes * 100).checked_div(shipment.bytes).unwrap_or(100)
}

fn problems(paint: Paint, snapshot: &Snapshot) {
    if snapshot.problems.is_empty() {
        return;
    }
    println!();
    println!("{}", paint.dim("LAST PROBLEMS"));
    for problem in snapshot.problems.iter().take(5) {
        println!("{}", paint.bold(&headline(snapshot, problem)));
        println!("    {}", problem.reason);
    }
}

/// `sensors:a.csv, quarantined, 5 min ago`.
pub(super) fn headline(snapshot: &Snapshot, problem: &Problem) -> String {
    let mut words = match problem.watch.as_str() {
        "" => problem.what.clone(),
        watch => format!("{watch}:{}", problem.what),
    };
    if problem.quarantined {
        words += ", quarantined";
    }
    if problem.at_ms > 0 {
        let age = size::age(ms(snapshot.time_ms.saturating_sub(problem.at_ms)));
        words = format!("{words}, {age} ago");
    }
    words
}

/// Milliseconds.
pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
