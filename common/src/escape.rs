//! Bytes from outside, made safe to show: one line, printable, reversible, of bounded length.

use std::fmt::Write as _;

/// Shows `bytes` on one line. Printable UTF-8 stays; a backslash, a control character or a byte that isn't UTF-8
/// becomes `\\`, `\n`, `\t`, `\r` or `\xNN`, so nobody forges a log line or drives a terminal.
pub fn escaped(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_char(&mut shown, c));
        chunk.invalid().iter().for_each(|b| push_byte(&mut shown, *b));
    }
    shown
}

/// As [`escaped`], cut after `most` characters with an ellipsis.
pub fn escaped_up_to(bytes: &[u8], most: usize) -> String {
    let head = &bytes[..bytes.len().min(most.saturating_mul(4))];
    let shown = escaped(head);
    if head.len() == bytes.len() && shown.chars().count() <= most {
        return shown;
    }
    let mut cut: String = shown.chars().take(most).collect();
    cut.push('…');
    cut
}

/// What [`escaped`] showed; `None` for what it never shows.
pub fn unescaped(shown: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::with_capacity(shown.len()), shown);
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (byte, length) = match rest.as_bytes().get(at + 1)? {
            b'\\' => (b'\\', 2),
            b'n' => (b'\n', 2),
            b'r' => (b'\r', 2),
            b't' => (b'\t', 2),
            b'x' => (u8::from_str_radix(rest.get(at + 2..at + 4)?, 16).ok()?, 4),
            _ => return None,
        };
        bytes.push(byte);
        rest = &rest[at + length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

fn push_char(shown: &mut String, c: char) {
    match c {
        '\\' => shown.push_str("\\\\"),
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        // U+202A–U+2069 turn the direction of what follows; U+2028 and U+2029 break lines.
        c if c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') =>
        {
            let mut utf8 = [0; 4];
            c.encode_utf8(&mut utf8).bytes().for_each(|b| push_byte(shown, b));
        }
        c => shown.push(c),
    }
}

fn push_byte(shown: &mut String, byte: u8) {
    write!(shown, "\\x{byte:02x}").expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays() {
        assert_eq!(escaped("température 7.csv".as_bytes()), "température 7.csv");
    }

    #[test]
    fn nothing_forges_a_line_or_drives_a_terminal() {
        assert_eq!(escaped(b"a\nb\x1b[2J\\\xff\r"), "a\\nb\\x1b[2J\\\\\\xff\\r");
        assert_eq!(escaped("a\u{202e}b\u{2028}".as_bytes()), "a\\xe2\\x80\\xaeb\\xe2\\x80\\xa8");
    }

    #[test]
    fn what_was_shown_is_read_back() {
        for bytes in
            [b"plain \\ \\n \n\t\r\x00\x1b[2J \xff\xfe".as_slice(), "é\u{202e}\u{feff}".as_bytes(), b""]
        {
            assert_eq!(unescaped(&escaped(bytes)).as_deref(), Some(bytes));
        }
        for odd in ["\\", "\\x", "\\x1", "\\xzz", "\\q", "a\\xé"] {
            assert_eq!(unescaped(odd), None, "{odd}");
        }
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(escaped_up_to(b"abcdef", 3), "abc…");
        assert_eq!(escaped_up_to(b"abc", 3), "abc");
    }
}
