//! Styles, and words cut to the room that there is.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

/// Styles, or none where colour isn't wanted.
#[derive(Clone, Copy)]
pub(super) struct Pen {
    pub(super) colour: bool,
}

impl Pen {
    pub(super) const PLAIN: Style = Style::new();
    pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
    pub(super) const DIM: Style = Style::new().add_modifier(Modifier::DIM);

    /// Of the head of a section.
    pub(super) fn head(self) -> Style {
        self.with(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    pub(super) fn good(self) -> Style {
        self.with(Color::Green)
    }

    pub(super) fn warn(self) -> Style {
        self.with(Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.with(Color::Red)
    }

    fn with(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }
}

/// How many columns it takes.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// In so many columns: cut at the end, and seen to be cut.
pub(super) fn fit(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut cut = String::new();
    for c in text.chars() {
        if width(&cut) + width(c.encode_utf8(&mut [0; 4])) >= room {
            break;
        }
        cut.push(c);
    }
    if room > 0 { cut + "…" } else { cut }
}

/// In so many columns: cut in front, as the end of a path tells most.
pub(super) fn fit_end(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut start = text.len();
    for (at, _) in text.char_indices().rev() {
        if width(&text[at..]) >= room {
            break;
        }
        start = at;
    }
    if room > 0 { format!("…{}", &text[start..]) } else { String::new() }
}

/// In lines of so many columns, between words where that is possible.
pub(super) fn wrapped(text: &str, room: usize) -> Vec<String> {
    let room = room.max(1);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && width(&line) + 1 + width(word) > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if width(&line) + width(c.encode_utf8(&mut [0; 4])) > room && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.push(line);
    lines
}

/// So many of a hundred, in eighths of a column.
pub(super) fn bar(percent: u64, width: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = usize::try_from(percent.min(100)).unwrap_or(0) * width * 8 / 100;
    let mut bar = "█".repeat(eighths / 8);
    if eighths / 8 < width && !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8]);
    }
    let missing = width.saturating_sub(bar.chars().count());
    bar + &"·".repeat(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_their_width() {
        for percent in 0..=100 {
            assert_eq!(bar(percent, 20).chars().count(), 20, "{percent}");
        }
    }

    #[test]
    fn what_is_too_long_is_seen_to_be_cut() {
        assert_eq!((fit("collector", 9).as_str(), fit("collector", 5).as_str()), ("collector", "coll…"));
        assert_eq!(
            (fit_end("a/b/c.csv", 9).as_str(), fit_end("a/b/c.csv", 6).as_str()),
            ("a/b/c.csv", "…c.csv")
        );
        assert_eq!((fit("日本語", 5).as_str(), fit_end("日本語", 5).as_str()), ("日本…", "…本語"));
        assert_eq!((fit("x", 0), fit_end("xy", 1)), (String::new(), "…".to_owned()));
    }

    #[test]
    fn words_are_wrapped_and_none_is_lost() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrapped("", 3), [""]);
    }
}
