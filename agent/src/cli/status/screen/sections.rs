//! The sections of the screen: what goes where, what waits, what is on its way, how fast, what went wrong.

use std::cmp::Reverse;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Sparkline, Table};

use super::Shown;
use super::ink::{Pen, bar, fit, fit_end, width, wrapped};
use crate::cli::status::words::{headline, label, ms, percent, state};
use crate::size;
use crate::status::snapshot::{Destination, DestinationState, OnItsWay, Watch};
use crate::status::{Sample, Snapshot};

/// The longest that a state gets before it is cut; `connect-timed-out, again in 12 min 34 s` is one.
const STATE: usize = 40;
/// The longest that a name gets beside others.
const NAME: usize = 20;
/// A column that is left out.
const NONE: usize = usize::MAX;
/// From this width on the backlog has a chart of its own.
const WIDE: u16 = 100;

pub(super) fn destinations(frame: &mut Frame<'_>, area: Rect, pen: Pen, snapshot: &Snapshot) {
    let style = |destination: &Destination| match destination.state {
        DestinationState::Connected => pen.good(),
        DestinationState::Waiting => pen.bad(),
        DestinationState::Paused => pen.warn(),
        DestinationState::Idle | DestinationState::Connecting => Pen::PLAIN,
    };
    // Those in trouble come first.
    let mut sorted: Vec<&Destination> = snapshot.destinations.iter().collect();
    sorted.sort_by_key(|destination| destination.state != DestinationState::Waiting);
    let states: Vec<String> = sorted.iter().map(|destination| state(snapshot, destination)).collect();
    let table = Columns::of(
        area,
        [
            longest(sorted.iter().map(|one| one.name.as_str()), "DESTINATION", NAME),
            0,
            7,
            6,
            longest(states.iter().map(String::as_str), "STATE", STATE),
        ],
    );
    let rows = sorted.iter().zip(&states).map(|(destination, state)| {
        [
            table.text(0, &destination.name),
            table.text(1, &destination.address),
            number(destination.running.to_string()),
            number(destination.queued.to_string()),
            Line::styled(fit(state, table.width(4)), style(destination)),
        ]
    });
    let head = ["DESTINATION".into(), "ADDRESS".into(), "SENDING".into(), "QUEUED".into(), "STATE".into()];
    table.draw(frame, pen, head, &[2, 3], rows.collect());
}

pub(super) fn watches(frame: &mut Frame<'_>, area: Rect, pen: Pen, snapshot: &Snapshot) {
    // Those in which something happens come first.
    let mut sorted: Vec<&Watch> = snapshot.watches.iter().collect();
    sorted.sort_by_key(|watch| {
        let quiet = watch.trouble.is_none() && watch.held.quarantined + watch.held.waiting == 0;
        (quiet, Reverse(watch.pending.items))
    });
    let name = longest(sorted.iter().map(|one| one.name.as_str()), "WATCH", NAME);
    let table = Columns::of(area, [name, 10, 9, 8, 13, 0]);
    let rows = sorted.iter().map(|watch| {
        let oldest = watch.pending.oldest_ms;
        let oldest = oldest.map(|then| size::age(ms(snapshot.time_ms.saturating_sub(then))));
        let more = if watch.pending.more { "+" } else { "" };
        let (words, style) = note(pen, watch);
        [
            table.text(0, &watch.name),
            number(size::number(watch.delivered_files)),
            number(size::number(watch.pending.items) + more),
            number(size::bytes(watch.pending.bytes)),
            number(oldest.unwrap_or_else(|| "-".to_owned())),
            Line::styled(fit(&words, table.width(5)), style),
        ]
    });
    let head = ["WATCH", "DELIVERED", "PENDING", "SIZE", "OLDEST", "TO"].map(str::to_owned);
    table.draw(frame, pen, head, &[1, 2, 3, 4], rows.collect());
}

