//! The server, the line to it, the workloads, and one run of one contender between them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::contender::Contender;
use super::link::{DelayedLink, Line};
use super::stopwatch::{self, Outcome};
use super::workload::{Sizes, Source, Workload};
use crate::process::descendants;
use crate::{Sshd, wait};

/// How long the sessions of a server may take to end after their client.
const SESSIONS_END: Duration = Duration::from_secs(10);

/// Everything that a run needs. All of it stands in the folder for temporary files.
pub struct Rig {
    sshd: Sshd,
    home: TempDir,
    sources: BTreeMap<PathBuf, Source>,
    runs: u64,
}

/// What a contender is told: where the server is, who logs in how, and where to.
pub(super) struct Trip<'a> {
    pub(super) ssh_config: &'a Path,
    pub(super) port: u16,
    pub(super) user: &'a str,
    pub(super) key: &'a Path,
    pub(super) known_hosts: &'a Path,
    /// The folder to deliver to, new and empty.
    pub(super) out: &'a Path,
    /// A new folder at this end.
    pub(super) scratch: &'a Path,
}

/// A way to the server: directly or over a line.
pub(super) struct Road {
    _link: Option<DelayedLink>,
    port: u16,
    known_hosts: PathBuf,
    pub(super) ssh_config: PathBuf,
}

impl Rig {
    /// A server of its own, nothing else yet.
    pub fn start() -> Self {
        let home = TempDir::new().expect("there is room for a temporary folder");
        Rig { sshd: Sshd::start(), home, sources: BTreeMap::new(), runs: 0 }
    }

    /// The server.
    pub fn sshd(&self) -> &Sshd {
        &self.sshd
    }

    /// Nobody answers any longer.
    pub(super) fn stop_server(&mut self) {
        self.sshd.stop();
    }

    /// The server answers again, on the same port.
    pub(super) fn start_server(&mut self) {
        self.sshd.start_again();
    }

    /// Makes sure that a workload is there, and read once. Returns its place.
    pub(super) fn make(&mut self, workload: Workload, sizes: &Sizes) -> PathBuf {
        let dir = self.home.path().join(workload.title(sizes).replace([' ', ',', '×'], ""));
        self.sources.entry(dir.clone()).or_insert_with(|| workload.make(sizes, &dir));
        dir
    }

    /// A workload that was made.
    pub(super) fn source(&self, place: &Path) -> &Source {
        &self.sources[place]
    }

    /// The way to the server over a line.
    pub(super) fn road(&self, line: Line) -> Road {
        let delayed = (!line.is_direct()).then(|| DelayedLink::to(self.sshd.port(), line));
        let port = delayed.as_ref().map_or(self.sshd.port(), DelayedLink::port);
        let known_hosts = self.sshd.known_hosts_at(port);
        let ssh_config = self.home.path().join(format!("ssh_config-{port}"));
        let text = format!(
            "Host bench\nHostName 127.0.0.1\nPort {port}\nUser {user}\nIdentityFile {key}\nIdentitiesOnly yes\n\
             UserKnownHostsFile {known_hosts}\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n\
             BatchMode yes\nLogLevel ERROR\n",
            user = self.sshd.user(),
            key = self.sshd.key().display(),
            known_hosts = known_hosts.display(),
        );
        fs::write(&ssh_config, text).expect("the scratch folder is writable");
        Road { _link: delayed, port, known_hosts, ssh_config }
    }

    /// Lets a contender bring a workload to a new folder, and compares what arrived.
    pub(super) fn run(&mut self, who: Contender, place: &Path, road: &Road, limit: Duration) -> Outcome {
        self.runs += 1;
        let source = self.source(place);
        let out = self.home.path().join(format!("out-{}", self.runs));
        let scratch = self.home.path().join(format!("scratch-{}", self.runs));
        for new in [&out, &scratch] {
            fs::create_dir(new).expect("the scratch folder is writable");
        }
        // What the one before left to be written must not slow this one.
        rustix::fs::sync();
        let key = self.sshd.key();
        let trip = Trip {
            ssh_config: &road.ssh_config,
            port: road.port,
            user: self.sshd.user(),
            key: &key,
            known_hosts: &road.known_hosts,
            out: &out,
            scratch: &scratch,
        };
        let server_before = stopwatch::children_s(self.sshd.pid());
        let outcome = stopwatch::time(&mut who.command(&trip, &source.root), limit, &scratch.join("said"));
        self.end_sessions(matches!(outcome, Outcome::TooLong(_)));
        let name = source.root.file_name().expect("a workload has a name");
        let outcome = match outcome {
            Outcome::Done(mut usage) => {
                usage.server_cpu_s = stopwatch::children_s(self.sshd.pid()) - server_before;
                match source.difference(&out.join(name)) {
                    None => Outcome::Done(usage),
                    Some(difference) => Outcome::Failed(format!("said that all is well, but {difference}")),
                }
            }
            other @ (Outcome::TooLong(_) | Outcome::Failed(_)) => other,
        };
        for used in [&out, &scratch] {
            fs::remove_dir_all(used).expect("nobody writes there any longer");
        }
        outcome
    }

    /// Empties the folder that agents deliver to, once nobody does.
    pub(super) fn clear_root(&self) {
        self.end_sessions(false);
        fs::remove_dir_all(self.sshd.root()).expect("nobody writes there any longer");
        fs::create_dir(self.sshd.root()).expect("the server's folder is writable");
    }

    /// Waits until no session runs; those of a client that was killed are ended.
    fn end_sessions(&self, killed: bool) {
        let server = self.sshd.pid();
        let none = || {
            if killed {
                self.sshd.kill_sessions();
            }
            descendants(server).is_empty()
        };
        if !wait::came_true(SESSIONS_END, none) {
            self.sshd.kill_sessions();
            assert!(wait::came_true(SESSIONS_END, || descendants(server).is_empty()), "sessions do not end");
        }
    }
}
