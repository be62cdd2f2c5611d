//! The budgets: each with what was measured, what it should be, and whether it is.

mod backlog;
mod idle;
mod journal;
mod large;
mod speed;
mod watched;

use std::fs;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::compare::Cell;
use super::options::Options;
use super::rig::Rig;
use super::trickle::trickle_directly;
use crate::skiff;

/// A group of budgets that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Budget {
    /// 1 GiB and 10,000 × 4 KiB against scp and rsync, at 0 and 100 ms
    Speed,
    /// From the end of writing to the final name
    Latency,
    /// Doing nothing with 10,000 watched folders
    Idle,
    /// 1 M files: pending, delivered, found again after a restart, gone
    Backlog,
    /// One file of 10 GiB
    Large,
    /// Bytes that the journal writes to its disk
    Journal,
    /// Size of the program
    Binary,
}

impl Budget {
    /// All of them, the quick ones first.
    pub const ALL: [Budget; 7] = [
        Budget::Binary,
        Budget::Latency,
        Budget::Journal,
        Budget::Idle,
        Budget::Speed,
        Budget::Large,
        Budget::Backlog,
    ];

    /// Measures it.
    pub fn measure(self, options: &Options, rig: &mut Rig) -> Vec<Figure> {
        match self {
            Budget::Speed => speed::measure(options, rig),
            Budget::Latency => latency(options, rig),
            Budget::Idle => idle::measure(options, rig),
            Budget::Backlog => backlog::measure(options, rig),
            Budget::Large => large::measure(options, rig),
            Budget::Journal => journal::measure(options, rig),
            Budget::Binary => binary(),
        }
    }
}

/// The budgets of [`Budget::Speed`], from a comparison that was made already.
pub fn of_comparison(cells: &[Cell]) -> Vec<Figure> {
    speed::from(cells)
}

/// One budget, measured.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Of what.
    pub what: String,
    /// What was seen. `None`: it could not be measured.
    pub measured: Option<f64>,
    /// What it should be, if the budget says so.
    pub target: Option<Target>,
    /// Of both.
    pub unit: &'static str,
}

/// A bound.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Figure {
    fn new(what: impl Into<String>, measured: f64, target: Target, unit: &'static str) -> Self {
        Figure { what: what.into(), measured: Some(measured), target: Some(target), unit }
    }

    /// Something worth knowing without a bound.
    fn only(what: impl Into<String>, measured: f64, unit: &'static str) -> Self {
        Figure { what: what.into(), measured: Some(measured), target: None, unit }
    }

    /// Something that could not be measured here.
    fn missing(what: impl Into<String>) -> Self {
        Figure { what: what.into(), measured: None, target: None, unit: "" }
    }

    /// Whether the bound is kept. `None`: there is none, or no figure.
    pub fn is_reached(&self) -> Option<bool> {
        let measured = self.measured?;
        self.target.map(|target| match target {
            Target::AtMost(bound) => measured <= bound,
            Target::AtLeast(bound) => measured >= bound,
        })
    }

    /// In a line for people.
    pub fn as_text(&self) -> String {
        let target = match self.target {
            Some(Target::AtMost(bound)) => format!("≤ {}", in_digits(bound)),
            Some(Target::AtLeast(bound)) => format!("≥ {}", in_digits(bound)),
            None => String::new(),
        };
        let measured = self.measured.map_or_else(|| "not measured".to_owned(), in_digits);
        let verdict = self.is_reached().map_or("", |reached| if reached { "reached" } else { "NOT REACHED" });
        format!("  {:64} {measured:>12} {:12} {target:>10}  {verdict}", self.what, self.unit)
    }

    /// As JSON.
    pub fn as_json(&self) -> Value {
        let (at_most, at_least) = match self.target {
            Some(Target::AtMost(bound)) => (Some(bound), None),
            Some(Target::AtLeast(bound)) => (None, Some(bound)),
            None => (None, None),
        };
        json!({
            "what": self.what,
            "measured": self.measured,
            "unit": self.unit,
            "at_most": at_most,
            "at_least": at_least,
            "reached": self.is_reached(),
        })
    }
}

fn in_digits(figure: f64) -> String {
    match figure.abs() {
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ if figure.fract() == 0.0 => format!("{figure:.0}"),
        _ => format!("{figure:.3}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a few GiB")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[expect(clippy::cast_precision_loss, reason = "some millions at most")]
fn per(amount: u64, count: u64) -> f64 {
    amount as f64 / count.max(1) as f64
}

fn latency(options: &Options, rig: &Rig) -> Vec<Figure> {
    let latency = trickle_directly(options, rig);
    vec![
        Figure::new(
            "closed → under its final name, beyond settle, p50",
            latency.percentile_ms(0.5),
            Target::AtMost(50.0),
            "ms",
        ),
        Figure::new(
            "closed → under its final name, beyond settle, p99",
            latency.percentile_ms(0.99),
            Target::AtMost(150.0),
            "ms",
        ),
    ]
}

fn binary() -> Vec<Figure> {
    let size = fs::metadata(skiff::binary()).expect("skiff is built").len();
    vec![Figure::new("stripped release binary", mib(size), Target::AtMost(10.0), "MiB")]
}
