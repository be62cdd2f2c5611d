//! What one snapshot looks like, on terminals of several sizes.

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::status::snapshot::{
    Destination, Held, LastError, OnItsWay, Pending, Problem, Throughput, Totals, Watch,
};

fn snapshot() -> Snapshot {
    let now = 1_790_000_000_000;
    let watch = |name: &str, items, quarantined| Watch {
        name: name.to_owned(),
        path: "/var/spool".to_owned(),
        to: "collector".to_owned(),
        paused: false,
        trouble: None,
        unmounted: false,
        found_files: 0,
        delivered_files: 1_234_567,
        delivered_bytes: 9 << 30,
        last_delivery_ms: Some(now - 1000),
        pending: Pending { items, bytes: items << 20, oldest_ms: Some(now - 3_700_000), more: false },
        held: Held { waiting: 0, quarantined },
        settling: crate::status::snapshot::Settling::default(),
    };
    let on_its_way = |first: &str, files, sent: u64| OnItsWay {
        shipment: "0".to_owned(),
        watch: "camera".to_owned(),
        destination: "collector".to_owned(),
        first: first.to_owned(),
        files,
        bytes: 200 << 20,
        sent_bytes: sent << 20,
        step: "sending".to_owned(),
        since_ms: now - 10_000,
        bytes_per_second: 13 << 20,
    };
    let destination = |name: &str, state, failures| Destination {
        paused: None,
        name: name.to_owned(),
        address: "ingest@collector.example.net:22".to_owned(),
        state,
        retry_at_ms: (failures > 0).then_some(now + 62_000),
        failures,
        running: 2,
        queued: 13,
        last_error: (failures > 0).then(|| LastError {
            code: "connection-refused".to_owned(),
            message: String::new(),
            at_ms: now,
        }),
    };
    let problem = Problem {
        at_ms: now - 65_000,
        watch: "camera".to_owned(),
        what: "2026/07/broken.jpg".to_owned(),
        reason: "another file has this name at the destination".to_owned(),
        quarantined: true,
    };
    Snapshot {
        pid: 4711,
        time_ms: now,
        started_ms: now - 90_000_000,
        totals: Totals {
            delivered_files: 1_234_567,
            delivered_bytes: 9 << 30,
            sent_bytes: 10 << 30,
            resent_bytes: 3 << 20,
            ..Totals::default()
        },
        pending: Pending { items: 61_012, bytes: 60 << 30, oldest_ms: Some(now - 3_700_000), more: true },
        held: Held { waiting: 2, quarantined: 1 },
        throughput: Throughput {
            sent_bytes_per_second: 2e7,
            drain_seconds: Some(3_222),
            ..Throughput::default()
        },
        destinations: vec![
            destination("collector", DestinationState::Connected, 0),
            destination("archive", DestinationState::Waiting, 4),
        ],
        watches: vec![watch("sensors", 12, 0), watch("camera", 61_000, 1)],
        on_its_way: vec![on_its_way("2026/07/holiday.mp4", 1, 70), on_its_way("a/b/c.csv", 1000, 200)],
        problems: vec![problem],
        ..Snapshot::empty(Source::Agent)
    }
}

fn seconds(count: u64) -> Vec<Sample> {
    let sample =
        |second| Sample { sent_bytes: second * 100_000, pending_items: 900 - second, ..Sample::default() };
    (0..count).map(sample).collect()
}

fn screen(shown: &Shown, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("it is in memory");
    terminal.draw(|frame| draw(frame, shown)).expect("it is in memory");
    terminal.backend().to_string()
}

#[test]
fn all_that_matters_is_seen_in_80_by_24() {
    let seconds = seconds(300);
    let shown = Shown { snapshot: Some(snapshot()), seconds, ..Shown::default() };
    let screen = screen(&shown, 80, 24);
    for words in [
        "delivering, in trouble   process 4711, up 1 d 1 h",
        "1,234,567 files, 9.0 GiB; sent 10 GiB, 3.0 MiB of it again",
        "61,012+ files, 60 GiB, oldest 1 h 1 min, done in about 53 min 42 s",
        "1 quarantined, 2 tried again",
        "connected",
        "connection-refused, again",
        "1 h 1 min",
        "1 failed",
        "2026/07/holiday.mp4",
        "a/b/c.csv and 999 more",
        "35 %",
        "100 %",
        "13 MiB/s",
        "19 MiB/s now, at most 29 MiB/s in 1 min 20 s",
        "verifying",
        "11 s",
        "█",
        "camera:2026/07/broken.jpg, quarantined, 1 min 5 s ago",
        "another file has this name at the destination",
        "q quits",
    ] {
        assert!(screen.contains(words), "no {words:?} in\n{screen}");
    }
}

