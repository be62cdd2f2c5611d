//! Paths on this machine: absolute, because a service has no folder of its own to be relative to.

use std::path::{Component, Path, PathBuf};

use crate::Environment;
use crate::problem::{Complaint, code};
use crate::raw::Given;

/// An absolute path without `.`, `..` or doubled slashes; `~` is the home folder.
pub(crate) fn local_path(given: Given<'_>) -> Result<PathBuf, Complaint> {
    let text = given.text()?;
    if text.is_empty() {
        return Err(Complaint::new(code::BAD_PATH, "is empty").suggest("write an absolute path"));
    }
    if text.contains(char::is_control) {
        return Err(Complaint::new(code::BAD_PATH, format!("{text:?} holds a control character")));
    }
    let path = expand_home(&text, given.environment)?;
    if !path.is_absolute() {
        return Err(relative(&path, given.folder()));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(Complaint::new(code::BAD_PATH, format!("{text:?} goes up with \"..\""))
            .suggest("write where it leads"));
    }
    Ok(path.components().collect())
}

/// The same; none if empty.
pub(crate) fn optional_path(given: Given<'_>) -> Result<Option<PathBuf>, Complaint> {
    if given.text()?.is_empty() { Ok(None) } else { local_path(given).map(Some) }
}

fn expand_home(text: &str, environment: &Environment) -> Result<PathBuf, Complaint> {
    let Some(rest) = text.strip_prefix('~') else { return Ok(text.into()) };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Err(Complaint::new(code::BAD_PATH, format!("{text:?} names the home of another user"))
            .suggest("write the path in full"));
    }
    let home = environment.home().ok_or_else(|| {
        Complaint::new(code::NO_HOME, format!("{text:?} needs HOME, which is not set"))
            .suggest("write the path in full")
    })?;
    Ok(home.join(rest.trim_start_matches('/')))
}

fn relative(path: &Path, folder: Option<&Path>) -> Complaint {
    let complaint =
        Complaint::new(code::RELATIVE_PATH, format!("{:?} is not an absolute path", path.display()));
    match folder.filter(|folder| folder.is_absolute()) {
        Some(folder) => complaint.suggest(format!("did you mean {:?}?", folder.join(path).display())),
        None => complaint.suggest("begin it with a \"/\""),
    }
}
