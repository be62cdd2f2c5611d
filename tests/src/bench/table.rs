//! The figures as text for people and as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::compare::{Cell, Entry};
use super::contender::Contender;
use super::stopwatch::{Outcome, Usage};

/// One cell as a table.
pub fn as_text(cell: &Cell) -> String {
    let mut text = format!("{}, round trip {}\n", cell.title, cell.line);
    let _infallible = writeln!(
        text,
        "  {:28} {:>9} {:>19} {:>8} {:>9} {:>9} {:>9} {:>9}  ",
        "", "median", "fastest – slowest", "× skiff", "MB/s", "CPU here", "CPU there", "peak RAM"
    );
    for entry in &cell.entries {
        text.push_str(&row(cell, entry));
    }
    text
}

fn row(cell: &Cell, entry: &Entry) -> String {
    let mark = if entry.who.verifies() { "✓" } else { " " };
    let name = format!("{mark} {}", entry.who.title());
    let Some(wall_s) = entry.wall_s() else {
        return match &entry.stopped {
            Some(Outcome::TooLong(limit)) => {
                format!("  {name:28} {:>9}\n", format!("> {} s", limit.as_secs()))
            }
            Some(Outcome::Failed(why)) => format!("  {name:28} FAILED: {why}\n"),
            Some(Outcome::Done(_)) | None => format!("  {name:28} not run\n"),
        };
    };
    let times: Vec<f64> = entry.runs.iter().map(|usage| usage.wall_s).collect();
    let fastest = times.iter().copied().fold(f64::INFINITY, f64::min);
    let slowest = times.iter().copied().fold(0.0, f64::max);
    let ratio = cell.skiff_s().map_or_else(String::new, |skiff_s| format!("{:.2}", wall_s / skiff_s));
    let peak = match entry.who {
        Contender::Skiff | Contender::SkiffSftp => format!("{:.1} MiB", peak_mib(entry)),
        // The command is a shell or one of several processes: its own memory says little.
        Contender::Scp
        | Contender::ScpO
        | Contender::Tar
        | Contender::Rsync
        | Contender::Recipe
        | Contender::Rclone => String::new(),
    };
    let of = |figure: fn(&Usage) -> f64| format!("{:.2} s", entry.median(figure).unwrap_or_default());
    let late =
        entry.stopped.as_ref().map_or_else(String::new, |stopped| format!("  then: {}", in_words(stopped)));
    format!(
        "  {name:28} {:>9} {:>19} {ratio:>8} {:>9.1} {:>9} {:>9} {peak:>9}{late}\n",
        format!("{wall_s:.2} s"),
        format!("{fastest:.2} – {slowest:.2} s"),
        megabytes_per_s(cell, wall_s),
        of(|usage| usage.client_cpu_s),
        of(|usage| usage.server_cpu_s),
    )
}

fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::TooLong(limit) => format!("> {} s", limit.as_secs()),
        Outcome::Failed(why) => format!("FAILED: {why}"),
        Outcome::Done(usage) => format!("{:.2} s", usage.wall_s),
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a few GiB")]
fn megabytes_per_s(cell: &Cell, wall_s: f64) -> f64 {
    cell.bytes as f64 / 1e6 / wall_s
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a few GiB")]
fn peak_mib(entry: &Entry) -> f64 {
    entry.runs.iter().map(|usage| usage.peak_bytes).max().unwrap_or(0) as f64 / f64::from(1 << 20)
}

/// All cells, each run with its figures.
pub fn as_json(cells: &[Cell]) -> Value {
    cells.iter().map(cell_as_json).collect()
}

fn cell_as_json(cell: &Cell) -> Value {
    let entries: Vec<Value> = cell.entries.iter().map(|entry| entry_as_json(cell, entry)).collect();
    json!({
        "workload": cell.title,
        "link": cell.line.to_string(),
        "files": cell.files,
        "bytes": cell.bytes,
        "contenders": entries,
    })
}

fn entry_as_json(cell: &Cell, entry: &Entry) -> Value {
    let runs: Vec<Value> = entry
        .runs
        .iter()
        .map(|usage| {
            json!({
                "wall_s": usage.wall_s,
                "client_cpu_s": usage.client_cpu_s,
                "server_cpu_s": usage.server_cpu_s,
                "peak_bytes": usage.peak_bytes,
            })
        })
        .collect();
    let ratio = entry.wall_s().zip(cell.skiff_s()).map(|(wall_s, skiff_s)| wall_s / skiff_s);
    json!({
        "name": entry.who.title(),
        "verifies": entry.who.verifies(),
        "median_s": entry.wall_s(),
        "times_skiff": ratio,
        "stopped": entry.stopped.as_ref().map(in_words),
        "runs": runs,
    })
}
