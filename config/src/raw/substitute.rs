//! `${NAME}`, `${NAME:-fallback}` and `${credential:NAME}` inside text; `$${` writes a plain `${`.

use std::borrow::Cow;

use crate::Environment;
use crate::problem::{Complaint, code};

/// Replaces what `${…}` stands for.
pub(super) fn substitute<'t>(text: &'t str, environment: &Environment) -> Result<Cow<'t, str>, Complaint> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        rest = after;
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
        } else {
            let (inside, after) = after.split_once('}').ok_or_else(|| unclosed(text))?;
            out.push_str(before);
            out.push_str(&resolve(inside, environment)?);
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// `text` written so that [`substitute`] gives it back.
pub(crate) fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

/// What one `${inside}` stands for.
fn resolve(inside: &str, environment: &Environment) -> Result<String, Complaint> {
    if let Some(name) = inside.strip_prefix("credential:") {
        return credential(name, environment);
    }
    // As in a shell, the fallback also stands in for a variable that is empty.
    let (name, value) = match inside.split_once(":-") {
        Some((name, fallback)) => {
            (name, Some(environment.variable(name).filter(|value| !value.is_empty()).unwrap_or(fallback)))
        }
        None => (inside, environment.variable(inside)),
    };
    if !is_variable_name(name) {
        return Err(misnamed(inside));
    }
    value.map(str::to_owned).ok_or_else(|| unset(name))
}

/// The path of a systemd credential. Its content is never read here.
fn credential(name: &str, environment: &Environment) -> Result<String, Complaint> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(misnamed(&format!("credential:{name}")));
    }
    match environment.variable("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty()) {
        Some(folder) => Ok(format!("{}/{name}", folder.trim_end_matches('/'))),
        None => Err(Complaint::new(
            code::NO_CREDENTIALS,
            format!("there is no credential {name:?}, because CREDENTIALS_DIRECTORY is not set"),
        )
        .suggest(format!("add LoadCredential={name} to the systemd unit"))),
    }
}

fn is_variable_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn unset(name: &str) -> Complaint {
    Complaint::new(code::UNSET_VARIABLE, format!("the variable {name} is not set"))
        .suggest(format!("set it or write ${{{name}:-fallback}}"))
}

fn misnamed(inside: &str) -> Complaint {
    Complaint::new(code::BAD_SUBSTITUTION, format!("${{{inside}}} names no variable"))
        .suggest("write $${ for a plain ${")
}

fn unclosed(text: &str) -> Complaint {
    Complaint::new(code::BAD_SUBSTITUTION, format!("{text:?} has a ${{ without a }}"))
        .suggest("write $${ for a plain ${")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        let variables =
            [("SITE", "north"), ("EMPTY", ""), ("CREDENTIALS_DIRECTORY", "/run/credentials/skiff")];
        Environment {
            variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..Environment::default()
        }
    }

    #[test]
    fn variables_fallbacks_and_credentials_are_replaced() {
        for (text, wanted) in [
            ("plain $HOME {x}", "plain $HOME {x}"),
            ("/data/${SITE}/in", "/data/north/in"),
            ("${SITE}${SITE}", "northnorth"),
            ("${EMPTY}x", "x"),
            ("${EMPTY:-full}${UNSET:-}", "full"),
            ("${SITE:-south}", "north"),
            ("${credential:id_ed25519}", "/run/credentials/skiff/id_ed25519"),
            ("$${SITE} costs $$5", "${SITE} costs $$5"),
            ("$$${SITE}", "$${SITE}"),
        ] {
            assert_eq!(substitute(text, &environment()).expect(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_refused() {
        for (text, wanted) in [
            ("${UNSET}", code::UNSET_VARIABLE),
            ("${SITE", code::BAD_SUBSTITUTION),
            ("${}", code::BAD_SUBSTITUTION),
            ("${A B:-x}", code::BAD_SUBSTITUTION),
            ("${credential:../passwd}", code::BAD_SUBSTITUTION),
        ] {
            assert_eq!(substitute(text, &environment()).expect_err(text).code, wanted, "{text}");
        }
        let nowhere = substitute("${credential:key}", &Environment::default()).expect_err("no credentials");
        assert_eq!(nowhere.code, code::NO_CREDENTIALS);
    }

    #[test]
    fn an_escaped_text_comes_back() {
        for text in ["${SITE}", "$${SITE}", "$$${", "a ${ b", "}$", "plain"] {
            assert_eq!(substitute(&escape(text), &environment()).expect(text), text);
        }
    }
}
