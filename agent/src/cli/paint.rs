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

/// Rows in columns; the first row is the head. Numbers stand to the right. The last column isn't padded.
pub(super) fn table(paint: Paint, rows: &[Vec<String>]) {
    for (nth, line) in lines(rows).iter().enumerate() {
        println!("{}", if nth == 0 { paint.dim(line) } else { line.clone() });
    }
}

fn lines(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    // The first column holds names, which may begin with a digit.
    let is_number = |cell: &String| cell == "-" || cell.starts_with(|c: char| c.is_ascii_digit());
    let numbers: Vec<bool> =
        (0..columns).map(|at| at > 0 && rows[1..].iter().all(|row| is_number(&row[at]))).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(at, cell)| match widths[at] {
            _ if at + 1 == columns => cell.clone(),
            width if numbers[at] => format!("{cell:>width$}  "),
            width => format!("{cell:<width$}  "),
        });
        cells.collect::<String>().trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_to_the_left_and_numbers_to_the_right() {
        let rows = [["NAME", "FILES", "OLDEST", "TO"], ["1.csv", "7", "-", "9"], ["b", "1,200", "12 s", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            lines(&rows),
            ["NAME   FILES  OLDEST  TO", "1.csv      7       -  9", "b      1,200    12 s"]
        );
        assert_eq!(lines(&rows[..1]), ["NAME  FILES  OLDEST  TO"]);
    }
}
