//! Doing nothing, with many folders watched.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Figure, Target, mib, watched};
use crate::Agent;
use crate::bench::options::Options;
use crate::bench::rig::Rig;
use crate::bench::stopwatch::own_s;

pub(super) fn measure(options: &Options, rig: &Rig) -> Vec<Figure> {
    let (folders, watch_for) =
        if options.is_quick() { (200, Duration::from_secs(2)) } else { (10_000, Duration::from_secs(60)) };
    let source = TempDir::new().expect("there is room for a temporary folder");
    for number in 0..folders {
        fs::create_dir_all(source.path().join(format!("{:03}/{number:05}", number % 100))).expect("room");
    }
    let mut agent = Agent::to(rig.sshd()).watch("idle", source.path(), "").started();
    fs::write(source.path().join("first"), "first").expect("the folder is writable");
    let first = rig.sshd().root().join("first");
    agent.wait_until("the first file is delivered", || first.exists());
    watched::wait_for_rest(&mut agent);
    let (begin, before) = (Instant::now(), own_s(agent.pid()));
    thread::sleep(watch_for);
    let share = (own_s(agent.pid()) - before) / begin.elapsed().as_secs_f64() * 100.0;
    assert_eq!(agent.ended(), None, "the agent ended; its log:\n{}", agent.log());
    let resident = mib(watched::resident_bytes(&agent));
    agent.terminate();
    rig.clear_root();
    vec![
        Figure::new(format!("idle, {folders} folders: share of a core"), share, Target::AtMost(0.1), "%"),
        Figure::new(format!("idle, {folders} folders: resident"), resident, Target::AtMost(20.0), "MiB"),
    ]
}
