//! `~/.ssh/config` as `ssh` reads it: by what arrives, and by what `ssh -G` says of the same file.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use skiff::ssh_config::{Files, JumpSpec, Looked, Strict};
use skiff_tests::campaign::chance::Chance;
use skiff_tests::skiff::{Ended, command, run};
use skiff_tests::{Agent, Sshd, User, process, tree};

/// Pushes with these flags before the source.
#[track_caller]
fn push(user: &User, flags: &[&str], host: &str, to: &Path) -> Ended {
    let (data, to) = (user.data().display().to_string(), format!("{host}:{}", to.display()));
    user.run(&[&["push"], flags, &["--state-dir", "state", &data, &to]].concat())
}

/// What an `ssh_config` file says of this server.
fn block(alias: &str, sshd: &Sshd) -> String {
    let (port, user) = (sshd.port(), sshd.user());
    let (key, known) = (sshd.key(), sshd.known_hosts());
    format!(
        "Host {alias}\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
         UserKnownHostsFile {}\n",
        key.display(),
        known.display()
    )
}

#[test]
fn alias_is_looked_up_with_all_that_is_said_of_it() {
    let (sshd, user) = (Sshd::start(), User::new());
    let inner = user.write("inner", &block("collector", &sshd));
    let outer = format!("Include {}\nHost *\n  ConnectTimeout 9\n  Ciphers aes256-ctr\n", inner.display());
    let outer = user.write("outer", &outer);

    push(&user, &["-q", "-F", outer.to_str().expect("plain")], "collector", &sshd.root()).expect_code(0);

    user.expect_arrived(&sshd.root());
}

/// `~/.ssh/config` needs no flag, and what is said on the command line comes before it.
#[test]
fn users_own_file_is_read_and_flags_come_first() {
    let (sshd, user) = (Sshd::start(), User::new());
    let config = block("collector", &sshd).replace(&format!("Port {}", sshd.port()), "Port 1");
    fs::create_dir(user.home().join(".ssh")).expect("a new folder is writable");
    user.write(".ssh/config", &config);
    let port = sshd.port().to_string();

    push(&user, &["-q"], "collector", &sshd.root()).expect_code(3).expect_said("refused");
    push(&user, &["-q", "-P", &port], "collector", &sshd.root().join("by-flag")).expect_code(0);
    let option = format!("Port={port}");
    push(&user, &["-q", "-o", &option], "collector", &sshd.root().join("by-option")).expect_code(0);

    user.expect_arrived(&sshd.root().join("by-flag"));
    user.expect_arrived(&sshd.root().join("by-option"));
}

/// Through one server and through two; each is looked up by its own name.
#[test]
fn servers_on_the_way() {
    let (first, second, last, user) = (Sshd::start(), Sshd::start(), Sshd::start(), User::new());
    let blocks = [block("first", &first), block("second", &second), block("last", &last)].concat();
    let flat = user.write("flat", &blocks);
    let chained = user.write("chained", &format!("{blocks}  ProxyJump first,second\n"));
    let (flat, chained) = (flat.to_str().expect("plain"), chained.to_str().expect("plain"));

    push(&user, &["-q", "-F", flat, "-J", "first"], "last", &last.root().join("one")).expect_code(0);
    push(&user, &["-q", "-F", chained], "last", &last.root().join("two")).expect_code(0);

    user.expect_arrived(&last.root().join("one"));
    user.expect_arrived(&last.root().join("two"));
    assert!(first.log().contains("Accepted") && second.log().contains("Accepted"), "both were on the way");
}

/// `StrictHostKeyChecking`: by default nobody unknown is trusted; `accept-new` records the key.
#[test]
fn new_hosts_are_recorded_only_if_that_is_said() {
    let (sshd, user) = (Sshd::start(), User::new());
    let known = sshd.empty_known_hosts();
    let config = block("collector", &sshd)
        .replace(&sshd.known_hosts().display().to_string(), &known.display().to_string());
    let config = user.write("config", &config);
    let config = config.to_str().expect("plain");

    push(&user, &["-q", "-F", config], "collector", &sshd.root()).expect_code(4);
    let accept = ["-q", "-F", config, "-o", "StrictHostKeyChecking=accept-new"];
    push(&user, &accept, "collector", &sshd.root()).expect_code(0);

    user.expect_arrived(&sshd.root());
    assert!(fs::read_to_string(known).expect("it is there").contains("ssh-ed25519"), "the key is recorded");
}

/// Words that `ssh` doesn't know, and a command that would have to be run, are told and end it.
#[test]
fn what_cannot_be_done_is_refused() {
    let (sshd, user) = (Sshd::start(), User::new());
    for (line, said) in [("Prot 22\n", "Prot"), ("Host *\n  ProxyCommand nc %h %p\n", "ProxyCommand")] {
        let config = user.write("config", line);
        let flags = ["-q", "-F", config.to_str().expect("plain")];
        push(&user, &flags, "collector", &sshd.root()).expect_code(2).expect_said(said);
    }
    assert_eq!(tree::count(&sshd.root()), 0);
}

