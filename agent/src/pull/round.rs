//! One round over a shell: contents on one channel, digests on another where the server allows two, and publishing
//! what agrees while the rest is on its way.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use skiff_common::digest::{Digests, Hasher};
use skiff_common::escape::escaped;
use skiff_common::{Algorithm, Digest};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::giver::{BLOCK_BYTES, Giver, Heard, Job, MOST_NAMES};
use super::pace::Pace;
use super::receive::{Landed, Landing, Opening, Order, Receiver, hasher};
use super::target::{LocalError, Published, Standing, Target, read_into, token};
use super::{Fetch, Progress, Pull, PullError, Report, taken};
use crate::remote::RemoteError;
use crate::remote::session::Session;

/// Files that wait for their digest or for their content: a number and two digests each.
const WAITING_FILES: usize = 1024;
/// Files that are published together, after one sync for all of them.
const GROUP_FILES: usize = 512;
const GROUP_BYTES: u64 = 64 << 20;
/// More than was listed: a file grew while it was read. More than this is no file.
const MOST_SURPLUS: u64 = 64 << 20;

/// What is known of files that are here in full already.
#[derive(Debug)]
struct Kept {
    skip: u64,
    hasher: Hasher,
}

/// One digest, theirs or ours; `None`: they can't read it.
type Told = (usize, Option<Digest>);

impl Pull<'_> {
    /// Fetches all of them once. Returns those that changed meanwhile.
    pub(super) async fn round(
        &self,
        session: &Session,
        giver: &mut Giver,
        fetches: Vec<Fetch>,
        report: &mut Report,
    ) -> Result<Vec<Fetch>, PullError> {
        let target = Arc::clone(self.target.as_ref().expect("a dry run fetches nothing"));
        let fetches = Arc::new(fetches);
        let kept = self.kept(giver, &target, &fetches).await?;
        report.kept_bytes = report.kept_bytes.max(kept.values().map(|kept| kept.skip).sum());
        let pace = Pace::new(self.wish.limit);
        let jobs = jobs(&fetches, &kept, giver.facts().parts, pace.job_bytes());
        Progress::add(&self.progress.found_files, fetches.len() as u64);
        Progress::add(&self.progress.found_bytes, fetches.iter().map(|fetch| fetch.size).sum());
        Progress::add(&self.progress.received_bytes, kept.values().map(|kept| kept.skip).sum());

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
        let second = Giver::start(session, stall).await.ok();
        let mut publisher = Publisher::new(self, &target, &fetches);
        let outcome = {
            let (jobs, pace, fetches) = (&jobs, &pace, &fetches);
            let talking = async move {
                if let Some(mut second) = second {
                    let reading = receive_all(writing, giver, jobs, pace);
                    let asking = self.ask(&mut second, fetches, jobs, pace, told_sender);
                    tokio::try_join!(reading, asking)?;
                } else {
                    receive_all(writing, giver, jobs, pace).await?;
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
        giver: &mut Giver,
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
                    left_behind(&target, &server, fetch, algorithm)
                        .map(|(blocks, hasher)| (file, blocks, hasher))
                });
                found.collect::<Vec<_>>()
            })
        };
        let found = found.await.expect("it does not panic");
        let asked: Vec<_> =
            found.iter().map(|(file, blocks, _)| (fetches[*file].from.clone(), *blocks)).collect();
        let theirs = giver.prefixes(&asked).await?;
        let mut kept = HashMap::new();
        for ((file, blocks, hasher), theirs) in found.into_iter().zip(theirs) {
            if theirs.is_some_and(|theirs| hasher.clone().digests().agree_with(&theirs)) {
                let skip = blocks * BLOCK_BYTES;
                tracing::info!(path = %fetches[file].to, bytes = skip, "goes on where it was cut");
                kept.insert(file, Kept { skip, hasher });
            }
        }
        Ok(kept)
    }

    /// Has the server tell the digests, or reads everything once more where it can't.
    async fn ask(
        &self,
        giver: &mut Giver,
        fetches: &Arc<Vec<Fetch>>,
        jobs: &[Job],
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
                    Landing::Whole(digests) => Some(digests.blake3),
                    Landing::Short | Landing::Busy | Landing::Failed(_) => None,
                };
                let _ = told.send((file, digest)).await;
            }
            Ok(())
        };
        tokio::try_join!(receiving, telling).map(drop)
    }
}

