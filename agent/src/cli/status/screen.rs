//! The live screen: what matters, in 80 columns and 24 lines. Draws what it is given; asks nobody.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Sparkline, Table, Wrap};

use super::words::{headline, label, ms, pending, percent, state};
use crate::cli::size;
use crate::status::Snapshot;
use crate::status::snapshot::{Destination, DestinationState, OnItsWay, Watch};

/// The most lines of a section; what is left out is told in its head.
const MOST_ROWS: usize = 5;

/// What is on the screen.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) snapshot: Option<Snapshot>,
    /// Sent bytes, second by second, the oldest first.
    pub(super) seconds: Vec<u64>,
    /// Why nothing new is seen.
    pub(super) silence: Option<String>,
    pub(super) colour: bool,
}

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, shown: &Shown) {
    let pen = Pen { colour: shown.colour };
    let Some(snapshot) = &shown.snapshot else {
        let words = shown.silence.clone().unwrap_or_else(|| "asking the agent".to_owned());
        frame.render_widget(Paragraph::new(words), frame.area());
        return;
    };
    let rows = |count: usize| u16::try_from(count.clamp(1, MOST_ROWS) + 1).unwrap_or(2);
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Length(rows(snapshot.destinations.len())),
        Constraint::Length(rows(snapshot.watches.len())),
        Constraint::Length(rows(snapshot.on_its_way.len())),
        Constraint::Length(4),
        Constraint::Min(4),
        Constraint::Length(1),
    ]);
    let [head, totals, destinations, watches, on_its_way, throughput, problems, foot] =
        areas.areas(frame.area());
    draw_head(frame, head, snapshot);
    draw_totals(frame, totals, pen, snapshot);
    draw_destinations(frame, destinations, pen, snapshot);
    draw_watches(frame, watches, pen, snapshot);
    draw_on_its_way(frame, on_its_way, pen, snapshot);
    draw_throughput(frame, throughput, pen, shown, snapshot);
    draw_problems(frame, problems, pen, snapshot);
    let words = match &shown.silence {
        Some(why) => Line::styled(why.clone(), pen.bad()),
        None => Line::styled("q quits", Pen::DIM),
    };
    frame.render_widget(words, foot);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let up = size::age(ms(snapshot.time_ms.saturating_sub(snapshot.started_ms)));
    let name = Span::styled(format!("skiff {}", snapshot.skiff), Pen::BOLD);
    let words = Span::raw(format!("   process {}   running for {up}", snapshot.pid));
    frame.render_widget(Line::from(vec![name, words]), area);
    let time = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + ms(snapshot.time_ms)).to_string();
    frame.render_widget(Line::styled(time, Pen::DIM).right_aligned(), area);
}