/// Where its files go, or what is the matter with it.
fn note(pen: Pen, watch: &Watch) -> (String, Style) {
    let failed = watch.held.quarantined + watch.held.waiting;
    match (&watch.trouble, watch.paused) {
        (Some(trouble), _) => (trouble.clone(), pen.bad()),
        (None, true) => ("paused".to_owned(), pen.warn()),
        (None, false) if failed > 0 => (format!("{failed} failed, {}", watch.to), pen.bad()),
        (None, false) if watch.settling.files > 0 => {
            (format!("{} still written to, {}", watch.settling.files, watch.to), pen.warn())
        }
        (None, false) => (watch.to.clone(), Pen::PLAIN),
    }
}

pub(super) fn on_its_way(frame: &mut Frame<'_>, area: Rect, pen: Pen, snapshot: &Snapshot) {
    const BAR: usize = 12;
    let to = snapshot.on_its_way.iter().map(|one| one.destination.as_str());
    // Where there is little room, the path needs it more.
    let to = if area.width < WIDE { NONE } else { longest(to, "TO", NAME) };
    let table = Columns::of(area, [0, to, 8, BAR + 6, 10, 11]);
    let rows = snapshot.on_its_way.iter().map(|shipment| {
        let percent = percent(shipment);
        [
            Line::raw(fitted_label(shipment, table.width(0))),
            table.text(1, &shipment.destination),
            number(size::bytes(shipment.bytes)),
            Line::from(vec![
                Span::styled(bar(percent, BAR), pen.good()),
                Span::raw(format!(" {percent:>3} %")),
            ]),
            number(size::bytes(shipment.bytes_per_second) + "/s"),
            number(left(shipment)),
        ]
    });
    let head = ["ON ITS WAY", "TO", "SIZE", "", "RATE", "LEFT"].map(str::to_owned);
    table.draw(frame, pen, head, &[2, 4, 5], rows.collect());
}

/// The path is cut in front, and what follows it stays.
fn fitted_label(shipment: &OnItsWay, room: usize) -> String {
    let whole = label(shipment);
    let more = whole.strip_prefix(&shipment.first).unwrap_or_default();
    let path = fit_end(&shipment.first, room.saturating_sub(width(more)));
    fit(&format!("{path}{more}"), room)
}

/// How long it will take, or what else is done with it.
fn left(shipment: &OnItsWay) -> String {
    let rest = shipment.bytes.saturating_sub(shipment.sent_bytes);
    match rest.checked_div(shipment.bytes_per_second) {
        _ if shipment.step != "sending" => shipment.step.clone(),
        // All of it is there and is read back.
        _ if rest == 0 => "verifying".to_owned(),
        Some(seconds) => size::age(Duration::from_secs(seconds + 1)),
        None => "-".to_owned(),
    }
}

pub(super) fn charts(frame: &mut Frame<'_>, area: Rect, pen: Pen, shown: &Shown, snapshot: &Snapshot) {
    let rate = |most: u64| {
        let now = size::per_second(snapshot.throughput.sent_bytes_per_second);
        format!("{now} now, at most {}/s", size::bytes(most))
    };
    if area.width < WIDE {
        return chart(frame, area, pen, "THROUGHPUT", &shown.seconds, |sample| sample.sent_bytes, rate);
    }
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).areas(area);
    chart(frame, left, pen, "THROUGHPUT", &shown.seconds, |sample| sample.sent_bytes, rate);
    let backlog = |most: u64| {
        let now = size::number(snapshot.pending.items);
        format!("{now} pending now, at most {}", size::number(most))
    };
    chart(frame, right, pen, "BACKLOG", &shown.seconds, |sample| sample.pending_items, backlog);
}

/// The last seconds, a column each, the latest on the right.
fn chart(
    frame: &mut Frame<'_>,
    area: Rect,
    pen: Pen,
    name: &'static str,
    seconds: &[Sample],
    of: impl Fn(&Sample) -> u64,
    words: impl Fn(u64) -> String,
) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let columns = usize::from(body.width).min(seconds.len());
    let bars: Vec<u64> = seconds[seconds.len() - columns..].iter().map(of).collect();
    let most = bars.iter().copied().max().unwrap_or(0);
    let span = size::age(Duration::from_secs(columns as u64));
    let words = format!("  {} in {span}", words(most));
    frame
        .render_widget(Line::from(vec![Span::styled(name, pen.head()), Span::styled(words, Pen::DIM)]), head);
    let columns = u16::try_from(columns).unwrap_or(body.width);
    let right = Rect { x: body.right() - columns, width: columns, ..body };
    frame.render_widget(Sparkline::default().data(&bars).max(most.max(1)).style(pen.good()), right);
}

