//! `skiff check`: everything that could stop a delivery, each a line with ok or what to do.

use std::process::ExitCode;
use std::sync::Arc;

use skiff_config::{Destination, Settings, Watch};

use super::args::ConfigFile;
use super::{config, exit, size};
use crate::context::remote_root;
use crate::login::login;
use crate::machine::sender;
use crate::remote::scp::{Facts, ScpRemote};
use crate::source::Root;

/// Checks all watches and destinations.
pub(super) async fn check(args: &ConfigFile) -> ExitCode {
    let settings = match config::load(args) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let mut lines = Lines { worst: exit::DONE };
    Lines::ok("configuration", &args.config.display().to_string());
    check_state(&settings, &mut lines);
    settings.watches.iter().for_each(|watch| check_watch(watch, &mut lines));
    for watch in &settings.watches {
        for name in watch.destinations() {
            let destination = settings.destination(name).expect("the configuration was checked");
            check_destination(destination, watch, &mut lines).await;
        }
    }
    ExitCode::from(lines.worst)
}

struct Lines {
    worst: u8,
}

impl Lines {
    fn ok(what: &str, detail: &str) {
        println!("ok    {what}: {detail}");
    }

    fn warn(what: &str, detail: &str) {
        println!("warn  {what}: {detail}");
    }

    fn fail(&mut self, what: &str, why: &str, hint: &str, code: u8) {
        println!("FAIL  {what}: {why}");
        if !hint.is_empty() {
            println!("      try: {hint}");
        }
        self.worst = self.worst.max(code);
    }
}

fn check_state(settings: &Settings, lines: &mut Lines) {
    let folder = &settings.state_dir;
    let made = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    match made {
        Ok(_) => Lines::ok("state folder", &format!("{} can be written", folder.display())),
        Err(error) => {
            let why = format!("cannot write in {}: {error}", folder.display());
            lines.fail("state folder", &why, "let the user that skiff runs as own it", exit::FAILED);
        }
    }
}

fn check_watch(watch: &Watch, lines: &mut Lines) {
    let what = format!("watch {}", watch.name);
    let root = match Root::open(&watch.path) {
        Ok(root) => root,
        Err(error) => {
            return lines.fail(&what, &error.to_string(), "make the folder, or correct `path`", exit::FAILED);
        }
    };
    if let Err(error) = root.list(None) {
        return lines.fail(
            &what,
            &error.to_string(),
            "let the user that skiff runs as read it",
            exit::FAILED,
        );
    }
    if watch.removes() && rustix::fs::access(&watch.path, rustix::fs::Access::WRITE_OK).is_err() {
        let why =
            format!("delivered files cannot be taken out of {}: no right to write", watch.path.display());
        return lines.fail(&what, &why, "let the user that skiff runs as write there", exit::FAILED);
    }
    Lines::ok(&what, &format!("{} can be read", watch.path.display()));
}

async fn check_destination(destination: &Destination, watch: &Watch, lines: &mut Lines) {
    let what = format!("destination {}", destination.name);
    let root = match remote_root(destination, watch) {
        Ok(root) => root,
        Err(error) => return lines.fail(&what, &error.to_string(), "correct `path`", exit::USAGE),
    };
    let remote = ScpRemote::new(login(destination), &sender(), Arc::default(), None, destination.compression);
    match remote.probe(&root).await {
        Ok(facts) => {
            Lines::ok(&what, &format!("{} is reached, its host key is known, login works", destination.host));
            Lines::ok(&what, &format!("{root} can be written"));
            tell(&what, &facts, lines);
        }
        Err(error) => {
            lines.fail(&what, &error.to_string(), &error.hint(), exit::of(error.code()).max(exit::FAILED));
        }
    }
    remote.close().await;
}

fn tell(what: &str, facts: &Facts, lines: &mut Lines) {
    match facts.digest {
        Some(algorithm) => Lines::ok(what, &format!("scp is there, and a tool for {algorithm} digests")),
        None => Lines::warn(
            what,
            "scp is there, but no digest tool: everything is read back, install b3sum or openssl",
        ),
    }
    if facts.tar {
        Lines::ok(what, "tar is there");
    } else {
        Lines::warn(what, "there is no tar, so small files go one by one, which is slow: install tar there");
    }
    match facts.free_bytes {
        Some(bytes) if bytes < 64 << 20 => {
            lines.fail(
                what,
                &format!("only {} are free", size::bytes(bytes)),
                "make room there",
                exit::FAILED,
            );
        }
        Some(bytes) => Lines::ok(what, &format!("{} are free", size::bytes(bytes))),
        None => Lines::warn(what, "`df` does not tell the free space"),
    }
}