/// To the end; then nobody gives orders to the writer any longer.
async fn receive_all(
    mut splitter: Splitter<'_>,
    giver: &mut Giver,
    jobs: &[Job],
    pace: &Pace,
) -> Result<(), RemoteError> {
    splitter.receive(giver, jobs, pace).await
}

/// Whether what stands here is what the server has, for each.
pub(super) async fn same(
    giver: &mut Giver,
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
fn left_behind(target: &Target, server: &str, fetch: &Fetch, algorithm: Algorithm) -> Option<(u64, Hasher)> {
    let token = token(server, &fetch.from, &fetch.to);
    let part = target.left(&token)?;
    let length = part.metadata().ok()?.len().min(fetch.size);
    let blocks = length / BLOCK_BYTES;
    if blocks == 0 {
        return None;
    }
    let mut hasher = hasher(Some(algorithm));
    let read = read_into(&part, blocks * BLOCK_BYTES, |bytes| hasher.update(bytes)).ok()?;
    (read == blocks * BLOCK_BYTES).then_some((blocks, hasher))
}

/// Small files many at a time, large ones block by block.
fn jobs(fetches: &[Fetch], kept: &HashMap<usize, Kept>, parts: bool, job_bytes: u64) -> Vec<Job> {
    let (mut jobs, mut files, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (file, fetch) in fetches.iter().enumerate() {
        if parts && (fetch.size > job_bytes || kept.contains_key(&file)) {
            jobs.extend(parts_of(file, fetch, kept.get(&file).map_or(0, |kept| kept.skip), job_bytes));
            continue;
        }
        if files.len() == MOST_NAMES || (bytes + fetch.size > job_bytes && !files.is_empty()) {
            jobs.push(Job::Files(std::mem::take(&mut files)));
            bytes = 0;
        }
        bytes += fetch.size;
        files.push((file, fetch.from.clone()));
    }
    if !files.is_empty() {
        jobs.push(Job::Files(files));
    }
    jobs
}

fn parts_of(file: usize, fetch: &Fetch, skip: u64, job_bytes: u64) -> impl Iterator<Item = Job> + '_ {
    let (first, end) = (skip / BLOCK_BYTES, fetch.size.div_ceil(BLOCK_BYTES));
    let step = (job_bytes / BLOCK_BYTES).max(1);
    // At least one, that ends the file, where all of it is here already.
    let starts = (first..end.max(first + 1)).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    starts.map(move |skipped_blocks| Job::Part {
        file,
        name: fetch.from.clone(),
        skipped_blocks,
        blocks: step.min(end.saturating_sub(skipped_blocks)),
    })
}

/// What to ask the digests of at once.
fn batches(fetches: &[Fetch]) -> Vec<Vec<(usize, u64, Vec<u8>)>> {
    let mut batches: Vec<Vec<_>> = Vec::new();
    let mut bytes = 0;
    for (file, fetch) in fetches.iter().enumerate() {
        let is_new =
            batches.last().is_none_or(|last| last.len() == MOST_NAMES || bytes + fetch.size > 64 << 20);
        if is_new {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += fetch.size;
        batches.last_mut().expect("one was just pushed").push((file, fetch.size, fetch.from.clone()));
    }
    batches
}

/// Tells one file's content from the next by the sizes that were listed. Where one of them was wrong, the digests of
/// all behind it are, too, and they are asked for again.
struct Splitter<'a> {
    pull: &'a Pull<'a>,
    fetches: &'a Arc<Vec<Fetch>>,
    orders: mpsc::Sender<Order>,
    kept: HashMap<usize, Kept>,
    algorithm: Option<Algorithm>,
    writes: bool,
    landed: mpsc::Sender<Landed>,
    state: Splitting,
}

#[derive(Default)]
struct Splitting {
    /// Files of the job that have not begun, the next one last; `None`: the job itself has not begun.
    members: Option<Vec<usize>>,
    unreadable: HashSet<usize>,
    /// The file that is open, and how much of it is to come in this job.
    open: Option<(usize, u64)>,
    surplus: u64,
}

impl Splitter<'_> {
    async fn receive(&mut self, giver: &mut Giver, jobs: &[Job], pace: &Pace) -> Result<(), RemoteError> {
        let fetches = Arc::clone(self.fetches);
        let size = |job: &Job| match job {
            Job::Files(files) => files.iter().map(|(file, _)| fetches[*file].size).sum(),
            Job::Part { blocks, .. } => blocks * BLOCK_BYTES,
        };
        giver
            .bodies(
                jobs,
                pace.in_flight(),
                async |job| pace.wait(size(job)).await,
                async |job, heard| match heard {
                    Heard::Unreadable(file) => {
                        self.state.unreadable.insert(file);
                        Ok(())
                    }
                    Heard::Piece(piece) => {
                        if self.writes {
                            Progress::add(&self.pull.progress.received_bytes, piece.len() as u64);
                        }
                        self.piece(job, piece).await
                    }
                    Heard::End => self.end(job).await,
                },
            )
            .await
    }

    async fn piece(&mut self, job: &Job, mut piece: &[u8]) -> Result<(), RemoteError> {
        self.begin(job).await?;
        while !piece.is_empty() {
            let Some((file, left)) = self.state.open.filter(|(_, left)| *left > 0) else {
                if self.next().await? {
                    continue;
                }
                self.state.surplus += piece.len() as u64;
                if self.state.surplus > MOST_SURPLUS {
                    let words =
                        format!("{} and so on, more than there is", escaped(&piece[..piece.len().min(40)]));
                    return Err(RemoteError::Nonsense { attempt: "receiving", words });
                }
                return Ok(());
            };
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            self.order(Order::Data(piece[..taken].to_vec())).await?;
            piece = &piece[taken..];
            self.state.open = Some((file, left - taken as u64));
            self.close_if_whole(job).await?;
        }
        Ok(())
    }

    /// What a job doesn't bring, it doesn't bring.
    async fn end(&mut self, job: &Job) -> Result<(), RemoteError> {
        self.begin(job).await?;
        match job {
            Job::Files(_) => {
                while self.state.open.is_some() || self.next().await? {
                    if self.state.open.take().is_some() {
                        self.order(Order::Close).await?;
                    }
                }
            }
            Job::Part { file, skipped_blocks, blocks, .. } => {
                let is_short = self.state.open.is_some_and(|(_, left)| left > 0);
                let is_last = (skipped_blocks + blocks) * BLOCK_BYTES >= self.fetches[*file].size;
                if is_last || is_short {
                    // What comes of it afterwards finds no open file.
                    self.order(Order::Close).await?;
                }
                self.state.open = None;
            }
        }
        self.state.members = None;
        self.state.surplus = 0;
        Ok(())
    }

    async fn begin(&mut self, job: &Job) -> Result<(), RemoteError> {
        if self.state.members.is_some() {
            return Ok(());
        }
        match job {
            Job::Files(files) => {
                let readable = files.iter().rev().map(|(file, _)| *file);
                let members = readable.filter(|file| !self.state.unreadable.contains(file)).collect();
                self.state.members = Some(members);
                // They are told by those who tell digests; here they just don't come.
                for (file, _) in files {
                    if self.state.unreadable.remove(file) {
                        self.lands(*file, Landing::Short).await;
                    }
                }
            }
            Job::Part { file, skipped_blocks, blocks, .. } => {
                self.state.members = Some(Vec::new());
                let skip = self.kept.get(file).map_or(0, |kept| kept.skip);
                if skipped_blocks * BLOCK_BYTES == skip {
                    self.open(*file).await?;
                }
                let left = self.fetches[*file].size.saturating_sub(skipped_blocks * BLOCK_BYTES);
                self.state.open = Some((*file, left.min(blocks * BLOCK_BYTES)));
            }
        }
        Ok(())
    }

    /// Opens the next file of the job; empty ones are over at once. `false`: there is none.
    async fn next(&mut self) -> Result<bool, RemoteError> {
        while let Some(file) = self.state.members.as_mut().and_then(Vec::pop) {
            self.open(file).await?;
            let size = self.fetches[file].size;
            if size > 0 {
                self.state.open = Some((file, size));
                return Ok(true);
            }
            self.order(Order::Close).await?;
        }
        Ok(false)
    }

    async fn close_if_whole(&mut self, job: &Job) -> Result<(), RemoteError> {
        let is_whole = self.state.open.is_some_and(|(_, left)| left == 0);
        if is_whole && matches!(job, Job::Files(_)) {
            self.state.open = None;
            self.order(Order::Close).await?;
        }
        Ok(())
    }

    async fn open(&mut self, file: usize) -> Result<(), RemoteError> {
        let fetch = &self.fetches[file];
        let kept = self.kept.get(&file).map(|kept| (kept.skip, kept.hasher.clone()));
        let (skip, hasher) = kept.unwrap_or_else(|| (0, hasher(self.algorithm)));
        let token = self.writes.then(|| token(&self.pull.server, &fetch.from, &fetch.to));
        let (size, mode, mtime_ns) = (fetch.size, fetch.mode, fetch.mtime_ns);
        self.order(Order::Open(Box::new(Opening { file, token, size, skip, hasher, mode, mtime_ns }))).await
    }

    async fn lands(&self, file: usize, outcome: Landing) {
        // Who publishes has ended with an error of its own.
        let _ = self.landed.send(Landed { file, outcome }).await;
    }

    async fn order(&self, order: Order) -> Result<(), RemoteError> {
        // The writer's own error is told instead of this one.
        self.orders.send(order).await.map_err(|_| RemoteError::SourceEnded)
    }
}

