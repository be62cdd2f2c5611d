//! More collectors than one, over one folder.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::{fs, io, thread};

use serde_json::Value;
use skiff_tests::{Agent, Sshd, Tree, machine, tree};
use tempfile::TempDir;

fn packaged(name: &str) -> String {
    format!("{}/../packaging/fleet/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A TCP load balancer on this machine: each connection goes to the first server that takes it.
fn balancer(ports: [u16; 2]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Some(server) = ports.iter().find_map(|port| TcpStream::connect(("127.0.0.1", *port)).ok())
            else {
                continue;
            };
            for (mut from, mut to) in [(&client, &server), (&server, &client)]
                .map(|(from, to)| (from.try_clone().expect("a socket"), to.try_clone().expect("a socket")))
            {
                thread::spawn(move || {
                    // However it ends, both sides hear of it.
                    let _ended = io::copy(&mut from, &mut to);
                    let _gone = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                });
            }
        }
    });
    port
}

/// Behind a load balancer before a shared store: a large file that is cut with one sshd goes on at the other, which has
/// a process and a host key of its own and the same folder, and arrives once.
#[test]
fn two_servers_over_one_folder_go_on_where_the_other_was() {
    let (mut one, other, scratch) =
        (Sshd::start(), Sshd::start(), TempDir::new().expect("a temporary folder"));
    let shared = one.root();
    let home = |sshd: &Sshd| sshd.key().parent().expect("it stands in a folder").to_owned();
    fs::copy(home(&one).join("id_ed25519.pub"), home(&other).join("authorized_keys")).expect("there is room");
    let port = balancer([one.port(), other.port()]);
    let known =
        [&one, &other].map(|sshd| fs::read_to_string(sshd.known_hosts_at(port)).expect("it is there"));
    let known_hosts = scratch.path().join("known_hosts");
    fs::write(&known_hosts, known.concat()).expect("there is room");
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.file("large.bin", 3 << 20);
    let mut agent =
        Agent::at(&one, ("127.0.0.1", port), &known_hosts, "bandwidth = '8 Mbit/s'\ncompression = 'off'")
            .watch("in", source.root(), "")
            .started();
    agent.wait_until("half of it is there", || tree::staged_bytes(&shared) > 3 << 19);
    one.stop();

    agent.wait_until("all arrives by the other", || tree::equal(source.root(), &shared));
    agent.wait_until_logged("it says so", |line| line.contains("delivered and verified"));
    assert!(tree::is_empty(&other.root()), "the other's own folder is no part of this");
    let status: Value = serde_json::from_str(&agent.ask(&["status", "--json"]).said).expect("JSON");
    let sent = status["totals"]["sent_bytes"].as_u64().expect("a number");
    assert!(sent < (3 << 20) + (1 << 20), "it goes on where it was: {sent} bytes for 3 MiB");
}

/// Several agents at once to two servers over one folder: each delivers below its own name.
#[test]
fn agents_of_a_fleet_share_two_servers_over_one_folder() {
    let (one, other, scratch) = (Sshd::start(), Sshd::start(), TempDir::new().expect("a temporary folder"));
    let agents: Vec<_> = (0..4)
        .map(|n| {
            let mut source = Tree::new(scratch.path().join(format!("in-{n}")), n);
            source.small_files(60, 3);
            let (mine, folder) =
                (if n % 2 == 0 { &one } else { &other }, format!("destination_path = 'agent-{n}'"));
            let agent = Agent::to(mine).watch("in", source.root(), &folder);
            let text = fs::read_to_string(agent.config()).expect("it was written");
            let (theirs, ours) = (mine.root().display().to_string(), one.root().display().to_string());
            fs::write(agent.config(), text.replace(&theirs, &ours)).expect("there is room");
            (agent.started(), source)
        })
        .collect();
    for (n, (mut agent, source)) in agents.into_iter().enumerate() {
        let folder = one.root().join(format!("agent-{n}"));
        agent.wait_until("its files arrive", || tree::equal(source.root(), &folder));
    }
}

/// What is packaged for a fleet is read by those that it is for.
#[test]
fn packaged_files_are_right() {
    let sshd = Sshd::start_with(&fs::read_to_string(packaged("sshd.conf")).expect("it is in the repository"));
    assert!(sshd.port() > 0, "sshd starts with it");
    let home = TempDir::new().expect("a temporary folder");
    let mut check = skiff_tests::skiff::command(home.path());
    let said = skiff_tests::skiff::run(
        check.args(["config", "check", "--config", &packaged("spread.toml")]),
        home.path(),
    );
    said.expect_code(0);
    for (program, arguments) in [("haproxy", vec!["-c", "-f"]), ("nginx", vec!["-t", "-c"])] {
        let name = if program == "nginx" { "nginx.conf" } else { "haproxy.cfg" };
        match Command::new(program).args(arguments).arg(packaged(name)).output() {
            Ok(output) => {
                assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            }
            // There is nobody to ask.
            Err(error) => {
                machine::not_shown(name, &format!("{program} cannot be started: {error}"));
            }
        }
    }
}