#[test]
fn every_section_has_its_share_of_a_full_screen_and_more_of_a_larger_one() {
    let mut full = snapshot();
    let name = "a-rather-long-name-of-a-destination-in-a-far-away-place";
    full.destinations[0].name = name.to_owned();
    full.destinations[1].address = format!("ingest@{name}.example.net:2222");
    for list in 0..20 {
        full.watches.push(Watch { name: format!("{name}-{list}"), ..full.watches[0].clone() });
        full.on_its_way.push(OnItsWay { first: format!("{name}/{list}.csv"), ..full.on_its_way[0].clone() });
        full.destinations.push(full.destinations[0].clone());
        full.problems.push(Problem { reason: "why ".repeat(60), ..full.problems[0].clone() });
    }
    let shown = Shown { snapshot: Some(full), seconds: seconds(300), ..Shown::default() };
    let small = screen(&shown, 80, 24);
    for words in
        ["archive", "DESTINATION (22)", "WATCH (22)", "ON ITS WAY (22)", "LAST PROBLEMS (21)", "camera:", "…"]
    {
        assert!(small.contains(words), "no {words:?} in\n{small}");
    }
    assert!(!small.contains("BACKLOG"));
    let large = screen(&shown, 120, 60);
    for words in ["a-rather-long-name-…", "BACKLOG", "61,012 pending now, at most 659", "-place/7.csv"] {
        assert!(large.contains(words), "no {words:?} in\n{large}");
    }
}

#[test]
fn what_the_journal_says_is_told_as_that() {
    let snapshot = Snapshot { problems: snapshot().problems, ..Snapshot::empty(Source::Journal) };
    let screen = screen(&Shown { snapshot: Some(snapshot), ..Shown::default() }, 80, 24);
    assert!(screen.contains("no agent is running; this is what its journal says"), "{screen}");
}

#[test]
fn a_tiny_terminal_and_an_empty_agent_are_borne() {
    let empty = Shown { snapshot: Some(Snapshot::empty(Source::Agent)), ..Shown::default() };
    for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 80)] {
        screen(&empty, width, height);
        screen(&Shown { snapshot: Some(snapshot()), seconds: seconds(1), ..Shown::default() }, width, height);
    }
    let silent = Shown { silence: Some("no agent answers".to_owned()), ..Shown::default() };
    assert!(screen(&silent, 80, 24).contains("no agent answers"));
}

/// A word that calms is said only where nothing can be left.
#[test]
fn all_is_delivered_only_where_nothing_is_left() {
    let done = || {
        let mut snapshot = snapshot();
        (snapshot.pending, snapshot.held) = (Pending::default(), Held::default());
        snapshot.totals.found_files = 1;
        snapshot.on_its_way.clear();
        for watch in &mut snapshot.watches {
            (watch.pending, watch.held) = (Pending::default(), Held::default());
        }
        snapshot
    };
    assert_eq!(doing(&done()), "all delivered");
    let with = |change: fn(&mut Snapshot)| {
        let mut snapshot = done();
        change(&mut snapshot);
        doing(&snapshot)
    };
    assert_eq!(with(|snapshot| snapshot.watches[0].paused = true), "paused");
    assert_eq!(with(|snapshot| snapshot.watches[0].trouble = Some("gone".to_owned())), "waiting");
    assert_eq!(with(|snapshot| snapshot.pending.more = true), "waiting");
    assert_eq!(with(|snapshot| snapshot.held.quarantined = 1), "waiting");
    assert_eq!(with(|snapshot| snapshot.watches[0].settling.files = 1), "waiting");
    assert_eq!(with(|snapshot| snapshot.totals = Totals::default()), "nothing found so far");
    // Logs that grow are not found as files are.
    assert_eq!(with(|snapshot| snapshot.totals.found_files = 0), "all delivered");
}