/// Publishes what agrees.
struct Publisher<'a> {
    pull: &'a Pull<'a>,
    target: &'a Arc<Target>,
    fetches: &'a Arc<Vec<Fetch>>,
    landed: HashMap<usize, Landing>,
    told: HashMap<usize, Option<Digest>>,
    ready: Vec<(usize, Digests)>,
    ready_bytes: u64,
    /// Files that changed while they were read.
    again: Vec<usize>,
}

impl<'a> Publisher<'a> {
    fn new(pull: &'a Pull<'a>, target: &'a Arc<Target>, fetches: &'a Arc<Vec<Fetch>>) -> Self {
        let (landed, told) = (HashMap::new(), HashMap::new());
        Self { pull, target, fetches, landed, told, ready: Vec::new(), ready_bytes: 0, again: Vec::new() }
    }

    /// Ends when both sides have said all.
    async fn publish_what_agrees(
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
            (Some(Landing::Busy), _) => {
                report.give_up(&fetch.to, format!("another skiff fetches {} at this moment", fetch.to));
            }
            (_, None) => {
                let what = format!("cannot fetch {}: the server cannot read it, or it has gone", fetch.to);
                report.give_up(&fetch.to, what);
                self.pull.drop_part(fetch);
            }
            (Some(Landing::Whole(digests)), Some(theirs)) if digests.agree_with(&theirs) => {
                self.ready.push((file, digests));
                self.ready_bytes += fetch.size;
            }
            (Some(Landing::Whole(_) | Landing::Short) | None, Some(_)) => self.again.push(file),
        }
    }
}

