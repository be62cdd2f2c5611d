//! `receipts.jsonl`: one JSON object a line, one line a delivery.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;

/// All receipts in a state folder. A last line without its end is not one yet.
pub fn read(state_dir: &Path) -> Vec<Value> {
    let text = match fs::read_to_string(state_dir.join("receipts.jsonl")) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => panic!("cannot read the receipts: {error}"),
    };
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in receipt {line:?}")))
        .collect()
}

/// How many receipts name the item `path`.
pub fn naming(receipts: &[Value], path: &str) -> usize {
    receipts.iter().filter(|receipt| names(receipt, path)).count()
}

fn names(value: &Value, path: &str) -> bool {
    match value {
        Value::String(text) => {
            text.strip_suffix(path).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        }
        Value::Array(values) => values.iter().any(|value| names(value, path)),
        Value::Object(fields) => fields.values().any(|value| names(value, path)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
