//! The comparison as a picture: a panel for each workload and line, a bar for each contender, each panel with its own scale.

use std::fmt::Write as _;

use super::compare::{Cell, Entry};
use super::contender::Contender;
use crate::svg::Sheet;

const COLUMNS: usize = 2;
const PANEL_WIDTH: usize = 430;
const NAMES_WIDTH: usize = 196;
/// The rest of a panel holds the figure behind a bar.
const BAR_WIDTH: f64 = 150.0;
const BAR_STEP: usize = 22;
const HEAD_HEIGHT: usize = 64;
const PANEL_HEAD: usize = 30;
const PANEL_GAP: usize = 22;
const FOOT_HEIGHT: usize = 48;

/// What a pale bar means.
const CUT: &str = "“&gt;” and a pale bar: not done within the limit, so it would have taken longer.";

const DAY: &str = "\
.panel{font-size:14px;font-weight:600}.ours{font-weight:600}.bar{fill:#9aa4af}.bar.skiff{fill:#0969da}\
.bar.cut{fill:#9aa4af;opacity:.45}";
const NIGHT: &str = ".bar{fill:#656c76}.bar.skiff{fill:#4493f8}.bar.cut{fill:#656c76}";

/// Draws the cells in their order.
pub fn as_picture(cells: &[Cell]) -> String {
    let panel_height = PANEL_HEAD + PANEL_GAP + BAR_STEP * most_bars(cells);
    let height = HEAD_HEIGHT + panel_height * cells.len().div_ceil(COLUMNS) + FOOT_HEIGHT;
    let rounds = || cells.iter().flat_map(|cell| &cell.entries).map(|entry| entry.runs.len());
    let counted = match (rounds().min().unwrap_or(0), rounds().max().unwrap_or(0)) {
        (_, 1) => "One run each".to_owned(),
        (fewest, most) if fewest == most => format!("Median of {most} runs each"),
        (fewest, most) => format!("Median of {fewest} to {most} runs each"),
    };
    let mut svg = String::new();
    for (number, cell) in cells.iter().enumerate() {
        let left = 20 + number % COLUMNS * (PANEL_WIDTH + 10);
        let top = HEAD_HEIGHT + number / COLUMNS * panel_height;
        panel(&mut svg, cell, left, top);
    }
    let cut = cells.iter().flat_map(|cell| &cell.entries).any(|entry| entry.wall_s().is_none());
    let note = if cut { CUT } else { "" };
    let _infallible = writeln!(svg, "<text class=\"dim\" x=\"20\" y=\"{}\">{note}</text>", height - 20);
    let subtitle = format!(
        "{counted} on one machine, in turns. ✓ makes sure that what arrived is what was sent. Each panel has its own scale."
    );
    let sheet = Sheet {
        height,
        label: "Delivery times of skiff and others",
        styles: [DAY, NIGHT],
        title: "Time to deliver over SSH, in seconds: shorter is better",
        subtitle: &subtitle,
    };
    sheet.around(&svg)
}

fn most_bars(cells: &[Cell]) -> usize {
    cells.iter().map(|cell| cell.entries.len()).max().unwrap_or(0)
}

fn panel(svg: &mut String, cell: &Cell, left: usize, top: usize) {
    let longest = cell.entries.iter().filter_map(shown_s).fold(0.0, f64::max);
    let (line_x, first) = (left + NAMES_WIDTH, top + PANEL_HEAD);
    let last = first + BAR_STEP * cell.entries.len();
    let _infallible = writeln!(
        svg,
        "<text class=\"panel\" x=\"{left}\" y=\"{}\">{}</text>\n\
         <line class=\"axis\" x1=\"{line_x}\" y1=\"{first}\" x2=\"{line_x}\" y2=\"{last}\"/>",
        top + 20,
        escaped(&heading(cell)),
    );
    for (number, entry) in cell.entries.iter().enumerate() {
        bar(svg, entry, longest, line_x, first + BAR_STEP * number);
    }
}

fn heading(cell: &Cell) -> String {
    if cell.line.is_slow() {
        format!("{} over {}", cell.title, cell.line)
    } else {
        format!("{}, round trip {}", cell.title, cell.line)
    }
}

/// The median, or what it would at least have been.
fn shown_s(entry: &Entry) -> Option<f64> {
    entry.wall_s().or_else(|| entry.at_least_s())
}

fn bar(svg: &mut String, entry: &Entry, longest: f64, line_x: usize, top: usize) {
    let is_ours = entry.who == Contender::Skiff;
    let mark = if entry.who.verifies() { "✓ " } else { "" };
    let (name, base) = (escaped(&format!("{mark}{}", entry.who.title())), top + 15);
    let weight = if is_ours { " class=\"ours\"" } else { "" };
    let _infallible =
        write!(svg, "<text{weight} x=\"{}\" y=\"{base}\" text-anchor=\"end\">{name}</text>", line_x - 8);
    let Some(shown_s) = shown_s(entry) else {
        let _infallible =
            writeln!(svg, "<text class=\"dim\" x=\"{}\" y=\"{base}\">failed</text>", line_x + 6);
        return;
    };
    let kind = match (is_ours, entry.wall_s()) {
        (_, None) => "bar cut",
        (true, Some(_)) => "bar skiff",
        (false, Some(_)) => "bar",
    };
    let length = (shown_s / longest.max(f64::MIN_POSITIVE) * BAR_WIDTH).max(1.0);
    #[expect(clippy::cast_precision_loss, reason = "a place on a page")]
    let end = line_x as f64 + length + 6.0;
    let more = if entry.wall_s().is_none() { "&gt; " } else { "" };
    let _infallible = writeln!(
        svg,
        "<rect class=\"{kind}\" x=\"{line_x}\" y=\"{}\" width=\"{length:.1}\" height=\"16\" rx=\"2\"/>\
         <text{weight} x=\"{end:.1}\" y=\"{base}\">{more}{} s</text>",
        top + 2,
        in_seconds(shown_s),
    );
}

fn in_seconds(seconds: f64) -> String {
    match seconds {
        10.0.. => format!("{seconds:.0}"),
        1.0.. => format!("{seconds:.1}"),
        _ => format!("{seconds:.2}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
