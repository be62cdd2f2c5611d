//! The live screen: what matters, in 80 columns and 24 lines, and more of it where there is more room. Draws what it is
//! given; asks nobody.

mod ink;
mod sections;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::words::{files, ms, pending};
use crate::size;
use crate::status::snapshot::{DestinationState, Source};
use crate::status::{Sample, Snapshot};
use ink::{Pen, fit};

/// Lines that are there whatever happens: the first, the totals, the heads of five sections, the last.
const FIXED: usize = 1 + 3 + 5 + 1;
/// Empty lines, one between any two areas, where there is room for all of them.
const GAPS: usize = 8;
/// The lowest chart that shows a shape, and the highest that says more than a lower one.
const CHART: (usize, usize) = (3, 8);

/// What is on the screen.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) snapshot: Option<Snapshot>,
    /// The last seconds, the oldest first.
    pub(super) seconds: Vec<Sample>,
    /// Why nothing new is seen.
    pub(super) silence: Option<String>,
    pub(super) colour: bool,
}

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, shown: &Shown) {
    let pen = Pen { colour: shown.colour };
    let Some(snapshot) = &shown.snapshot else {
        let words = shown.silence.clone().unwrap_or_else(|| "asking the agent".to_owned());
        let lines = vec![Line::raw(words), Line::raw(""), Line::styled("q quits", Pen::DIM)];
        return frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), frame.area());
    };
    let problems = sections::problem_lines(snapshot, pen, usize::from(frame.area().width));
    let wants = Wants {
        on_its_way: snapshot.on_its_way.len().max(1),
        watches: snapshot.watches.len().max(1),
        destinations: snapshot.destinations.len().max(1),
        problems: problems.len(),
    };
    let rows = wants.share(usize::from(frame.area().height).saturating_sub(FIXED));
    let head_and = |rows: usize| Constraint::Length(u16::try_from(rows + 1).unwrap_or(u16::MAX));
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(3),
        head_and(rows.destinations),
        head_and(rows.watches),
        head_and(rows.on_its_way),
        head_and(rows.chart),
        head_and(rows.problems),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .spacing(rows.gap);
    let [head, totals, destinations, watches, on_its_way, charts, last, _, foot] = areas.areas(frame.area());
    draw_head(frame, head, pen, snapshot);
    draw_totals(frame, totals, pen, snapshot);
    sections::destinations(frame, destinations, pen, snapshot);
    sections::watches(frame, watches, pen, snapshot);
    sections::on_its_way(frame, on_its_way, pen, snapshot);
    sections::charts(frame, charts, pen, shown, snapshot);
    sections::problems(frame, last, pen, snapshot, problems);
    let words = match &shown.silence {
        Some(why) => Line::styled(fit(why, usize::from(foot.width)), pen.bad()),
        None => Line::styled("q quits", Pen::DIM),
    };
    frame.render_widget(words, foot);
}

/// How many lines each section could use.
#[derive(Clone, Copy)]
struct Wants {
    on_its_way: usize,
    watches: usize,
    destinations: usize,
    problems: usize,
}

/// How many it gets, below its head.
struct Rows {
    on_its_way: usize,
    watches: usize,
    destinations: usize,
    problems: usize,
    chart: usize,
    /// Empty lines between sections.
    gap: u16,
}

