//! The `skiff` command.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    // The embedded server finds skiff under this name where the machine has no scp.
    if args.next().is_some_and(|name| Path::new(&name).file_name() == Some("scp".as_ref())) {
        return skiff::demo::scp_stand_in::run(args);
    }
    skiff::cli::main()
}
