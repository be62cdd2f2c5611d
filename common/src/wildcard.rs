//! Patterns as `known_hosts` and `ssh_config` have them.

/// `*` stands for any bytes, `?` for one. Only the last `*` is ever tried again, so that no pattern takes more than
/// length × length steps.
pub fn matches(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    let mut last_star = None;
    while at < text.len() {
        match pattern.get(next) {
            Some(b'*') => {
                last_star = Some((at, next));
                next += 1;
            }
            Some(b) if *b == b'?' || *b == text[at] => (at, next) = (at + 1, next + 1),
            _ => {
                let Some((began, star)) = last_star else { return false };
                last_star = Some((began + 1, star));
                (at, next) = (began + 1, star + 1);
            }
        }
    }
    pattern[next..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_any_bytes_and_for_one() {
        for (text, pattern) in
            [("a.b.c", "*.c"), ("host", "h?st*"), ("xxaxxbab", "*a*b*"), ("", "**"), ("a", "a")]
        {
            assert!(matches(text.as_bytes(), pattern.as_bytes()), "{text} {pattern}");
        }
        for (text, pattern) in [("c", "*.c"), ("hst", "h?st"), ("", "?"), ("ab", "a"), ("A", "a")] {
            assert!(!matches(text.as_bytes(), pattern.as_bytes()), "{text} {pattern}");
        }
    }

    #[test]
    fn many_stars_cost_no_time() {
        assert!(!matches("a".repeat(10_000).as_bytes(), format!("{}b", "*a".repeat(500)).as_bytes()));
    }
}
