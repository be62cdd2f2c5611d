//! `skiff check`: everything that could stop a delivery, each a line with ok or what to do.

mod lines;
mod local;
mod mounts;
mod writers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use skiff_config::{Destination, Duplicates, Mode, Owner, Watch};

use self::lines::{Lines, Obstacle};
use super::args::Check;
use super::{config, exit, size};
use crate::context::remote_root;
use crate::login::{self, login};
use crate::reach;
use crate::remote::host_key::KnownHosts;
use crate::remote::{Limiter, Probed, Reason, RemoteError, scp, sftp};

/// Below this, nobody can be sure that a file fits.
const LITTLE_BYTES: u64 = 64 << 20;

/// Checks all watches and destinations.
pub(super) async fn check(args: &Check) -> ExitCode {
    let settings = match config::load(&args.file) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let mut lines = Lines::new(args.json);
    lines.ok("configuration", &args.file.config.display().to_string());
    tokio::task::block_in_place(|| local::check(&settings, &mut lines));
    for watch in &settings.watches {
        for name in watch.destinations() {
            let destination = settings.destination(name).expect("the configuration was checked");
            check_destination(destination, watch, &mut lines).await;
        }
    }
    lines.end()
}

async fn check_destination(destination: &Destination, watch: &Watch, lines: &mut Lines) {
    let what = format!("destination {}", destination.name);
    let mut usage = |why: &str, hint: &str, code: &str| {
        lines.fail(&what, &Obstacle { why, hint, code }, exit::USAGE);
    };
    let root = match remote_root(destination, watch) {
        Ok((root, _)) => root,
        Err(error) => return usage(&error.to_string(), "correct `path`", "configuration"),
    };
    let login::Resolved { login, notices } = match tokio::task::block_in_place(|| login(destination)) {
        Ok(found) => found,
        Err(error) => return usage(&error.to_string(), error.hint(), "ssh-config"),
    };
    for notice in &notices {
        lines.warn(&what, notice);
    }
    tell_skipped(&what, &login.known_hosts, lines);
    let reached = format!("{}@{} port {}", login.user, login.host, login.port);
    let limits = (None, Arc::new(Limiter::new(None)));
    let remote = reach::with_login(destination, login, &Arc::default(), limits);
    match remote.probe(&root).await {
        Ok(facts) => {
            lines.ok(&what, &format!("{reached} is reached, its host key is known, login works"));
            lines.ok(&what, &format!("{root} can be written"));
            tell(&what, destination, &facts, lines);
            if watch.mode == Mode::Append
                && let Err(error) = logs_can_grow(&facts)
            {
                let what = format!("watch {} at {}", watch.name, destination.name);
                lines.refuse(&what, &error, &root);
            }
        }
        Err(error) => {
            if !matches!(error, RemoteError::Connect(_)) {
                lines.ok(&what, &format!("{reached} is reached, its host key is known, login works"));
            }
            lines.refuse(&what, &error, &root);
        }
    }
    remote.close().await;
}

/// Lines of recorded host keys that say nothing. That a file can't be read is told by connecting.
fn tell_skipped(what: &str, known_hosts: &[PathBuf], lines: &mut Lines) {
    /// Enough to see what is wrong with a file.
    const MOST: usize = 3;
    let Ok(known) = tokio::task::block_in_place(|| KnownHosts::load(known_hosts)) else { return };
    known.skipped().iter().take(MOST).for_each(|skipped| lines.warn(what, &skipped.to_string()));
    if let Some(more) = known.skipped().len().checked_sub(MOST).filter(|more| *more > 0) {
        lines.warn(what, &format!("{} more of known hosts can't be read", size::count(more as u64, "line")));
    }
}

/// What the first step of a follower would find.
fn logs_can_grow(found: &Probed) -> Result<(), RemoteError> {
    match found {
        Probed::Sftp { .. } => Err(RemoteError::SftpAlone),
        Probed::Scp(facts) if facts.digest.is_none() => Err(scp::grow::NO_DIGEST_TOOL),
        Probed::Scp(_) => Ok(()),
    }
}

fn tell(what: &str, destination: &Destination, found: &Probed, lines: &mut Lines) {
    match found {
        Probed::Scp(facts) => tell_scp(what, destination, facts, lines),
        Probed::Sftp { facts, because } => tell_sftp(what, destination, facts, because.as_deref(), lines),
    }
    tell_space(what, destination, found, lines);
}

fn tell_sftp(
    what: &str,
    destination: &Destination,
    facts: &sftp::Facts,
    because: Option<&str>,
    lines: &mut Lines,
) {
    let because = because.unwrap_or("the configuration says so");
    lines.ok(what, &format!("files go by SFTP, since {because}; what is sent is read back to be verified"));
    if !facts.fsync {
        lines.warn(what, "the server cannot sync: a power cut there may take what was delivered just before");
    }
    if !facts.hardlink && !facts.posix_rename {
        lines.warn(what, "the server neither links nor replaces: publishing looks first, then renames");
    }
    // The default, so no reason to warn.
    if destination.duplicates == Duplicates::Copy {
        lines.ok(
            what,
            "content that is there under another name is sent again: duplicates = \"copy\" takes a shell",
        );
    }
    tell_owner(what, destination, facts.is_root, lines);
}

fn tell_scp(what: &str, destination: &Destination, facts: &scp::Facts, lines: &mut Lines) {
    match facts.digest {
        Some(algorithm) => lines.ok(what, &format!("scp is there, and a tool for {algorithm} digests")),
        None => lines.warn(
            what,
            "scp is there, but no digest tool: everything is read back, install b3sum or openssl",
        ),
    }
    if facts.tar {
        lines.ok(what, "tar is there");
    } else {
        lines.warn(what, "there is no tar, so small files go one by one, which is slow: install tar there");
    }
    tell_owner(what, destination, facts.is_root, lines);
}

fn tell_owner(what: &str, destination: &Destination, is_root: bool, lines: &mut Lines) {
    if destination.owner == Owner::Preserve && !is_root {
        lines.warn(
            what,
            "the login user isn't root, so it owns all files there: owner = \"preserve\" has no effect",
        );
    }
}

fn tell_space(what: &str, destination: &Destination, found: &Probed, lines: &mut Lines) {
    let (room, teller) = match found {
        Probed::Scp(facts) => (facts.room, "`df`"),
        Probed::Sftp { facts, .. } => (facts.room, "the server"),
    };
    let keep = room.map_or(0, |room| destination.keep_free.bytes_of(room.all));
    match room.map(|room| room.free) {
        Some(0) => {
            let (why, hint) = ("No space left", Reason::NoSpace.hint(&destination.path.to_string()));
            lines.fail(what, &Obstacle { why, hint: &hint, code: Reason::NoSpace.code() }, exit::FAILED);
        }
        Some(bytes) if bytes < keep => {
            let why = format!("only {} are free, {} are to stay free", size::bytes(bytes), size::bytes(keep));
            let hint = "make room there: `df -h` shows what is full";
            lines.fail(what, &Obstacle { why: &why, hint, code: "low-space" }, exit::FAILED);
        }
        // Deliveries go on until it is full.
        Some(bytes) if bytes < LITTLE_BYTES => {
            lines.warn(what, &format!("only {} are free: make room there", size::bytes(bytes)));
        }
        Some(bytes) => lines.ok(what, &format!("{} are free", size::bytes(bytes))),
        None => lines.warn(what, &format!("{teller} does not tell the free space")),
    }
}
