//! Faults 47 to 60: what networks and the way to the server do. 46 is `campaigns::cuts`, 54 is in `e2e::restart`.

use std::fs;
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use skiff_tests::fault_proxy::{Fault, Plan};
use skiff_tests::{Agent, FaultProxy, Sshd, Tree, machine, sshd, tree, wait};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// Short enough for a test, long enough for a busy machine.
const IMPATIENT: &str = "stall_timeout = '1s'\nkeepalive = '300ms'\nconnect_timeout = '3s'";
/// In a watch: so patient that whoever does not wait is noticed.
const RARELY: &str = "retry_first = '5s'\nretry_max = '10s'";

fn scratch() -> TempDir {
    TempDir::new().expect("there is room for a temporary folder")
}

/// Hurts the transfer of a file of 16 MiB behind its first 12; it has to go on where that was.
fn goes_on_after(plan: Plan) {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let proxy = FaultProxy::to(sshd.port());
    proxy.next(plan);
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.file("large.bin", 16 * MIB);
    let mut agent = Agent::through(&proxy, &sshd, IMPATIENT).watch("in", source.root(), "").started();

    agent.wait_until("the file is delivered", || tree::equal(source.root(), &sshd.root()));

    let carried = proxy.carried_after(0);
    assert!(carried[0].met, "the fault was not met: {carried:?}");
    assert!(carried.len() > 1, "no second connection: {carried:?}");
    let up: u64 = carried[1..].iter().map(|one| one.up).sum();
    // The last 4 MiB, and what was in the buffers of sshd and of the network when the connection ended.
    assert!(up < 8 * MIB, "what had arrived was sent again: {carried:?}");
}

/// A stall in mid-file ends at the deadline, and only the rest is sent then.
#[test]
fn fault_47_stall_ends_at_a_deadline_and_the_transfer_goes_on() {
    goes_on_after(Plan::up_at(12 * MIB, Fault::Stall));
}

/// Answers that never come end at the deadline as well: here the one to the login, or to the first steps after it.
#[test]
fn fault_47_stalled_answers_end_at_a_deadline() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let proxy = FaultProxy::to(sshd.port());
    for byte in [0, 500, 1500, 2500, 2800] {
        proxy.next(Plan::down_at(byte, Fault::Stall));
    }
    let mut source = Tree::new(scratch.path().join("in"), 2);
    source.small_files(20, 2);
    let mut agent = Agent::through(&proxy, &sshd, IMPATIENT).watch("in", source.root(), "").started();

    agent.wait_until("the files are delivered", || tree::equal(source.root(), &sshd.root()));

    let carried = proxy.carried_after(0);
    assert!(carried.len() > 5 && carried[..5].iter().all(|one| one.met), "{carried:?}");
}

/// A connection that is dead without anybody having said so is found by keepalives, before there is anything to send.
#[test]
fn fault_48_half_open_connection_is_found_while_idle() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let proxy = FaultProxy::to(sshd.port());
    let mut source = Tree::new(scratch.path().join("in"), 3);
    source.file("first", 100);
    let mut agent = Agent::through(&proxy, &sshd, IMPATIENT).watch("in", source.root(), "").started();
    agent.wait_until_logged("it is at rest", |line| line.contains("delivered and verified"));
    assert!(!proxy.last().1.over, "an idle connection is kept");

    proxy.break_all(Fault::Stall);
    agent.wait_until("the dead connection is given up", || proxy.carried_after(0)[0].over);
    source.file("second", 100);

    agent.wait_until("the next file is delivered", || tree::equal(source.root(), &sshd.root()));
}

/// A greeting that comes byte by byte, and a key exchange that does: the deadline is for the whole.
#[test]
fn fault_49_dripping_server_is_given_up_at_a_total_deadline() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let proxy = FaultProxy::to(sshd.port());
    let agent = Agent::through(&proxy, &sshd, "connect_timeout = '2s'").watch("in", scratch.path(), "");

    for (bytes_per_second, step) in [(1, "greeting"), (200, "exchanging keys")] {
        proxy.next(Plan::default().rate(bytes_per_second));
        let begin = Instant::now();
        agent.ask(&["check"]).expect_code(3).expect_said(step);
        assert!(begin.elapsed() < Duration::from_secs(8), "{step} took {:?}", begin.elapsed());
    }
}

