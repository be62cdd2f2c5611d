//! skiff side by side with scp, rsync and others, and its budgets: `bench --help`.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::{Parser, Subcommand};
use serde_json::{Map, Value};
use skiff_tests::bench::{self, Budget, Cell, Figure, Latency, Options, Rig, Speed};

/// Times skiff and what people use instead, side by side, each result compared with what was sent. Ends with 1 where one
/// was wrong, or a budget is not reached or could not be measured.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = false, subcommand_precedence_over_arg = true)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measure the budgets: how fast, how small, how little memory
    Budgets {
        /// Only these
        #[arg(value_enum)]
        names: Vec<Budget>,
    },
    /// Measure what the machine can do: ciphers, digests, disk, sshd
    Limits,
    /// The whole table: the comparison without those who lose by minutes, what the machine can do, and each budget
    All {
        /// Only these budgets; `--only` says which workloads
        #[arg(value_enum)]
        names: Vec<Budget>,
    },
}

fn main() -> ExitCode {
    let Arguments { options, what } = Arguments::parse();
    if let Some(dir) = &options.dir {
        move_to(dir);
    }
    let mut rig = Rig::start();
    let mut found = Map::new();
    let well = match what {
        None => compare(&options, &mut rig, &mut found),
        Some(What::Budgets { names }) => budgets(&names, &options, &mut rig, &mut found),
        Some(What::Limits) => limits(&options, &rig, &mut found),
        Some(What::All { names }) => all(&names, &options, &mut rig, &mut found),
    };
    if let Some(file) = &options.json {
        let found = Value::Object(found);
        fs::write(file, format!("{found:#}\n")).expect("the file for the figures can be written");
    }
    ExitCode::from(u8::from(!well))
}

/// Whether all that arrived was right.
#[expect(clippy::print_stdout, reason = "a command for people")]
fn compare(options: &Options, rig: &mut Rig, found: &mut Map<String, Value>) -> bool {
    let cells = bench::compare(options, rig, |cell| println!("{}", bench::as_text(cell)));
    let latencies = bench::trickle(options, rig, |latency| println!("{}", latency.as_text()));
    found.insert("latency".to_owned(), latencies.iter().map(Latency::as_json).collect());
    keep(&cells, options, found)
}

/// The comparison as JSON and as a picture. Whether all that arrived was right.
fn keep(cells: &[Cell], options: &Options, found: &mut Map<String, Value>) -> bool {
    if let Some(file) = &options.svg {
        fs::write(file, bench::as_picture(cells)).expect("the file for the picture can be written");
    }
    found.insert("comparison".to_owned(), bench::as_json(cells));
    cells.iter().all(|cell| cell.failures() == 0)
}

/// Comparison, limits, then budgets: those that a comparison answers are not measured twice.
#[expect(clippy::print_stdout, reason = "a command for people")]
fn all(names: &[Budget], options: &Options, rig: &mut Rig, found: &mut Map<String, Value>) -> bool {
    let begin = Instant::now();
    let mut cells = Vec::new();
    for part in options.for_whole_table() {
        cells.extend(bench::compare(&part, rig, |cell| println!("{}", bench::as_text(cell))));
    }
    let right = keep(&cells, options, found);
    println!("What the machine can do, each thing alone");
    limits(options, rig, found);
    println!("\nBudgets");
    let mut by_comparison = bench::of_comparison(&cells);
    // Those of workloads that were left out; a contender that failed was counted.
    by_comparison.retain(|figure| figure.measured.is_some());
    for figure in &by_comparison {
        println!("{}", figure.as_text());
    }
    let names = if names.is_empty() { &Budget::ALL } else { names };
    let others: Vec<Budget> = names.iter().copied().filter(|one| *one != Budget::Speed).collect();
    let measured = measure(&others, options, rig, by_comparison, found);
    println!("\n{} minutes in all", begin.elapsed().as_secs().div_ceil(60));
    right && measured
}

/// Whether all budgets are reached.
fn budgets(names: &[Budget], options: &Options, rig: &mut Rig, found: &mut Map<String, Value>) -> bool {
    let names = if names.is_empty() { &Budget::ALL } else { names };
    measure(names, options, rig, Vec::new(), found)
}

/// Adds to `figures`. Whether all of them could be measured and, unless somebody only looks, are reached.
#[expect(clippy::print_stdout, reason = "a command for people")]
fn measure(
    names: &[Budget],
    options: &Options,
    rig: &mut Rig,
    mut figures: Vec<Figure>,
    found: &mut Map<String, Value>,
) -> bool {
    for budget in names {
        let measured = budget.measure(options, rig);
        for figure in &measured {
            println!("{}", figure.as_text());
        }
        figures.extend(measured);
    }
    found.insert("budgets".to_owned(), figures.iter().map(Figure::as_json).collect());
    let missed =
        |figure: &Figure| figure.measured.is_none() || (!options.look && figure.is_reached() == Some(false));
    !figures.iter().any(missed)
}

#[expect(clippy::print_stdout, reason = "a command for people")]
fn limits(options: &Options, rig: &Rig, found: &mut Map<String, Value>) -> bool {
    let speeds = bench::limits(rig, options.limit_bytes(), |speed| println!("{}", speed.as_text()));
    found.insert("limits".to_owned(), speeds.iter().map(Speed::as_json).collect());
    true
}

/// Begins again with `dir` as the place for temporary files, unless it is that already.
#[expect(clippy::print_stderr, reason = "a command for people")]
fn move_to(dir: &Path) {
    if env::temp_dir() == dir {
        return;
    }
    let itself = env::current_exe().expect("a process knows its own path");
    let error = Command::new(itself).args(env::args_os().skip(1)).env("TMPDIR", dir).exec();
    eprintln!("cannot start again in {}: {error}", dir.display());
    std::process::exit(2);
}
