//! What agrees with what the server told comes under its final name.

use std::collections::HashMap;
use std::sync::Arc;

use skiff_common::digest::Digests;
use skiff_common::{Algorithm, Digest, Stamp};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::receive::{Landed, Landing};
use super::target::{LocalError, Published, Standing, Target, Whole, token};
use super::{Fetch, Progress, Pull, PullError, Report, busy, taken};

/// Files that are published together, after one sync for all of them.
const GROUP_FILES: usize = 512;
const GROUP_BYTES: u64 = 64 << 20;

/// One digest, theirs or ours; `None`: they can't read it.
pub(super) type Told = (usize, Option<Digest>);

/// A part that is what the server has.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) file: usize,
    pub(super) digests: Digests,
    pub(super) stamp: Stamp,
}

/// Publishes what agrees.
pub(super) struct Publisher<'a> {
    pull: &'a Pull<'a>,
    target: &'a Arc<Target>,
    fetches: &'a Arc<Vec<Fetch>>,
    landed: HashMap<usize, Landing>,
    told: HashMap<usize, Option<Digest>>,
    ready: Vec<Ready>,
    ready_bytes: u64,
    /// Files that changed while they were read.
    pub(super) again: Vec<usize>,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(pull: &'a Pull<'a>, target: &'a Arc<Target>, fetches: &'a Arc<Vec<Fetch>>) -> Self {
        let (landed, told) = (HashMap::new(), HashMap::new());
        Self { pull, target, fetches, landed, told, ready: Vec::new(), ready_bytes: 0, again: Vec::new() }
    }

    /// Ends when both sides have said all.
    pub(super) async fn publish_what_agrees(
        &mut self,
        mut landed: mpsc::Receiver<Landed>,
        mut told: mpsc::Receiver<Told>,
        report: &mut Report,
    ) -> Result<(), PullError> {
        loop {
            let file = tokio::select! {
                Some(Landed { file, outcome }) = landed.recv() => {
                    self.landed.insert(file, outcome);
                    file
                }
                Some((file, digest)) = told.recv() => {
                    self.told.insert(file, digest);
                    file
                }
                else => break,
            };
            self.judge(file, report);
            if self.ready.len() >= GROUP_FILES || self.ready_bytes >= GROUP_BYTES {
                self.publish(report).await?;
            }
        }
        self.publish(report).await
    }

    async fn publish(&mut self, report: &mut Report) -> Result<(), PullError> {
        let ready = std::mem::take(&mut self.ready);
        self.ready_bytes = 0;
        if ready.is_empty() {
            return Ok(());
        }
        let publishing = {
            let (target, fetches) = (Arc::clone(self.target), Arc::clone(self.fetches));
            let (server, replace) = (self.pull.server.clone(), self.pull.wish.replace);
            spawn_blocking(move || publish_group(&target, &fetches, &server, replace, ready))
        };
        for (file, outcome) in publishing.await.expect("publishing does not panic")? {
            self.pull.settle(&self.fetches[file], outcome, report);
        }
        Ok(())
    }

    fn judge(&mut self, file: usize, report: &mut Report) {
        if !self.landed.contains_key(&file) || !self.told.contains_key(&file) {
            return;
        }
        let fetch = &self.fetches[file];
        let (landed, told) = (self.landed.remove(&file), self.told.remove(&file).flatten());
        match (landed, told) {
            (Some(Landing::Failed(why)), _) => {
                report.give_up(&fetch.to, format!("cannot write {}: {why}", fetch.to));
            }
            (Some(Landing::Busy), _) => report.give_up(&fetch.to, busy(&fetch.to)),
            (_, None) => {
                let what = format!("cannot fetch {}: the server cannot read it, or it has gone", fetch.to);
                report.give_up(&fetch.to, what);
                self.pull.drop_part(fetch);
            }
            (Some(Landing::Whole { digests, stamp: Some(stamp) }), Some(theirs))
                if digests.agree_with(&theirs) =>
            {
                self.ready.push(Ready { file, digests, stamp });
                self.ready_bytes += fetch.size;
            }
            (Some(Landing::Whole { .. } | Landing::Short) | None, Some(_)) => self.again.push(file),
        }
    }
}

/// What came of publishing one file.
#[derive(Debug)]
pub(super) enum Outcome {
    Here,
    /// The same stood here already.
    Stood,
    /// Something else stands here.
    Taken,
    Failed(String),
}

/// Syncs, then brings each under its final name. An error that concerns all of them ends it.
pub(super) fn publish_group(
    target: &Target,
    fetches: &[Fetch],
    server: &str,
    replace: bool,
    ready: Vec<Ready>,
) -> Result<Vec<(usize, Outcome)>, LocalError> {
    target.sync()?;
    let mut settled = Vec::with_capacity(ready.len());
    for Ready { file, digests, stamp } in ready {
        let fetch = &fetches[file];
        let token = token(server, &fetch.from, &fetch.to);
        let whole = Whole { token: &token, stamp, mode: fetch.mode, mtime_ns: fetch.mtime_ns };
        let outcome = match target.publish(&whole, &fetch.to, replace) {
            Ok(Published::Done) => Outcome::Here,
            Ok(Published::Taken) => {
                target.drop_part(&token);
                if stands(target, fetch, &digests) { Outcome::Stood } else { Outcome::Taken }
            }
            // Who was faster may have brought just this.
            Ok(Published::Lost) if stands(target, fetch, &digests) => Outcome::Stood,
            Ok(Published::Lost) => Outcome::Failed(busy(&fetch.to)),
            Err(error) if error.is_general => return Err(error),
            Err(error) => {
                target.drop_part(&token);
                Outcome::Failed(error.to_string())
            }
        };
        settled.push((file, outcome));
    }
    Ok(settled)
}

/// Whether a file with these digests has the final name.
fn stands(target: &Target, fetch: &Fetch, digests: &Digests) -> bool {
    let stands = match target.look(&fetch.to) {
        Ok(Standing::File { .. }) => target.digests(&fetch.to, Algorithm::Blake3),
        _ => None,
    };
    stands.is_some_and(|stands| stands.blake3 == digests.blake3)
}

impl Pull<'_> {
    /// Writes down what came of a file.
    pub(super) fn settle(&self, fetch: &Fetch, outcome: Outcome, report: &mut Report) {
        match outcome {
            Outcome::Here => {
                Progress::add(&self.progress.fetched_files, 1);
                Progress::add(&self.progress.fetched_bytes, fetch.size);
                report.settled.insert(fetch.to.clone());
            }
            Outcome::Stood => {
                Progress::add(&self.progress.standing_files, 1);
                report.settled.insert(fetch.to.clone());
            }
            Outcome::Taken => report.give_up(&fetch.to, taken(&fetch.to)),
            Outcome::Failed(what) => report.give_up(&fetch.to, what),
        }
    }
}
