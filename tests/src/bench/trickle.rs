//! How long a file takes from its end of writing to its final name at the destination, through a running agent.

use std::collections::VecDeque;
use std::fs;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::link::{DelayedLink, Line};
use super::options::Options;
use super::rig::Rig;
use super::statistics::percentile;
use super::workload::Workload;
use crate::{Agent, wait};

const EACH: Duration = Duration::from_millis(100);
const FILE_BYTES: usize = 4096;
/// How long a file has to hold still; it is taken off what was measured.
const SETTLE_S: f64 = 0.2;
/// How often the destination is looked at: the error of each figure.
const GLANCE: Duration = Duration::from_millis(1);

/// What the files of one line took, in seconds beyond the settling.
#[derive(Debug, Clone)]
pub struct Latency {
    /// Over which line.
    pub line: Line,
    /// Each file's time.
    pub beyond_settle_s: Vec<f64>,
}

impl Latency {
    /// The time within which `share` of the files arrive, in ms.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        percentile(&self.beyond_settle_s, share) * 1000.0
    }

    /// The figures as JSON.
    pub fn as_json(&self) -> Value {
        json!({
            "link": self.line.to_string(),
            "files": self.beyond_settle_s.len(),
            "p50_ms": self.percentile_ms(0.5),
            "p99_ms": self.percentile_ms(0.99),
            "beyond_settle_s": self.beyond_settle_s,
        })
    }

    /// The figures in a line for people.
    pub fn as_text(&self) -> String {
        format!(
            "One file each 100 ms, round trip {}: closed → under its final name, beyond settle, {} files: p50 {:.0} ms, \
             p99 {:.0} ms, longest {:.0} ms\n",
            self.line,
            self.beyond_settle_s.len(),
            self.percentile_ms(0.5),
            self.percentile_ms(0.99),
            self.percentile_ms(1.0),
        )
    }
}

/// Measures it over each line, if it is asked for.
pub fn trickle(options: &Options, rig: &Rig, mut done: impl FnMut(&Latency)) -> Vec<Latency> {
    if !options.workloads().contains(&Workload::Trickle) {
        return Vec::new();
    }
    let over = |line: Line| {
        let latency = measure(rig, line, options.sizes(&line).trickle_files);
        done(&latency);
        latency
    };
    options.lines().into_iter().map(over).collect()
}

/// Measures it with nothing between.
pub(super) fn trickle_directly(options: &Options, rig: &Rig) -> Latency {
    let line = Line::rtt_ms(0);
    measure(rig, line, options.sizes(&line).trickle_files)
}

fn measure(rig: &Rig, line: Line, files: u64) -> Latency {
    let watched = TempDir::new().expect("there is room for a temporary folder");
    let delayed = DelayedLink::to(rig.sshd().port(), line);
    let port = if line.is_direct() { rig.sshd().port() } else { delayed.port() };
    let known_hosts = rig.sshd().known_hosts_at(port);
    let mut agent = Agent::at(rig.sshd(), ("127.0.0.1", port), &known_hosts, "")
        .watch("trickle", watched.path(), "after_delivery = 'delete'")
        .started();
    // The first one pays for the connection, as in an agent's life.
    fs::write(watched.path().join("first"), "first").expect("the folder is writable");
    let first = rig.sshd().root().join("first");
    agent.wait_until("the first file is delivered", || first.exists());
    let beyond_settle_s = send(rig, &watched, files);
    assert_eq!(agent.ended(), None, "the agent ended; its log:\n{}", agent.log());
    agent.terminate();
    rig.clear_root();
    Latency { line, beyond_settle_s }
}

fn send(rig: &Rig, watched: &TempDir, files: u64) -> Vec<f64> {
    let mut under_way: VecDeque<(u64, Instant)> = VecDeque::new();
    let (mut taken, mut sent, begin) = (Vec::new(), 0, Instant::now());
    let deadline = begin + EACH * u32::try_from(files).expect("few files") + wait::LIMIT;
    while sent < files || !under_way.is_empty() {
        assert!(Instant::now() < deadline, "{} files never arrived", under_way.len());
        let due = begin + EACH * u32::try_from(sent).expect("few files");
        if sent < files && Instant::now() >= due {
            let path = watched.path().join(format!("{sent}.dat"));
            let mut file = fs::File::create(path).expect("the folder is writable");
            file.write_all(&[b'x'; FILE_BYTES]).expect("there is room");
            drop(file);
            under_way.push_back((sent, Instant::now()));
            sent += 1;
        }
        under_way.retain(|(number, closed)| {
            let waits = !rig.sshd().root().join(format!("{number}.dat")).exists();
            if !waits {
                taken.push(closed.elapsed().as_secs_f64() - SETTLE_S);
            }
            waits
        });
        thread::sleep(GLANCE);
    }
    taken
}
