//! `skiff config check` and `show`.

use std::path::Path;
use std::process::ExitCode;

use skiff_config::{Environment, Settings};

use super::args::ConfigFile;
use super::exit;

/// The settings, or the problems told and the exit code.
pub(super) fn load(args: &ConfigFile) -> Result<Settings, ExitCode> {
    load_file(&args.config)
}

/// The same of this file.
pub(super) fn load_file(file: &Path) -> Result<Settings, ExitCode> {
    skiff_config::load(file, &Environment::from_process()).map_err(|problems| {
        eprintln!("{problems}");
        ExitCode::from(exit::USAGE)
    })
}

/// Reports all problems.
pub(super) fn check(args: &ConfigFile) -> ExitCode {
    match load(args) {
        Ok(settings) => {
            let (watches, destinations) = (settings.watches.len() as u64, settings.destinations.len() as u64);
            println!(
                "{}: ok, {} and {}",
                args.config.display(),
                super::size::count(watches, "watch"),
                super::size::count(destinations, "destination")
            );
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// Prints the schema.
pub(super) fn schema() -> ExitCode {
    println!("{}", skiff_config::schema());
    ExitCode::SUCCESS
}

/// Prints what is in force.
pub(super) fn show(args: &ConfigFile) -> ExitCode {
    match load(args) {
        Ok(settings) => {
            print!("{}", settings.to_toml());
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}
