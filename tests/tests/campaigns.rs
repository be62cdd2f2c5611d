//! A short version of each campaign. The binary `campaign` runs them at any length: `campaign kill-random --count 2000`.

use skiff_tests::campaign::{self, Order};

/// The first `count` runs of what `name` names.
#[track_caller]
fn short(name: &str, count: u64) {
    let campaign = campaign::named(name).expect("it is among all");
    (campaign.run)(&Order { count: Some(count), seed: 1 }).expect_clean();
}

/// Faults 46 and 47: sessions cut at bytes spread evenly over all that there are.
#[test]
fn cuts() {
    short("cuts", 60);
}

#[test]
fn errors() {
    short("errors", 5);
}

/// A fleet of a few thousand agents comes back to its collector.
#[test]
fn fleet() {
    short("fleet", 5);
}

#[test]
fn foreign_writer() {
    short("foreign-writer", 2);
}

#[test]
fn journal_flips() {
    short("journal-flips", 120);
}

#[test]
fn kill_everywhere() {
    short("kill-everywhere", 6);
}

#[test]
fn kill_random() {
    short("kill-random", 12);
}

/// With `--minutes N` it goes at the pace of a real one.
#[test]
fn logger() {
    short("logger", 20);
}

#[test]
fn lying_server() {
    short("lying-server", 3);
}

#[test]
fn power_client() {
    short("power-client", 6);
}

#[test]
fn power_journal() {
    short("power-journal", 10);
}

#[test]
fn power_server() {
    short("power-server", 6);
}

#[test]
fn symlink_flips() {
    short("symlink-flips", 2);
}

skiff_tests::by_sftp_too! {
    foreign_writer,
    kill_random,
    power_server,
}
