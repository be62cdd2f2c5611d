//! The destination's disk is left the room that it is to keep.

use std::time::Duration;

use serde_json::Value;
use skiff_tests::machine::{self, Mounted};
use skiff_tests::{Agent, Sshd, Tree, tree, wait};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// What would leave too little isn't begun, and the destination says why; it goes on when there is room, by itself.
#[test]
fn a_destination_rests_before_it_runs_full_and_goes_on_by_itself() {
    if !machine::is_root("a small disk") {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let disk = Mounted::tmpfs(&sshd.root(), "size=10m");
    let mut source = Tree::new(scratch.path().join("in"), 1);
    let mut agent =
        Agent::with_destination(&sshd, "keep_free = '4 MiB'").watch("in", source.root(), "").started();
    source.file("first", 3 * MIB);
    agent.wait_until("what fits arrives", || tree::equal(source.root(), &sshd.root()));

    source.file("second", 4 * MIB);
    let words = "too little for 4 mib more where 4 mib are to stay free";
    agent.wait_until_logged("the reason is logged", |line| line.contains(words));
    let told = wait::came_true(wait::LIMIT, || {
        let status: Value = serde_json::from_str(&agent.ask(&["status", "--json"]).said).unwrap_or_default();
        let server = &status["destinations"][0];
        server["state"] == "waiting" && server["last_error"]["code"] == "low-space"
    });
    assert!(told, "status doesn't say why it waits");
    // What a session notes for itself comes and goes there.
    let notes = 64 << 10;
    agent.wait_until("nothing is left of the first", || tree::staged_bytes(&sshd.root()) < notes);
    let begun = || tree::count(&sshd.root()) != 1 || tree::staged_bytes(&sshd.root()) >= notes;
    assert!(wait::never_came_true(Duration::from_millis(1500), begun), "it is begun");

    disk.set("size=20m");
    agent.wait_until("it arrives", || tree::equal(source.root(), &sshd.root()));
}

/// The same for a share of the disk and a batch; and what is on its way at once counts together.
#[test]
fn batches_and_what_is_on_its_way_together_leave_the_room() {
    if !machine::is_root("a small disk") {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let disk = Mounted::tmpfs(&sshd.root(), "size=20m");
    let mut source = Tree::new(scratch.path().join("in"), 2);
    for number in 0..60 {
        source.file(format!("small/{number}"), MIB / 4);
    }
    for number in 0..6 {
        source.file(format!("large/{number}"), 2 * MIB);
    }
    let mut agent =
        Agent::with_destination(&sshd, "keep_free = '30%'\nbandwidth = '200 Mbit/s'\ncompression = 'off'")
            .watch("in", source.root(), "batch_bytes = '3 MiB'")
            .started();
    agent.wait_until_logged("it rests", |line| line.contains("mib are to stay free"));
    let too_full = || {
        let space = rustix::fs::statvfs(sshd.root()).expect("it is mounted");
        (space.f_blocks - space.f_bfree) * space.f_frsize > 14 * MIB
    };
    assert!(wait::never_came_true(Duration::from_secs(2), too_full), "6 of 20 MiB are to stay free");
    assert!(!tree::equal(source.root(), &sshd.root()), "27 MiB don't fit");
    disk.set("size=80m");
    agent.wait_until("all arrive", || tree::equal(source.root(), &sshd.root()));
}

skiff_tests::by_sftp_too! {
    a_destination_rests_before_it_runs_full_and_goes_on_by_itself,
    batches_and_what_is_on_its_way_together_leave_the_room,
}
