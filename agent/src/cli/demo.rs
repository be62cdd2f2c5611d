//! `skiff demo`, and how it ended.

use std::process::ExitCode;

use super::args::Demo;
use super::exit;

/// Runs it.
pub(super) async fn demo(args: &Demo) -> ExitCode {
    match crate::demo::demo(args.files, args.large_mib).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(different) => exit::fail(exit::FAILED, &format!("{different} files did not arrive"), ""),
        Err(error) => exit::fail(
            exit::FAILED,
            &format!("the demo failed: {error}"),
            "run it again with RUST_BACKTRACE=1",
        ),
    }
}
