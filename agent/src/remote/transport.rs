//! A destination, by whichever transport serves there.
//!
//! Owns the choice between them: what the configuration says, or else a shell with `scp` where there is one, and SFTP where
//! there isn't. Looked at anew with each connection, and where there was no shell from time to time: one moment without
//! memory for a process there looks the same.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as Lock, Weak};
use std::time::{Duration, Instant};

use skiff_common::delivery::{Placed, Placement, Receipt, Staged, Stood};
use skiff_common::{Digest, ItemId, RelPath, RemotePath, Shipment};
use skiff_config::{Destination, Transport};
use tokio::sync::Mutex;

use super::RemoteError;
use super::connection::{Connection, Link};
use super::placing::Conflicts;
use super::scp::grow::Copies;
use super::scp::{self, ScpRemote};
use super::session::{ChannelError, Session};
use super::sftp::{self, SftpRemote};
use super::space::Space;
use super::survey::Survey;
use crate::source::Root;

/// Between two tries to open a channel.
const A_MOMENT: Duration = Duration::from_millis(50);
/// So many tries, where a server may not have noticed yet that another channel has ended.
const TRIES: usize = 20;

/// How long no shell is looked for where there was none, unless logs wait for one: to ask costs a round trip or two.
const SHELL_AGAIN: Duration = Duration::from_secs(3600);

/// Items remembered as published at most: as many as can be under way; 1 MiB. Whose memory is lost is sent again, and found to stand.
const PUBLISHED_AT_MOST: usize = 32 << 10;

/// A destination. Each step is safe to repeat.
pub struct Remote {
    connection: Arc<Connection>,
    transport: Transport,
    scp: ScpRemote,
    sftp: SftpRemote,
    chosen: Mutex<Option<Chosen>>,
    rests: AtomicBool,
    /// What got its final name since skiff began, which a folder that was empty then doesn't tell.
    published: Lock<HashSet<ItemId>>,
}

/// How it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Scp,
    Sftp,
}

/// How it is reached over one connection.
struct Chosen {
    session: Weak<Session>,
    way: Way,
    /// When a shell was looked for last.
    looked: Instant,
}

impl Chosen {
    fn is_on(&self, session: &Arc<Session>) -> bool {
        std::ptr::eq(self.session.as_ptr(), Arc::as_ptr(session))
    }
}

/// What a destination turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// It is reached by SCP.
    Scp(scp::Facts),
    /// It is reached by SFTP.
    Sftp {
        /// What it can do.
        facts: sftp::Facts,
        /// Why not by SCP; `None`: the configuration says so.
        because: Option<String>,
    },
}

impl Remote {
    /// A destination over `connection`, treated as its settings say.
    pub(crate) fn new(connection: Connection, settings: &Destination) -> Self {
        let (connection, space) = (Arc::new(connection), Space::new(settings.keep_free));
        let scp = ScpRemote::over(Arc::clone(&connection), settings, Arc::clone(&space));
        let sftp = SftpRemote::over(Arc::clone(&connection), settings, space);
        let (transport, chosen) = (settings.transport, Mutex::new(None));
        let (rests, published) = (AtomicBool::new(false), Lock::default());
        Self { connection, transport, scp, sftp, chosen, rests, published }
    }

    /// Whether nothing is to be sent to it now.
    pub(crate) fn rests(&self) -> bool {
        self.rests.load(Ordering::Relaxed)
    }

    /// From now on nothing is to be sent to it, or all may be. What the dispatcher sends it holds back itself.
    pub(crate) fn rest(&self, rests: bool) {
        self.rests.store(rests, Ordering::Relaxed);
    }

    /// Whether it has to be told what was delivered to it before.
    pub(crate) fn wants_to_know(&self, root: &RemotePath, shipment: &Shipment) -> bool {
        self.scp.wants_to_know(root, shipment)
    }

    /// What was delivered to it before.
    pub(crate) fn knows(&self, root: &RemotePath, stood: Vec<Stood>) {
        self.scp.knows(root, stood);
    }

    /// What has been delivered to it now.
    pub(crate) fn delivered(&self, root: &RemotePath, receipts: &[Receipt]) {
        self.scp.delivered(root, receipts);
    }