/// The name is said, and the exit code is the one for what cannot be reached.
#[test]
fn fault_50_name_that_does_not_resolve_is_named() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let agent =
        Agent::at(&sshd, ("nowhere.invalid", 22), &sshd.known_hosts(), "").watch("in", scratch.path(), "");

    agent.ask(&["check"]).expect_code(3).expect_said("nowhere.invalid");
}

/// A server that moves to another address is found there by the same process.
#[test]
fn fault_51_changed_address_is_looked_up_again() {
    if !machine::is_root("an address of our own") {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), scratch());
    let hosts = scratch.path().join("hosts");
    // Nobody listens at this one.
    fs::write(&hosts, "127.0.0.77 collector.test\n").expect("a new folder is writable");
    let known_hosts = scratch.path().join("known_hosts");
    let known = fs::read_to_string(sshd.known_hosts()).expect("it was written");
    fs::write(&known_hosts, known.replace("127.0.0.1", "collector.test")).expect("a new folder is writable");
    let mut source = Tree::new(scratch.path().join("in"), 4);
    source.small_files(10, 2);
    let own_hosts = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let hosts_path = hosts.to_str().expect("temporary names are plain");
    let wrapper = ["unshare", "-m", "sh", "-c", own_hosts, hosts_path];
    let mut agent = Agent::at(&sshd, ("collector.test", sshd.port()), &known_hosts, "")
        .watch("in", source.root(), "")
        .under(wrapper)
        .started();

    agent.wait_until_logged("the old address is tried", |line| line.contains("127.0.0.77"));
    fs::write(&hosts, "127.0.0.1 collector.test\n").expect("it can be written again");

    agent.wait_until("the files are delivered at the new one", || tree::equal(source.root(), &sshd.root()));
}

/// The agent says so, sends nothing, keeps the files, does not hammer, and goes on once the key is confirmed.
#[test]
fn fault_52_changed_host_key_stops_everything_until_it_is_confirmed() {
    let (mut sshd, scratch) = (Sshd::start(), scratch());
    let proxy = FaultProxy::to(sshd.port());
    sshd.change_host_key();
    let known_hosts = scratch.path().join("known_hosts");
    let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEYBuW7nBKtCGGsQCBNXr4dyfOdKPpLAEWlwK0ZTHbZS";
    fs::write(&known_hosts, format!("[127.0.0.1]:{} {public}\n", proxy.port())).expect("it can be written");
    let mut source = Tree::new(scratch.path().join("in"), 5);
    source.small_files(10, 2);
    let mut agent = Agent::at(&sshd, ("127.0.0.1", proxy.port()), &known_hosts, "")
        .watch("in", source.root(), &format!("after_delivery = 'delete'\n{RARELY}"))
        .started();

    agent.wait_until_logged("the changed key is named", |line| {
        line.contains("host key") && line.contains("changed") && line.contains("skiff trust")
    });
    assert_few_connections(&proxy, &mut agent);
    assert_eq!(
        (tree::count(&sshd.root()), tree::count(source.root())),
        (0, 10),
        "nothing is sent or deleted"
    );

    fs::rename(sshd.known_hosts_at(proxy.port()), &known_hosts).expect("it can be replaced");
    agent.wait_until("the files are delivered", || tree::count(&sshd.root()) == 10);
}

/// A key that is taken from the server's list in mid-transfer: told, not hammered, and gone on with when it is back.
#[test]
fn fault_53_revoked_key_is_told_and_not_hammered() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let proxy = FaultProxy::to(sshd.port());
    let mut source = Tree::new(scratch.path().join("in"), 6);
    source.file("large.bin", 24 * MIB);
    let mut agent =
        Agent::through(&proxy, &sshd, "bandwidth = '64 Mbit/s'").watch("in", source.root(), RARELY).started();
    agent.wait_until("the transfer is under way", || tree::staged_bytes(&sshd.root()) > 0);

    sshd.set_authorized(false);
    assert!(sshd.kill_sessions() > 0, "there is a session to kill");
    agent.wait_until_logged("the refusal is named", |line| {
        line.contains("refused the login") && line.contains(sshd.user())
    });
    assert_few_connections(&proxy, &mut agent);
    sshd.set_authorized(true);

    agent.wait_until("the file is delivered", || tree::equal(source.root(), &sshd.root()));
}