fn draw_totals(frame: &mut Frame<'_>, area: Rect, pen: Pen, snapshot: &Snapshot) {
    let (totals, held) = (&snapshot.totals, &snapshot.held);
    let again = match totals.resent_bytes {
        0 => String::new(),
        bytes => format!(", {} of it again", size::bytes(bytes)),
    };
    let delivered = format!(
        "delivered  {} files, {}; sent {}{again}",
        size::number(totals.delivered_files),
        size::bytes(totals.delivered_bytes),
        size::bytes(totals.sent_bytes)
    );
    let failed = match held.quarantined + held.waiting {
        0 => Line::raw("failed     nothing"),
        _ => Line::styled(
            format!("failed     {} quarantined, {} tried again", held.quarantined, held.waiting),
            pen.bad(),
        ),
    };
    let lines = vec![Line::raw(delivered), Line::raw(format!("pending    {}", pending(snapshot))), failed];
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_destinations(frame: &mut Frame<'_>, area: Rect, pen: Pen, snapshot: &Snapshot) {
    let row = |destination: &Destination| {
        let style = match destination.state {
            DestinationState::Connected => pen.good(),
            DestinationState::Waiting => pen.bad(),
            DestinationState::Paused => pen.warn(),
            DestinationState::Idle | DestinationState::Connecting => Style::new(),
        };
        Row::new([
            Span::raw(destination.name.clone()),
            Span::raw(destination.address.clone()),
            Span::raw(destination.running.to_string()),
            Span::raw(destination.queued.to_string()),
            Span::styled(state(snapshot, destination), style),
        ])
    };
    let head = [
        section("DESTINATION", snapshot.destinations.len()),
        "ADDRESS".into(),
        "SENDING".into(),
        "QUEUED".into(),
        "STATE".into(),
    ];
    let widths = [
        Constraint::Length(14),
        Constraint::Fill(1),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(34),
    ];
    table(frame, area, head, &widths, snapshot.destinations.iter().map(row));
}

fn draw_watches(frame: &mut Frame<'_>, area: Rect, pen: Pen, snapshot: &Snapshot) {
    let since = |then: Option<u64>| {
        then.map_or_else(|| "-".to_owned(), |then| size::age(ms(snapshot.time_ms.saturating_sub(then))))
    };
    let row = |watch: &Watch| {
        let (words, style) = match (&watch.trouble, watch.paused, watch.held.quarantined + watch.held.waiting)
        {
            (Some(trouble), ..) => (trouble.clone(), pen.bad()),
            (None, true, _) => ("paused".to_owned(), pen.warn()),
            (None, false, 0) => (format!("to {}", watch.to), Style::new()),
            (None, false, failed) => (format!("{failed} failed"), pen.bad()),
        };
        Row::new([
            Span::raw(watch.name.clone()),
            Span::raw(size::number(watch.delivered_files)),
            Span::raw(size::number(watch.pending.items)),
            Span::raw(size::bytes(watch.pending.bytes)),
            Span::raw(since(watch.pending.oldest_ms)),
            Span::styled(words, style),
        ])
    };
    // Those in which something happens come first.
    let mut watches: Vec<&Watch> = snapshot.watches.iter().collect();
    watches.sort_by_key(|watch| {
        let quiet = watch.trouble.is_none() && watch.held.quarantined + watch.held.waiting == 0;
        (quiet, std::cmp::Reverse(watch.pending.items))
    });
    let head = [
        section("WATCH", watches.len()),
        "DELIVERED".into(),
        "PENDING".into(),
        "SIZE".into(),
        "OLDEST".into(),
        String::new(),
    ];
    let widths = [
        Constraint::Length(15),
        Constraint::Length(11),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(12),
        Constraint::Fill(1),
    ];
    table(frame, area, head, &widths, watches.into_iter().map(row));
}

fn draw_on_its_way(frame: &mut Frame<'_>, area: Rect, pen: Pen, snapshot: &Snapshot) {
    let row = |shipment: &OnItsWay| {
        let percent = percent(shipment);
        let rate = size::bytes(shipment.bytes_per_second) + "/s";
        Row::new([
            Line::raw(label(shipment)),
            Line::raw(size::bytes(shipment.bytes)),
            Line::from(vec![
                Span::styled(bar(percent, 20), pen.good()),
                Span::raw(format!(" {percent:>3} %")),
            ]),
            Line::raw(if shipment.step == "sending" { rate } else { shipment.step.clone() }),
        ])
    };
    let head =
        [section("ON ITS WAY", snapshot.on_its_way.len()), "SIZE".into(), String::new(), "RATE".into()];
    let widths = [Constraint::Fill(1), Constraint::Length(9), Constraint::Length(26), Constraint::Length(11)];
    table(frame, area, head, &widths, snapshot.on_its_way.iter().map(row));
}

fn draw_throughput(frame: &mut Frame<'_>, area: Rect, pen: Pen, shown: &Shown, snapshot: &Snapshot) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let seconds = usize::from(body.width).min(shown.seconds.len());
    let bars = &shown.seconds[shown.seconds.len() - seconds..];
    let most = bars.iter().copied().max().unwrap_or(0);
    let span = size::age(Duration::from_secs(u64::from(body.width)));
    let words = format!(
        "THROUGHPUT  {} sent now, {}/s at most in {span}",
        size::per_second(snapshot.throughput.sent_bytes_per_second),
        size::bytes(most)
    );
    frame.render_widget(Line::styled(words, Pen::DIM), head);
    let right = Rect { x: body.right() - u16::try_from(seconds).unwrap_or(body.width), ..body };
    let right = Rect { width: body.right() - right.x, ..right };
    frame.render_widget(Sparkline::default().data(bars).max(most.max(1)).style(pen.good()), right);
}

fn draw_problems(frame: &mut Frame<'_>, area: Rect, pen: Pen, snapshot: &Snapshot) {
    let mut lines = vec![Line::styled(section("LAST PROBLEMS", snapshot.problems.len()), Pen::DIM)];
    if snapshot.problems.is_empty() {
        lines.push(Line::raw("none"));
    }
    for problem in &snapshot.problems {
        lines.push(Line::styled(headline(snapshot, problem), pen.bad()));
        lines.push(Line::raw(format!("  {}", problem.reason)));
    }
    // The latest has all the room that it needs.
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}

fn table<'r, const N: usize>(
    frame: &mut Frame<'_>,
    area: Rect,
    head: [String; N],
    widths: &[Constraint; N],
    rows: impl Iterator<Item = Row<'r>>,
) {
    let head = Row::new(head).style(Pen::DIM);
    frame.render_widget(Table::new(rows.take(MOST_ROWS), widths).header(head).column_spacing(1), area);
}