/// A destination may name a host alias: the user's file says the rest, and what the settings say comes first.
#[test]
fn destination_names_an_alias() {
    let (sshd, user) = (Sshd::start(), User::new());
    fs::create_dir(user.home().join(".ssh")).expect("a new folder is writable");
    user.write(".ssh/config", &block("collector", &sshd));
    let check = |more: &str| {
        let config = user.write(
            "skiff.toml",
            &format!(
                "state_dir = '{home}/state'\n[destination.a]\naddress = 'collector'\npath = '{root}'\n{more}\n\
                 [[watch]]\nname = 'in'\npath = '{source}'\nto = 'a'\n",
                home = user.home().display(),
                root = sshd.root().display(),
                source = user.data().display(),
            ),
        );
        let mut check = command(user.home());
        check.args(["check", "--config"]).arg(config);
        run(&mut check, user.home())
    };

    check("").expect_code(0).expect_said(&format!("{}@127.0.0.1 port {}", sshd.user(), sshd.port()));
    check("known_hosts = '/dev/null'").expect_code(4).expect_said("is unknown");
    check("identity = '/nowhere/key'").expect_code(3).expect_said("/nowhere/key");
    check("ssh_config = 'none'").expect_code(3).expect_said("cannot find the address of collector");
    check("ssh_config = '/nowhere/config'").expect_code(2).expect_said("/nowhere/config");
    let elsewhere = user.write("elsewhere", &block("other", &sshd)).display().to_string();
    check(&format!("ssh_config = '{elsewhere}'")).expect_code(3).expect_said("address of collector");

    // By `*` alone nobody is named; a file that makes no sense is told and left out.
    user.write(".ssh/config", "Host *\n  Port 1\n");
    check("").expect_code(3).expect_said("cannot find the address of collector");
    user.write(".ssh/config", "Prot 22\n");
    check("").expect_code(3).expect_said("it is left out for a").expect_said("address of collector");
}

/// The same for a running agent, which delivers; a reload that names a missing file changes nothing.
#[test]
fn agent_delivers_to_an_alias() {
    let (sshd, user) = (Sshd::start(), User::new());
    let config = user.write("config", &block("collector", &sshd));
    let empty = sshd.empty_known_hosts();
    let mut agent =
        Agent::at(&sshd, ("collector", 22), &empty, &format!("ssh_config = '{}'", config.display())).watch(
            "in",
            user.data(),
            "",
        );
    let text = fs::read_to_string(agent.config()).expect("it was written");
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with("known_hosts =") && !line.starts_with("identity ="))
        .map(|line| line.replace("collector:22", "collector") + "\n")
        .collect();
    fs::write(agent.config(), &text).expect("it can be written");
    agent.start();

    agent.wait_until("the file is delivered", || tree::equal(user.data(), &sshd.root()));

    fs::write(agent.config(), text.replace(&config.display().to_string(), "/nowhere"))
        .expect("it can be written");
    agent.ask(&["reload"]).expect_said("/nowhere");
    assert!(agent.ended().is_none(), "the old configuration stays");
}

const HOSTS: [&str; 6] = ["alpha", "beta", "beta.example.org", "10.0.0.7", "gamma-1", "delta"];
const PATTERNS: [&str; 9] = [
    "*",
    "alpha",
    "beta*",
    "*.example.org",
    "10.0.0.?",
    "gamma-* !gamma-1",
    "!delta *",
    "b?ta alpha",
    "nobody",
];
const FILES: u64 = 100;
const KNOWN: [&str; 12] = [
    "ciphers",
    "hostname",
    "port",
    "user",
    "identityfile",
    "identitiesonly",
    "compression",
    "serveraliveinterval",
    "connecttimeout",
    "userknownhostsfile",
    "stricthostkeychecking",
    "proxyjump",
];

/// Of generated files, skiff reads what `ssh -G` reads.
#[test]
fn generated_files_mean_what_they_mean_to_ssh() {
    let (user, mut meant) = (User::new(), 0);
    let usual = HOSTS.map(|host| said_by_ssh(Path::new("none"), host));
    for seed in 0..FILES {
        let mut chance = Chance::new(seed);
        let included = user.write("included", &config(&mut chance, None));
        let path = user.write("config", &config(&mut chance, Some(&included)));
        for (host, usual) in HOSTS.into_iter().zip(&usual) {
            let files = Files { users: vec![path.clone()], must: true, ..Files::default() };
            let looked = files.look_up(host, "me").expect("ssh reads it too");
            let not_usual = |lines: Vec<String>| -> Vec<String> {
                lines.into_iter().filter(|line| !usual.contains(line)).collect()
            };
            let (own, ssh) = (not_usual(said(&looked, host)), not_usual(said_by_ssh(&path, host)));
            meant += own.len();
            assert_eq!(
                own,
                ssh,
                "seed {seed}, host {host}:\n{}",
                fs::read_to_string(&path).expect("it is there")
            );
        }
    }
    assert!(meant > 1_000, "only {meant} values were compared");
}

