//! Commands and their arguments. No shell reads them, so a command is found by its path alone.

use crate::problem::{Complaint, code};
use crate::raw::Given;

/// A command and its arguments; none is no command.
pub(crate) fn absolute_command(words: Vec<Given<'_>>) -> Result<Vec<String>, Complaint> {
    let words = words.into_iter().map(word).collect::<Result<Vec<_>, _>>()?;
    check_command(&words).map(|()| words)
}

/// Whether the command is one.
pub(crate) fn check_command(words: &[String]) -> Result<(), Complaint> {
    match words.first() {
        Some(command) if !command.starts_with('/') => {
            Err(Complaint::new(code::RELATIVE_PATH, format!("{command:?} is not an absolute path"))
                .suggest(r#"write one such as ["/usr/local/bin/told", "argument"]"#))
        }
        Some(_) | None => Ok(()),
    }
}

/// One of its words.
pub(crate) fn word(given: Given<'_>) -> Result<String, Complaint> {
    let text = given.text()?;
    if text.contains('\0') {
        return Err(Complaint::new(code::BAD_PATH, format!("{text:?} holds a control character")));
    }
    Ok(text.into_owned())
}