/// The head of a section, with how many it has where not all are seen.
fn section(name: &str, count: usize) -> String {
    if count > MOST_ROWS { format!("{name} ({count})") } else { name.to_owned() }
}

/// So many of a hundred, in eighths of a column.
fn bar(percent: u64, width: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = usize::try_from(percent.min(100)).unwrap_or(0) * width * 8 / 100;
    let mut bar = "█".repeat(eighths / 8);
    if eighths / 8 < width {
        bar.push(EIGHTHS[eighths % 8]);
    }
    let missing = width.saturating_sub(bar.chars().count());
    bar + &"·".repeat(missing)
}

/// Styles, or none where colour isn't wanted.
#[derive(Clone, Copy)]
struct Pen {
    colour: bool,
}

impl Pen {
    const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
    const DIM: Style = Style::new().add_modifier(Modifier::DIM);

    fn good(self) -> Style {
        self.with(Color::Green)
    }

    fn warn(self) -> Style {
        self.with(Color::Yellow)
    }

    fn bad(self) -> Style {
        self.with(Color::Red)
    }

    fn with(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::status::snapshot::{Held, LastError, Pending, Problem, Source, Throughput, Totals};

    fn snapshot() -> Snapshot {
        let now = 1_790_000_000_000;
        let watch = |name: &str, items, quarantined| Watch {
            name: name.to_owned(),
            path: "/var/spool".to_owned(),
            to: "collector".to_owned(),
            paused: false,
            trouble: None,
            found_files: 0,
            delivered_files: 1_234_567,
            delivered_bytes: 9 << 30,
            last_delivery_ms: Some(now - 1000),
            pending: Pending { items, bytes: items << 20, oldest_ms: Some(now - 3_700_000), more: false },
            held: Held { waiting: 0, quarantined },
        };
        let on_its_way = |first: &str, files, sent: u64| OnItsWay {
            shipment: "0".to_owned(),
            watch: "camera".to_owned(),
            destination: "collector".to_owned(),
            first: first.to_owned(),
            files,
            bytes: 200 << 20,
            sent_bytes: sent << 20,
            step: "sending".to_owned(),
            since_ms: now - 10_000,
            bytes_per_second: 13 << 20,
        };
        let destination = |name: &str, state, failures| Destination {
            paused: None,
            name: name.to_owned(),
            address: "ingest@collector.example.net:22".to_owned(),
            state,
            retry_at_ms: (failures > 0).then_some(now + 62_000),
            failures,
            running: 2,
            queued: 13,
            last_error: (failures > 0).then(|| LastError {
                code: "connection-refused".to_owned(),
                message: String::new(),
                at_ms: now,
            }),
        };
        let problem = Problem {
            at_ms: now - 65_000,
            watch: "camera".to_owned(),
            what: "2026/07/broken.jpg".to_owned(),
            reason: "another file has this name at the destination".to_owned(),
            quarantined: true,
        };
        Snapshot {
            pid: 4711,
            time_ms: now,
            started_ms: now - 90_000_000,
            totals: Totals {
                delivered_files: 1_234_567,
                delivered_bytes: 9 << 30,
                sent_bytes: 10 << 30,
                resent_bytes: 3 << 20,
                ..Totals::default()
            },
            pending: Pending { items: 61_012, bytes: 60 << 30, oldest_ms: Some(now - 3_700_000), more: true },
            held: Held { waiting: 2, quarantined: 1 },
            throughput: Throughput {
                sent_bytes_per_second: 2e7,
                drain_seconds: Some(3_222),
                ..Throughput::default()
            },
            destinations: vec![
                destination("collector", DestinationState::Connected, 0),
                destination("archive", DestinationState::Waiting, 4),
            ],
            watches: vec![watch("sensors", 12, 0), watch("camera", 61_000, 1)],
            on_its_way: vec![on_its_way("2026/07/holiday.mp4", 1, 70), on_its_way("a/b/c.csv", 1000, 200)],
            problems: vec![problem],
            ..Snapshot::empty(Source::Agent)
        }
    }

    fn screen(shown: &Shown, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("it is in memory");
        terminal.draw(|frame| draw(frame, shown)).expect("it is in memory");
        terminal.backend().to_string()
    }

    #[test]
    fn all_that_matters_is_seen_in_80_by_24() {
        let seconds = (0..300).map(|second| second * 100_000).collect();
        let shown = Shown { snapshot: Some(snapshot()), seconds, ..Shown::default() };
        let screen = screen(&shown, 80, 24);
        for words in [
            "running for 1 d 1 h",
            "1,234,567 files, 9.0 GiB; sent 10 GiB, 3.0 MiB of it again",
            "61,012+ files, 60 GiB, oldest 1 h 1 min, done in about 53 min 42 s",
            "1 quarantined, 2 tried again",
            "connected",
            "connection-refused, again",
            "1 h 1 min",
            "1 failed",
            "2026/07/holiday.mp4",
            "a/b/c.csv and 999 more",
            "35 %",
            "100 %",
            "13 MiB/s",
            "29 MiB/s at most in 1 min 20 s",
            "█",
            "camera:2026/07/broken.jpg, quarantined, 1 min 5 s ago",
            "another file has this name at the destination",
            "q quits",
        ] {
            assert!(screen.contains(words), "no {words:?} in\n{screen}");
        }
    }

    #[test]
    fn a_tiny_terminal_and_an_empty_agent_are_borne() {
        let empty = Shown { snapshot: Some(Snapshot::empty(Source::Agent)), ..Shown::default() };
        for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 80)] {
            screen(&empty, width, height);
            screen(
                &Shown { snapshot: Some(snapshot()), seconds: vec![1], ..Shown::default() },
                width,
                height,
            );
        }
        let silent = Shown { silence: Some("no agent answers".to_owned()), ..Shown::default() };
        assert!(screen(&silent, 80, 24).contains("no agent answers"));
    }

    #[test]
    fn bars_have_their_width() {
        for percent in 0..=100 {
            assert_eq!(bar(percent, 20).chars().count(), 20, "{percent}");
        }
    }
}
