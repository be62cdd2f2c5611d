//! `skiff trust`: show a server's host key, and record it after a yes.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use skiff_config::address;

use super::args::Trust;
use super::{exit, person, transfer};
use crate::login::Wish;
use crate::remote::host_key::{KnownHosts, Verdict, append, described, fingerprint, random_art};
use crate::remote::session::{Login, offered_key};
use crate::ssh_config::{parse_jumps, split_port};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Shows and records.
pub(super) async fn trust(args: &Trust) -> ExitCode {
    let login = match tokio::task::block_in_place(|| login(args)) {
        Ok(login) => login,
        Err((what, hint)) => return exit::fail(exit::USAGE, &what, hint),
    };
    let Some(file) = login.known_hosts.first() else {
        return exit::fail(exit::USAGE, "there is no file to record host keys in", "--known-hosts FILE");
    };
    let key = match offered_key(&login).await {
        Ok(key) => key,
        Err(error) => return exit::fail(exit::of(error.code()), &error.to_string(), &error.hint()),
    };
    let known = match KnownHosts::load(&login.known_hosts) {
        Ok(known) => known,
        Err(error) => return exit::fail(exit::HOST_KEY, &error.to_string(), "make it readable"),
    };
    let (host, port) = login.recorded_as();
    println!("{host} port {port} has this key:\n{}\n{}", described(&key), random_art(&key));
    match known.check(host, port, &key) {
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
    if let Err((what, hint)) = agreed(args, &fingerprint(&key)) {
        return exit::fail(exit::HOST_KEY, &what, hint);
    }
    match append(file, host, port, &key) {
        Ok(()) => {
            println!("Recorded in {}.", file.display());
            ExitCode::SUCCESS
        }
        Err(error) => exit::fail(exit::HOST_KEY, &error.to_string(), "--known-hosts FILE names another file"),
    }
}

/// Whether it is to be recorded; else why not, and what to do.
fn agreed(args: &Trust, shown: &str) -> Result<(), (String, &'static str)> {
    if let Some(expected) = &args.fingerprint {
        if expected == shown {
            return Ok(());
        }
        let what = format!("not recorded: the server presented {shown}, not {expected}");
        return Err((
            what,
            "compare with the server's own keys: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub, and so on",
        ));
    }
    if !std::io::stdin().is_terminal() {
        return Err((
            "not recorded: there is nobody to ask here".to_owned(),
            "--fingerprint SHA256:… records the key that has it without a question",
        ));
    }
    print!(
        "Is this the server's key? Compare it there with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` \
         (yes/no/fingerprint) "
    );
    let mut answer = String::new();
    let asked = std::io::stdout().flush().and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    let answer = answer.trim();
    if asked.is_ok() && (answer.eq_ignore_ascii_case("yes") || answer == shown) {
        return Ok(());
    }
    Err(("not recorded".to_owned(), "answer yes, or with the fingerprint that the server's owner told you"))
}

/// Where to look, as `ssh_config` files say too.
fn login(args: &Trust) -> Result<Login, (String, &'static str)> {
    let Some((user, host, port)) = server(&args.server) else {
        return Err((format!("{:?} is no server", args.server), "skiff trust [user@]host[:port]"));
    };
    let jumps = args.way.jump.as_deref().map(parse_jumps).transpose();
    let mut base = Login { connect_timeout: TIMEOUT, ..Login::to("", host, 22) };
    base.credentials.identities.clone_from(&args.way.identity);
    base.credentials.asker = person::asker();
    let wish = Wish {
        host: host.to_owned(),
        user: user.map(str::to_owned),
        port: args.way.port.or(port),
        known_hosts: args.known_hosts.clone().map(|file: PathBuf| vec![file]),
        connect_timeout: None,
        keepalive: None,
        jumps: jumps.map_err(|what| (what, "-J [user@]host[:port],…"))?,
        agent: None,
        adds_identities: false,
        base,
    };
    let files = transfer::ssh_config_files(args.way.ssh_config.as_deref(), args.way.options.clone());
    let found = wish.look_up(&files).map_err(|error| (error.to_string(), error.hint()))?;
    found.notices.iter().for_each(|notice| eprintln!("skiff: {notice}"));
    let mut login = found.login;
    // Those on the way are judged by what is usually known; the new key goes where it was told to.
    if args.known_hosts.is_some() {
        for hop in &mut login.jumps {
            hop.known_hosts.extend(usual_known_hosts());
        }
    }
    Ok(login)
}

fn usual_known_hosts() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".ssh/known_hosts"))
}

/// `[user@]host[:port]`, with brackets around an IPv6 host that has a port. A port that is none is no reason to take
/// another: its key would be recorded.
fn server(text: &str) -> Option<(Option<&str>, &str, Option<u16>)> {
    let (user, place) = address::split_user(text);
    let (host, port) = split_port(place)?;
    let port = match port {
        Some(port) => Some(address::port(port)?),
        None => None,
    };
    (!host.is_empty() && !host.starts_with('-')).then_some((user, host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_none_is_no_other_port() {
        assert_eq!(server("u@host:2222"), Some((Some("u"), "host", Some(2222))));
        assert_eq!(server("host"), Some((None, "host", None)));
        assert_eq!(server("[::1]:2222"), Some((None, "::1", Some(2222))));
        assert_eq!(server("::1"), Some((None, "::1", None)));
        for text in ["host:99999", "host:22x", "host:0", "host:", "[::1]x", "", "-oProxyCommand=x", ":22"] {
            assert_eq!(server(text), None, "{text}");
        }
    }
}
