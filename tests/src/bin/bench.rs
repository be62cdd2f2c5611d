//! skiff side by side with scp, rsync and others: `bench --help`.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Parser;
use serde_json::{Value, json};
use skiff_tests::bench::{self, Latency, Options, Rig};

/// Times skiff and what people use instead, side by side, each result compared with what was sent.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

#[expect(clippy::print_stdout, reason = "a command for people")]
fn main() -> ExitCode {
    let Arguments { options } = Arguments::parse();
    if let Some(dir) = &options.dir {
        move_to(dir);
    }
    let mut rig = Rig::start();
    let cells = bench::compare(&options, &mut rig, |cell| println!("{}", bench::as_text(cell)));
    let latencies = bench::trickle(&options, &rig, |latency| println!("{}", latency.as_text()));
    if let Some(file) = &options.json {
        let latency: Value = latencies.iter().map(Latency::as_json).collect();
        let all = json!({ "comparison": bench::as_json(&cells), "latency": latency });
        fs::write(file, format!("{all:#}\n")).expect("the file for the figures can be written");
    }
    ExitCode::from(u8::from(cells.iter().any(|cell| cell.failures() > 0)))
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
