//! The tree, and how TOML text becomes one.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml_edit::{Document, Item, TableLike, Value as Toml};

use crate::problem::{Complaint, code};

/// A line of a file.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) file: Arc<Path>,
    pub(crate) line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        write!(out, "{}{line}", self.file.display())
    }
}

/// A value and where it stands: the line of its key, or its own where it is a member of a list.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// Keys and their values.
pub(crate) type Table = BTreeMap<String, Node>;

/// What a key is set to.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    List(Vec<Node>),
    Table(Table),
    /// Something that no setting takes; says what.
    Other(&'static str),
}

impl Node {
    /// A text that stands nowhere.
    #[cfg(test)]
    pub(crate) fn text(text: &str) -> Self {
        let place = Place { file: Arc::from(Path::new("test")), line: None };
        Self { place, value: Value::Text(text.to_owned()) }
    }
}

impl Value {
    /// What it is, for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// Reads `text` as TOML, or says what is wrong and in which line.
pub(crate) fn parse(text: &str, file: &Arc<Path>) -> Result<Table, (Place, Complaint)> {
    let lines = Lines::new(text, file);
    match Document::parse(text) {
        Ok(document) => Ok(lines.table(document.as_table())),
        Err(error) => Err((
            lines.place(error.span()),
            Complaint::new(code::SYNTAX, format!("is not TOML: {}", error.message())),
        )),
    }
}

/// Turns byte offsets into lines.
struct Lines<'f> {
    file: &'f Arc<Path>,
    breaks: Vec<usize>,
}

impl<'f> Lines<'f> {
    fn new(text: &str, file: &'f Arc<Path>) -> Self {
        Self { file, breaks: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    fn place(&self, span: Option<Range<usize>>) -> Place {
        let line = span.map(|span| self.breaks.partition_point(|at| *at < span.start) + 1);
        Place { file: Arc::clone(self.file), line }
    }

    fn table(&self, table: &dyn TableLike) -> Table {
        table.iter().map(|(name, item)| (name.to_owned(), self.entry(table, name, item))).collect()
    }

    fn entry(&self, table: &dyn TableLike, name: &str, item: &Item) -> Node {
        let key = table.get_key_value(name).and_then(|(key, _)| key.span());
        Node { place: self.place(key.or_else(|| item.span())), value: self.item(item) }
    }

    fn item(&self, item: &Item) -> Value {
        match item {
            Item::None => Value::Other("nothing"),
            Item::Value(value) => self.value(value),
            Item::Table(table) => Value::Table(self.table(table)),
            Item::ArrayOfTables(tables) => Value::List(
                tables
                    .iter()
                    .map(|table| Node {
                        place: self.place(table.span()),
                        value: Value::Table(self.table(table)),
                    })
                    .collect(),
            ),
        }
    }

    fn value(&self, value: &Toml) -> Value {
        match value {
            Toml::String(text) => Value::Text(text.value().clone()),
            Toml::Integer(number) => Value::Integer(*number.value()),
            Toml::Float(_) => Value::Other("a number with a fraction"),
            Toml::Boolean(_) => Value::Other("true or false"),
            Toml::Datetime(_) => Value::Other("a date"),
            Toml::InlineTable(table) => Value::Table(self.table(table)),
            Toml::Array(list) => Value::List(
                list.iter()
                    .map(|member| Node { place: self.place(member.span()), value: self.value(member) })
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Table {
        parse(text, &Arc::from(Path::new("t.toml"))).expect("is TOML")
    }

    #[test]
    fn every_kind_of_value_knows_its_line() {
        let table = tree("a = 1\n\n[b.c]\nd = [\n  'x',\n  'y',\n]\n[[w]]\n[[w]]\ne.f = { g = true }\n");
        let line = |node: &Node| node.place.line;
        assert_eq!(line(&table["a"]), Some(1));
        let Value::Table(b) = &table["b"].value else { panic!("b is a table") };
        assert_eq!(line(&b["c"]), Some(3));
        let Value::Table(c) = &b["c"].value else { panic!("c is a table") };
        let Value::List(d) = &c["d"].value else { panic!("d is a list") };
        assert_eq!((line(&c["d"]), line(&d[0]), line(&d[1])), (Some(4), Some(5), Some(6)));
        let Value::List(w) = &table["w"].value else { panic!("w is a list") };
        assert_eq!((line(&w[0]), line(&w[1])), (Some(8), Some(9)));
        let Value::Table(second) = &w[1].value else { panic!("w[1] is a table") };
        assert_eq!(line(&second["e"]), Some(10));
    }

    #[test]
    fn broken_text_names_its_line() {
        let (place, complaint) =
            parse("a = 1\nb = \n", &Arc::from(Path::new("t.toml"))).expect_err("is not TOML");
        assert_eq!(place.line, Some(2));
        assert_eq!(complaint.code, code::SYNTAX);
    }
}
