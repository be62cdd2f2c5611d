//! What a new user begins with: a configuration, completions, the manual.

use std::fs;

use skiff_tests::skiff;
use tempfile::TempDir;

#[test]
fn init_writes_a_configuration_that_holds_and_overwrites_none() {
    let home = TempDir::new().expect("a temporary folder");
    let file = home.path().join("etc/skiff.toml");
    let init = || {
        let mut command = skiff::command(home.path());
        command.args(["init", "--to", "me@collector.example.net:/srv/in", "--port", "2222"]);
        command.args(["--watch", "/var/spool/my files", "--after-delivery", "delete", "--config"]).arg(&file);
        skiff::run(&mut command, home.path())
    };
    init()
        .expect_code(0)
        .expect_said("skiff trust -P 2222 me@collector.example.net")
        .expect_said("skiff check");
    let mut check = skiff::command(home.path());
    check.args(["config", "show", "--config"]).arg(&file);
    let shown = skiff::run(&mut check, home.path()).expect_code(0);
    let shown = shown.expect_said("name = \"my-files\"").expect_said("after_delivery = \"delete\"");
    shown.expect_said("address = \"me@collector.example.net:2222\"");
    init().expect_code(2).expect_said("is there already");
    let mut ask = skiff::command(home.path());
    ask.args(["init", "--print"]);
    skiff::run(&mut ask, home.path()).expect_code(2).expect_said("nobody to ask");
}

/// As after the installation of the package: a file for the servers' keys is there, and the key is systemd's.
#[test]
fn init_takes_what_the_package_has_prepared() {
    let home = TempDir::new().expect("a temporary folder");
    let (file, known_hosts) = (home.path().join("skiff.toml"), home.path().join("known_hosts"));
    fs::write(&known_hosts, "").expect("a new folder is writable");
    let mut command = skiff::command(home.path());
    command.args(["init", "--to", "me@collector.example.net:in", "--watch", "/var/spool/x"]);
    command.args(["--identity", "${credential:keys_collector}", "--config"]).arg(&file);
    skiff::run(&mut command, home.path())
        .expect_code(0)
        .expect_said(&format!("trust --known-hosts {} me@", known_hosts.display()));
    let text = fs::read_to_string(&file).expect("it is written");
    assert!(text.contains("identity = \"${credential:keys_collector}\""), "{text}");
    assert!(text.contains(&format!("known_hosts = \"{}\"", known_hosts.display())), "{text}");
}

/// On a terminal it asks, and asks again where an answer makes no sense.
#[test]
fn init_asks_until_it_has_an_answer() {
    let home = TempDir::new().expect("a temporary folder");
    let (file, answers) = (home.path().join("skiff.toml"), home.path().join("answers"));
    fs::write(&answers, "spool\n/var/spool/in\nserver\nme@server:/srv/in\nburn\n\n").expect("writable");
    let words = format!("{} init --config {}", skiff::binary().display(), file.display());
    let mut command = std::process::Command::new("script");
    command.args(["-qec", &words, "/dev/null"]).env("HOME", home.path());
    command.stdin(fs::File::open(&answers).expect("just written"));
    let said = skiff::run(&mut command, home.path()).expect_code(0);
    let said = said.expect_said("\"spool\" does not begin with /").expect_said("\"server\" names no server");
    said.expect_said("\"burn\" is neither").expect_said("skiff trust me@server");
    let text = fs::read_to_string(&file).expect("it was written");
    for line in [
        "address = \"me@server\"",
        "path = \"/srv/in\"",
        "path = \"/var/spool/in\"",
        "after_delivery = \"keep\"",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn completions_manual_and_schema_come_from_the_same_definitions() {
    let home = TempDir::new().expect("a temporary folder");
    let said = |arguments: &[&str]| {
        let mut command = skiff::command(home.path());
        command.args(arguments);
        skiff::run(&mut command, home.path()).expect_code(0).said
    };
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&["completions", shell]);
        assert!(script.contains("quarantined"), "{shell}: {script}");
        if shell != "zsh" {
            let file = home.path().join("script");
            fs::write(&file, script).expect("writable");
            let status =
                std::process::Command::new(shell).arg("-n").arg(&file).status().expect("it is installed");
            assert!(status.success(), "{shell} reads it");
        }
    }
    assert!(said(&["man"]).starts_with(".ie") || said(&["man"]).contains(".TH skiff 1"));
    let pages = home.path().join("man");
    said(&["man", "--dir", pages.to_str().expect("a plain name")]);
    for page in ["skiff.1", "skiff-run.1", "skiff-status.1", "skiff-config-check.1"] {
        assert!(pages.join(page).is_file(), "{page}");
    }
    let schema: serde_json::Value = serde_json::from_str(&said(&["config", "schema"])).expect("JSON");
    assert_eq!(schema["title"], "skiff.toml");
}
