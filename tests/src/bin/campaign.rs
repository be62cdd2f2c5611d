//! Runs a campaign at any length: `campaign NAME [--count N | --whole] [--seed S] [--sftp]`, `campaign list`. It ends
//! with 0 only if runs met their fault and none failed.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use skiff_tests::campaign::logger::{self, Course};
use skiff_tests::campaign::{ALL, Order, Tally};
use skiff_tests::sshd::sftp_only;

/// Tries to break skiff's promises, again and again.
#[derive(Debug, Parser)]
struct Arguments {
    /// Which campaign; `list` names them.
    name: String,
    /// How many runs.
    #[arg(long, default_value_t = 100, conflicts_with = "whole")]
    count: u64,
    /// Every run that there is, where their number is known.
    #[arg(long)]
    whole: bool,
    /// Of `logger`: so long, with the figures below.
    #[arg(long)]
    minutes: Option<u64>,
    /// Of `logger`: lines a second.
    #[arg(long, default_value_t = 1_000)]
    lines: u32,
    /// Of `logger`: seconds between rotations, cuts of the connection and deaths of the agent.
    #[arg(long, num_args = 3, default_values_t = [60, 30, 45], value_names = ["ROTATE", "CUT", "KILL"])]
    every: Vec<u64>,
    /// Where chance begins.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Against servers that give SFTP and nothing else.
    #[arg(long)]
    sftp: bool,
}

#[expect(clippy::print_stdout, reason = "a command for people")]
fn follow(arguments: &Arguments, minutes: u64) -> Tally {
    let seconds = |nth: usize| Duration::from_secs(arguments.every[nth]);
    let course = Course {
        lasts: Duration::from_secs(minutes * 60),
        lines: arguments.lines,
        rotate: seconds(0),
        cut: seconds(1),
        kill: seconds(2),
    };
    logger::follow(&course, |words| println!("{words}"))
}

#[expect(clippy::print_stdout, reason = "a command for people")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.name == "list" {
        for campaign in ALL {
            println!("{:24} {}", campaign.name, campaign.about);
        }
        return ExitCode::SUCCESS;
    }
    let Some(campaign) = ALL.iter().find(|campaign| campaign.name == arguments.name) else {
        println!("there is no campaign {:?}. Try: campaign list", arguments.name);
        return ExitCode::from(2);
    };
    let begin = Instant::now();
    let order = Order { count: (!arguments.whole).then_some(arguments.count), seed: arguments.seed };
    let run = || match arguments.minutes {
        Some(minutes) if campaign.name == "logger" => follow(&arguments, minutes),
        _ => (campaign.run)(&order),
    };
    let tally = if arguments.sftp { sftp_only(run) } else { run() };
    println!("{}: {tally}\n  in {:.0} s", campaign.name, begin.elapsed().as_secs_f64());
    ExitCode::from(u8::from(!tally.is_clean()))
}
