//! Paths at a destination, with `{hostname}` and `{machine_id}` filled in; `{{` and `}}` write plain braces.
//!
//! They end up in commands and in the SCP protocol, where a line break ends a name: control characters are refused.

use crate::Environment;
use crate::problem::{Complaint, code};
use crate::raw::Given;

/// A folder: absolute, or relative to the login folder. `.` is the login folder itself, and so are `~` and nothing.
pub(crate) fn remote_path(given: Given<'_>) -> Result<String, Complaint> {
    let path = filled_in(given)?;
    let Some(rest) = path.strip_prefix('~') else { return Ok(trimmed(&path)) };
    match rest.strip_prefix('/').map(|below| below.trim_start_matches('/')) {
        // What follows is no home folder, even if it begins with `~` again.
        Some(below) if below.starts_with('~') => Ok(format!("./{}", trimmed(below))),
        Some(below) => Ok(trimmed(below)),
        None if rest.is_empty() => Ok(".".to_owned()),
        None => Err(Complaint::new(code::BAD_PATH, format!("{path:?} names the home of another user"))
            .suggest("write the path in full")),
    }
}

/// A folder below a destination's path; none if empty.
pub(crate) fn remote_sub_folder(given: Given<'_>) -> Result<Option<String>, Complaint> {
    let path = filled_in(given)?;
    if path.is_empty() {
        return Ok(None);
    }
    let folder = path.strip_suffix('/').unwrap_or(&path);
    if folder.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Complaint::new(code::BAD_PATH, format!("{path:?} is not below the destination's path"))
            .suggest("write it relative, without \".\" and \"..\""));
    }
    Ok(Some(folder.to_owned()))
}

/// `text` written so that templates give it back.
pub(crate) fn escape_template(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

fn trimmed(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".".to_owned(),
        "" => "/".to_owned(),
        kept => kept.to_owned(),
    }
}

fn filled_in(given: Given<'_>) -> Result<String, Complaint> {
    let path = fill_in(&given.text()?, given.environment)?;
    if path.contains(char::is_control) {
        return Err(Complaint::new(code::BAD_PATH, format!("{path:?} holds a control character")));
    }
    Ok(path)
}

fn fill_in(text: &str, environment: &Environment) -> Result<String, Complaint> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix(brace) {
            out.push_str(brace);
            rest = after;
        } else {
            let (word, after) =
                after.split_once('}').filter(|_| brace == "{").ok_or_else(|| lone_brace(text))?;
            out.push_str(value_of(word, environment)?);
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn value_of<'e>(word: &str, environment: &'e Environment) -> Result<&'e str, Complaint> {
    let value = match word {
        "hostname" => &environment.host_name,
        "machine_id" => &environment.machine_id,
        _ => {
            return Err(Complaint::new(code::BAD_TEMPLATE, format!("{{{word}}} is not known here"))
                .suggest("write {hostname} or {machine_id}"));
        }
    };
    let is_one_folder = |value: &&str| !value.contains('/') && !matches!(*value, "" | "." | "..");
    value.as_deref().filter(is_one_folder).ok_or_else(|| {
        Complaint::new(code::BAD_TEMPLATE, format!("{{{word}}} is not known on this machine"))
            .suggest("write the name itself")
    })
}

fn lone_brace(text: &str) -> Complaint {
    Complaint::new(code::BAD_TEMPLATE, format!("{text:?} has a brace on its own"))
        .suggest("write {{ or }} for a plain one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment {
            host_name: Some("edge-7".into()),
            machine_id: Some("..".into()),
            ..Environment::default()
        }
    }

    #[test]
    fn templates_are_filled_in() {
        for (text, wanted) in [
            ("/srv/{hostname}/in", "/srv/edge-7/in"),
            ("{hostname}{hostname}", "edge-7edge-7"),
            ("a{{b}}c", "a{b}c"),
            ("{{hostname}}", "{hostname}"),
        ] {
            assert_eq!(fill_in(text, &environment()).expect(text), wanted, "{text}");
        }
        for bad in ["{", "}", "a}b", "{nothing}", "{}", "{machine_id}", "{hostname"] {
            assert_eq!(fill_in(bad, &environment()).expect_err(bad).code, code::BAD_TEMPLATE, "{bad}");
        }
    }

    #[test]
    fn an_escaped_template_comes_back() {
        for text in ["{hostname}", "{{x}}", "}{", "plain"] {
            assert_eq!(fill_in(&escape_template(text), &environment()).expect(text), text);
        }
    }

    #[test]
    fn trailing_slashes_go_but_the_root_stays() {
        assert_eq!([trimmed(""), trimmed("/"), trimmed("a//"), trimmed("/a/")], [".", "/", "a", "/a"]);
    }
}
