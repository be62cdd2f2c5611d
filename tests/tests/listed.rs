//! What the documents list is what the code has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(REPOSITORY).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All Rust sources of the workspace, with their paths from the repository's root.
fn sources() -> Vec<(String, String)> {
    let mut folders: Vec<PathBuf> =
        ["agent", "common", "config", "tests"].map(|name| Path::new(REPOSITORY).join(name)).into();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it is part of the repository") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if is_rust(&path) {
                let name = path.strip_prefix(REPOSITORY).expect("it is below").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("it is text")));
            }
        }
    }
    assert!(found.len() > 100, "where are the sources?");
    found
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "rs")
}

/// What stands between backquotes.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2)
}

/// The words that a function `code` gives, and those of fields of that name.
fn codes(source: &str) -> BTreeSet<&str> {
    let of_function = source.split("fn code(").skip(1).flat_map(|rest| {
        let body = rest.split("\n    }\n").next().unwrap_or_default();
        body.split("=> \"").skip(1)
    });
    let of_fields = source.split("code: \"").skip(1);
    of_function.chain(of_fields).filter_map(|rest| rest.split('"').next()).collect()
}

/// Whoever meets an error finds its word on the page for it.
#[test]
fn each_error_is_on_the_page_about_trouble() {
    let page = text("docs/TROUBLESHOOTING.md");
    let known: BTreeSet<&str> = quoted(&page).collect();
    let errors = [
        "agent/src/remote/error.rs",
        "agent/src/remote/key_file.rs",
        "agent/src/remote/reason.rs",
        "agent/src/remote/session/error.rs",
        "agent/src/cli/check.rs",
    ];
    let mut seen = 0;
    for path in errors {
        let source = text(path);
        // A file's own tests make up errors.
        let program = source.split("#[cfg(test)]").next().unwrap_or_default();
        for code in codes(program) {
            assert!(
                known.contains(code),
                "{path} has the error {code:?}, and docs/TROUBLESHOOTING.md has not"
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} errors were found in the code");
}

/// `file::test` and `file` of the table of promises are there.
#[test]
fn the_tests_that_security_promises_exist() {
    let (page, sources) = (text("SECURITY.md"), sources());
    let in_file = |file: &str, path: &str| path.split(['/', '.']).any(|part| part == file);
    let mut seen = 0;
    for quoted in quoted(&page) {
        if Path::new(REPOSITORY).join(quoted).is_file() {
            seen += 1;
        } else if let Some((file, test)) = quoted.split_once("::") {
            let test = format!("fn {test}(");
            let there = sources.iter().any(|(path, source)| in_file(file, path) && source.contains(&test));
            assert!(there, "SECURITY.md names {quoted}, which is no test");
            seen += 1;
        } else if quoted.starts_with("campaign_") {
            assert!(sources.iter().any(|(path, _)| in_file(quoted, path)), "there is no {quoted}");
            seen += 1;
        }
    }
    assert!(seen > 25, "only {seen} tests were found on the page");
}

#[test]
fn unsafe_code_stands_only_where_it_is_listed() {
    let page = text("SECURITY.md");
    let listed: BTreeSet<&str> = quoted(&page).filter(|quoted| is_rust(Path::new(quoted))).collect();
    let word = ["un", "safe "].concat();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let sources = sources();
    let found: BTreeSet<&str> = sources
        .iter()
        .filter(|(_, source)| {
            source.lines().filter(is_code).any(|line| {
                ["{", "fn ", "impl ", "extern "].iter().any(|next| line.contains(&format!("{word}{next}")))
            })
        })
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(found, listed);
}
