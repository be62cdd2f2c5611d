//! A table that is read key by key and remembers what was asked for.
//!
//! A key with a problem reads as its base, so that reading goes on and finds the next problem.

use std::collections::BTreeMap;

use super::context::Context;
use super::given::{Given, wrong_type};
use super::tree::{Node, Place, Table, Value};
use crate::problem::{Complaint, code};

/// A table on its way to its type.
pub(crate) struct Section<'c> {
    context: &'c Context<'c>,
    table: Table,
    asked: Vec<&'static str>,
    problems_before: usize,
    places: Places,
}

/// Where the keys of a section stand, for rules that compare several of them.
#[derive(Debug)]
pub(crate) struct Places {
    path: String,
    section: Place,
    keys: BTreeMap<String, Place>,
    /// Whether the section had no problem.
    pub(crate) is_sound: bool,
}

impl<'c> Section<'c> {
    pub(crate) fn new(context: &'c Context<'c>, path: &str, place: Place, table: Table) -> Self {
        let keys = table.iter().map(|(name, node)| (name.clone(), node.place.clone())).collect();
        let places = Places { path: path.to_owned(), section: place, keys, is_sound: false };
        Self { context, table, asked: Vec::new(), problems_before: context.count(), places }
    }

    /// A setting that may be left to its `base`.
    pub(crate) fn get<T: Clone>(
        &mut self,
        key: &'static str,
        base: &T,
        parse: impl FnOnce(Given<'_>) -> Result<T, Complaint>,
    ) -> T {
        self.take(key).and_then(|node| self.parsed(key, &node, parse)).unwrap_or_else(|| base.clone())
    }

    /// A setting that has to be there.
    pub(crate) fn need<T>(
        &mut self,
        key: &'static str,
        remedy: &str,
        parse: impl FnOnce(Given<'_>) -> Result<T, Complaint>,
    ) -> Option<T> {
        if let Some(node) = self.take(key) {
            return self.parsed(key, &node, parse);
        }
        let missing = Complaint::new(code::MISSING_KEY, format!("{key:?} is missing")).suggest(remedy);
        self.context.report(&self.places.section, &self.places.path, missing);
        None
    }

    /// A setting that is one value or a list of them.
    pub(crate) fn list<T: Clone>(
        &mut self,
        key: &'static str,
        base: &[T],
        parse: impl Fn(Given<'_>) -> Result<T, Complaint>,
    ) -> Vec<T> {
        match self.take(key) {
            None => base.to_vec(),
            Some(Node { value: Value::List(members), .. }) => {
                members.iter().filter_map(|node| self.parsed(key, node, &parse)).collect()
            }
            Some(node) => self.parsed(key, &node, parse).into_iter().collect(),
        }
    }

    /// The table at `key`; an empty one where there is none.
    pub(crate) fn table(&mut self, key: &'static str) -> Section<'c> {
        let node = self.take(key);
        let place = node.as_ref().map_or_else(|| self.places.section.clone(), |node| node.place.clone());
        let table = node.and_then(|node| self.parsed(key, &node, |given| a_table(given, "a table")));
        Section::new(self.context, &self.places.key(key), place, table.unwrap_or_default())
    }

    /// The tables below `key` and their names, as in `[destination.NAME]`.
    pub(crate) fn tables(&mut self, key: &'static str) -> Vec<(String, Section<'c>)> {
        let Section { context, table, places, .. } = self.table(key);
        let into_section = |(name, node): (String, Node)| {
            let path = places.key(&name);
            match node.value {
                Value::Table(table) => Some((name, Section::new(context, &path, node.place, table))),
                other => {
                    let wanted = format!("a table, as in [{key}.NAME]");
                    context.report(&node.place, &path, wrong_type(&other, &wanted));
                    None
                }
            }
        };
        table.into_iter().filter_map(into_section).collect()
    }

    /// The tables of the list at `key`, as in `[[watch]]`, in their order.
    pub(crate) fn entries(&mut self, key: &'static str) -> Vec<Section<'c>> {
        let wanted = format!("a list of tables, as in [[{key}]]");
        let members = match self.take(key) {
            None => Vec::new(),
            Some(Node { value: Value::List(members), .. }) => members,
            Some(node) => {
                self.context.report(&node.place, &self.places.key(key), wrong_type(&node.value, &wanted));
                Vec::new()
            }
        };
        let into_section = |(nth, node): (usize, Node)| {
            let table = self.parsed(key, &node, |given| a_table(given, &wanted))?;
            let path = format!("{}.#{}", self.places.key(key), nth + 1);
            Some(Section::new(self.context, &path, node.place, table))
        };
        members.into_iter().enumerate().filter_map(into_section).collect()
    }

    /// From now on problems are reported under `path`.
    pub(crate) fn rename(&mut self, path: &str) {
        path.clone_into(&mut self.places.path);
    }

    /// What it reports to.
    pub(crate) fn context(&self) -> &'c Context<'c> {
        self.context
    }

    /// Reports a problem of the section itself.
    pub(crate) fn report(&self, complaint: Complaint) {
        self.places.report(self.context, &[], complaint);
    }

    /// Reports a problem of the setting `key`.
    pub(crate) fn report_at(&self, key: &'static str, complaint: Complaint) {
        self.places.report(self.context, &[key], complaint);
    }

    /// The keys that were asked for and are not set.
    #[cfg(test)]
    pub(crate) fn unset(&self) -> Vec<&'static str> {
        self.asked.iter().copied().filter(|key| !self.places.sets(&[key])).collect()
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(mut self) -> Places {
        for (name, node) in &self.table {
            let unknown = Complaint::new(code::UNKNOWN_KEY, "unknown key");
            let unknown = match name.as_str() {
                "password" | "passphrase" => unknown.suggest(format!(
                    "name a file in {:?}: secrets never stand in the configuration",
                    format!("{name}_file")
                )),
                _ => unknown.suggest_nearest(name, self.asked.iter().copied()),
            };
            self.context.report(&node.place, &self.places.key(name), unknown);
        }
        self.places.is_sound = self.context.count() == self.problems_before;
        self.places
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.asked.push(key);
        self.table.remove(key)
    }

    fn parsed<T>(
        &self,
        key: &str,
        node: &Node,
        parse: impl FnOnce(Given<'_>) -> Result<T, Complaint>,
    ) -> Option<T> {
        parse(Given::new(node, self.context.environment))
            .map_err(|complaint| self.context.report(&node.place, &self.places.key(key), complaint))
            .ok()
    }
}

impl Places {
    /// Whether the section itself sets one of `keys`.
    pub(crate) fn sets(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.keys.contains_key(*key))
    }

    /// Reports a problem at the first of `keys` that the section sets, or at its head.
    pub(crate) fn report(&self, context: &Context<'_>, keys: &[&str], complaint: Complaint) {
        match keys.iter().find_map(|key| self.keys.get_key_value(*key)) {
            Some((key, place)) => context.report(place, &self.key(key), complaint),
            None => context.report(&self.section, &self.path, complaint),
        }
    }

    /// Where `key` stands, as `file:line`.
    pub(crate) fn at(&self, key: &str) -> String {
        self.keys.get(key).unwrap_or(&self.section).to_string()
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

fn a_table(given: Given<'_>, wanted: &str) -> Result<Table, Complaint> {
    given.table().cloned().ok_or_else(|| given.wrong_type(wanted))
}
