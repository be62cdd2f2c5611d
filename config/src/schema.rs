//! A JSON Schema of the configuration, for editors: made from `default.toml`, so that it can't fall behind.

use serde_json::{Map, Value, json};
use toml_edit::{DocumentMut, Item, Table};

use crate::settings::{
    Compression, Duplicates, EmptyFolders, Hidden, LogFormat, LogLevel, ManifestFile, Mode, OnConflict,
    Order, Owner, Symlinks, TimeZone, Transport, WhenFull,
};
use crate::value::Choice;

/// The schema, as JSON.
pub(crate) fn schema() -> String {
    let document: DocumentMut = crate::DEFAULT_TOML.parse().expect("default.toml is TOML, a test reads it");
    let mut root = object(document.as_table());
    let defaults = root["properties"]["defaults"]["properties"].clone();
    let of = |name: &str, needed: &[(&str, &str)]| {
        let mut schema = defaults[name].clone();
        let properties = schema["properties"].as_object_mut().expect("object() made it");
        for (key, description) in needed {
            properties.insert((*key).to_owned(), json!({ "type": "string", "description": description }));
        }
        schema["required"] = needed.iter().map(|(key, _)| *key).collect();
        schema
    };
    let destination = of("destination", &[("address", "[user@]host[:port]")]);
    let watch = [
        ("name", "What it is called: letters, digits, \".\", \"_\" and \"-\""),
        ("path", "The watched folder: absolute, or beginning with \"~/\""),
    ];
    let mut watch = of("watch", &watch);
    let text = json!({ "type": "string" });
    let names = json!({ "anyOf": [text, { "type": "array", "items": text }] });
    for (key, description) in ROUTES {
        let mut names = names.clone();
        names["description"] = description.into();
        watch["properties"][key] = names;
    }
    watch["oneOf"] = ROUTES.iter().map(|(key, _)| json!({ "required": [key] })).collect();
    let properties = root["properties"].as_object_mut().expect("object() made it");
    properties.insert("destination".into(), json!({ "type": "object", "additionalProperties": destination }));
    properties.insert("watch".into(), json!({ "type": "array", "items": watch }));
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "skiff.toml".into();
    format!("{root:#}")
}

/// Where a watch delivers to: one of these keys.
const ROUTES: [(&str, &str); 3] = [
    ("to", "The name of the destination; of several, each gets all files"),
    ("failover", "The names of destinations, the first of which that works gets the files"),
    ("spread", "The names of destinations, one of which is chosen by the machine and the watch"),
];

fn object(table: &Table) -> Value {
    let mut properties = Map::new();
    for (key, item) in table {
        let decor = match item {
            Item::Table(table) => table.decor(),
            _ => table.key(key).expect("it is there").leaf_decor(),
        };
        let comment = decor.prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
        let mut schema = match item {
            Item::Table(table) => object(table),
            item => value(key, item),
        };
        let description = description(comment);
        if !description.is_empty() {
            schema["description"] = description.into();
        }
        properties.insert(key.to_owned(), schema);
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// Text that a variable fills in, so that it may become any.
const SUBSTITUTED: &str = r"\$\{";
/// A path on this machine, or such text.
const PATH: &str = r"^[/~]|\$\{";

fn value(key: &str, item: &Item) -> Value {
    let text = || json!({ "type": "string" });
    let texts = || json!({ "type": "array", "items": text() });
    let size = || json!({ "type": ["string", "integer"] });
    let of =
        |members: Value| json!({ "type": "object", "properties": members, "additionalProperties": false });
    let filled = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    // A list is one text, too; its members are their own default.
    let default = item.as_array().map(|list| list.iter().filter_map(|member| member.as_str()).collect());
    let default: Value = default.unwrap_or_else(|| match item.as_integer() {
        Some(number) => number.into(),
        None => item.as_str().into(),
    });
    let mut schema = match (key, words(key)) {
        ("agent", _) => any([json!({ "enum": ["auto", "always", "never"] }), filled(PATH)]),
        ("ssh_config", _) => any([json!({ "enum": ["auto", "none"] }), filled(PATH)]),
        ("after_delivery", _) => {
            let mut moves = of(json!({ "move": text() }));
            moves["required"] = json!(["move"]);
            any([json!({ "enum": ["keep", "delete"] }), moves, filled(SUBSTITUTED)])
        }
        ("retain", _) => any([
            json!({ "enum": ["all"] }),
            of(json!({ "age": text(), "bytes": size() })),
            filled(SUBSTITUTED),
        ]),
        ("pause_when", _) => any([text(), texts()]),
        ("max_depth", _) => json!({ "type": "integer", "minimum": -1 }),
        // A number of bytes, or text with a unit.
        ("rotate" | "small_file" | "batch_bytes" | "min_size" | "max_size" | "keep_free", _) => size(),
        (_, Some(words)) => any([json!({ "enum": words }), filled(SUBSTITUTED)]),
        (_, None) if item.is_array() => any([text(), texts()]),
        (_, None) if item.is_integer() => json!({ "type": "integer", "minimum": 0 }),
        (_, None) => text(),
    };
    schema["default"] = default;
    schema
}

fn any<const N: usize>(schemas: [Value; N]) -> Value {
    json!({ "anyOf": Vec::from(schemas) })
}

/// The words of a setting that is one out of few. A test asks every setting whether it is.
fn words(key: &str) -> Option<Vec<&'static str>> {
    Some(match key {
        "format" => names::<LogFormat>(),
        "level" => names::<LogLevel>(),
        "time_zone" => names::<TimeZone>(),
        "transport" => names::<Transport>(),
        "compression" => names::<Compression>(),
        "duplicates" => names::<Duplicates>(),
        "owner" => names::<Owner>(),
        "hidden" => names::<Hidden>(),
        "empty_folders" => names::<EmptyFolders>(),
        "symlinks" => names::<Symlinks>(),
        "mode" => names::<Mode>(),
        "when_full" => names::<WhenFull>(),
        "order" => names::<Order>(),
        "on_conflict" => names::<OnConflict>(),
        "manifest" => names::<ManifestFile>(),
        _ => return None,
    })
}

fn names<T: Choice>() -> Vec<&'static str> {
    T::NAMES.iter().map(|(name, _)| *name).collect()
}

/// The comment lines right above, in one.
fn description(prefix: &str) -> String {
    let lines = prefix.rsplit("\n\n").next().unwrap_or_default().lines();
    let lines: Vec<_> = lines.filter_map(|line| line.trim().strip_prefix('#')).map(str::trim).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests;
