//! The dashboard's questions are ones that Prometheus understands.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::Value;
use skiff_tests::machine;
use tempfile::TempDir;

fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("expr").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|value| expressions(value, found));
        }
        Value::Array(members) => members.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn promtool_takes_each_question_of_the_dashboard() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/monitoring/grafana.json");
    let text = fs::read_to_string(file).expect("it is there");
    let mut found = Vec::new();
    expressions(&serde_json::from_str(&text).expect("JSON"), &mut found);
    assert!(found.len() >= 10, "{found:?}");
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (nth, expression) in found.iter().enumerate() {
        let expression = expression.replace("$__rate_interval", "5m");
        assert!(!expression.replace("$instance", "").replace("$watch", "").contains('$'), "{expression}");
        // JSON's strings are YAML's as well.
        writeln!(rules, "  - record: question_{nth}\n    expr: {}", Value::from(expression))
            .expect("a text grows");
    }
    let scratch = TempDir::new().expect("a temporary folder");
    let path = scratch.path().join("rules.yml");
    fs::write(&path, rules).expect("writable");
    match Command::new("promtool").args(["check", "rules"]).arg(&path).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(output.status.success(), "{said}");
            assert!(said.contains(&format!("{} rules found", found.len())), "{said}");
        }
        Err(error) => machine::not_shown(
            "the dashboard's questions",
            &format!("promtool (package prometheus) cannot be started: {error}"),
        ),
    }
}
