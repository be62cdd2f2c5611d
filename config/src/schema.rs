//! A JSON Schema of the configuration, for editors: made from `default.toml`, so that it can't fall behind.

use serde_json::{Map, Value, json};
use toml_edit::{DocumentMut, Item, Table};

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

fn value(key: &str, item: &Item) -> Value {
    let move_to = json!({
        "type": "object",
        "properties": { "move": { "type": "string" } },
        "required": ["move"],
        "additionalProperties": false,
    });
    match key {
        "after_delivery" => {
            return json!({ "anyOf": [{ "enum": ["keep", "delete"] }, move_to], "default": "keep" });
        }
        "retain" => {
            let text = json!({ "type": "string" });
            let limits = json!({
                "type": "object",
                "properties": { "age": text, "bytes": { "type": ["string", "integer"] } },
                "additionalProperties": false,
            });
            return json!({ "anyOf": [{ "enum": ["all"] }, limits], "default": "all" });
        }
        "max_depth" => return json!({ "type": "integer", "minimum": -1, "default": -1 }),
        // A number of bytes, or text with a unit.
        "rotate" | "small_file" | "batch_bytes" | "min_size" | "max_size" | "keep_free" => {
            return json!({ "type": ["string", "integer"], "default": item.as_str() });
        }
        _ => {}
    }
    if let Some(list) = item.as_array() {
        let members: Vec<&str> = list.iter().filter_map(|member| member.as_str()).collect();
        let text = json!({ "type": "string" });
        return json!({ "anyOf": [text, { "type": "array", "items": text }], "default": members });
    }
    match item.as_integer() {
        Some(number) => json!({ "type": "integer", "minimum": 0, "default": number }),
        None => json!({ "type": "string", "default": item.as_str().unwrap_or_default() }),
    }
}

/// The comment lines right above, in one.
fn description(prefix: &str) -> String {
    let lines = prefix.rsplit("\n\n").next().unwrap_or_default().lines();
    let lines: Vec<_> = lines.filter_map(|line| line.trim().strip_prefix('#')).map(str::trim).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_stands_in_it_with_its_default_and_what_it_means() {
        let schema: Value = serde_json::from_str(&schema()).expect("JSON");
        let watch = &schema["properties"]["watch"]["items"];
        assert_eq!(watch["required"], json!(["name", "path"]));
        assert_eq!(watch["properties"]["settle"]["default"], "1s");
        let described = watch["properties"]["settle"]["description"].as_str().expect("there is one");
        assert!(described.starts_with("A file is complete once"), "{described}");
        let destination = &schema["properties"]["destination"]["additionalProperties"]["properties"];
        assert_eq!(destination["keepalive"]["default"], "15s");
        assert_eq!(schema["properties"]["control"]["properties"]["listen"]["type"], "string");
        assert_eq!(schema["properties"]["state_dir"]["default"], "/var/lib/skiff");
    }
}