/// The latest has all the lines that it needs, then the one before.
pub(super) fn problem_lines(snapshot: &Snapshot, pen: Pen, room: usize) -> Vec<Line<'static>> {
    if snapshot.problems.is_empty() {
        return vec![Line::styled("none", Pen::DIM)];
    }
    let mut lines = Vec::new();
    for problem in &snapshot.problems {
        lines.push(Line::styled(fit(&headline(snapshot, problem), room), pen.bad()));
        let reason = wrapped(&problem.reason, room.saturating_sub(2));
        lines.extend(reason.into_iter().map(|line| Line::raw(format!("  {line}"))));
    }
    lines
}

pub(super) fn problems(
    frame: &mut Frame<'_>,
    area: Rect,
    pen: Pen,
    snapshot: &Snapshot,
    mut lines: Vec<Line<'static>>,
) {
    let room = usize::from(area.height).saturating_sub(1);
    let count = snapshot.problems.len();
    let head =
        if lines.len() > room { format!("LAST PROBLEMS ({count})") } else { "LAST PROBLEMS".to_owned() };
    lines.insert(0, Line::styled(head, pen.head()));
    frame.render_widget(Paragraph::new(lines), area);
}

/// A table whose columns have these widths, with one space between; one of them, given as 0, takes the rest, and those
/// given as [`NONE`] are left out.
struct Columns<const N: usize> {
    area: Rect,
    widths: [usize; N],
}

impl<const N: usize> Columns<N> {
    fn of(area: Rect, mut widths: [usize; N]) -> Self {
        let shown = widths.iter().filter(|width| **width != NONE);
        let taken = shown.clone().sum::<usize>() + shown.count() - 1;
        let rest = usize::from(area.width).saturating_sub(taken);
        let widest = widths.iter().position(|width| *width == 0);
        widths[widest.expect("one takes the rest")] = rest;
        Self { area, widths }
    }

    fn width(&self, column: usize) -> usize {
        self.widths[column]
    }

    fn text(&self, column: usize, text: &str) -> Line<'static> {
        Line::raw(fit(text, self.widths[column]))
    }

    fn row(&self, cells: [Line<'static>; N]) -> Row<'static> {
        let cells = cells.into_iter().zip(self.widths);
        Row::new(cells.filter(|(_, width)| *width != NONE).map(|(cell, _)| cell).collect::<Vec<_>>())
    }

    /// Draws as many rows as there is room for; where that isn't all, the head says how many there are.
    fn draw(
        &self,
        frame: &mut Frame<'_>,
        pen: Pen,
        mut head: [String; N],
        numbers: &[usize],
        mut rows: Vec<[Line<'static>; N]>,
    ) {
        let room = usize::from(self.area.height).saturating_sub(1);
        if rows.len() > room {
            head[0] = format!("{} ({})", head[0], rows.len());
        }
        if rows.is_empty() {
            let mut none = [const { Line { spans: Vec::new(), style: Style::new(), alignment: None } }; N];
            none[0] = Line::styled("none", Pen::DIM);
            rows.push(none);
        }
        let mut at = 0;
        let head = head.map(|words| {
            let line = Line::raw(words);
            at += 1;
            if numbers.contains(&(at - 1)) { line.right_aligned() } else { line }
        });
        let head = self.row(head).style(pen.head());
        let widths = self.widths.iter().filter(|width| **width != NONE);
        let widths = widths.map(|width| Constraint::Length(u16::try_from(*width).unwrap_or(u16::MAX)));
        let rows = rows.into_iter().take(room).map(|cells| self.row(cells));
        frame.render_widget(Table::new(rows, widths).header(head).column_spacing(1), self.area);
    }
}

fn number(text: String) -> Line<'static> {
    Line::raw(text).right_aligned()
}

/// The room for the longest of these, but at most so much.
fn longest<'t>(texts: impl Iterator<Item = &'t str>, head: &str, most: usize) -> usize {
    texts.map(width).max().unwrap_or(0).clamp(head.len(), most.max(head.len()))
}
