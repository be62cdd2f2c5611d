//! A bad configuration is refused as a whole, with all its problems, by every command that reads it.

use std::fs;

use skiff_tests::machine;
use skiff_tests::skiff::{self, Ended};
use tempfile::TempDir;

const BAD: &str = "\
state_dir = '/var/lib/skiff'
colour = 'red'

[destination.server]
addres = 'user@host'
bandwidth = 'fast'

[[watch]]
name = 'in'
path = 'not/absolute'
to = 'servr'
settle = '5 parsecs'
after_delivery = 'burn'
";

/// All problems at once, each with its line.
#[test]
fn all_problems_are_named_together() {
    let ended = run_with(BAD, &["config", "check"]).expect_code(2);

    ended
        .expect_said("colour")
        .expect_said("addres")
        .expect_said("fast")
        .expect_said("not/absolute")
        .expect_said("servr")
        .expect_said("5 parsecs")
        .expect_said("burn")
        .expect_said("skiff.toml:12");
}

/// The agent does not start on it either.
#[test]
fn agent_does_not_start_on_a_bad_configuration() {
    run_with(BAD, &["run"]).expect_code(2).expect_said("colour").expect_said("burn");
}

/// What is not even TOML, what is not text and what is not there.
#[test]
fn unreadable_configuration_is_refused() {
    run_with("[destination.server\naddress = ", &["config", "check"])
        .expect_code(2)
        .expect_said("skiff.toml:1");
    run_with(b"name = '\xff\xfe'\n", &["config", "check"]).expect_code(2).expect_said("skiff.toml");

    let home = TempDir::new().expect("a temporary folder");
    let missing = home.path().join("nowhere.toml");
    let mut command = skiff::command(home.path());
    command.args(["config", "check", "--config"]).arg(missing);
    skiff::run(&mut command, home.path()).expect_code(2).expect_said("nowhere.toml");
}

/// A good one is said to be good.
#[test]
fn good_configuration_is_accepted() {
    let home = TempDir::new().expect("a temporary folder");
    let text = format!(
        "state_dir = '{0}/state'\n[destination.server]\naddress = 'user@host'\n\
         [[watch]]\nname = 'in'\npath = '{0}/in'\nto = 'server'\n",
        home.path().display()
    );

    run_with(text, &["config", "check"]).expect_code(0);
}

/// The service of the package is shown nothing of `/proc/sys`.
#[test]
fn a_machine_without_proc_sys_knows_its_name() {
    if !machine::is_root("a machine of another name") {
        return;
    }
    let home = TempDir::new().expect("a temporary folder");
    let config = home.path().join("skiff.toml");
    let text = "[destination.server]\naddress = 'host'\npath = '/srv/{hostname}'\n\
                [[watch]]\nname = 'in'\npath = '/in'\nto = 'server'\n";
    fs::write(&config, text).expect("a new folder is writable");
    let hidden = "hostname edge-7 && mount -t tmpfs none /proc/sys && exec \"$@\"";
    let words = ["unshare", "--mount", "--uts", "sh", "-c", hidden, "sh"].map(Into::into);
    let mut command = skiff::command_under(&words, home.path());
    command.args(["config", "show", "--config"]).arg(&config);

    skiff::run(&mut command, home.path()).expect_code(0).expect_said("\"/srv/edge-7\"");
}

#[track_caller]
fn run_with(text: impl AsRef<[u8]>, arguments: &[&str]) -> Ended {
    let home = TempDir::new().expect("a temporary folder");
    let config = home.path().join("skiff.toml");
    fs::write(&config, text).expect("a new folder is writable");
    let mut command = skiff::command(home.path());
    command.args(arguments).arg("--config").arg(config);
    skiff::run(&mut command, home.path())
}
