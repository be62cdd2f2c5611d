//! `tests/bench` at its smallest: it measures everybody and every budget that takes seconds, and sees that what arrives is right.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use skiff_tests::{machine, process, skiff};
use tempfile::TempDir;

fn bench(dir: &Path, words: &[&str]) -> Value {
    let figures = dir.join("figures.json");
    let mut command = Command::new(skiff::built("bench"));
    command.env("SKIFF_BIN", skiff::binary()).env("TMPDIR", dir);
    // What is held against the budgets is a whole run on a quiet machine.
    process::run(command.args(["--quick", "--look", "--json"]).arg(&figures).args(words));
    let text = fs::read_to_string(figures).expect("it wrote its figures");
    serde_json::from_str(&text).expect("its figures are JSON")
}

#[test]
fn all_contenders_deliver_and_are_timed() {
    let dir = TempDir::new().expect("a temporary folder");
    let picture = dir.path().join("picture.svg");
    let picture_name = picture.to_str().expect("test folders have plain names");
    let found = bench(dir.path(), &["--svg", picture_name]);

    let cells = found["comparison"].as_array().expect("there are cells");
    // Four workloads over two lines.
    assert_eq!(cells.len(), 8);
    for cell in cells {
        for contender in cell["contenders"].as_array().expect("there are contenders") {
            assert!(contender["median_s"].as_f64().is_some_and(|median_s| median_s > 0.0), "{contender}");
        }
        let ratio = cell["contenders"][0]["times_skiff"].as_f64().expect("skiff comes first");
        assert!((ratio - 1.0).abs() < 1e-9);
    }
    assert_eq!(found["latency"][0]["files"], 10);
    let svg = fs::read_to_string(picture).expect("it drew the picture");
    assert_eq!(svg.matches("class=\"bar skiff\"").count(), 8);
}

#[test]
fn budgets_are_measured() {
    let dir = TempDir::new().expect("a temporary folder");
    let mut words = vec!["budgets", "binary", "latency", "idle", "large", "backlog"];
    if machine::is_root("bytes that the journal writes, on a disk of its own") {
        words.push("journal");
    }
    let found = bench(dir.path(), &words);
    let figures = found["budgets"].as_array().expect("there are figures");
    for figure in figures {
        assert!(figure["measured"].is_number(), "{figure}");
    }
    let again = figures.iter().find(|figure| figure["what"] == "files written again after a restart");
    assert_eq!(again.expect("it is among them")["measured"], 0.0);
}

/// The line must not be what is measured: it carries at least what a busy machine's sshd does, however long it is.
#[test]
fn limits_of_the_machine_are_measured() {
    let dir = TempDir::new().expect("a temporary folder");
    // By the command that gives the whole table, cut to a part of it.
    let found = bench(dir.path(), &["--only", "small", "all", "binary"]);
    assert_eq!(found["comparison"].as_array().map(Vec::len), Some(2), "{found}");
    let budgets = found["budgets"].as_array().expect("there are figures");
    let measured = |what: &str| budgets.iter().any(|one| one["what"] == what && one["measured"].is_number());
    assert!(measured("many small files, against scp -r") && measured("stripped release binary"), "{found}");
    let speeds = found["limits"].as_array().expect("there are speeds");
    let of = |what: &str| {
        let speed =
            speeds.iter().find(|speed| speed["what"].as_str().is_some_and(|text| text.contains(what)));
        speed
            .and_then(|speed| speed["megabytes_per_s"].as_f64())
            .unwrap_or_else(|| panic!("no {what:?} in {found}"))
    };
    for what in ["own line, round trip 0 ms", "default cipher"] {
        assert!(of(what) > 0.0, "{what}: {found}");
    }
    // A round trip of 100 ms is a way of 50 ms, and 16 MiB take no less.
    assert!(of("own line, round trip 100 ms") < 340.0, "nothing was delayed: {found}");
}

/// By one that takes no time: the size of the program.
#[test]
fn a_budget_that_is_not_reached_fails_the_bench() {
    let dir = TempDir::new().expect("a temporary folder");
    let program = dir.path().join("skiff");
    let run = |bytes: u64, words: &[&str]| {
        fs::File::create(&program).and_then(|file| file.set_len(bytes)).expect("a sparse file needs no room");
        let mut command = Command::new(skiff::built("bench"));
        command.args(words).args(["budgets", "binary"]).env("TMPDIR", dir.path()).env("SKIFF_BIN", &program);
        let output = command.output().expect("it is built");
        (output.status.code(), process::said(&output))
    };
    let (code, said) = run((10 << 20) + 1, &[]);
    assert!(code == Some(1) && said.contains("NOT REACHED"), "{code:?}: {said}");
    let (code, said) = run((10 << 20) + 1, &["--look"]);
    assert!(code == Some(0) && said.contains("NOT REACHED"), "{code:?}: {said}");
    let (code, said) = run(10 << 20, &[]);
    assert!(code == Some(0) && said.contains("reached"), "{code:?}: {said}");
}

#[test]
fn a_contender_that_delivers_nothing_fails_the_bench() {
    let dir = TempDir::new().expect("a temporary folder");
    let mut command = Command::new(skiff::built("bench"));
    command.args(["--quick", "--only", "small", "--rtt", "0", "--against", "skiff"]);
    let output =
        command.env("TMPDIR", dir.path()).env("SKIFF_BIN", "/bin/true").output().expect("it is built");
    assert_eq!(output.status.code(), Some(1), "{}", process::said(&output));
    assert!(process::said(&output).contains("said that all is well, but"), "{}", process::said(&output));
}
