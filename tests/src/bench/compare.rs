//! Contenders in turns, round after round, so that what else the machine does meets all of them alike.

use super::contender::Contender;
use super::link::Line;
use super::options::Options;
use super::rig::Rig;
use super::statistics::median;
use super::stopwatch::{Outcome, Usage};
use super::workload::Workload;

/// One workload over one line, by all contenders.
#[derive(Debug, Clone)]
pub struct Cell {
    /// What was sent.
    pub workload: Workload,
    /// What was sent, in words.
    pub title: String,
    /// Over which line.
    pub line: Line,
    /// How many files.
    pub files: usize,
    /// How many bytes.
    pub bytes: u64,
    /// What each took.
    pub entries: Vec<Entry>,
}

/// What one contender took for it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Who.
    pub who: Contender,
    /// Each run that was complete and right.
    pub runs: Vec<Usage>,
    /// Why there are no more of them.
    pub stopped: Option<Outcome>,
}

impl Entry {
    /// The median of a figure. `None`: there is none.
    pub fn median(&self, figure: impl Fn(&Usage) -> f64) -> Option<f64> {
        let figures: Vec<f64> = self.runs.iter().map(figure).collect();
        (!figures.is_empty()).then(|| median(&figures))
    }

    /// The limit, where it was not kept: it would have taken longer.
    pub fn at_least_s(&self) -> Option<f64> {
        match self.stopped {
            Some(Outcome::TooLong(limit)) => Some(limit.as_secs_f64()),
            Some(Outcome::Done(_) | Outcome::Failed(_)) | None => None,
        }
    }

    /// The median of the time.
    pub fn wall_s(&self) -> Option<f64> {
        self.median(|usage| usage.wall_s)
    }
}

impl Cell {
    /// What skiff took.
    pub fn skiff_s(&self) -> Option<f64> {
        self.entries.iter().find(|entry| entry.who == Contender::Skiff)?.wall_s()
    }

    /// How often anything arrived wrong or not at all.
    pub fn failures(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.stopped, Some(Outcome::Failed(_)))).count()
    }
}

/// Times all that the options ask for. Each cell is handed to `done` when it is complete.
pub fn compare(options: &Options, rig: &mut Rig, mut done: impl FnMut(&Cell)) -> Vec<Cell> {
    let mut cells = Vec::new();
    for line in options.lines() {
        let road = rig.road(line);
        let sizes = options.sizes(&line);
        for workload in options.workloads() {
            // Only skiff has an answer to that: it is measured by itself.
            if workload == Workload::Trickle {
                continue;
            }
            let place = rig.make(workload, &sizes);
            let source = rig.source(&place);
            let (files, bytes) = (source.files(), source.bytes);
            let title = workload.title(&sizes);
            let who = options.contenders().into_iter().filter(|who| who.is_installed());
            let entries = who.map(|who| Entry { who, runs: Vec::new(), stopped: None }).collect();
            let mut cell = Cell { workload, title, line, files, bytes, entries };
            for round in 0..options.rounds() {
                // Nobody is always the first, or always behind the same one.
                let first = round % cell.entries.len();
                cell.entries.rotate_left(first);
                for entry in cell.entries.iter_mut().filter(|entry| entry.stopped.is_none()) {
                    match rig.run(entry.who, &place, &road, options.limit()) {
                        Outcome::Done(usage) => entry.runs.push(usage),
                        other @ (Outcome::TooLong(_) | Outcome::Failed(_)) => entry.stopped = Some(other),
                    }
                }
                cell.entries.rotate_right(first);
            }
            done(&cell);
            cells.push(cell);
        }
    }
    cells
}
