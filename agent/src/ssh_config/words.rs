//! A line as words: a keyword, `=` or blanks, then arguments with quotes and escapes as a shell has them.

const BLANKS: [char; 3] = [' ', '\t', '\r'];

/// A keyword in small letters, and its arguments. Nothing for a comment or a blank line.
pub(super) fn split(line: &str) -> Result<Option<(String, Vec<String>)>, &'static str> {
    let line = line.trim_end_matches([' ', '\t', '\r', '\n', '\u{c}']);
    let line = line.trim_start_matches(BLANKS);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (keyword, rest) = keyword(line)?;
    Ok(Some((keyword.to_ascii_lowercase(), arguments(rest)?)))
}

/// Up to a blank or the one `=` that may stand there.
fn keyword(line: &str) -> Result<(&str, &str), &'static str> {
    if let Some(quoted) = line.strip_prefix('"') {
        let (keyword, rest) = quoted.split_once('"').ok_or("a quote is not closed")?;
        return Ok((keyword, rest.trim_start_matches(BLANKS)));
    }
    let end = line.find(|c| BLANKS.contains(&c) || c == '=' || c == '"').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(BLANKS);
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    Ok((keyword, rest.trim_start_matches(BLANKS)))
}

fn arguments(rest: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut left = rest.chars().peekable();
    loop {
        while left.next_if(|c| *c == ' ' || *c == '\t').is_some() {}
        match left.peek() {
            None | Some('#') => return Ok(words),
            Some(_) => words.push(word(&mut left)?),
        }
    }
}

fn word(left: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, &'static str> {
    let (mut word, mut quote) = (String::new(), None);
    while let Some(c) = left.next() {
        match (c, quote) {
            ('\\', _) => {
                let escaped = left
                    .next_if(|next| matches!(next, '\'' | '"' | '\\') || (quote.is_none() && *next == ' '));
                word.push(escaped.unwrap_or('\\'));
            }
            (' ' | '\t', None) => return Ok(word),
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, _) => word.push(c),
        }
    }
    if quote.is_some() { Err("a quote is not closed") } else { Ok(word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let (keyword, arguments) = split(line).expect("sound").expect("not blank");
        std::iter::once(keyword).chain(arguments).collect()
    }

    #[test]
    fn keywords_and_arguments() {
        for (line, wanted) in [
            ("Host a b", &["host", "a", "b"][..]),
            ("  HostName=x", &["hostname", "x"]),
            ("HostName = x", &["hostname", "x"]),
            ("Port\t= 22 # why", &["port", "22"]),
            ("IdentityFile \"a b\" c\\ d 'e\"f'", &["identityfile", "a b", "c d", "e\"f"]),
            ("User a\\\\b#c", &["user", "a\\b#c"]),
            ("User", &["user"]),
            ("User \"\"", &["user", ""]),
        ] {
            assert_eq!(words(line), wanted, "{line}");
        }
        for blank in ["", "  ", "# Host a", "\t#"] {
            assert_eq!(split(blank), Ok(None), "{blank:?}");
        }
        assert!(split("User \"a").is_err());
    }
}
