//! How to log in. What is secret stands in files; a secret that was put in the place of such a file's path is never
//! repeated in a message.

use std::path::PathBuf;

use super::address::{SSH_PORT, address};
use super::local_path;
use crate::problem::{Complaint, code};
use crate::raw::Given;
use crate::settings::{Agent, Jump, SshConfig};

/// A word, or the path of a socket.
pub(crate) fn agent(given: Given<'_>) -> Result<Agent, Complaint> {
    let text = given.text()?;
    match text.as_ref() {
        "auto" => Ok(Agent::Auto),
        "always" => Ok(Agent::Always),
        "never" => Ok(Agent::Never),
        path if path.starts_with(['/', '~']) => local_path(given).map(Agent::At),
        other => Err(Complaint::new(code::BAD_CHOICE, format!("{other:?} is not known here"))
            .suggest(r#"write "auto", "always", "never" or the path of the agent's socket"#)),
    }
}

/// A word, or the path of an `ssh_config` file.
pub(crate) fn ssh_config(given: Given<'_>) -> Result<SshConfig, Complaint> {
    let text = given.text()?;
    match text.as_ref() {
        "auto" => Ok(SshConfig::Auto),
        "none" => Ok(SshConfig::Never),
        path if path.starts_with(['/', '~']) => local_path(given).map(SshConfig::At),
        other => Err(Complaint::new(code::BAD_CHOICE, format!("{other:?} is not known here"))
            .suggest(r#"write "auto", "none" or the path of an ssh_config file"#)),
    }
}

/// A server on the way.
pub(crate) fn jump(given: Given<'_>) -> Result<Jump, Complaint> {
    address(given).map(|address| Jump {
        user: address.user,
        host: address.host,
        port: address.port.unwrap_or(SSH_PORT),
    })
}

/// The path of a file that holds a secret; none where it is empty.
pub(crate) fn secret_path(given: Given<'_>) -> Result<Option<PathBuf>, Complaint> {
    let text = given.text()?;
    if text.is_empty() {
        return Ok(None);
    }
    if !text.starts_with(['/', '~']) {
        return Err(Complaint::new(code::RELATIVE_PATH, "is not an absolute path")
            .suggest("name the file that holds the secret, never the secret itself"));
    }
    local_path(given).map(Some)
}
