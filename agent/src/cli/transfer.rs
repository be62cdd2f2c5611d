//! What `push` and `pull` have in common: scp's flags, and the server that they name.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use skiff_common::retry::Retry;
use skiff_config::address::{split_port, split_user};
use skiff_config::{Destination, LogLevel};

use super::args::Scp;
use super::{exit, person};
use crate::login::{Wish, settings_alone};
use crate::remote::session::Login;
use crate::ssh_config::{Files, parse_jumps};

/// What the one destination is called.
pub(super) const DESTINATION: &str = "push";

/// A person waits: trouble that lasts longer is told instead.
pub(super) const RETRY: Retry =
    Retry { first: Duration::from_secs(1), max: Duration::from_secs(10), attempts: Some(3) };

/// With all attempts, a server that says nothing is given up within a minute.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Scp {
    /// How much is told.
    pub(super) fn level(&self) -> LogLevel {
        match (self.quiet, self.verbose) {
            // What went wrong is told in the end.
            (true, _) | (false, 0) => LogLevel::Error,
            (false, 1) => LogLevel::Info,
            (false, 2) => LogLevel::Debug,
            (false, _) => LogLevel::Trace,
        }
    }

    /// Says that the command line, or what it names, makes no sense.
    pub(super) fn misused(&self, what: &str, hint: &str) -> ExitCode {
        self.failed(exit::USAGE, "usage", what, hint)
    }

    /// Says what failed before anything was done; `word` is for programs.
    pub(super) fn failed(&self, code: u8, word: &str, what: &str, hint: &str) -> ExitCode {
        if self.json {
            println!("{}", serde_json::json!({ "code": word, "failure": what, "hint": hint }));
            return ExitCode::from(code);
        }
        exit::fail(code, what, hint)
    }

    /// The most to carry, in bits a second.
    pub(super) fn bits_limit(&self) -> Option<u64> {
        self.limit.map(|kbits| kbits.saturating_mul(1024))
    }
}

/// Where to log in, for `[user@]host` and the flags that go with it.
pub(super) fn server_of(server: &str, flags: &Scp) -> Result<Destination, String> {
    let (user, host) = split_user(server);
    let Ok((host, None)) = split_port(host) else { return Err(format!("{server:?} is no server")) };
    if host.is_empty()
        || host.starts_with('-')
        || user.is_some_and(|user| user.is_empty() || user.starts_with('-'))
    {
        return Err(format!("{server:?} is no server"));
    }
    let mut destination = Destination::with_defaults(DESTINATION, host);
    destination.user = user.map(str::to_owned);
    destination.connect_timeout = CONNECT_TIMEOUT;
    destination.transport = flags.transport.into();
    if !flags.way.identity.is_empty() {
        flags.way.identity.clone_into(&mut destination.identity);
    }
    if !flags.known_hosts.is_empty() {
        flags.known_hosts.clone_into(&mut destination.known_hosts);
    }
    destination.passphrase_file.clone_from(&flags.passphrase_file);
    destination.password_file.clone_from(&flags.password_file);
    Ok(destination)
}

/// How to log in to it, as the flags and the `ssh_config` files say. Blocks.
pub(super) fn login_of(destination: &Destination, flags: &Scp) -> Result<Login, (String, &'static str)> {
    let jumps = flags.way.jump.as_deref().map(parse_jumps).transpose();
    let mut base = settings_alone(destination);
    base.credentials.asker = person::asker();
    let wish = Wish {
        host: destination.host.clone(),
        user: destination.user.clone(),
        port: flags.way.port,
        known_hosts: Some(flags.known_hosts.clone()).filter(|files| !files.is_empty()),
        connect_timeout: None,
        keepalive: None,
        jumps: jumps.map_err(|what| (what, "-J [user@]host[:port],…"))?,
        agent: None,
        adds_identities: true,
        base,
    };
    let found = wish.look_up(&files_of(flags)).map_err(|error| (error.to_string(), error.hint()))?;
    if !flags.quiet {
        found.notices.iter().for_each(|notice| eprintln!("skiff: {notice}"));
    }
    Ok(found.login)
}

fn files_of(flags: &Scp) -> Files {
    // What has a flag of its own is said first, so it wins.
    let cipher = flags.cipher.iter().map(|names| format!("Ciphers={names}"));
    let compression = flags.compress.then(|| "Compression=yes".to_owned());
    let options = cipher.chain(compression).chain(flags.way.options.iter().cloned()).collect();
    ssh_config_files(flags.way.ssh_config.as_deref(), options)
}

/// The files that `-F` means, and what `-o` puts before them.
pub(super) fn ssh_config_files(named: Option<&Path>, options: Vec<String>) -> Files {
    let files = match named {
        None => Files::usual(),
        Some(none) if none.as_os_str() == "none" => Files::default(),
        Some(file) => Files { users: vec![file.to_owned()], must: true, ..Files::default() },
    };
    Files { options, ..files }
}
