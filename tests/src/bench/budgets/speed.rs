//! Against scp and rsync, as ratios.

use super::{Figure, Target};
use crate::bench::compare::{Cell, compare};
use crate::bench::contender::Contender;
use crate::bench::link::Line;
use crate::bench::options::Options;
use crate::bench::rig::Rig;
use crate::bench::workload::Workload;

pub(super) fn measure(options: &Options, rig: &mut Rig) -> Vec<Figure> {
    from(&compare(&options.for_speed(), rig, |_| ()))
}

/// The budgets that a comparison answers.
pub(super) fn from(cells: &[Cell]) -> Vec<Figure> {
    let took = |workload, rtt_ms, who| {
        let cell =
            cells.iter().find(|cell| cell.workload == workload && cell.line == Line::rtt_ms(rtt_ms))?;
        let entry = cell.entries.iter().find(|entry| entry.who == who)?;
        entry.wall_s().or_else(|| entry.at_least_s())
    };
    let ratio = |what: &str, (workload, rtt_ms), (other_rtt_ms, who), bound| {
        let (ours, theirs) = (took(workload, rtt_ms, Contender::Skiff), took(workload, other_rtt_ms, who));
        match ours.zip(theirs) {
            Some((ours, theirs)) => Figure::new(what, ours / theirs, Target::AtMost(bound), "×"),
            None => Figure::missing(what),
        }
    };
    let (large, small) = (Workload::Large, Workload::Small);
    vec![
        ratio("one large file, against scp", (large, 0), (0, Contender::Scp), 1.0),
        ratio("one large file at 100 ms, against scp", (large, 100), (100, Contender::Scp), 0.4),
        ratio("many small files, against rsync -a", (small, 0), (0, Contender::Rsync), 1.0),
        ratio("many small files, against scp -r", (small, 0), (0, Contender::Scp), 0.1),
        ratio("many small files at 100 ms, against 0 ms", (small, 100), (0, Contender::Skiff), 1.3),
    ]
}