/// Watches for 3 s that whoever waits up to 10 s between attempts comes rarely.
fn assert_few_connections(proxy: &FaultProxy, agent: &mut Agent) {
    let before = proxy.last().0;
    let begin = Instant::now();
    agent.wait_until("3 s have passed", || begin.elapsed() > Duration::from_secs(3));
    let more = proxy.last().0 - before;
    assert!(more <= 5, "{more} attempts in 3 s:\n{}", agent.log());
}

/// One channel is enough.
#[test]
fn fault_55_one_session_at_a_time_is_enough() {
    let (sshd, scratch) = (Sshd::start_with("MaxSessions 1"), scratch());
    let mut source = Tree::new(scratch.path().join("in"), 7);
    source.small_files(100, 5);
    for number in 0..8 {
        source.file(format!("large-{number}.bin"), 2 * MIB);
    }
    // By itself it learns of the limit while it looks for a shell, before there is anything to tell.
    let more = if sshd::is_sftp_only() { "in_flight = 8\ntransport = 'sftp'" } else { "in_flight = 8" };
    let mut agent = Agent::with_destination(&sshd, more).watch("in", source.root(), "").started();

    agent.wait_until("all are delivered", || tree::equal(source.root(), &sshd.root()));
    let log = agent.log();
    assert!(log.contains("allows no more channels"), "the limit was not met:\n{log}");
    assert!(!log.contains("WARN"), "what waits its turn has not failed:\n{log}");
}

/// A server that takes no more connections is asked again, less and less often, until it does.
#[test]
fn fault_56_full_server_is_asked_again_until_it_has_room() {
    let (sshd, scratch) = (Sshd::start_with("MaxStartups 1:100:1\nLoginGraceTime 600"), scratch());
    let proxy = FaultProxy::to(sshd.port());
    let mut source = Tree::new(scratch.path().join("in"), 8);
    source.small_files(10, 2);
    let somebody = TcpStream::connect(("127.0.0.1", sshd.port())).expect("the server listens");
    let greeted = wait::came_true(wait::LIMIT, || somebody.peek(&mut [0]).is_ok_and(|length| length > 0));
    assert!(greeted, "the one place is taken");
    let mut agent = Agent::through(&proxy, &sshd, "").watch("in", source.root(), "").started();

    agent.wait_until("it has tried three times", || proxy.last().0 >= 3);
    assert_eq!(tree::count(&sshd.root()), 0, "nothing can have arrived");
    somebody.shutdown(Shutdown::Both).expect("it is open");

    agent.wait_until("the files are delivered", || tree::equal(source.root(), &sshd.root()));
}

/// New keys every 256 KiB, in the middle of files: one connection, no complaint.
#[test]
fn fault_57_rekey_mid_file_is_unnoticed() {
    let (sshd, scratch) = (Sshd::start_with("RekeyLimit 256K"), scratch());
    let proxy = FaultProxy::to(sshd.port());
    let mut source = Tree::new(scratch.path().join("in"), 9);
    source.small_files(200, 5);
    source.file("large.bin", 24 * MIB);
    let mut agent = Agent::through(&proxy, &sshd, "").watch("in", source.root(), "").started();

    agent.wait_until("all are delivered", || tree::equal(source.root(), &sshd.root()));
    assert!(agent.terminate().success());
    assert_eq!(proxy.last().0, 1, "one connection:\n{}", agent.log());
    assert!(!agent.log().contains("WARN"), "{}", agent.log());
}

/// A server that takes nothing any longer while the connection lives: the deadline ends it, and the rest is sent.
#[test]
fn fault_58_zero_window_ends_at_a_deadline() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let proxy = FaultProxy::to(sshd.port());
    proxy.next(Plan::up_at(3 * MIB, Fault::Deaf));
    let mut source = Tree::new(scratch.path().join("in"), 10);
    // Much more than the buffers on the way take.
    source.file("large.bin", 48 * MIB);
    let mut agent = Agent::through(&proxy, &sshd, IMPATIENT).watch("in", source.root(), "").started();

    agent.wait_until("the file is delivered", || tree::equal(source.root(), &sshd.root()));
    assert!(proxy.carried_after(0)[0].met, "the fault was not met");
}