/// What came of publishing one file.
#[derive(Debug)]
pub(super) enum Settled {
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
    ready: Vec<(usize, Digests)>,
) -> Result<Vec<(usize, Settled)>, LocalError> {
    target.sync()?;
    let mut settled = Vec::with_capacity(ready.len());
    for (file, digests) in ready {
        let fetch = &fetches[file];
        let token = token(server, &fetch.from, &fetch.to);
        let outcome = match target.publish(&token, &fetch.to, replace) {
            Ok(Published::Done) => Settled::Here,
            Ok(Published::Taken) => {
                let stands = match target.look(&fetch.to) {
                    Ok(Standing::File { .. }) => target.digests(&fetch.to, Algorithm::Blake3),
                    _ => None,
                };
                target.drop_part(&token);
                if stands.is_some_and(|stands| stands.blake3 == digests.blake3) {
                    Settled::Stood
                } else {
                    Settled::Taken
                }
            }
            Err(error) if error.is_general => return Err(error),
            Err(error) => {
                target.drop_part(&token);
                Settled::Failed(error.to_string())
            }
        };
        settled.push((file, outcome));
    }
    Ok(settled)
}

impl Pull<'_> {
    /// Writes down what came of a file.
    pub(super) fn settle(&self, fetch: &Fetch, outcome: Settled, report: &mut Report) {
        match outcome {
            Settled::Here => {
                Progress::add(&self.progress.fetched_files, 1);
                Progress::add(&self.progress.fetched_bytes, fetch.size);
                report.settled.insert(fetch.to.clone());
            }
            Settled::Stood => {
                Progress::add(&self.progress.standing_files, 1);
                report.settled.insert(fetch.to.clone());
            }
            Settled::Taken => report.give_up(&fetch.to, taken(&fetch.to)),
            Settled::Failed(what) => report.give_up(&fetch.to, what),
        }
    }
}