fn config(chance: &mut Chance, included: Option<&Path>) -> String {
    let mut text = String::new();
    for _ in 0..=chance.below(5) {
        if chance.percent(85) {
            let pattern = PATTERNS[usize::try_from(chance.below(PATTERNS.len() as u64)).expect("few")];
            let equals = if chance.percent(20) { "=" } else { " " };
            let _ = writeln!(text, "Host{equals}{pattern}");
        }
        for _ in 0..chance.below(5) {
            let number = 1 + chance.below(300);
            let line = match chance.below(13) {
                0 => format!("HostName real-{number}.example.org"),
                1 => format!("Port {number}"),
                2 => format!("user someone{number}"),
                3 => format!("IdentityFile ~/.ssh/key-{number}"),
                4 => format!("IdentitiesOnly {}", if chance.percent(50) { "yes" } else { "no" }),
                5 if number.is_multiple_of(2) => {
                    format!("ProxyJump jump-{number}:{number},me@last-{number}:22")
                }
                5 => format!("ProxyJump jump-{number}:{number}"),
                6 => format!("Compression  {}", if chance.percent(50) { "yes" } else { "no" }),
                7 => format!("ServerAliveInterval {number}"),
                8 => format!("ConnectTimeout={number}s"),
                9 => format!("UserKnownHostsFile /known-{number} \"/with a space/{number}\""),
                10 => {
                    let values = ["yes", "ask", "accept-new"];
                    format!("StrictHostKeyChecking {}", values[usize::try_from(number % 3).expect("few")])
                }
                11 => {
                    let values =
                        ["aes256-ctr", "aes128-ctr,aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"];
                    format!("Ciphers {}", values[usize::try_from(number % 3).expect("few")])
                }
                _ => format!("# {number}\n  ForwardAgent no"),
            };
            let _ = writeln!(text, "  {line}");
        }
        if let Some(included) = included.filter(|_| chance.percent(25)) {
            let _ = writeln!(text, "  Include {}", included.display());
        }
    }
    text
}

/// What was found, in the words of `ssh -G`; what wasn't said is left out.
fn said(looked: &Looked, host: &str) -> Vec<String> {
    let mut lines = vec![format!("hostname {}", looked.host_name.as_deref().unwrap_or(host))];
    let yes_no = |value: bool| if value { "yes" } else { "no" };
    lines.extend(looked.port.map(|port| format!("port {port}")));
    lines.extend(looked.user.as_ref().map(|user| format!("user {user}")));
    lines.extend(looked.identity_files.iter().map(|file| format!("identityfile {file}")));
    lines.extend(looked.identities_only.map(|only| format!("identitiesonly {}", yes_no(only))));
    lines.extend(looked.compression.map(|on| format!("compression {}", yes_no(on))));
    lines.extend(looked.server_alive_interval.map(|time| format!("serveraliveinterval {}", time.as_secs())));
    lines.extend(looked.connect_timeout.map(|time| format!("connecttimeout {}", time.as_secs())));
    lines.extend(
        looked.user_known_hosts.as_ref().map(|files| format!("userknownhostsfile {}", files.join(" "))),
    );
    lines.extend(looked.ciphers.as_ref().map(|ciphers| format!("ciphers {ciphers}")));
    lines.extend(looked.strict.map(|strict| {
        let word = match strict {
            Strict::Yes => "true",
            Strict::Ask => "ask",
            Strict::AcceptNew => "accept-new",
            Strict::No => "false",
        };
        format!("stricthostkeychecking {word}")
    }));
    let hop = |jump: &JumpSpec| {
        let user = jump.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        format!("{user}{}:{}", jump.host, jump.port.expect("each of these has one"))
    };
    lines.extend(
        looked
            .proxy_jump
            .as_ref()
            .map(|jumps| format!("proxyjump {}", jumps.iter().map(hop).collect::<Vec<_>>().join(","))),
    );
    lines.sort();
    lines
}

/// What `ssh` would do, as far as skiff reads it too.
fn said_by_ssh(config: &Path, host: &str) -> Vec<String> {
    let output = process::run(Command::new("ssh").arg("-G").arg("-F").arg(config).arg(host));
    let lines = output.lines().filter(|line| KNOWN.contains(&line.split(' ').next().unwrap_or_default()));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}
