//! What `docs/JSON.md` says of the keys that are printed; in tests alone.

use std::collections::BTreeSet;

use serde_json::Value;

/// Panics unless `value` has just the keys that stand under the heading `command`.
#[track_caller]
pub(crate) fn assert_documented(command: &str, value: &Value) {
    let mut found = BTreeSet::new();
    collect(value, "", &mut found);
    let documented = documented(command);
    assert!(!documented.is_empty(), "JSON.md does not know {command}");
    let undocumented: Vec<_> = found.difference(&documented).collect();
    let missing: Vec<_> = documented.difference(&found).collect();
    assert!(
        undocumented.is_empty() && missing.is_empty(),
        "{command}: not in JSON.md: {undocumented:?}; only there: {missing:?}"
    );
}

/// The keys in the first column of the tables under a heading.
fn documented(command: &str) -> BTreeSet<String> {
    let text = include_str!("../../docs/JSON.md");
    let section = text.split("\n## ").find(|section| section.lines().next() == Some(command));
    let rows = section.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells
        .flat_map(|cell| cell.split('`').step_by(2))
        .map(str::to_owned)
        .filter(|key| !key.is_empty())
        .collect()
}

/// `a.b` is a key of an object in an object, `a[]` a member of a list.
fn collect(value: &Value, path: &str, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let dot = if path.is_empty() { "" } else { "." };
            members.iter().for_each(|(key, value)| collect(value, &format!("{path}{dot}{key}"), keys));
        }
        Value::Array(members) => members.iter().for_each(|value| collect(value, &format!("{path}[]"), keys)),
        _ => drop(keys.insert(path.to_owned())),
    }
}
