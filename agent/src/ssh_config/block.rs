//! Whether a `Host` or `Match` block is meant.

use skiff_common::wildcard;

use super::options::Looked;

/// Whom the settings are wanted for.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// The host, as it was asked for.
    pub(super) host: &'a str,
    /// The user that skiff runs as.
    pub(super) own_name: &'a str,
}

/// Of a `Match` line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Matched {
    Yes,
    No,
    /// It depends on something that is not looked at here.
    Untold(String),
}

/// `Host`: blanks between patterns; one negated match outweighs all others.
pub(super) fn host(asked: &Asked<'_>, patterns: &[String]) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(asked.host, pattern) => return false,
            Some(_) => {}
            None => found |= matches(asked.host, pattern),
        }
    }
    found
}

/// Whether a pattern other than `*` has the name.
pub(super) fn names(asked: &Asked<'_>, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| pattern.bytes().any(|b| b != b'*') && matches(asked.host, pattern))
}

/// `Match`: all of its conditions, in their order, so that what can't be told doesn't matter after a clear no.
pub(super) fn conditions(asked: &Asked<'_>, so_far: &Looked, words: &[String]) -> Result<Matched, String> {
    let mut words = words.iter();
    let mut result = Matched::Yes;
    let mut any = false;
    while let Some(word) = words.next() {
        any = true;
        let (negated, name) = match word.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, word.as_str()),
        };
        let name = name.to_ascii_lowercase();
        let (name, given) = match name.split_once('=') {
            Some((_, _)) => {
                let (head, tail) = word.trim_start_matches('!').split_once('=').expect("it has one");
                (head.to_ascii_lowercase(), Some(tail.to_owned()))
            }
            None => (name, None),
        };
        if matches!(name.as_str(), "all" | "canonical" | "final") {
            if name == "all" && (negated || words.len() > 0) {
                return Err("\"all\" stands alone in a Match".to_owned());
            }
            // Host names are never made canonical here, and there is no second look.
            if name != "all" {
                result = and(result, Matched::Untold(name));
            }
            continue;
        }
        let value = given
            .or_else(|| words.next().cloned())
            .ok_or_else(|| format!("{word:?} in a Match needs something to compare with"))?;
        let local = || asked.own_name;
        let hit = match name.as_str() {
            "host" => list_matches(&so_far.host_name(asked.host), &value),
            "originalhost" => list_matches(asked.host, &value),
            "user" => list_matches(so_far.user.as_deref().unwrap_or_else(local), &value),
            "localuser" => list_matches(local(), &value),
            "exec" | "localnetwork" | "tagged" | "version" | "sessiontype" | "command" => {
                result = and(result, Matched::Untold(name));
                continue;
            }
            _ => return Err(format!("{word:?} is no condition of a Match")),
        };
        result = and(result, if hit == negated { Matched::No } else { Matched::Yes });
    }
    if any { Ok(result) } else { Err("Match needs a condition, such as \"all\"".to_owned()) }
}

fn and(before: Matched, this: Matched) -> Matched {
    match (before, this) {
        (Matched::No, _) | (_, Matched::No) => Matched::No,
        (Matched::Untold(what), _) | (_, Matched::Untold(what)) => Matched::Untold(what),
        (Matched::Yes, Matched::Yes) => Matched::Yes,
    }
}

/// Patterns between commas, as in `Match` and `IgnoreUnknown`.
pub(super) fn list_matches(text: &str, patterns: &str) -> bool {
    let patterns: Vec<String> = patterns.split(',').map(str::to_owned).collect();
    host(&Asked { host: text, own_name: "" }, &patterns)
}

/// `*` stands for anything, `?` for one character: as in `known_hosts`.
pub fn matches(text: &str, pattern: &str) -> bool {
    wildcard::matches(text.as_bytes(), pattern.as_bytes())
}