    /// Makes these, and those above them; of each that can't be made, the reason. A symlink is never followed.
    pub(crate) async fn make_folders(
        &self,
        root: &RemotePath,
        folders: &[RelPath],
    ) -> Result<Vec<String>, RemoteError> {
        match self.way(root).await? {
            Way::Scp => self.scp.make_folders(root, folders).await,
            Way::Sftp => Box::pin(self.sftp.make_folders(root, folders)).await,
        }
    }

    /// From now on it is sent at most so many bits a second.
    pub fn set_limit(&self, limit: Option<u64>) {
        self.connection.set_limit(limit);
    }

    /// The destination's name.
    pub fn name(&self) -> &str {
        &self.connection.name
    }

    /// Where it is: `user@host:port`.
    pub fn address(&self) -> String {
        self.connection.address()
    }

    /// Whether there is a connection, for those who watch: it may be gone a moment later.
    pub fn link(&self) -> Link {
        self.connection.link()
    }

    /// Connects, logs in and looks what is there.
    pub async fn probe(&self, root: &RemotePath) -> Result<Probed, RemoteError> {
        match self.transport {
            Transport::Scp => self.scp.probe(root).await.map(Probed::Scp),
            Transport::Sftp => self.sftp.probe(root).await.map(|facts| Probed::Sftp { facts, because: None }),
            Transport::Auto => match self.scp.probe(root).await {
                Err(error) if is_without_scp(&error) => match self.probe_sftp_next(root).await {
                    Ok(facts) => Ok(Probed::Sftp { facts, because: Some(error.to_string()) }),
                    // A server that has neither is told by what it lacks first.
                    Err(RemoteError::NoSftp { .. }) => Err(error),
                    Err(other) => Err(other),
                },
                facts => facts.map(Probed::Scp),
            },
        }
    }

    /// Right after a shell that ended: a server that allows one session may not have noticed yet.
    async fn probe_sftp_next(&self, root: &RemotePath) -> Result<sftp::Facts, RemoteError> {
        for _ in 0..TRIES {
            match self.sftp.probe(root).await {
                Err(RemoteError::Channel(ChannelError::Denied { .. })) => tokio::time::sleep(A_MOMENT).await,
                probed => return probed,
            }
        }
        self.sftp.probe(root).await
    }

    /// Ends what runs there, and the connection.
    pub async fn close(&self) {
        self.scp.close().await;
        self.sftp.close();
        self.connection.close().await;
    }

    /// Sends the members into staging and has them read back; with `survey`, members whose content stands under the
    /// final name already are left out. One entry for each item.
    pub async fn stage(
        &self,
        root: &RemotePath,
        source: &Root,
        shipment: &Shipment,
        survey: bool,
    ) -> Result<Vec<Staged>, RemoteError> {
        let survey = match survey {
            false => Survey::No,
            true if self.has_published(shipment) => Survey::Yes,
            true => Survey::IfUsed,
        };
        match self.way_as_of(root, SHELL_AGAIN).await? {
            Way::Scp => self.scp.stage(root, source, shipment, survey).await,
            Way::Sftp => Box::pin(self.sftp.stage(root, source, shipment, survey)).await,
        }
    }

    /// Brings what is staged under its final names, and syncs. One entry for each placement.
    pub(crate) async fn publish(
        &self,
        root: &RemotePath,
        shipment: &Shipment,
        placements: &[Placement],
        conflicts: &Conflicts<'_>,
    ) -> Result<Vec<Placed>, RemoteError> {
        let placed = match self.way(root).await? {
            Way::Scp => self.scp.publish(root, shipment, placements, conflicts).await,
            Way::Sftp => Box::pin(self.sftp.publish(root, shipment, placements, conflicts)).await,
        }?;
        let mut published = self.published();
        if published.len() + placements.len() > PUBLISHED_AT_MOST {
            published.clear();
        }
        published.extend(placements.iter().map(|placement| shipment.item_id(&placement.item)));
        Ok(placed)
    }

    fn has_published(&self, shipment: &Shipment) -> bool {
        let published = self.published();
        shipment.items.iter().any(|item| published.contains(&shipment.item_id(item)))
    }

