//! The server, the proxy and the agent; files that come at one end and are judged and taken away at the other.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use tempfile::TempDir;

use super::super::Expected;
use super::HANG;
use super::places::Places;
use crate::fault_proxy::Carried;
use crate::{Agent, FaultProxy, Sshd, Tree, wait};

/// The shortest that a busy machine keeps: what is silent for longer is given up.
const IMPATIENT: &str = "connect_timeout = '1s'\nstall_timeout = '400ms'\nkeepalive = '100ms'";
const RULES: &str = "settle = '0s'\nretry_first = '10ms'\nretry_max = '10ms'\nsmall_file = '4 KiB'\nbatch_wait = '1ms'\n\
     after_delivery = 'delete'";
/// One batch and one file alone; with what is said around them a session of more than 64 KiB.
const SIZES: [u64; 4] = [1 << 10, 2 << 10, 3 << 10, 6 << 10];
/// Fewer files than this under way are too few to get every connection to its byte.
const FEW: usize = 4;

pub(super) struct Course {
    sshd: Sshd,
    pub(super) proxy: FaultProxy,
    agent: Agent,
    source: PathBuf,
    beside: Tree,
    expected: Expected,
    in_play: usize,
    made: u64,
    looked_at: usize,
    _scratch: TempDir,
}

impl Course {
    /// One whose connections are to be cut.
    pub(super) fn start(seed: u64) -> Self {
        Course::with(seed, IMPATIENT)
    }

    fn with(seed: u64, patience: &str) -> Self {
        let scratch = TempDir::new().expect("there is room for a temporary folder");
        let source = scratch.path().join("in");
        fs::create_dir(&source).expect("a new folder is writable");
        let beside = Tree::new(scratch.path().join("beside"), seed);
        let sshd = Sshd::start();
        let proxy = FaultProxy::to(sshd.port());
        let agent =
            Agent::through(&proxy, &sshd, &format!("{patience}\nin_flight = 2")).watch("in", &source, RULES);
        let expected = Expected::default();
        Course {
            sshd,
            proxy,
            agent,
            source,
            beside,
            expected,
            in_play: 0,
            made: 0,
            looked_at: 0,
            _scratch: scratch,
        }
    }

    /// Delivers once without a cut, and tells how long that session was.
    pub(super) fn measured(seed: u64) -> Places {
        let mut course = Course::with(seed, "");
        course.feed();
        let delivered = wait::came_true(wait::LIMIT, || course.take_away() == 0);
        assert!(delivered, "nothing is delivered even without a cut:\n{}", course.agent.log());
        let (connections, session) = course.proxy.last();
        assert_eq!(connections, 1, "a session was lost without a cut:\n{}", course.agent.log());
        let bytes = session.up + session.down;
        assert!(bytes > 64 << 10, "a session of {bytes} bytes is too short");
        Places::of(session.up, session.down)
    }

    /// Puts more files into the source if few are left. The first time it starts the agent, which may connect then.
    pub(super) fn feed(&mut self) {
        if self.made == 0 {
            self.agent.start();
        }
        if self.in_play > FEW {
            return;
        }
        for size in SIZES {
            self.made += 1;
            let name = PathBuf::from(format!("file-{:07}", self.made));
            let path = self.beside.file(&name, size);
            let bytes = fs::read(&path).expect("what was written can be read");
            self.expected.add(&name, blake3::hash(&bytes));
            self.in_play += 1;
            fs::rename(path, self.source.join(name)).expect("a rename on one file system works");
        }
    }

    /// The connections that have ended since this was last asked, up to the first that has not.
    pub(super) fn newly_over(&mut self) -> Vec<Carried> {
        let mut carried = self.proxy.carried_after(self.looked_at);
        carried.truncate(carried.iter().take_while(|one| one.over).count());
        self.looked_at += carried.len();
        carried
    }

    /// What is wrong now. What has arrived is taken away, so that there is never much to look at.
    pub(super) fn wrong(&mut self) -> Option<String> {
        if let Some(status) = self.agent.ended() {
            return Some(format!("the agent ended: {status}\n{}", self.log_end()));
        }
        let verdict = self.expected.judge(&self.source, &self.sshd.root());
        (!verdict.is_sound()).then(|| format!("{verdict}\n{}", self.log_end()))
    }

    /// Lets all arrive that is still under way; returns what is wrong then.
    pub(super) fn end(mut self) -> Option<String> {
        self.proxy.break_all(crate::fault_proxy::Fault::Reset);
        let begin = Instant::now();
        let mut wrong = None;
        let complete = wait::came_true(HANG, || {
            wrong = self.wrong();
            wrong.is_some() || self.take_away() == 0
        });
        if wrong.is_some() || !complete {
            let waited = begin.elapsed();
            let verdict = self.expected.judge(&self.source, &self.sshd.root());
            return wrong.or(Some(format!("not complete after {waited:?}: {verdict}\n{}", self.log_end())));
        }
        let status = self.agent.terminate();
        (!status.success()).then(|| format!("the agent ended with {status}\n{}", self.log_end()))
    }

    pub(super) fn log_end(&self) -> String {
        let log = self.agent.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Takes away what has arrived and is gone here. Returns how many files are still in play.
    pub(super) fn take_away(&mut self) -> usize {
        let names: Vec<PathBuf> = self.expected.names().map(ToOwned::to_owned).collect();
        for name in names {
            if !self.source.join(&name).exists() && self.expected.has_arrived(&name, &self.sshd.root()) {
                fs::remove_file(self.sshd.root().join(&name)).expect("it was there a moment ago");
                self.expected.forget(&name);
                self.in_play -= 1;
            }
        }
        self.in_play
    }
}
