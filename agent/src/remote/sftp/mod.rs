//! The steps of a delivery at a destination with SFTP alone: no shell, no `scp`, no digest tool.
//!
//! Owns the channels on the connection; one that isn't in use waits for the next shipment. Promises that each step is safe
//! to repeat, and that nothing counts as verified but what was read back. Lacks retries and the decision what is published.

mod batch;
mod channel;
mod dress;
mod folder;
mod owner;
mod publish;
mod read;
mod resume;
mod single;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{self, StreamExt as _};
use skiff_common::delivery::Staged;
use skiff_common::{Digest, RelPath, RemotePath, Shipment, ShipmentKind};
use skiff_config::{Destination, Owner};
use tokio::sync::Mutex;

pub(crate) use channel::Channel;
use read::read_back;
pub(crate) use read::{Failure, Opened, Reading, hasher};

use super::RemoteError;
use super::channels::OpenChannel;
use super::connection::{Connection, Idle};
use super::session::{ChannelError, Session};
use super::space::{Room, Space};
use super::survey::Survey;
use super::sweep::Sweeps;
use crate::source::Root;
use folder::{Folder, member};
use single::PART;

/// What a destination can do over SFTP.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact that holds or doesn't")]
pub struct Facts {
    /// Whether what is written can be brought to the disk before it counts as delivered.
    pub fsync: bool,
    /// Whether a file gets its name by a link, which never overwrites.
    pub hardlink: bool,
    /// Whether our own earlier version is replaced in one step.
    pub posix_rename: bool,
    /// Whether root logs in, as far as the server tells.
    pub is_root: bool,
    /// The space there, where the server tells.
    pub room: Option<Room>,
}

/// A destination that is reached by SFTP.
pub(super) struct SftpRemote {
    connection: Arc<Connection>,
    space: Arc<Space>,
    /// Whether files get the owner there that they have here.
    keeps_owner: bool,
    /// Whether channels wait here for their next use. Where they don't, they would only take the room of shells.
    keeps_channels: AtomicBool,
    idle: std::sync::Mutex<Idle<Channel>>,
    folders: Mutex<Idle<(RemotePath, Arc<Folder>)>>,
    sweeps: Sweeps,
}

impl SftpRemote {
    /// Over `connection`, as the settings say; there is no channel yet.
    pub(super) fn over(connection: Arc<Connection>, settings: &Destination, space: Arc<Space>) -> Self {
        let keeps_owner = settings.owner == Owner::Preserve;
        let (idle, folders, sweeps) = Default::default();
        let keeps_channels = AtomicBool::new(true);
        Self { connection, space, keeps_owner, keeps_channels, idle, folders, sweeps }
    }

    /// Connects, logs in and looks what is there.
    pub(super) async fn probe(&self, root: &RemotePath) -> Result<Facts, RemoteError> {
        let (channel, folder) = self.take_channel(root).await?;
        let space = room(&channel, &folder).await?;
        let offered = channel.offered();
        self.give_back(channel);
        Ok(Facts {
            fsync: offered.fsync,
            hardlink: folder.links(),
            posix_rename: offered.posix_rename,
            is_root: folder.is_roots(),
            room: space,
        })
    }

    /// Whether the destination is reached by SFTP from now on.
    pub(super) fn serves(&self, serves: bool) {
        self.keeps_channels.store(serves, Ordering::Relaxed);
        if !serves {
            self.close();
        }
    }

    /// Ends all channels that nobody uses.
    pub(super) fn close(&self) {
        self.idle().waiting().clear();
    }

    /// Sends the members into staging and reads them back; with `survey`, members whose content stands under the final
    /// name already are left out. One entry for each item.
    pub(super) async fn stage(
        &self,
        root: &RemotePath,
        source: &Root,
        shipment: &Shipment,
        survey: Survey,
    ) -> Result<Vec<Staged>, RemoteError> {
        let (channel, folder) = self.take_channel(root).await?;
        let mut known = vec![None; shipment.items.len()];
        if survey.asks(folder.used()) {
            known = self.survey(&channel, &folder, source, shipment).await?;
        }
        let rest: Vec<usize> = (0..known.len()).filter(|at| known[*at].is_none()).collect();
        if !rest.is_empty() {
            let bytes = rest.iter().map(|at| shipment.items[*at].stamp.size).sum();
            let _room = self.space.reserve(room(&channel, &folder), root, bytes).await?;
            let staged = match shipment.kind {
                ShipmentKind::Batch => {
                    Box::pin(self.stage_batch(&channel, &folder, source, shipment, &rest)).await?
                }
                ShipmentKind::Single => {
                    let staging = self.stage_single(&channel, &folder, source, shipment, survey.resumes());
                    vec![Box::pin(staging).await?]
                }
            };
            rest.into_iter().zip(staged).for_each(|(at, staged)| known[at] = Some(staged));
        }
        folder.rest(&self.connection.staging(shipment));
        self.give_back(channel);
        Ok(known.into_iter().map(|one| one.expect("each item was staged")).collect())
    }

    /// Clears what is staged of a shipment.
    pub(super) async fn discard(&self, root: &RemotePath, shipment: &Shipment) -> Result<(), RemoteError> {
        let (channel, folder) = self.take_channel(root).await?;
        let id = self.connection.staging(shipment);
        match shipment.kind {
            ShipmentKind::Batch => {
                let members = shipment.items.iter().map(|item| member(&item.path).into_bytes());
                folder.discard(&channel, &id, members).await?;
            }
            ShipmentKind::Single => folder.discard(&channel, &id, std::iter::once(PART.to_vec())).await?,
        }
        self.give_back(channel);
        Ok(())
    }