impl Wants {
    /// Gives out `room` lines in turns, so that no section starves another; the chart takes what nobody needs.
    fn share(self, mut room: usize) -> Rows {
        let wants = [self.on_its_way, self.watches, self.destinations, CHART.0, self.problems];
        let mut given = [0; 5];
        while room > 0 && given != wants {
            for (given, wanted) in given.iter_mut().zip(wants) {
                if room > 0 && *given < wanted {
                    *given += 1;
                    room -= 1;
                }
            }
        }
        let [on_its_way, watches, destinations, chart, problems] = given;
        let gap = u16::from(room >= GAPS);
        room -= usize::from(gap) * GAPS;
        let chart = (chart + room).min(CHART.1.max(chart));
        Rows { on_its_way, watches, destinations, problems, chart, gap }
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, pen: Pen, snapshot: &Snapshot) {
    let name = Span::styled(format!("skiff {}", snapshot.skiff), Pen::BOLD);
    let mut words = vec![name, Span::raw("  ")];
    if snapshot.source == Source::Journal {
        words.push(Span::styled("no agent is running; this is what its journal says", pen.warn()));
    } else {
        let up = size::age(ms(snapshot.time_ms.saturating_sub(snapshot.started_ms)));
        let doing = doing(snapshot);
        let style = if matches!(doing, WAITING | PAUSED) { pen.warn() } else { pen.good() };
        words.push(Span::styled(doing, style));
        if is_in_trouble(snapshot) {
            words.push(Span::styled(", in trouble", pen.bad()));
        }
        words.push(Span::raw(format!("   process {}, up {up}", snapshot.pid)));
    }
    frame.render_widget(Line::from(words), area);
    // In UTC, as in the log.
    let time = i64::try_from(snapshot.time_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let time = time.map(|time| time.strftime("%T UTC").to_string()).unwrap_or_default();
    // A style of the line would hold for all that stands in it.
    frame.render_widget(Line::from(Span::styled(time, Pen::DIM)).right_aligned(), area);
}

const WAITING: &str = "waiting";
const PAUSED: &str = "paused";

/// The whole of it in a word. All is delivered only where nothing can be left that isn't counted here.
fn doing(snapshot: &Snapshot) -> &'static str {
    let Snapshot { held, watches, .. } = snapshot;
    if !snapshot.on_its_way.is_empty() {
        "delivering"
    } else if watches.iter().any(|watch| watch.paused) {
        PAUSED
    } else if snapshot.pending.items + held.quarantined + held.waiting > 0
        || snapshot.pending.more
        || watches
            .iter()
            .any(|watch| watch.pending.more || watch.settling.files > 0 || watch.trouble.is_some())
    {
        WAITING
    } else if snapshot.totals.found_files == 0 && snapshot.totals.delivered_bytes == 0 {
        // Nobody knows yet, or there is nothing. A log that grows is not found, but its bytes are delivered.
        "nothing found so far"
    } else {
        "all delivered"
    }
}

fn is_in_trouble(snapshot: &Snapshot) -> bool {
    snapshot.held.quarantined > 0
        || snapshot.watches.iter().any(|watch| watch.trouble.is_some())
        || snapshot.destinations.iter().any(|one| one.state == DestinationState::Waiting)
}

fn draw_totals(frame: &mut Frame<'_>, area: Rect, pen: Pen, snapshot: &Snapshot) {
    let (totals, held) = (&snapshot.totals, &snapshot.held);
    let again = match totals.resent_bytes {
        0 => String::new(),
        bytes => format!(", {} of it again", size::bytes(bytes)),
    };
    let delivered = match snapshot.source {
        Source::Journal => "only an agent knows".to_owned(),
        Source::Agent => format!(
            "{}, {}; sent {}{again}",
            files(totals.delivered_files, ""),
            size::bytes(totals.delivered_bytes),
            size::bytes(totals.sent_bytes)
        ),
    };
    let kinds = [(held.quarantined, "quarantined"), (held.waiting, "tried again")];
    let kinds = kinds.into_iter().filter(|(count, _)| *count > 0);
    let failed: Vec<_> = kinds.map(|(count, what)| format!("{} {what}", size::number(count))).collect();
    let (failed, style) =
        if failed.is_empty() { ("nothing".to_owned(), Pen::PLAIN) } else { (failed.join(", "), pen.bad()) };
    let line = |label: &'static str, words: String, style| {
        Line::from(vec![Span::styled(format!("{label:<11}"), Pen::DIM), Span::styled(words, style)])
    };
    let lines = vec![
        line("delivered", delivered, Pen::PLAIN),
        line("pending", pending(snapshot), Pen::PLAIN),
        line("failed", failed, style),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}
