//! That the schema takes what is read, and refuses what isn't, as far as a schema can tell.

use std::path::Path;

use super::*;
use crate::load::tests::environment;
use crate::{Problem, code};

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

/// Whether the schema takes it, by the few words of JSON Schema that stand in ours.
fn takes(schema: &Value, value: &Value) -> bool {
    let is_of = |kind: &Value| match kind.as_str().expect("a kind") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        other => panic!("{other} is not looked at here"),
    };
    let one_of =
        |list: &Value| list.as_array().expect("schemas").iter().filter(|schema| takes(schema, value)).count();
    let takes_member = |(key, member): (&String, &Value)| match schema["properties"].get(key) {
        Some(schema) => takes(schema, member),
        None => match &schema["additionalProperties"] {
            Value::Bool(any) => *any,
            Value::Null => true,
            schema => takes(schema, member),
        },
    };
    schema.as_object().expect("a schema").iter().all(|(word, wanted)| match word.as_str() {
        "type" => wanted.as_array().map_or_else(|| is_of(wanted), |kinds| kinds.iter().any(is_of)),
        "enum" => wanted.as_array().expect("words").contains(value),
        "minimum" => value.as_i64() >= wanted.as_i64(),
        "pattern" => value.as_str().is_none_or(|text| {
            assert!(wanted == SUBSTITUTED || wanted == PATH, "{wanted} is not looked at here");
            text.contains("${") || (wanted == PATH && text.starts_with(['/', '~']))
        }),
        "anyOf" => one_of(wanted) > 0,
        "oneOf" => one_of(wanted) == 1,
        "required" => wanted
            .as_array()
            .expect("keys")
            .iter()
            .all(|key| value.get(key.as_str().expect("a key")).is_some()),
        "items" => value.as_array().is_none_or(|members| members.iter().all(|member| takes(wanted, member))),
        "properties" | "additionalProperties" => {
            value.as_object().is_none_or(|table| table.iter().all(takes_member))
        }
        "default" | "description" | "title" | "$schema" => true,
        other => panic!("{other} is not looked at here"),
    })
}

fn json_of(item: &Item) -> Value {
    if let Some(table) = item.as_table_like() {
        return table.iter().map(|(key, item)| (key.to_owned(), json_of(item))).collect::<Map<_, _>>().into();
    }
    if let Some(tables) = item.as_array_of_tables() {
        return tables.iter().map(|table| json_of(&Item::Table(table.clone()))).collect();
    }
    if let Some(members) = item.as_array() {
        return members.iter().map(|member| json_of(&Item::Value(member.clone()))).collect();
    }
    match (item.as_str(), item.as_integer()) {
        (Some(text), _) => text.into(),
        (_, Some(number)) => number.into(),
        (None, None) => Value::Null,
    }
}

fn read(text: &str) -> Value {
    let document: DocumentMut = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    json_of(document.as_item())
}

#[test]
fn the_defaults_and_all_examples_are_taken() {
    let schema: Value = serde_json::from_str(&schema()).expect("JSON");
    assert!(takes(&schema, &read(crate::DEFAULT_TOML)));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for example in std::fs::read_dir(folder).expect("there are examples") {
        let path = example.expect("one").path();
        assert!(
            takes(&schema, &read(&std::fs::read_to_string(&path).expect("a text"))),
            "{}",
            path.display()
        );
    }
    assert!(!takes(&schema, &read("[destination.a]\naddress = 'a'\ncolour = 'red'")));
    assert!(!takes(&schema, &read("[[watch]]\nname = 'w'\npath = '/w'\nto = 'a'\nspread = ['a', 'b']")));
}

/// Every setting with values of all sorts: what is read is taken, and what is of the wrong kind or no known word isn't.
#[test]
fn it_agrees_with_what_is_read() {
    const VALUES: [&str; 26] = [
        "'no-such-word'",
        "'/a'",
        "'~/a'",
        "''",
        "'${HOME}'",
        "['/a', 'b']",
        "['a']",
        "[]",
        "[5]",
        "5",
        "0",
        "-1",
        "true",
        "1.5",
        "{ move = '/a' }",
        "{ age = '1d', bytes = 5 }",
        "'2s'",
        "'1 MiB'",
        "'50%'",
        "'8 Mbit/s'",
        "'auto'",
        "'off'",
        "'none'",
        "'skip'",
        "'newest'",
        "'127.0.0.1:9723'",
    ];
    let schema: Value = serde_json::from_str(&schema()).expect("JSON");
    let sections = [
        ("", &schema["properties"]),
        ("[log]", &schema["properties"]["log"]["properties"]),
        ("[control]", &schema["properties"]["control"]["properties"]),
        ("[receipts]", &schema["properties"]["receipts"]["properties"]),
        (
            "[defaults.destination]",
            &schema["properties"]["defaults"]["properties"]["destination"]["properties"],
        ),
        ("[defaults.watch]", &schema["properties"]["defaults"]["properties"]["watch"]["properties"]),
    ];
    let (mut taken, mut refused, mut wrong) = (0, 0, Vec::new());
    for (head, properties) in sections {
        let settings = properties.as_object().expect("keys").iter();
        let settings = settings.filter(|(_, of)| of["type"] != "object" && of["type"] != "array");
        for line in settings.flat_map(|(key, _)| VALUES.map(|value| format!("{key} = {value}"))) {
            let rest = "[destination.a]\naddress = 'a'\n[[watch]]\nname = 'w'\npath = '/w'\nto = 'a'";
            let text =
                if head.is_empty() { format!("{line}\n{rest}") } else { format!("{head}\n{line}\n{rest}") };
            let is_taken = takes(&schema, &read(&text));
            match crate::parse(&text, Path::new("skiff.toml"), &environment()) {
                Ok(_) => {
                    taken += 1;
                    wrong.extend(
                        (!is_taken).then(|| format!("{head} {line} is read, but the schema refuses it")),
                    );
                }
                // What a variable holds, a schema can't know.
                Err(problems) if problems.iter().any(is_of_form) && !line.contains('$') => {
                    refused += 1;
                    wrong
                        .extend(is_taken.then(|| format!("the schema takes {head} {line}, but: {problems}")));
                }
                Err(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(taken > 200 && refused > 500, "{taken} taken, {refused} refused");
}

/// Whether it is about the kind of a value, or about a word out of few.
fn is_of_form(problem: &Problem) -> bool {
    problem.code == code::WRONG_TYPE
        || (problem.code == code::BAD_CHOICE && problem.message.contains("is not known here"))
}
