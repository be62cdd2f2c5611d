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

/// The words that a function `code` gives, those of fields of that name, and those that a command line ends with.
fn codes(source: &str) -> BTreeSet<&str> {
    let of_function = source.split("fn code(").skip(1).flat_map(|rest| {
        let body = rest.split("\n    }\n").next().unwrap_or_default();
        body.split("=> \"").skip(1)
    });
    let of_fields = ["code: \"", "then_some(\""].into_iter().flat_map(|before| source.split(before).skip(1));
    let of_ends = source
        .split("failed(exit::")
        .skip(1)
        .filter_map(|rest| rest.split_once(", \""))
        .map(|(_, rest)| rest);
    of_function.chain(of_fields).chain(of_ends).filter_map(|rest| rest.split('"').next()).collect()
}

/// Whoever meets an error finds its word on the page for it.
#[test]
fn each_error_is_on_the_page_about_trouble() {
    let page = text("docs/TROUBLESHOOTING.md");
    let known: BTreeSet<&str> = quoted(&page).collect();
    let errors = [
        "agent/src/cli/",
        "agent/src/pull/",
        "agent/src/remote/error.rs",
        "agent/src/remote/key_file.rs",
        "agent/src/remote/reason.rs",
        "agent/src/remote/session/error.rs",
    ];
    let sources = sources();
    let programs = sources.iter().filter(|(path, _)| !path.contains("tests"));
    let mut seen = BTreeSet::new();
    for from in errors {
        for (path, source) in programs.clone().filter(|(path, _)| path.starts_with(from)) {
            // A file's own tests make up errors.
            let program = source.split("#[cfg(test)]").next().unwrap_or_default();
            for code in codes(program) {
                assert!(
                    known.contains(code),
                    "{path} has the error {code:?}, and docs/TROUBLESHOOTING.md has not"
                );
                seen.insert(code);
            }
        }
        assert!(!seen.is_empty(), "no errors in {from}");
    }
    assert!(seen.len() > 40, "only {} errors were found in the code", seen.len());
    for code in ["local", "undelivered", "unfetched", "usage"] {
        assert!(seen.contains(code), "{code:?} was not found in the code");
    }
}

/// Whether a source has a test of that name, or one that begins so.
fn has_test(source: &str, function: &str) -> bool {
    source.match_indices(function).any(|(at, _)| {
        let above = source[..at].rsplit('\n').skip(1).map(str::trim_start);
        let mut attributes = above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn a_function_is_no_test() {
    let source = "#[test]\n#[should_panic]\nfn one() {}\n\nfn other() {}\n    #[tokio::test]\n    async fn third() {}\n";
    assert!(["fn one(", "fn o", "fn third("].iter().all(|function| has_test(source, function)));
    assert!(!has_test(source, "fn other(") && !has_test(source, "fn four("));
}

/// A page's tests: `file::test`, `module::tests`, `…::test` for one more of the same file, `test_*` for all that begin so, and
/// whole files of tests. Panics for those that aren't there; tells how many are.
fn tests_named_by(page: &str, sources: &[(String, String)]) -> usize {
    let text = text(page);
    let (mut before, mut missing, mut seen) = (Vec::new(), Vec::new(), 0);
    // The first sentence says how tests are named.
    for quoted in quoted(&text).filter(|quoted| !["file::test", "by_sftp::…"].contains(quoted)) {
        let path = quoted.rsplit(' ').next().unwrap_or(quoted);
        let mut parts: Vec<&str> = path.split("::").collect();
        if parts.len() == 1 {
            continue;
        }
        if parts[0] == "…" {
            parts.splice(..1, before.clone());
        }
        let (last, above) = parts.split_last().expect("a split has a part");
        let function = last.strip_suffix('*').map_or(format!("fn {last}("), |first| format!("fn {first}"));
        let there = sources.iter().any(|(path, source)| {
            // Folders and files, and modules in them, of which a macro makes one.
            let names: Vec<&str> = path.split(['/', '.']).collect();
            let has_module = |part: &str| {
                ["mod PART ", "PART_too!"].iter().any(|text| source.contains(&text.replace("PART", part)))
            };
            let is_here = |part: &&str| names.contains(part) || has_module(part);
            let is_test = (is_here(last) && has_test(source, "fn ")) || has_test(source, &function);
            is_test
                && above.iter().all(is_here)
                && (above.is_empty() || names.contains(&above[0]) || names.contains(last))
        });
        if !there {
            missing.push(quoted);
        }
        before = above.to_vec();
        seen += 1;
    }
    assert!(missing.is_empty(), "{page} names {missing:?}, which are no tests");
    seen
}

#[test]
fn the_tests_that_semantics_promises_exist() {
    let seen = tests_named_by("SEMANTICS.md", &sources());
    assert!(seen > 80, "only {seen} tests were found on the page");
}

#[test]
fn each_fault_has_its_line_and_its_tests() {
    let sources = sources();
    let seen = tests_named_by("tests/FAULTS.md", &sources);
    assert!(seen > 100, "only {seen} tests were found on the page");
    let page = text("tests/FAULTS.md");
    let numbers =
        page.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse::<u32>().ok());
    assert_eq!(numbers.collect::<Vec<_>>(), (1..=91).collect::<Vec<_>>(), "the faults in their order");
}

/// The tests of the table of promises are there, and the files.
#[test]
fn the_tests_that_security_promises_exist() {
    let files =
        quoted(&text("SECURITY.md")).filter(|quoted| Path::new(REPOSITORY).join(quoted).is_file()).count();
    let seen = files + tests_named_by("SECURITY.md", &sources());
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
