//! What a pull asks a server, by whichever way it can be asked.

use std::time::Duration;

use skiff_common::Digest;

use super::giver::{Facts, Giver};
use super::jobs::{Heard, Job};
use super::listing::Found;
use super::sftp::SftpGiver;
use crate::remote::RemoteError;
use crate::remote::session::Session;

/// A server that lists what it has, and sends files and parts of them without names.
pub(super) enum Server {
    /// By a shell.
    Shell(Giver),
    /// By SFTP.
    Sftp(SftpGiver),
}

impl Server {
    /// The same way once more, over another channel.
    pub(super) async fn second(&self, session: &Session, stall: Duration) -> Result<Self, RemoteError> {
        match self {
            Self::Shell(_) => Giver::start(session, stall).await.map(Self::Shell),
            Self::Sftp(giver) => giver.second(session, stall).await.map(Self::Sftp),
        }
    }

    pub(super) const fn facts(&self) -> Facts {
        match self {
            Self::Shell(giver) => giver.facts(),
            Self::Sftp(_) => Facts::OF_SFTP,
        }
    }

    /// What stands under each name, in their order; and what the server complained about.
    pub(super) async fn list(&mut self, names: &[Vec<u8>]) -> Result<(Vec<Found>, Vec<String>), RemoteError> {
        match self {
            Self::Shell(giver) => giver.list(names).await,
            Self::Sftp(giver) => giver.list(names).await,
        }
    }

    /// The digest of each file, or `None` where the server can't read it.
    pub(super) async fn digests(
        &mut self,
        batches: &[Vec<(usize, u64, Vec<u8>)>],
        each: impl AsyncFnMut(usize, Option<Digest>) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        match self {
            Self::Shell(giver) => giver.digests(batches, each).await,
            Self::Sftp(giver) => giver.digests(batches, each).await,
        }
    }

    /// The digest of the first `blocks` blocks of each file.
    pub(super) async fn prefixes(
        &mut self,
        asked: &[(Vec<u8>, u64)],
    ) -> Result<Vec<Option<Digest>>, RemoteError> {
        match self {
            Self::Shell(giver) => giver.prefixes(asked).await,
            Self::Sftp(giver) => giver.prefixes(asked).await,
        }
    }

    /// Asks for all jobs, `in_flight` at a time, and hands on what comes. `pace` returns when so many bytes more may
    /// be asked for.
    pub(super) async fn bodies(
        &mut self,
        jobs: impl Iterator<Item = Job>,
        in_flight: usize,
        pace: impl AsyncFnMut(&Job),
        each: impl AsyncFnMut(&Job, Heard<'_>) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        match self {
            Self::Shell(giver) => giver.bodies(jobs, in_flight, pace, each).await,
            Self::Sftp(giver) => giver.bodies(jobs, in_flight, pace, each).await,
        }
    }
}
