//! Large files: over several channels where the round trip is long, packed where that pays, and gone on with.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use skiff_tests::fault_proxy::{Fault, Plan};
use skiff_tests::{Agent, FaultProxy, Sshd, Toolbox, Tree, machine, tree};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const FAR: Duration = Duration::from_millis(60);
/// What the log has to tell is told in detail only.
const RULES: &str = "retry_first = '100ms'\nretry_max = '200ms'";

fn scratch() -> TempDir {
    TempDir::new().expect("there is room for a temporary folder")
}

/// A log of `size` bytes as programs write them.
fn text(path: &Path, size: u64) {
    let mut file = fs::File::create(path).expect("a new folder is writable");
    let (mut written, mut number) = (0, 0_u64);
    while written < size {
        let line =
            format!("2026-01-01T00:00:00Z sensor-{} reads {}.{} C\n", number % 7, number % 40, number % 10);
        file.write_all(line.as_bytes()).expect("there is room");
        written += line.len() as u64;
        number += 1;
    }
}

fn delivered(agent: &mut Agent, source: &Tree, sshd: &Sshd) {
    agent.wait_until("the file is delivered", || tree::equal(source.root(), &sshd.root()));
}

/// Segments come side by side; when all connections are cut in the middle, what came together is not sent again.
#[test]
fn segments_over_a_long_link_go_on_after_a_cut() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let proxy = FaultProxy::to(sshd.port());
    let far = Plan::default().round_trip(FAR);
    proxy.always(far);
    proxy.next(Plan::up_at(60 * MIB, Fault::Reset).round_trip(FAR));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.file("large.bin", 80 * MIB);
    let mut agent = Agent::through(&proxy, &sshd, "").watch("in", source.root(), RULES).started();

    delivered(&mut agent, &source, &sshd);

    let carried = proxy.carried_after(0);
    assert!(carried[0].met, "the cut was not met: {carried:?}");
    let up: u64 = carried[1..].iter().map(|one| one.up).sum();
    // Of what was under way, twice a segment for each of six channels is lost at most.
    assert!(up < 46 * MIB, "what had arrived was sent again: {up} bytes of {carried:?}\n{}", agent.log());
}

/// More than one channel's window fits into a round trip.
#[test]
fn a_long_link_is_filled_by_several_channels() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let proxy = FaultProxy::to(sshd.port());
    proxy.always(Plan::default().round_trip(FAR));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    source.file("large.bin", 64 * MIB);
    let mut agent = Agent::through(&proxy, &sshd, "").watch("in", source.root(), RULES).started();

    delivered(&mut agent, &source, &sshd);

    let sessions = sshd.log().matches("Starting session: ").count();
    assert!(sessions > 3, "only {sessions} sessions were opened:\n{}", sshd.log());
}

/// Channels are asked for all at once; how many the server allows is told once, when it is known.
#[test]
fn few_channels_are_told_of_once() {
    let (sshd, scratch) = (Sshd::start_with("MaxSessions 2"), scratch());
    let proxy = FaultProxy::to(sshd.port());
    proxy.always(Plan::default().round_trip(FAR));
    let mut source = Tree::new(scratch.path().join("in"), 5);
    source.file("large.bin", 64 * MIB);
    let mut agent = Agent::through(&proxy, &sshd, "").watch("in", source.root(), RULES).started();

    delivered(&mut agent, &source, &sshd);

    let log = agent.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("allows no more channels")).collect();
    assert!(told.len() == 1 && told[0].contains("channels=2"), "{told:#?}");
}

/// On a slow link text is packed, batches and large files alike; by whichever the destination has.
#[test]
fn text_is_packed_on_a_slow_link() {
    for missing in ["", "zstd"] {
        let toolbox = Toolbox::usual().and(if missing.is_empty() { &["gzip", "zstd"] } else { &["gzip"] });
        let (sshd, scratch) = (Sshd::start_with(&toolbox.lines()), scratch());
        let proxy = FaultProxy::to(sshd.port());
        proxy.always(Plan::default().rate(4 * MIB));
        let source = Tree::new(scratch.path().join("in"), 3);
        text(&source.root().join("large.log"), 40 * MIB);
        for number in 0..40 {
            text(&source.root().join(format!("small-{number}.log")), 100 << 10);
        }
        let mut agent = Agent::through(&proxy, &sshd, "").watch("in", source.root(), RULES).started();

        delivered(&mut agent, &source, &sshd);

        let up: u64 = proxy.carried_after(0).iter().map(|one| one.up).sum();
        assert!(up < 20 * MIB, "{up} bytes were sent for 44 MiB of text, without {missing:?}");
    }
}

