//! Which of the files that wait goes first.

use std::fs::File;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use skiff_tests::{Agent, Sshd, Tree, tree, wait};
use tempfile::TempDir;

/// The order in which ten files arrive that had all waited for the server.
fn order_of_arrival(rules: &str) -> Vec<String> {
    let (mut sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.file("zero", 1);
    let mut agent = Agent::with_destination(&sshd, "in_flight = 1")
        .watch("in", source.root(), &format!("small_file = 0\n{rules}"))
        .started();
    agent.wait_until_logged("it works", |line| line.contains("delivered and verified"));
    sshd.stop();
    for (age, name) in
        [5_u64, 2, 8, 1, 9, 3, 7, 4, 6].into_iter().zip(["e", "b", "h", "a", "alarm", "c", "g", "d", "f"])
    {
        let file = source.file(name, age * 100);
        let modified = SystemTime::now() - Duration::from_secs(age * 60);
        File::options().write(true).open(file).and_then(|file| file.set_modified(modified)).expect("ours");
    }
    let queued = wait::came_true(wait::LIMIT, || {
        let status: Value = serde_json::from_str(&agent.ask(&["status", "--json"]).said).unwrap_or_default();
        status["pending"]["items"] == 9
    });
    assert!(queued, "not all wait:\n{}", agent.log());
    sshd.start_again();
    agent.wait_until("all arrive", || tree::count(&sshd.root()) == 10);
    let receipts = agent.receipts();
    receipts.iter().skip(1).map(|receipt| receipt["path"].as_str().expect("a path").to_owned()).collect()
}

/// How many places of `got` are not where `ideal` has them: one that tries the server goes ahead, and in every fourth
/// turn the one that has waited longest.
fn inversions(got: &[String], ideal: &[&str]) -> usize {
    let place = |name: &String| ideal.iter().position(|ideal| ideal == name).expect("it was put there");
    let places: Vec<_> = got.iter().map(place).collect();
    (0..places.len())
        .flat_map(|a| (a + 1..places.len()).map(move |b| (a, b)))
        .filter(|(a, b)| places[*a] > places[*b])
        .count()
}

#[test]
fn the_smallest_and_the_newest_go_first() {
    let ideal = ["a", "b", "c", "d", "e", "f", "g", "h", "alarm"];
    for rules in ["order = 'smallest'", "order = 'newest'"] {
        let got = order_of_arrival(rules);
        assert!(inversions(&got, &ideal) <= 12, "{rules}: {got:?}");
    }
    let backwards: Vec<_> = ideal.into_iter().rev().collect();
    let got = order_of_arrival("order = 'oldest'");
    assert!(inversions(&got, &backwards) <= 12, "{got:?}");
}

#[test]
fn a_class_goes_before_all_others() {
    let got = order_of_arrival("order = 'smallest'\nfirst = ['alarm*']");
    let place = got.iter().position(|name| name == "alarm").expect("it arrived");
    assert!(place <= 1, "{got:?}");
}
