//! Several files as one: tables join, `[[watch]]` lists append, and nothing silently wins over anything.

use super::context::Context;
use super::tree::{Node, Place, Table, Value};
use crate::problem::{Complaint, code};

/// Tables that may be spread over files. All others belong to one.
const SHARED: [&str; 5] = ["log", "defaults", "defaults.destination", "defaults.watch", "destination"];

/// Adds what `later` says to `table`.
pub(crate) fn merge(table: &mut Table, later: Table, context: &Context<'_>) {
    merge_at(table, later, "", context);
}

fn merge_at(table: &mut Table, later: Table, path: &str, context: &Context<'_>) {
    for (name, node) in later {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match table.get_mut(&name) {
            Some(earlier) => join(earlier, node, &key, context),
            None => drop(table.insert(name, node)),
        }
    }
}

fn join(earlier: &mut Node, later: Node, key: &str, context: &Context<'_>) {
    match (&mut earlier.value, later.value) {
        (Value::Table(earlier), Value::Table(later)) if SHARED.contains(&key) => {
            merge_at(earlier, later, key, context);
        }
        (Value::List(earlier), Value::List(later)) if key == "watch" => earlier.extend(later),
        _ => context.report(&later.place, key, twice(key, &earlier.place)),
    }
}

fn twice(key: &str, earlier: &Place) -> Complaint {
    if key.starts_with("destination.") {
        Complaint::new(code::DUPLICATE_DESTINATION, format!("is already declared at {earlier}"))
            .suggest("rename one of them")
    } else {
        Complaint::new(code::SET_TWICE, format!("is already set at {earlier}")).suggest("keep one of them")
    }
}
