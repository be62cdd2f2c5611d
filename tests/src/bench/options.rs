//! What is measured, as the command line says it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::contender::Contender;
use super::link::Line;
use super::workload::{Sizes, Workload};

/// What to measure, how often, and where to.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Only these workloads
    #[arg(global = true, long, value_name = "WORKLOAD,…", value_delimiter = ',', value_enum)]
    only: Vec<Workload>,
    /// skiff against only these
    #[arg(global = true, long, value_name = "NAME,…", value_delimiter = ',', value_enum)]
    against: Vec<Contender>,
    /// Links: round trips in ms, or "slow" for 1.5 Mbit/s
    #[arg(global = true, long, value_name = "MS,…", value_delimiter = ',')]
    rtt: Vec<Line>,
    /// How often each is run; the median counts
    #[arg(global = true, long, value_name = "N")]
    rounds: Option<usize>,
    /// Give up on a run after so many seconds; it is not repeated then
    #[arg(global = true, long, value_name = "SECONDS", default_value_t = 120)]
    limit: u64,
    /// Where workloads, destination and state stand: /dev/shm leaves the disk out of it
    #[arg(global = true, long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Small workloads, one round: whether the benchmark works
    #[arg(global = true, long)]
    quick: bool,
    /// Only look: a budget that is not reached is told, and is no failure
    #[arg(global = true, long)]
    pub look: bool,
    /// Files of the budget "backlog", if not 1,000,000
    #[arg(global = true, long, value_name = "N")]
    files: Option<u64>,
    /// Write the figures there, as JSON
    #[arg(global = true, long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw the figures there, as SVG
    #[arg(global = true, long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

impl Options {
    /// The workloads, in the order in which they are shown.
    pub fn workloads(&self) -> Vec<Workload> {
        Workload::ALL.into_iter().filter(|one| self.only.is_empty() || self.only.contains(one)).collect()
    }

    /// Who is timed, skiff first.
    pub fn contenders(&self) -> Vec<Contender> {
        let wanted = |one: &Contender| self.against.is_empty() || self.against.contains(one);
        Contender::ALL.into_iter().filter(|one| *one == Contender::Skiff || wanted(one)).collect()
    }

    /// The links.
    pub fn lines(&self) -> Vec<Line> {
        match (self.rtt.is_empty(), self.quick) {
            (false, _) => self.rtt.clone(),
            (true, true) => vec![Line::rtt_ms(0), Line::rtt_ms(20)],
            (true, false) => vec![Line::rtt_ms(0), Line::rtt_ms(20), Line::rtt_ms(100), Line::slow()],
        }
    }

    /// How much there is of each workload on a link.
    pub fn sizes(&self, line: &Line) -> Sizes {
        match (self.quick, line.is_slow()) {
            (true, _) => Sizes::quick(),
            (false, true) => Sizes::slow(),
            (false, false) => Sizes::full(),
        }
    }

    /// Whether this only shows that the benchmark works.
    pub(super) fn is_quick(&self) -> bool {
        self.quick
    }

    /// Files of the backlog.
    pub(super) fn backlog_files(&self) -> u64 {
        self.files.unwrap_or(if self.quick { 2000 } else { 1_000_000 })
    }

    /// The same, for the budgets that compare.
    pub(super) fn for_speed(&self) -> Self {
        let only = vec![Workload::Large, Workload::Small];
        let against = vec![Contender::Scp, Contender::Rsync];
        Options { only, against, rtt: vec![Line::rtt_ms(0), Line::rtt_ms(100)], ..self.clone() }
    }

    /// The comparisons of the whole table: who loses by minutes is left out, and what takes a minute is run once. Together
    /// they take some nine minutes.
    pub fn for_whole_table(&self) -> Vec<Self> {
        use Contender::{Rclone, Recipe, Rsync, Scp, ScpO, SkiffSftp, Tar};
        let (direct, far) = (Line::rtt_ms(0), Line::rtt_ms(100));
        let part = |only: Workload, line: Line, against: &[Contender], rounds: usize| Options {
            only: vec![only],
            rtt: vec![line],
            against: against.to_vec(),
            rounds: Some(self.rounds.unwrap_or(if self.quick { 1 } else { rounds })),
            ..self.clone()
        };
        let mut parts = vec![
            part(Workload::Large, direct, &[SkiffSftp, Scp, ScpO, Tar, Rsync, Rclone], 3),
            part(Workload::Large, far, &[SkiffSftp, Scp], 1),
            part(Workload::Small, direct, &[SkiffSftp, Scp, ScpO, Tar, Rsync, Recipe], 5),
            part(Workload::Small, far, &[SkiffSftp, Tar, Rsync, Recipe], 3),
            part(Workload::Tiny, direct, &[Tar, Rsync], 1),
            part(Workload::Logs, direct, &[Scp, Tar, Rsync, Recipe], 3),
            part(Workload::Logs, Line::slow(), &[Scp, Tar, Rsync, Recipe], 1),
        ];
        parts.retain(|part| self.only.is_empty() || self.only.contains(&part.only[0]));
        parts
    }

    /// Bytes with which the limits of the machine are measured.
    pub fn limit_bytes(&self) -> usize {
        if self.quick { 16 << 20 } else { 1 << 30 }
    }

    /// How often each is run.
    pub fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 }).max(1)
    }

    /// How long one run may take.
    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.limit)
    }
}
