//! One round, over a shell or by SFTP: contents on one channel, digests on another where the server allows two, and publishing
//! what agrees while the rest is on its way.

use std::collections::HashMap;
use std::sync::Arc;

use skiff_common::Algorithm;
use skiff_common::digest::Digests;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::jobs::Jobs;
use super::jobs::{BLOCK_BYTES, MOST_NAMES};
use super::pace::Pace;
use super::publish::{Publisher, Told};
use super::receive::{Landed, Landing, Receiver, hasher};
use super::server::Server;
use super::split::{Kept, Splitter, Splitting, receive_all};
use super::target::{Target, read_into, token};
use super::{Fetch, Pull, PullError, Report};
use crate::remote::RemoteError;
use crate::remote::session::Session;

/// Files that wait for their digest or for their content: a number and two digests each.
const WAITING_FILES: usize = 1024;

impl Pull<'_> {
    /// Fetches all of them once, at most `most_names` with one request. Returns those that changed meanwhile.
    pub(super) async fn round(
        &self,
        session: &Session,
        giver: &mut Server,
        fetches: Vec<Fetch>,
        most_names: usize,
        report: &mut Report,
    ) -> Result<Vec<Fetch>, PullError> {
        let target = Arc::clone(self.target.as_ref().expect("a dry run fetches nothing"));
        let fetches = Arc::new(fetches);
        let kept = self.kept(giver, &target, &fetches).await?;
        report.kept_bytes = report.kept_bytes.max(kept.values().map(|kept| kept.skip).sum());
        let pace = Pace::new(self.wish.limit);
        let skips = kept.iter().map(|(file, kept)| (*file, kept.skip)).collect();
        let parts = giver.facts().parts;
        let jobs = Jobs::new(&fetches, skips, parts, (most_names, pace.job_bytes()));
        self.progress.goes_for(
            fetches.len() as u64,
            fetches.iter().map(|fetch| fetch.size).sum(),
            kept.values().map(|kept| kept.skip).sum(),
        );

        let (landed_sender, landed) = mpsc::channel(WAITING_FILES);
        let (told_sender, told) = mpsc::channel(WAITING_FILES);
        let writer = Receiver::start(Arc::clone(&target), landed_sender.clone());
        let algorithm = giver.facts().digest;
        let writing = Splitter {
            pull: self,
            fetches: &fetches,
            orders: writer.orders,
            kept,
            algorithm,
            writes: true,
            landed: landed_sender,
            state: Splitting::default(),
        };
        let stall = self.wish.login.stall_timeout;
        // A server that allows one session only tells the digests afterwards.
        let second = giver.second(session, stall).await.ok();
        let mut publisher = Publisher::new(self, &target, &fetches);
        let outcome = {
            let (pace, fetches) = (&pace, &fetches);
            let talking = async move {
                if let Some(mut second) = second {
                    let reading = receive_all(writing, giver, jobs.clone(), pace);
                    let asking = self.ask(&mut second, fetches, jobs, pace, told_sender);
                    tokio::try_join!(reading, asking)?;
                } else {
                    receive_all(writing, giver, jobs.clone(), pace).await?;
                    self.ask(giver, fetches, jobs, pace, told_sender).await?;
                }
                Ok(())
            };
            tokio::try_join!(talking, publisher.publish_what_agrees(landed, told, report))
        };
        // Its own error is the reason for whatever else failed.
        writer.thread.await.expect("the writer does not panic")?;
        outcome?;
        let again = publisher.again;
        Ok(again.into_iter().map(|file| fetches[file].clone()).collect())
    }

    /// What a cut transfer left of large files, if it is a prefix of what the server has.
    async fn kept(
        &self,
        giver: &mut Server,
        target: &Arc<Target>,
        fetches: &Arc<Vec<Fetch>>,
    ) -> Result<HashMap<usize, Kept>, PullError> {
        let facts = giver.facts();
        let Some(algorithm) = facts.digest.filter(|_| facts.parts) else { return Ok(HashMap::new()) };
        let found = {
            let (target, fetches, server) = (Arc::clone(target), Arc::clone(fetches), self.server.clone());
            spawn_blocking(move || {
                let large = fetches.iter().enumerate().filter(|(_, fetch)| fetch.size > BLOCK_BYTES);
                let found = large.filter_map(|(file, fetch)| {
                    left_behind(&target, &server, fetch, algorithm).map(|kept| (file, kept))
                });
                found.collect::<Vec<_>>()
            })
        };
        let found = found.await.expect("it does not panic");
        let asked: Vec<_> =
            found.iter().map(|(file, kept)| (fetches[*file].from.clone(), kept.skip / BLOCK_BYTES)).collect();
        let theirs = giver.prefixes(&asked).await?;
        let mut kept = HashMap::new();
        for ((file, left), theirs) in found.into_iter().zip(theirs) {
            if theirs.is_some_and(|theirs| left.hasher.clone().digests().agree_with(&theirs)) {
                tracing::info!(path = %fetches[file].to, bytes = left.skip, "goes on where it was cut");
                kept.insert(file, left);
            }
        }
        Ok(kept)
    }

    /// Has the server tell the digests, or reads everything once more where it can't.
    async fn ask(
        &self,
        giver: &mut Server,
        fetches: &Arc<Vec<Fetch>>,
        jobs: Jobs<'_>,
        pace: &Pace,
        told: mpsc::Sender<Told>,
    ) -> Result<(), RemoteError> {
        if giver.facts().digest.is_some() {
            return giver
                .digests(&batches(fetches), async |file, theirs| {
                    // Who publishes has ended with an error of its own.
                    let _ = told.send((file, theirs)).await;
                    Ok(())
                })
                .await;
        }
        let (landed_sender, mut landed) = mpsc::channel::<Landed>(WAITING_FILES);
        let target = Arc::clone(self.target.as_ref().expect("a dry run fetches nothing"));
        let reader = Receiver::start(target, landed_sender.clone());
        let reading = Splitter {
            pull: self,
            fetches,
            orders: reader.orders,
            kept: HashMap::new(),
            algorithm: None,
            writes: false,
            landed: landed_sender,
            state: Splitting::default(),
        };
        let receiving = receive_all(reading, giver, jobs, pace);
        let telling = async {
            while let Some(Landed { file, outcome }) = landed.recv().await {
                let digest = match outcome {
                    Landing::Whole { digests, .. } => Some(digests.blake3),
                    Landing::Short | Landing::Busy | Landing::Failed(_) => None,
                };
                let _ = told.send((file, digest)).await;
            }
            Ok(())
        };
        tokio::try_join!(receiving, telling).map(drop)
    }
}

