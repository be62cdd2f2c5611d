//! More files, or fewer means, than is usual.

use super::*;

/// With few descriptors things take longer and nothing is lost.
#[test]
fn fault_33_few_file_descriptors_slow_down() {
    let (sshd, _scratch, mut source) = start();
    source.small_files(300, 60);
    source.file("large.bin", 3 << 20);
    let rules = "batch_items = 20\nrescan = '2s'";
    let limit = format!("--nofile={}", 48);
    let mut agent =
        Agent::to(&sshd).watch("in", source.root(), rules).under(["prlimit".to_owned(), limit]).started();

    agent.wait_until("all are delivered", || tree::equal(source.root(), &sshd.root()));
    expect_goes_on(&mut agent, &mut source, &sshd);
}

/// Many files at once, in memory that doesn't grow with them. `SKIFF_TEST_FILES` says how many.
#[test]
fn fault_34_many_files_in_bounded_memory() {
    let (sshd, _scratch, source) = start();
    let count = std::env::var("SKIFF_TEST_FILES").map_or(20_000, |text| text.parse().expect("a number"));
    for number in 0..count {
        let folder = source.root().join(format!("{:04}", number / 1000));
        if number % 1000 == 0 {
            fs::create_dir(&folder).expect("the name is free");
        }
        fs::write(folder.join(number.to_string()), number.to_string()).expect("there is room");
    }
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();

    let log = agent.home().join("log");
    agent.wait_at_most(Duration::from_secs(3600), "all are delivered", || delivered(&log) == count);

    assert_eq!(tree::count(&sshd.root()), count);
    let peak = agent.peak_bytes();
    assert!(peak < 64 << 20, "{} MiB were resident", peak >> 20);
}
