//! Contents come one behind the other, without names: here they become files again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use skiff_common::digest::Hasher;
use skiff_common::escape::escaped;
use skiff_common::{Algorithm, Stamp};
use tokio::sync::mpsc;

use super::jobs::Jobs;
use super::jobs::{BLOCK_BYTES, Heard, Job};
use super::pace::Pace;
use super::receive::{Landed, Landing, Opening, Order, hasher};
use super::server::Server;
use super::target::token;
use super::{Fetch, Progress, Pull};
use crate::remote::RemoteError;

/// More than was listed: a file grew while it was read. More than this is no file.
const MOST_SURPLUS: u64 = 64 << 20;

/// What is known of a file whose beginning a cut transfer left here.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) skip: u64,
    /// What it is in, as it was then.
    pub(super) left: Stamp,
    pub(super) hasher: Hasher,
}

/// Tells one file's content from the next by the sizes that were listed. Where one of them was wrong, the digests of
/// all behind it are, too, and they are asked for again.
pub(super) struct Splitter<'a> {
    pub(super) pull: &'a Pull<'a>,
    pub(super) fetches: &'a Arc<Vec<Fetch>>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) kept: HashMap<usize, Kept>,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) writes: bool,
    pub(super) landed: mpsc::Sender<Landed>,
    pub(super) state: Splitting,
}

#[derive(Default)]
pub(super) struct Splitting {
    /// Files of the job that have not begun, the next one last; `None`: the job itself has not begun.
    members: Option<Vec<usize>>,
    unreadable: HashSet<usize>,
    /// The file that is open, and how much of it is to come in this job.
    open: Option<(usize, u64)>,
    surplus: u64,
}

impl Splitter<'_> {
    async fn receive(&mut self, giver: &mut Server, jobs: Jobs<'_>, pace: &Pace) -> Result<(), RemoteError> {
        let size = |job: &Job| match job {
            Job::Files(files) => files.iter().map(|(_, size, _)| size).sum(),
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
                let readable = files.iter().rev().map(|(file, ..)| *file);
                let members = readable.filter(|file| !self.state.unreadable.contains(file)).collect();
                self.state.members = Some(members);
                // They are told by those who tell digests; here they just don't come.
                for (file, ..) in files {
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
        let kept = self.kept.get(&file).map(|kept| (kept.skip, Some(kept.left), kept.hasher.clone()));
        let (skip, left, hasher) = kept.unwrap_or_else(|| (0, None, hasher(self.algorithm)));
        let token = self.writes.then(|| token(&self.pull.server, &fetch.from, &fetch.to));
        let size = fetch.size;
        self.order(Order::Open(Box::new(Opening { file, token, size, skip, left, hasher }))).await
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

/// To the end; then nobody gives orders to the writer any longer.
pub(super) async fn receive_all(
    mut splitter: Splitter<'_>,
    giver: &mut Server,
    jobs: Jobs<'_>,
    pace: &Pace,
) -> Result<(), RemoteError> {
    splitter.receive(giver, jobs, pace).await
}
