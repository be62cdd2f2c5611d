//! `skiff trust`: show a server's host key, and record it after a yes.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::args::Trust;
use super::exit;
use crate::remote::host_key::{KnownHosts, Verdict, append, fingerprint, random_art};
use crate::remote::session::{Login, offered_key};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Shows and records.
pub(super) async fn trust(args: &Trust) -> ExitCode {
    let (host, port) = server(args);
    let Some(file) = args.known_hosts.clone().or_else(known_hosts) else {
        return exit::fail(
            exit::USAGE,
            "there is no home folder to record host keys in",
            "--known-hosts FILE",
        );
    };
    let key = match offered_key(&Login { connect_timeout: TIMEOUT, ..Login::to("", &*host, port) }).await {
        Ok(key) => key,
        Err(error) => return exit::fail(exit::of(error.code()), &error.to_string(), &error.hint()),
    };
    let known = match KnownHosts::load(std::slice::from_ref(&file)) {
        Ok(known) => known,
        Err(error) => return exit::fail(exit::HOST_KEY, &error.to_string(), ""),
    };
    let shown = fingerprint(&key);
    println!("{host} port {port} has the {} key {shown}\n{}", key.algorithm(), random_art(&key));
    match known.check(&host, port, &key) {
        Verdict::Trusted { at } => {
            println!("It is trusted already ({at}).");
            return ExitCode::SUCCESS;
        }
        Verdict::Unknown | Verdict::NeedsCertificate { .. } => {}
        Verdict::Changed { recorded } | Verdict::OtherKind { recorded } => {
            let at: Vec<_> = recorded.iter().map(|recorded| recorded.at.to_string()).collect();
            return exit::fail(
                exit::HOST_KEY,
                &format!(
                    "another key is recorded for {host} ({}): somebody may be in between",
                    at.join(", ")
                ),
                "if the server has a new key for a known reason, take these lines out and trust it again",
            );
        }
        Verdict::Revoked { at } => {
            return exit::fail(
                exit::HOST_KEY,
                &format!("this key is revoked ({at})"),
                "the server needs a new key",
            );
        }
    }
    if !agreed(args, &shown) {
        return exit::fail(exit::HOST_KEY, "not recorded", "compare the fingerprint with the server's own");
    }
    match append(&file, &host, port, &key) {
        Ok(()) => {
            println!("Recorded in {}.", file.display());
            ExitCode::SUCCESS
        }
        Err(error) => exit::fail(exit::HOST_KEY, &error.to_string(), "--known-hosts FILE names another file"),
    }
}

fn agreed(args: &Trust, shown: &str) -> bool {
    if let Some(expected) = &args.fingerprint {
        return expected == shown;
    }
    if !std::io::stdin().is_terminal() {
        eprintln!("skiff: nobody to ask here; --fingerprint SHA256:… records without a question");
        return false;
    }
    print!(
        "Is this the server's key? Compare it there with `ssh-keygen -lf /etc/ssh/ssh_host_*.pub` [yes/no] "
    );
    let mut answer = String::new();
    let asked = std::io::stdout().flush().and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    asked.is_ok() && answer.trim() == "yes"
}

fn server(args: &Trust) -> (String, u16) {
    let server = args.server.rsplit_once('@').map_or(args.server.as_str(), |(_, host)| host);
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
        _ => (server, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    (host, args.port.or(port).unwrap_or(22))
}

fn known_hosts() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("HOME")?).join(".ssh/known_hosts"))
}
