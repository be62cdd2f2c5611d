//! `skiff completions` and `skiff man`: from the same definitions as the command line.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::args::Args;
use super::exit;

/// Prints completions for a shell.
pub(super) fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "skiff", &mut script);
    print(&script)
}

/// Prints `skiff(1)`, or writes the pages of all commands into a folder.
pub(super) fn man(folder: Option<&Path>) -> ExitCode {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        // Into memory.
        let _ = clap_mangen::Man::new(Args::command()).render(&mut page);
        return print(&page);
    };
    let written =
        std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Args::command(), folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let what = format!("cannot write the manual into {}: {error}", folder.display());
            exit::fail(exit::FAILED, &what, "name another folder")
        }
    }
}

/// Who reads it may have had enough.
fn print(bytes: &[u8]) -> ExitCode {
    match std::io::stdout().write_all(bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            exit::fail(exit::FAILED, &format!("cannot write: {error}"), "")
        }
        _ => ExitCode::SUCCESS,
    }
}