/// Whether what stands here is what the server has, for each.
pub(super) async fn same(
    giver: &mut Server,
    target: &Arc<Target>,
    fetches: &[Fetch],
) -> Result<Vec<bool>, PullError> {
    let mut same = vec![false; fetches.len()];
    let Some(algorithm) = giver.facts().digest.filter(|_| !fetches.is_empty()) else { return Ok(same) };
    let ours = {
        let (target, names) = (Arc::clone(target), fetches.iter().map(|fetch| fetch.to.clone()));
        let names: Vec<_> = names.collect();
        spawn_blocking(move || {
            names.iter().map(|name| target.digests(name, algorithm)).collect::<Vec<Option<Digests>>>()
        })
    };
    let mut theirs = vec![None; fetches.len()];
    giver
        .digests(&batches(fetches), async |file, digest| {
            theirs[file] = digest;
            Ok(())
        })
        .await?;
    for (file, ours) in ours.await.expect("it does not panic").into_iter().enumerate() {
        same[file] = ours.zip(theirs[file]).is_some_and(|(ours, theirs)| ours.agree_with(&theirs));
    }
    Ok(same)
}

/// What a part holds of a file, in whole blocks, with their hash.
fn left_behind(target: &Target, server: &str, fetch: &Fetch, algorithm: Algorithm) -> Option<Kept> {
    let token = token(server, &fetch.from, &fetch.to);
    let (part, left) = target.left(&token)?;
    let skip = left.size.min(fetch.size) / BLOCK_BYTES * BLOCK_BYTES;
    if skip == 0 {
        return None;
    }
    let mut hasher = hasher(Some(algorithm));
    let read = read_into(&part, skip, |bytes| hasher.update(bytes)).ok()?;
    (read == skip).then_some(Kept { skip, left, hasher })
}

/// What to ask the digests of at once.
fn batches(fetches: &[Fetch]) -> Vec<Vec<(usize, u64, Vec<u8>)>> {
    let mut batches: Vec<Vec<_>> = Vec::new();
    let mut bytes = 0_u64;
    for (file, fetch) in fetches.iter().enumerate() {
        let is_new = batches
            .last()
            .is_none_or(|last| last.len() == MOST_NAMES || bytes.saturating_add(fetch.size) > 64 << 20);
        if is_new {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes = bytes.saturating_add(fetch.size);
        batches.last_mut().expect("one was just pushed").push((file, fetch.size, fetch.from.clone()));
    }
    batches
}