/// Where the link is faster than the packer, batches are packed until that is known.
#[test]
fn batches_are_not_packed_where_that_takes_longer_than_to_send_them() {
    let toolbox = Toolbox::usual().with("gzip", "echo >>\"$HOME/unpacked\"; exec \"$REAL\" \"$@\"");
    let (sshd, scratch) = (Sshd::start_with(&toolbox.lines()), scratch());
    let source = Tree::new(scratch.path().join("in"), 7);
    let mut noise = Tree::new(scratch.path().join("noise"), 7);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), RULES).started();
    let mut unpacked = |wave: u64| {
        // Noise in letters: it takes long to pack and gains a quarter.
        for number in 0..70 {
            let name = format!("{wave}-{number}");
            let bytes = fs::read(noise.file(&name, 60 << 10)).expect("it was just written");
            let letters: Vec<u8> = bytes.iter().map(|byte| b'0' + byte % 64).collect();
            fs::write(source.root().join(name), letters).expect("there is room");
        }
        delivered(&mut agent, &source, &sshd);
        fs::read_to_string(toolbox.note("unpacked")).map_or(0, |lines| lines.len())
    };

    assert!(unpacked(1) > 0, "nobody knows yet what it costs");
    let known = unpacked(2);
    assert_eq!(unpacked(3), known, "it was packed again");
}

/// Nobody knows how much of a file is still to come when its scp dies: none of it may be taken for a verb.
#[test]
fn a_file_whose_scp_dies_commands_nothing() {
    let dies = "case $2 in */part) [ -e \"$HOME/met\" ] || { : >\"$HOME/met\"; : >\"$2\"\n\
                printf '\\0\\0\\0'; read -r T; read -r C; kill -9 $$; } ;; esac\nexec \"$REAL\" \"$@\"";
    let toolbox = Toolbox::usual().with("scp", dies);
    let (sshd, scratch) = (Sshd::start_with(&toolbox.lines()), scratch());
    let source = Tree::new(scratch.path().join("in"), 4);
    let verbs = "place part planted\nreplace part victim any\n".repeat(100_000);
    fs::write(source.root().join("verbs"), verbs).expect("a new folder is writable");
    fs::write(sshd.root().join("victim"), "somebody else's").expect("the root is writable");
    let mut agent = Agent::to(&sshd).watch("in", source.root(), RULES).started();

    agent.wait_until("the file is delivered", || sshd.root().join("verbs").exists());

    assert!(toolbox.note("met").exists(), "the fault was not met");
    assert!(!sshd.root().join("planted").exists(), "a line of a file was taken for a verb");
    assert_eq!(fs::read_to_string(sshd.root().join("victim")).expect("it is there"), "somebody else's");
}

/// A login that isn't root has to write and read what it receives, whatever the source's mode is, which it has in the end.
#[test]
fn modes_that_forbid_their_owner_something_are_delivered() {
    if !machine::is_root("a login that modes hold for") {
        return;
    }
    for without in [&[][..], &["tar"], &["tar", "b3sum", "openssl", "sha256sum", "shasum"]] {
        let toolbox = Toolbox::without(without).and(&["gzip"]);
        let (sshd, scratch) =
            (Sshd::start_for("nobody", Some(Path::new("/bin/sh")), &toolbox.lines()), scratch());
        for folder in [toolbox.home(), sshd.root().as_path()] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("it is ours");
        }
        let proxy = FaultProxy::to(sshd.port());
        proxy.always(Plan::default().round_trip(FAR));
        let source = Tree::new(scratch.path().join("in"), 6);
        let at = |name: &str| source.root().join(name);
        text(&at("large.log"), if without.is_empty() { 40 * MIB } else { 2 * MIB });
        for name in ["middle", "a", "b", "c", "d"] {
            text(&at(name), if name == "middle" { 2 * MIB } else { 1000 });
        }
        let modes =
            [("large.log", 0o444), ("middle", 0o200), ("a", 0o200), ("b", 0), ("c", 0o444), ("d", 0o755)];
        for (name, mode) in modes {
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).expect("it is ours");
        }
        let rules = "retry_first = '100ms'\nretry_max = '200ms'\nsmall_file = '1 MiB'";
        let mut agent = Agent::through(&proxy, &sshd, "").watch("in", source.root(), rules).started();
        agent.wait_until("all are delivered", || tree::equal(source.root(), &sshd.root()));
        for (name, mode) in modes {
            let there = fs::metadata(sshd.root().join(name)).expect("it is there").permissions().mode();
            assert_eq!(there & 0o777, mode & 0o755, "{name}, without {without:?}");
        }
    }
}

skiff_tests::by_sftp_too! {
    segments_over_a_long_link_go_on_after_a_cut,
    a_long_link_is_filled_by_several_channels,
    few_channels_are_told_of_once,
}
