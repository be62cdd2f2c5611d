//! Colour, where somebody sees it.

use std::io::IsTerminal as _;

/// Paints words, or leaves them as they are.
#[derive(Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    /// For standard output: colour only on a terminal, and not against `NO_COLOR`.
    pub(super) fn stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(std::io::stdout().is_terminal() && !unwanted)
    }

    /// Whether it paints at all.
    pub(super) fn is_on(self) -> bool {
        self.0
    }

    pub(super) fn bold(self, words: &str) -> String {
        self.with("1", words)
    }

    pub(super) fn dim(self, words: &str) -> String {
        self.with("2", words)
    }

    pub(super) fn good(self, words: &str) -> String {
        self.with("32", words)
    }

    pub(super) fn warn(self, words: &str) -> String {
        self.with("33", words)
    }

    pub(super) fn bad(self, words: &str) -> String {
        self.with("31", words)
    }

    fn with(self, code: &str, words: &str) -> String {
        if self.0 { format!("\x1b[{code}m{words}\x1b[0m") } else { words.to_owned() }
    }
}

/// Rows in columns; the first row is the head. The last column isn't padded.
pub(super) fn table(paint: Paint, rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    for (nth, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(
            |(at, (cell, width))| if at + 1 == columns { cell.clone() } else { format!("{cell:<width$}  ") },
        );
        let line: String = cells.collect();
        println!("{}", if nth == 0 { paint.dim(line.trim_end()) } else { line.trim_end().to_owned() });
    }
}