#[cfg(test)]
mod tests {
    use skiff_common::RelPath;

    use super::*;

    fn fetch(name: &str, size: u64) -> Fetch {
        let to = RelPath::parse(name.as_bytes()).expect("a path");
        Fetch { from: name.as_bytes().to_vec(), to, size, mtime_ns: None, mode: 0o644 }
    }

    #[test]
    fn small_files_share_a_job_and_large_ones_come_in_parts() {
        let mut fetches: Vec<_> = (0..600).map(|n| fetch(&format!("f{n}"), 10)).collect();
        fetches.push(fetch("large", 10 * BLOCK_BYTES + 1));
        let jobs = jobs(&fetches, &HashMap::new(), true, 4 * BLOCK_BYTES);
        let members: Vec<_> = jobs
            .iter()
            .map(|job| match job {
                Job::Files(files) => files.len() as u64,
                Job::Part { skipped_blocks, blocks, .. } => skipped_blocks * 100 + blocks,
            })
            .collect();
        assert_eq!(members, [256, 256, 4, 404, 803, 88]);
    }

    #[test]
    fn what_is_here_already_is_not_asked_for() {
        let fetches = [fetch("large", 10 * BLOCK_BYTES + 1), fetch("all", 2 * BLOCK_BYTES)];
        let hasher = || hasher(None);
        let kept = HashMap::from([
            (0, Kept { skip: 9 * BLOCK_BYTES, hasher: hasher() }),
            (1, Kept { skip: 2 * BLOCK_BYTES, hasher: hasher() }),
        ]);
        let jobs = jobs(&fetches, &kept, true, 4 * BLOCK_BYTES);
        let parts: Vec<_> = jobs
            .iter()
            .map(|job| match job {
                Job::Part { file, skipped_blocks, blocks, .. } => (*file, *skipped_blocks, *blocks),
                Job::Files(_) => panic!("both go on"),
            })
            .collect();
        assert_eq!(parts, [(0, 9, 2), (1, 2, 0)]);
    }
}
