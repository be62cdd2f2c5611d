//! Paths at a destination, with templates: `{hostname}`, `{machine_id}` and `{env:NAME}` are filled in here, `{watch}` and
//! the dates later; `{{` and `}}` write plain braces.
//!
//! They end up in commands and in the SCP protocol, where a line break ends a name: control characters are refused. What is
//! filled in is the name of one folder, or part of it, whatever it comes from: never a way out of where it stands.

use crate::Environment;
use crate::problem::{Complaint, code};
use crate::raw::Given;
use crate::settings::PathTemplate;

/// A folder: absolute, or relative to the login folder. `.` is the login folder itself, and so are `~` and nothing.
pub(crate) fn remote_path(given: Given<'_>) -> Result<PathTemplate, Complaint> {
    let path = filled_in(given)?;
    let path = match path.strip_prefix('~') {
        None => trimmed(&path),
        Some(rest) => match rest.strip_prefix('/').map(|below| below.trim_start_matches('/')) {
            // What follows is no home folder, even if it begins with `~` again.
            Some(below) if below.starts_with('~') => format!("./{}", trimmed(below)),
            Some(below) => trimmed(below),
            None if rest.is_empty() => ".".to_owned(),
            None => {
                let message = format!("{:?} names the home of another user", shown(&path));
                return Err(Complaint::new(code::BAD_PATH, message).suggest("write the path in full"));
            }
        },
    };
    let template = PathTemplate::marked(path);
    let (_, dated) = template.split(&PathTemplate::default(), "w");
    // What depends on the file is the beginning of its name there.
    if dated.is_empty() || is_below(&dated.to_string()) {
        return Ok(template);
    }
    Err(Complaint::new(
        code::BAD_PATH,
        format!("{:?} goes on strangely after its date", template.to_string()),
    )
    .suggest("write folders without \".\", \"..\" and backslashes there"))
}

/// A folder below a destination's path; none if empty.
pub(crate) fn remote_sub_folder(given: Given<'_>) -> Result<PathTemplate, Complaint> {
    let path = filled_in(given)?;
    let folder = path.strip_suffix('/').unwrap_or(&path);
    if !path.is_empty() && !is_below(folder) {
        let message = format!("{:?} is not below the destination's path", shown(&path));
        return Err(
            Complaint::new(code::BAD_PATH, message).suggest("write it relative, without \".\" and \"..\"")
        );
    }
    Ok(PathTemplate::marked(folder.to_owned()))
}

fn is_below(folder: &str) -> bool {
    // Tools that tell digests escape a backslash, so a batch could not be told by its names.
    !folder.split('/').any(|part| matches!(part, "" | "." | "..") || part.contains('\\'))
}

fn shown(marked: &str) -> String {
    PathTemplate::marked(marked.to_owned()).to_string()
}

fn trimmed(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".".to_owned(),
        "" => "/".to_owned(),
        kept => kept.to_owned(),
    }
}

fn filled_in(given: Given<'_>) -> Result<String, Complaint> {
    let text = given.text()?;
    if text.contains(|c: char| c.is_control() || PathTemplate::is_mark(c)) {
        return Err(Complaint::new(code::BAD_PATH, format!("{text:?} holds a control character")));
    }
    fill_in(&text, given.environment)
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
            match PathTemplate::mark(word) {
                Some(mark) => out.push(mark),
                None => out.push_str(value_of(word, environment)?),
            }
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn value_of<'e>(word: &str, environment: &'e Environment) -> Result<&'e str, Complaint> {
    let value = match (word, word.strip_prefix("env:")) {
        ("hostname", _) => environment.host_name.as_deref(),
        ("machine_id", _) => environment.machine_id.as_deref(),
        (_, Some(name)) => environment.variable(name),
        _ => {
            return Err(Complaint::new(code::BAD_TEMPLATE, format!("{{{word}}} is not known here")).suggest(
                "write {hostname}, {machine_id}, {watch}, {year}, {month}, {day}, {hour} or {env:NAME}",
            ));
        }
    };
    let is_one_folder = |value: &&str| {
        !value.contains(|c: char| matches!(c, '/' | '\\') || c.is_control() || PathTemplate::is_mark(c))
            && !matches!(*value, "" | "." | "..")
    };
    value.filter(is_one_folder).ok_or_else(|| {
        let wrong = if value.is_some() { "is no name of a folder" } else { "is not known on this machine" };
        Complaint::new(code::BAD_TEMPLATE, format!("{{{word}}} {wrong}")).suggest("write the name itself")
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
            variables: [("SITE", "north"), ("SLASHED", "a/b")].map(|(k, v)| (k.into(), v.into())).into(),
        }
    }

    #[test]
    fn templates_are_filled_in() {
        for (text, wanted) in [
            ("/srv/{hostname}/in", "/srv/edge-7/in"),
            ("{hostname}{hostname}", "edge-7edge-7"),
            ("a{{b}}c", "a{b}c"),
            ("{{hostname}}", "{hostname}"),
            ("{env:SITE}", "north"),
        ] {
            assert_eq!(fill_in(text, &environment()).expect(text), wanted, "{text}");
        }
        for bad in
            ["{env:SLASHED}", "{env:UNSET}", "{", "}", "a}b", "{nothing}", "{}", "{machine_id}", "{hostname"]
        {
            assert_eq!(fill_in(bad, &environment()).expect_err(bad).code, code::BAD_TEMPLATE, "{bad}");
        }
    }

    #[test]
    fn a_template_comes_back_as_it_was_written() {
        for text in ["{{hostname}}", "{{{{x}}}}", "}}{{", "plain", "/srv/{watch}/{year}-{month}-{day}/{hour}"]
        {
            assert_eq!(shown(&fill_in(text, &environment()).expect(text)), text);
        }
    }

    #[test]
    fn nothing_leads_out_behind_a_date() {
        let environment = environment();
        let read = |text: &str| {
            let node = crate::raw::Node::text(text);
            remote_path(Given::new(&node, &environment)).is_ok()
        };
        for fine in ["/srv/{year}/{month}", "/srv/../{year}", "{year}", "~/{day}/x"] {
            assert!(read(fine), "{fine}");
        }
        for bad in ["/srv/{year}/..", "/srv/{year}//x", "{day}/./x", "/{year}/a\\b"] {
            assert!(!read(bad), "{bad}");
        }
    }

    #[test]
    fn trailing_slashes_go_but_the_root_stays() {
        assert_eq!([trimmed(""), trimmed("/"), trimmed("a//"), trimmed("/a/")], [".", "/", "a", "/a"]);
    }
}
