//! The command line: words in, words and exit codes out. Adds the hints; decides nothing about deliveries.

mod args;
mod ask;
mod bar;
mod check;
mod config;
mod demo;
mod exit;
mod init;
mod items;
mod keygen;
mod manual;
mod orders;
mod paint;
mod person;
mod pull;
mod push;
mod run;
mod signals;
mod silence;
mod status;
mod transfer;
mod trust;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

use crate::size;
use args::{Args, Command, ConfigCommand};

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let is_agent = matches!(args.command, Command::Run(_));
    abort_on_panic(is_agent);
    leave_no_core();
    if is_agent {
        crate::sys::share_one_heap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            return exit::fail(
                exit::FAILED,
                &format!("cannot start: {error}"),
                "raise the limits of this process",
            );
        }
    };
    let code = runtime.block_on(async {
        match args.command {
            Command::Run(args) => run::run(&args).await,
            Command::Push(args) => push::push(&args).await,
            Command::Pull(args) => pull::pull(&args).await,
            Command::Check(args) => check::check(&args).await,
            Command::Status(args) => status::status(&args),
            Command::Items(args) => items::items(&args),
            Command::Retry(args) => orders::retry(&args),
            Command::Pause(args) => orders::pause(&args, true),
            Command::Resume(args) => orders::pause(&args, false),
            Command::Reload(args) => orders::reload(&args),
            Command::Init(args) => init::init(&args),
            Command::Completions { shell } => manual::completions(shell),
            Command::Man { dir } => manual::man(dir.as_deref()),
            Command::Verify(args) => verify::verify(&args).await,
            Command::Keygen(args) => keygen::keygen(&args),
            Command::Trust(args) => trust::trust(&args).await,
            Command::Demo(args) => demo::demo(&args).await,
            Command::Config { command } => match command {
                ConfigCommand::Check(args) => config::check(&args),
                ConfigCommand::Show(args) => config::show(&args),
                ConfigCommand::Schema => config::schema(),
            },
        }
    });
    // A worker that was aborted may sit in a system call; the process doesn't wait for it.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    silence::unsilence();
    code
}

/// Keys and passphrases are in memory: nothing of it goes to a disk when the process dies, and no other process of the
/// same user reads it. A limit alone doesn't bind where cores are piped to a program.
fn leave_no_core() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    // Lowering a limit is always allowed.
    let _lowered = setrlimit(Resource::Core, nothing);
    #[cfg(target_os = "linux")]
    let _hidden = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// A panic anywhere ends the process, so that it is never half alive. Release builds abort anyway; this makes all alike.
/// What prints for somebody who reads no longer (`| head`) panics in `println!`, and ends as other commands do there.
fn abort_on_panic(is_agent: bool) {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_agent && panic.payload().downcast_ref::<String>().is_some_and(|said| is_unread(said)) {
            std::process::exit(exit::UNREAD.into());
        }
        tell(panic);
        std::process::abort();
    }));
}

/// Whether this is what `println!` and `eprintln!` say when they meet a closed pipe or a terminal that has gone; their panic
/// carries nothing else.
fn is_unread(said: &str) -> bool {
    let Some(printing) = said.strip_prefix("failed printing to std") else { return false };
    let is_terminal = || {
        if printing.starts_with("out") { is_device(std::io::stdout()) } else { is_device(std::io::stderr()) }
    };
    // A disk says the second, too.
    printing.contains("(os error 32)") || (printing.contains("(os error 5)") && is_terminal())
}

/// Whether this is a device, as a terminal is also when it has gone.
fn is_device(stream: impl std::os::fd::AsFd) -> bool {
    use rustix::fs::{FileType, fstat};
    fstat(stream).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice)
}