    /// Makes these, and those above them; of each that can't be made, the reason. A symlink is never followed.
    pub(super) async fn make_folders(
        &self,
        root: &RemotePath,
        folders: &[RelPath],
    ) -> Result<Vec<String>, RemoteError> {
        let (channel, folder) = self.take_channel(root).await?;
        let levels = folders.iter().flat_map(|path| path.folders().chain([path.clone()]));
        let blocked = folder.make_folders(&channel, levels).await?;
        folder.sync_folders(&channel, folders.iter()).await?;
        self.give_back(channel);
        Ok(blocked.into_iter().map(|(path, why)| format!("{path}: {why}")).collect())
    }

    /// The digests of what stands under these names, read there now; none of those that are gone.
    pub(super) async fn digests(
        &self,
        root: &RemotePath,
        paths: &[&RelPath],
    ) -> Result<HashMap<RelPath, Digest>, RemoteError> {
        const ATTEMPT: &str = "reading what stands there";
        let (channel, folder) = self.take_channel(root).await?;
        let mut digests = HashMap::new();
        {
            let (channel, folder) = (&channel, &folder);
            let reading = stream::iter(0..paths.len()).map(|at| async move {
                (paths[at], read_back(channel, &folder.at(paths[at].as_bytes()), false, ATTEMPT).await)
            });
            let mut reading = std::pin::pin!(reading.buffer_unordered(channel.handles()));
            while let Some((path, read)) = reading.next().await {
                match read {
                    Ok(Some(read)) => drop(digests.insert(path.clone(), read.digest)),
                    Ok(None) | Err(Failure::No(_)) => {}
                    Err(Failure::Remote(error)) => return Err(error),
                }
            }
        }
        self.give_back(channel);
        Ok(digests)
    }

    /// A channel that is free, when the server has room for one, and the folder. Its user gives it back after success;
    /// after a failure nobody knows what is still under way on it.
    async fn take_channel(&self, root: &RemotePath) -> Result<(Channel, Arc<Folder>), RemoteError> {
        let channels = &self.connection.channels;
        loop {
            let mut freed = std::pin::pin!(channels.freed());
            // From here on, so that what is freed meanwhile isn't missed.
            freed.as_mut().enable();
            let session = self.connection.session().await?;
            let idle = self.idle().on(&session).pop();
            let channel = if let Some(channel) = idle {
                channel
            } else if let Some(open) = channels.claim() {
                match self.start_channel(&session, open).await {
                    Err(RemoteError::Channel(ChannelError::Denied { .. })) if channels.some_are_open() => {
                        continue;
                    }
                    started => started?,
                }
            } else {
                freed.await;
                continue;
            };
            self.connection.taken();
            let folder = self.enter(&session, &channel, root).await?;
            return Ok((channel, folder));
        }
    }

    /// A channel more, if one is idle or the server has room for it. `None` is no trouble.
    async fn spare_channel(&self) -> Result<Option<Channel>, RemoteError> {
        let session = self.connection.session().await?;
        if let Some(channel) = self.idle().on(&session).pop() {
            self.connection.taken();
            return Ok(Some(channel));
        }
        let Some(open) = self.connection.channels.claim() else { return Ok(None) };
        match self.start_channel(&session, open).await {
            Err(RemoteError::Channel(ChannelError::Denied { .. })) => Ok(None),
            started => {
                self.connection.taken();
                started.map(Some)
            }
        }
    }

    async fn start_channel(&self, session: &Session, open: OpenChannel) -> Result<Channel, RemoteError> {
        let Connection { login, traffic, .. } = &*self.connection;
        Channel::start(session, login.stall_timeout, Arc::clone(traffic), Some(open)).await
    }

    /// The folder, as it is known on this connection.
    async fn enter(
        &self,
        session: &Arc<Session>,
        channel: &Channel,
        root: &RemotePath,
    ) -> Result<Arc<Folder>, RemoteError> {
        // Held while one enters: the others want the same.
        let mut folders = self.folders.lock().await;
        let known = folders.on(session);
        known.retain(|(_, folder)| !folder.is_lost());
        if let Some((_, folder)) = known.iter().find(|(of, _)| of == root) {
            return Ok(Arc::clone(folder));
        }
        let sweep = self.sweeps.is_due(root);
        let folder = Arc::new(Folder::enter(channel, root, &self.connection.sender, sweep).await?);
        known.push((root.clone(), Arc::clone(&folder)));
        Ok(folder)
    }

    fn give_back(&self, channel: Channel) {
        {
            // Held, so that none comes to wait behind the end of all.
            let mut idle = self.idle();
            if self.keeps_channels.load(Ordering::Relaxed) {
                idle.waiting().push(channel);
            }
        }
        self.connection.given_back();
    }

    fn give_back_all(&self, channels: Vec<Channel>) {
        for channel in channels {
            self.give_back(channel);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle<Channel>> {
        self.idle.lock().expect("nothing panics while it holds the lock")
    }
}

/// The space there, where the server tells.
async fn room(channel: &Channel, folder: &Folder) -> Result<Option<Room>, RemoteError> {
    let space = channel.space(folder.path()).await?.filter(|space| space.all_bytes > 0);
    Ok(space.map(|space| Room { free: space.free_bytes, all: space.all_bytes }))
}