/// Bits flipped on the way, in either direction, never get through the MAC: another connection, the same file.
#[test]
fn fault_59_flipped_byte_ends_the_connection_and_never_arrives() {
    goes_on_after(Plan::up_at(12 * MIB, Fault::Flip));
    let (sshd, scratch) = (Sshd::start(), scratch());
    let proxy = FaultProxy::to(sshd.port());
    for byte in [700, 2500, 2900] {
        proxy.next(Plan::down_at(byte, Fault::Flip));
        proxy.next(Plan::up_at(4 * byte, Fault::Flip));
    }
    let mut source = Tree::new(scratch.path().join("in"), 11);
    source.small_files(50, 2);
    let mut agent = Agent::through(&proxy, &sshd, IMPATIENT).watch("in", source.root(), "").started();

    agent.wait_until("the files are delivered", || tree::equal(source.root(), &sshd.root()));
    let carried = proxy.carried_after(0);
    assert!(carried.len() > 6 && carried[..6].iter().all(|one| one.met), "{carried:?}");
}

/// 1.5 Mbit/s that is up a tenth of the time, and loses its connections in between: each time it is up, more is there.
#[test]
fn fault_60_link_that_is_mostly_down_makes_progress_whenever_it_is_up() {
    // By SFTP what has arrived of a file is read back by each connection: one that takes longer than the link is up never
    // ends, and what counts is what is delivered.
    let by_sftp = sshd::is_sftp_only();
    let up = Duration::from_millis(if by_sftp { 2400 } else { 1200 });
    let down = up * 9;
    let (sshd, scratch) = (Sshd::start(), scratch());
    let proxy = FaultProxy::to(sshd.port());
    proxy.always(Plan::default().rate(1_500_000 / 8).round_trip(Duration::from_millis(20)));
    let mut source = Tree::new(scratch.path().join("in"), 12);
    if by_sftp {
        for number in 0..3 {
            source.file(format!("{number}.bin"), 80_000);
        }
    } else {
        source.file("large.bin", 250_000);
    }
    let more = format!("{IMPATIENT}\n{}", if by_sftp { "in_flight = 1" } else { "" });
    let quick = "small_file = 0\nretry_first = '50ms'\nretry_max = '100ms'";
    proxy.set_up(false);
    let mut agent = Agent::through(&proxy, &sshd, &more).watch("in", source.root(), quick).started();

    let root = sshd.root();
    let far = || if by_sftp { tree::total_bytes(&root) } else { tree::staged_bytes(&root) };
    let is_done = || tree::equal(source.root(), &root);
    let mut last = 0;
    let mut rounds = 0;
    while !is_done() {
        rounds += 1;
        // The weather, not a wait for something.
        thread::sleep(down);
        proxy.set_up(true);
        thread::sleep(up);
        proxy.set_up(false);
        proxy.break_all(Fault::Reset);
        let (staged, done) = (far(), is_done());
        assert!(
            done || staged > last,
            "no progress in round {rounds}: {last}, then {staged}\n{}",
            agent.log()
        );
        assert!(done || rounds < 5, "not done after {rounds} rounds:\n{}", agent.log());
        last = staged;
    }
    assert!(agent.ended().is_none(), "the agent goes on");
    // Beside what each connection begins with.
    let carried = proxy.carried_after(0);
    let bytes: u64 = carried.iter().map(|one| one.up.saturating_sub(60_000)).sum();
    assert!(bytes < 375_000, "{bytes} bytes were sent of 250,000: {carried:?}");
}

skiff_tests::by_sftp_too! {
    fault_47_stall_ends_at_a_deadline_and_the_transfer_goes_on,
    fault_47_stalled_answers_end_at_a_deadline,
    fault_55_one_session_at_a_time_is_enough,
    fault_57_rekey_mid_file_is_unnoticed,
    fault_58_zero_window_ends_at_a_deadline,
    fault_59_flipped_byte_ends_the_connection_and_never_arrives,
    fault_60_link_that_is_mostly_down_makes_progress_whenever_it_is_up,
}