    fn published(&self) -> std::sync::MutexGuard<'_, HashSet<ItemId>> {
        self.published.lock().expect("nothing panics while it holds the lock")
    }

    /// Clears what is staged of a shipment.
    pub async fn discard(&self, root: &RemotePath, shipment: &Shipment) -> Result<(), RemoteError> {
        match self.way(root).await? {
            Way::Scp => self.scp.discard(root, shipment).await,
            Way::Sftp => Box::pin(self.sftp.discard(root, shipment)).await,
        }
    }

    /// The digests of what stands under these names, read there now; none of those that are gone. `bytes` is what they
    /// have together, for the patience.
    pub async fn digests(
        &self,
        root: &RemotePath,
        paths: &[&RelPath],
        bytes: u64,
    ) -> Result<HashMap<RelPath, Digest>, RemoteError> {
        match self.way(root).await? {
            Way::Scp => self.scp.digests(root, paths, bytes).await,
            Way::Sftp => Box::pin(self.sftp.digests(root, paths)).await,
        }
    }

    /// The copies in the folder `root`, for who stages under the name `staging`. They grow over a shell alone.
    pub(crate) async fn copies<'a>(
        &'a self,
        root: &'a RemotePath,
        staging: &'a str,
    ) -> Result<Copies<'a>, RemoteError> {
        match self.way_as_of(root, Duration::ZERO).await? {
            Way::Scp => Ok(self.scp.copies(root, staging)),
            Way::Sftp => Err(RemoteError::SftpAlone),
        }
    }

    async fn way(&self, root: &RemotePath) -> Result<Way, RemoteError> {
        self.way_as_of(root, Duration::MAX).await
    }

    /// The same, where a shell that was missing is looked for again if that is longer ago than `most`.
    async fn way_as_of(&self, root: &RemotePath, most: Duration) -> Result<Way, RemoteError> {
        match self.transport {
            Transport::Scp => return Ok(Way::Scp),
            Transport::Sftp => return Ok(Way::Sftp),
            Transport::Auto => {}
        }
        // Held while one asks: the others want to know the same.
        let mut chosen = self.chosen.lock().await;
        let session = self.connection.session().await?;
        if let Some(known) = chosen.as_mut().filter(|known| known.is_on(&session)) {
            if known.way == Way::Scp || known.looked.elapsed() <= most {
                return Ok(known.way);
            }
            known.looked = Instant::now();
            // Who has a way to go needn't wait for this.
            drop(chosen);
            return Ok(Box::pin(self.look_for_shell(root, &session)).await);
        }
        let way = match Box::pin(self.probe(root)).await? {
            Probed::Scp(_) => Way::Scp,
            Probed::Sftp { because, .. } => {
                let because = because.unwrap_or_default();
                tracing::info!(destination = %self.connection.name, %because, "by SFTP: nothing is packed, or copied there");
                Way::Sftp
            }
        };
        self.sftp.serves(way == Way::Sftp);
        *chosen = Some(Chosen { session: Arc::downgrade(&session), way, looked: Instant::now() });
        Ok(way)
    }

    /// Whether there is a shell by now, where there was none. What is staged by SFTP then is staged again.
    async fn look_for_shell(&self, root: &RemotePath, session: &Arc<Session>) -> Way {
        // Where one session is allowed, it has to be free for that.
        self.sftp.close();
        if !self.has_shell(root).await {
            return Way::Sftp;
        }
        if let Some(known) = self.chosen.lock().await.as_mut().filter(|known| known.is_on(session)) {
            known.way = Way::Scp;
            self.sftp.serves(false);
            tracing::info!(destination = %self.connection.name, "by a shell, which is there again");
        }
        Way::Scp
    }

    async fn has_shell(&self, root: &RemotePath) -> bool {
        for _ in 0..TRIES {
            match self.scp.try_probe(root).await {
                Ok(true) => return true,
                // The server may not have noticed yet that a channel has ended.
                Ok(false) if !self.connection.channels.some_are_open() => tokio::time::sleep(A_MOMENT).await,
                Ok(false) => return false,
                Err(error) => {
                    tracing::debug!(destination = %self.connection.name, %error, "still without a shell");
                    return false;
                }
            }
        }
        false
    }
}

/// Whether SFTP may serve where SCP can't.
fn is_without_scp(error: &RemoteError) -> bool {
    matches!(
        error,
        RemoteError::NoShell { .. } | RemoteError::NoTool { tool: "scp" } | RemoteError::Nonsense { .. }
    )
}
