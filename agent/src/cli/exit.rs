//! Exit codes, and how errors are said.

use std::process::ExitCode;

/// All done.
pub(super) const DONE: u8 = 0;
/// Some items failed.
pub(super) const FAILED: u8 = 1;
/// Usage or configuration.
pub(super) const USAGE: u8 = 2;
/// Could not reach the server or log in.
pub(super) const UNREACHED: u8 = 3;
/// A host key problem.
pub(super) const HOST_KEY: u8 = 4;
/// Interrupted.
pub(super) const INTERRUPTED: u8 = 130;
/// Nobody reads what is printed any longer; what a shell says of a command that SIGPIPE ended.
pub(super) const UNREAD: u8 = 141;

/// Says what failed and what to do, and gives the code.
pub(super) fn fail(code: u8, what: &str, hint: &str) -> ExitCode {
    eprintln!("skiff: {what}");
    if !hint.is_empty() {
        eprintln!("  try: {hint}");
    }
    ExitCode::from(code)
}

/// The exit code for a destination's stable error code.
pub(super) fn of(error_code: &str) -> u8 {
    match error_code {
        "host-key-unknown"
        | "host-key-changed"
        | "host-key-revoked"
        | "host-key-certificate"
        | "known-hosts" => HOST_KEY,
        "host-not-found"
        | "connection-refused"
        | "connect-timed-out"
        | "no-greeting"
        | "network-error"
        | "not-ssh"
        | "no-common-algorithm"
        | "key-file"
        | "key-file-open"
        | "key-passphrase"
        | "no-keys"
        | "jump-failed"
        | "login-refused"
        | "connection-lost"
        | "stalled"
        | "channel"
        | "no-shell"
        | "no-sftp" => UNREACHED,
        _ => FAILED,
    }
}
