//! A million files in the life of an agent: waiting for a server that is away, delivered, found again after a restart, gone.

use std::fs;
use std::time::Instant;

use tempfile::TempDir;

use super::{Figure, Target, mib, per, watched};
use crate::bench::link::{DelayedLink, Line};
use crate::bench::options::Options;
use crate::bench::rig::Rig;
use crate::{Agent, tree};

/// A file of any size takes a page; what counts here is how many there are.
const FILE_BYTES: usize = 64;
/// Up to here a store isn't worth copying.
const SHRUNK_MIB: f64 = 64.0;
/// To log in takes some thousand bytes; no payload would fit beside it.
const LOGIN_BYTES: f64 = 10_000.0;
/// Scans are what is measured: events are for what changes.
const RULES: &str = "settle = '0s'\nrescan = '30s'\nbatch_wait = '100ms'";

pub(super) fn measure(options: &Options, rig: &mut Rig) -> Vec<Figure> {
    let files = options.backlog_files();
    let source = TempDir::new().expect("there is room for a temporary folder");
    let room = rustix::fs::statvfs(source.path()).expect("the folder is there");
    // A file system without a fixed number of inodes says 0.
    if room.f_files > 0 && room.f_favail < files * 5 / 2 {
        return vec![Figure::missing(format!("{files} files: too few inodes here, see --dir"))];
    }
    watched::fill(source.path(), files, FILE_BYTES);
    let link = DelayedLink::to(rig.sshd().port(), Line::rtt_ms(0));
    let known_hosts = rig.sshd().known_hosts_at(link.port());
    let mut agent = Agent::at(rig.sshd(), ("127.0.0.1", link.port()), &known_hosts, "").watch(
        "backlog",
        source.path(),
        RULES,
    );
    let mut figures = Vec::new();

    rig.stop_server();
    agent.start();
    watched::wait_for_rest(&mut agent);
    figures.push(peak(&agent, &format!("{files} files pending, server away")));
    rig.start_server();
    figures.extend(deliver(&mut agent, rig, files));
    figures.push(peak(&agent, &format!("{files} files delivered")));
    agent.terminate();
    tree::assert_equal(source.path(), &rig.sshd().root());

    let size = mib(watched::disk_bytes(&agent.state_dir().join("journal")));
    figures.push(Figure::new(
        format!("journal on disk, {files} delivered files kept"),
        size,
        Target::AtMost(200.0),
        "MiB",
    ));
    figures.extend(restart(&mut agent, rig, &link, files));
    figures.push(shrink(&mut agent, &source, files));
    agent.terminate();
    rig.clear_root();
    figures
}

fn peak(agent: &Agent, when: &str) -> Figure {
    Figure::new(format!("peak resident, {when}"), mib(agent.peak_bytes()), Target::AtMost(64.0), "MiB")
}

fn deliver(agent: &mut Agent, rig: &Rig, files: u64) -> Vec<Figure> {
    let begin = Instant::now();
    let mut rest = begin;
    // Not by receipts: of so many the oldest are thrown away.
    while (tree::count(&rig.sshd().root()) as u64) < files {
        rest = watched::wait_for_rest(agent);
    }
    let rate = per(files, 1) / rest.duration_since(begin).as_secs_f64();
    vec![Figure::only(format!("{files} files delivered"), rate, "files/s")]
}

/// A second start with nothing new: what it sends, and how soon it has seen all of it.
fn restart(agent: &mut Agent, rig: &Rig, link: &DelayedLink, files: u64) -> Vec<Figure> {
    let root = rig.sshd().root();
    let (before, sent) = (tree::writings(&root), link.carried_up_bytes());
    let begin = Instant::now();
    agent.start();
    let rest = watched::wait_for_rest(agent);
    let took_s = rest.duration_since(begin).as_secs_f64();
    let peak = peak(agent, &format!("started with {files} delivered files"));
    let after = tree::writings(&root);
    let written = after.iter().filter(|(path, writing)| before.get(*path) != Some(writing)).count();
    let sent = link.carried_up_bytes() - sent;
    vec![
        Figure::new(
            "files written again after a restart",
            per(written as u64, 1),
            Target::AtMost(0.0),
            "files",
        ),
        Figure::new(
            "bytes to the server after a restart",
            per(sent, 1),
            Target::AtMost(LOGIN_BYTES),
            "bytes",
        ),
        Figure::new(
            "rescanned after a restart",
            per(files, 1) / took_s,
            Target::AtLeast(200_000.0),
            "files/s",
        ),
        peak,
    ]
}

/// What is left of the journal when the files are gone, a scan has seen that, and the agent was started once more: then
/// it makes the store smaller.
fn shrink(agent: &mut Agent, source: &TempDir, files: u64) -> Figure {
    for folder in fs::read_dir(source.path()).expect("the folder is there").flatten() {
        let _agents_own_may_stay = fs::remove_dir_all(folder.path());
    }
    watched::wait_for_rest(agent);
    agent.terminate();
    agent.start();
    watched::wait_for_rest(agent);
    let left = mib(watched::disk_bytes(&agent.state_dir().join("journal")));
    let what = format!("journal on disk, {files} delivered files gone with their folders, started again");
    Figure::new(what, left, Target::AtMost(SHRUNK_MIB), "MiB")
}
