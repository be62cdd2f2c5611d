//! A path at a destination of which some parts depend on the watch and on the file.

use std::fmt;

/// A part that is filled in later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The watch's name.
    Watch,
    /// The year of the file's modification time, four digits.
    Year,
    /// Its month, two digits.
    Month,
    /// Its day of the month, two digits.
    Day,
    /// Its hour, 00 to 23.
    Hour,
}

impl Part {
    /// All parts, as they are written, and how they are kept in a [`PathTemplate`].
    const ALL: [(&'static str, Self, char); 5] = [
        ("watch", Self::Watch, '\u{fdd0}'),
        ("year", Self::Year, '\u{fdd1}'),
        ("month", Self::Month, '\u{fdd2}'),
        ("day", Self::Day, '\u{fdd3}'),
        ("hour", Self::Hour, '\u{fdd4}'),
    ];

    /// Whether it depends on the file.
    pub fn is_date(self) -> bool {
        self != Self::Watch
    }

    fn of(mark: char) -> Option<Self> {
        Self::ALL.into_iter().find(|(.., of)| *of == mark).map(|(_, part, _)| part)
    }
}

/// A path with such parts. Each is kept as one of the characters that Unicode sets aside for a program's own use: what trims
/// or splits the text then never has to know of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathTemplate(String);

impl PathTemplate {
    /// Exactly this path.
    pub fn literal(path: &str) -> Self {
        Self(path.replace(|c| Part::of(c).is_some(), "\u{fffd}"))
    }

    /// A text in which parts stand as their [marks](Self::mark).
    pub(crate) fn marked(text: String) -> Self {
        Self(text)
    }

    /// How the part of this name is kept, if there is one.
    pub(crate) fn mark(name: &str) -> Option<char> {
        Part::ALL.into_iter().find(|(of, ..)| *of == name).map(|(.., mark)| mark)
    }

    /// Whether this character stands for a part.
    pub(crate) fn is_mark(c: char) -> bool {
        Part::of(c).is_some()
    }

    /// Whether nothing stands in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some part depends on the file.
    pub fn has_dates(&self) -> bool {
        self.0.contains(is_date)
    }

    /// Itself and `below`, where the name of the watch is filled in: what is the same for all files, and the folders
    /// below that whose names are not.
    pub fn split(&self, below: &Self, watch: &str) -> (String, Self) {
        let above = if self.is_empty() { "." } else { &self.0 };
        let separator = if above.ends_with('/') || below.is_empty() { "" } else { "/" };
        let whole = format!("{above}{separator}{}", below.0).replace(Part::ALL[0].2, watch);
        let Some(first) = whole.find(is_date) else { return (whole, Self::default()) };
        match whole[..first].rfind('/') {
            Some(0) => ("/".to_owned(), Self(whole[1..].to_owned())),
            Some(slash) => (whole[..slash].to_owned(), Self(whole[slash + 1..].to_owned())),
            None => (".".to_owned(), Self(whole)),
        }
    }

    /// The path where each part is what `value` says.
    pub fn fill(&self, mut value: impl FnMut(Part) -> String) -> String {
        let piece = |c| Part::of(c).map_or_else(|| c.to_string(), &mut value);
        self.0.chars().map(piece).collect()
    }
}

/// As it is written in a configuration.
impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match (c, Part::ALL.into_iter().find(|(.., mark)| *mark == c)) {
                (_, Some((name, ..))) => write!(f, "{{{name}}}")?,
                ('{' | '}', None) => write!(f, "{c}{c}")?,
                (c, None) => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

fn is_date(c: char) -> bool {
    Part::of(c).is_some_and(Part::is_date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> PathTemplate {
        let marked = Part::ALL.into_iter().fold(text.to_owned(), |text, (name, _, mark)| {
            text.replace(&format!("{{{name}}}"), &mark.to_string())
        });
        PathTemplate::marked(marked)
    }

    #[test]
    fn what_is_the_same_for_all_files_ends_before_the_first_date() {
        for (path, below, root, rest) in [
            ("/srv/in", "", "/srv/in", ""),
            ("/srv/{watch}", "a", "/srv/w/a", ""),
            ("/srv/{year}/{month}", "", "/srv", "{year}/{month}"),
            ("/srv", "in-{year}/{day}", "/srv", "in-{year}/{day}"),
            ("/{year}", "x", "/", "{year}/x"),
            ("{hour}", "{watch}", ".", "{hour}/w"),
            (".", "{year}", ".", "{year}"),
            ("/", "{watch}", "/w", ""),
            ("", "x", "./x", ""),
        ] {
            let (same, differs) = template(path).split(&template(below), "w");
            assert_eq!((same.as_str(), differs.to_string().as_str()), (root, rest), "{path} {below}");
        }
    }

    #[test]
    fn parts_are_filled_in_and_braces_stay() {
        let filled = template("a{{/{year}-{day}").fill(|part| format!("{part:?}"));
        assert_eq!(filled, "a{{/Year-Day");
        assert_eq!(PathTemplate::literal("{x}").to_string(), "{{x}}");
    }
}
