//! Publish: staged files get their final names, many requests in flight.
//!
//! Promises that no folder on the way is a symlink, as far as one can look before, and that nothing is overwritten but what
//! was looked at: by a hard link where the server can make one, else by a rename that is looked at afterwards. Nothing is
//! renamed into another file system, as far as the server tells them apart: there are servers that copy then, and so show a
//! part under the final name.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use skiff_common::delivery::{Placed, Placement};
use skiff_common::sftp::{Attributes, Code, FileKind, Open, Request, Status};
use skiff_common::{Digest, RelPath, RemotePath, Shipment, ShipmentKind};

use super::SftpRemote;
use super::channel::{Channel, done, looked};
use super::folder::{Folder, below, member, parent, why};
use super::read::{Failure, read_back};
use super::single::PART;
use crate::remote::RemoteError;
use crate::remote::placing::{self, Conflicts, Met, Placer, Replaced};

const PUBLISHING: &str = "publishing";
const SYNCING: &str = "syncing";
/// Of a file whose folder is not where its staging is.
const ELSEWHERE: &str = "another file system is mounted at its folder or above it, into which nothing that is staged in .skiff \
                         can be renamed: deliver into what is mounted there (destination_path)";
const LIES: &str = "the server said that it renamed the file, and did not";

impl SftpRemote {
    /// Brings what is staged under its final names, and syncs. One entry for each placement.
    pub(in crate::remote) async fn publish(
        &self,
        root: &RemotePath,
        shipment: &Shipment,
        placements: &[Placement],
        conflicts: &Conflicts<'_>,
    ) -> Result<Vec<Placed>, RemoteError> {
        let (channel, folder) = self.take_channel(root).await?;
        let id = self.connection.staging(shipment);
        let staging = folder.adopt(&channel, &id).await?;
        let staging = staging.ok_or(RemoteError::Gone { attempt: PUBLISHING })?;
        let paths = || placements.iter().map(|placement| &placement.item.path);
        let blocked = folder.make_folders(&channel, paths().flat_map(RelPath::folders)).await?;
        let placed = {
            let (channel, folder, staging, blocked) = (&channel, &*folder, &staging, &blocked);
            let placing = stream::iter(0..placements.len()).map(|at| async move {
                let placement = &placements[at];
                let name = match shipment.kind {
                    ShipmentKind::Single => PART.to_vec(),
                    ShipmentKind::Batch => member(&placement.item.path).into_bytes(),
                };
                let from = below(staging, &name);
                let mut placer = Shelf { channel, folder, staging, from, blocked, seen: None };
                let who = (root, self.connection.sender.as_str(), shipment.item_id(&placement.item));
                placing::place(&mut placer, placement, who, conflicts).await
            });
            placing.buffered(channel.handles()).try_collect().await?
        };
        folder.sync_folders(&channel, paths()).await?;
        // Else all that may have gone into what was moved away, or is hidden by a mount, and something else was synced.
        if !folder.holds(&channel, &staging).await? {
            return Err(folder.lost());
        }
        folder.rest(&id);
        self.give_back(channel);
        Ok(placed)
    }
}

impl Folder {
    /// Makes these folders, level by level; those above one are among them. Those that can't be used, and why.
    pub(super) async fn make_folders(
        &self,
        channel: &Channel,
        folders: impl Iterator<Item = RelPath>,
    ) -> Result<HashMap<RelPath, String>, RemoteError> {
        let mut levels: BTreeMap<usize, BTreeSet<RelPath>> = BTreeMap::new();
        for folder in folders {
            levels.entry(folder.components().count()).or_default().insert(folder);
        }
        let mut blocked = HashMap::new();
        for level in levels.into_values() {
            self.make_level(channel, level, &mut blocked).await?;
        }
        Ok(blocked)
    }

    async fn make_level(
        &self,
        channel: &Channel,
        level: BTreeSet<RelPath>,
        blocked: &mut HashMap<RelPath, String>,
    ) -> Result<(), RemoteError> {
        let mut looking = Vec::new();
        for folder in level {
            if let Some(why) = folder.folder().and_then(|above| blocked.get(&above)).cloned() {
                blocked.insert(folder, why);
                continue;
            }
            let path = self.at(folder.as_bytes());
            looking.push((channel.begin(Request::Lstat(&path), PUBLISHING).await?, path, folder));
        }
        let mut making = Vec::new();
        for (pending, path, folder) in looking {
            match looked(pending, PUBLISHING).await? {
                Ok(found) => drop(usable(&found, &folder).map_err(|why| blocked.insert(folder, why))),
                Err(Status { code: Code::NoSuchFile, .. }) => {
                    let request = Request::Mkdir(&path, Attributes::mode(0o777));
                    making.push((channel.begin(request, PUBLISHING).await?, path, folder));
                }
                Err(status) => drop(blocked.insert(folder, status.to_string())),
            }
        }
        for (pending, path, folder) in making {
            let Err(status) = done(pending, PUBLISHING).await? else { continue };
            // Somebody else may have made it meanwhile.
            let outcome = match channel.standing(&path, PUBLISHING).await? {
                Ok(Some(found)) => usable(&found, &folder),
                _ => Err(why(channel, self.path(), &status).await?),
            };
            if let Err(why) = outcome {
                blocked.insert(folder, why);
            }
        }
        Ok(())
    }

    /// Brings the folders above these to the disk, where the server lets a folder be opened.
    pub(super) async fn sync_folders(
        &self,
        channel: &Channel,
        paths: impl Iterator<Item = &RelPath>,
    ) -> Result<(), RemoteError> {
        if !channel.offered().fsync {
            return Ok(());
        }
        let mut folders: BTreeSet<Vec<u8>> = BTreeSet::new();
        for path in paths {
            folders.insert(self.path().to_vec());
            folders.extend(path.folders().map(|folder| self.at(folder.as_bytes())));
        }
        let syncing = stream::iter(folders).map(|path| async move { sync(channel, &path).await });
        let synced: Vec<_> = syncing.buffer_unordered(channel.handles()).try_collect().await?;
        // Not every server opens folders.
        synced.into_iter().filter_map(Result::err).for_each(|status| {
            tracing::debug!(%status, "a folder can't be synced there");
        });
        Ok(())
    }
}

fn usable(found: &Attributes, folder: &RelPath) -> Result<(), String> {
    match found.kind() {
        FileKind::Folder | FileKind::Unknown => Ok(()),
        FileKind::Symlink => Err(format!("{folder} is a symlink")),
        FileKind::File | FileKind::Special => Err(format!("{folder} is no folder")),
    }
}

/// Brings a file or a folder to the disk.
async fn sync(channel: &Channel, path: &[u8]) -> Result<Result<(), Status>, RemoteError> {
    let handle = match channel.open(path, Open::Read, Attributes::default(), SYNCING).await? {
        Ok(handle) => handle,
        Err(status) => return Ok(Err(status)),
    };
    let synced = channel.done(Request::Fsync(&handle), SYNCING).await?;
    channel.close(&handle).await?;
    Ok(synced)
}

/// One staged file on its way to its final name.
struct Shelf<'a> {
    channel: &'a Channel,
    folder: &'a Folder,
    staging: &'a [u8],
    from: Vec<u8>,
    blocked: &'a HashMap<RelPath, String>,
    /// What the file under the name was when its digest was read.
    seen: Option<Attributes>,
}

impl Placer for Shelf<'_> {
    async fn place(&mut self, name: &RelPath) -> Result<Met, RemoteError> {
        if let Some(why) = name.folder().and_then(|folder| self.blocked.get(&folder)) {
            return Ok(Met::Trouble(why.clone()));
        }
        let (channel, to) = (self.channel, self.folder.at(name.as_bytes()));
        let mut unlinked = None;
        if self.folder.links() {
            match channel.done(Request::Hardlink(&self.from, &to), PUBLISHING).await? {
                Ok(()) => return Ok(Met::Nothing),
                Err(status) => {
                    tracing::trace!(%name, %status, "no link");
                    unlinked = Some(status);
                }
            }
        }
        // There are file systems without hard links, and servers that only offer them.
        if let Some(met) = self.met(&to).await? {
            return Ok(met);
        }
        if self.is_elsewhere(&to).await? {
            return Ok(Met::Trouble(ELSEWHERE.to_owned()));
        }
        // Where links are made, and no server tells file systems apart, this may be another one.
        if let Some(status) = unlinked.filter(|_| !channel.offered().statvfs) {
            return self.trouble(&status).await;
        }
        match channel.done(Request::Rename(&self.from, &to), PUBLISHING).await? {
            Ok(()) if self.has_moved().await? => Ok(Met::Nothing),
            Ok(()) => Ok(Met::Trouble(LIES.to_owned())),
            Err(status) => match self.met(&to).await? {
                Some(met) => Ok(met),
                None => self.trouble(&status).await,
            },
        }
    }

    async fn replace(&mut self, name: &RelPath, _theirs: &Digest) -> Result<Replaced, RemoteError> {
        let (channel, to) = (self.channel, self.folder.at(name.as_bytes()));
        let (now, is_elsewhere) =
            tokio::try_join!(channel.standing(&to, PUBLISHING), self.is_elsewhere(&to))?;
        let now = now.ok().flatten();
        if !now.zip(self.seen).is_some_and(|(now, seen)| now.is_unchanged(&seen)) {
            return Ok(Replaced::Changed);
        }
        if is_elsewhere {
            return Ok(Replaced::Failed(ELSEWHERE.to_owned()));
        }
        if channel.offered().posix_rename {
            match channel.done(Request::PosixRename(&self.from, &to), PUBLISHING).await? {
                Ok(()) if self.has_moved().await? => return Ok(Replaced::Done),
                Ok(()) => return Ok(Replaced::Failed(LIES.to_owned())),
                Err(Status { code: Code::Unsupported, .. }) => {}
                Err(status) => {
                    return Ok(Replaced::Failed(why(channel, self.folder.path(), &status).await?));
                }
            }
        }
        self.exchange(&to).await
    }

    async fn sync(&mut self, name: &RelPath) -> Result<Replaced, RemoteError> {
        if !self.channel.offered().fsync {
            return Ok(Replaced::Done);
        }
        Ok(match sync(self.channel, &self.folder.at(name.as_bytes())).await? {
            Ok(()) => Replaced::Done,
            // Somebody fetched it meanwhile.
            Err(Status { code: Code::NoSuchFile, .. }) => Replaced::Changed,
            Err(status) => Replaced::Failed(status.to_string()),
        })
    }
}

impl Shelf<'_> {
    /// What stands there, if anything does.
    async fn met(&mut self, to: &[u8]) -> Result<Option<Met>, RemoteError> {
        let found = match self.channel.standing(to, PUBLISHING).await? {
            Ok(None) => return Ok(None),
            Ok(Some(found)) => found,
            Err(status) => return Ok(Some(Met::Trouble(status.to_string()))),
        };
        let other = |what: &str| Ok(Some(Met::Other(what.to_owned())));
        match found.kind() {
            FileKind::Symlink => return other("symlink"),
            FileKind::Folder => return other("folder"),
            FileKind::Special => return other("special"),
            FileKind::File | FileKind::Unknown => {}
        }
        match read_back(self.channel, to, false, "reading what stands there").await {
            Ok(Some(read)) => {
                self.seen = Some(read.attributes);
                Ok(Some(Met::File(read.digest)))
            }
            // A file that stands there and can't be read is somebody else's.
            Ok(None) | Err(Failure::No(_)) => other("unreadable"),
            Err(Failure::Remote(error)) => Err(error),
        }
    }

    /// Whether the folder of `to` is in another file system than what is staged, as far as the server tells.
    async fn is_elsewhere(&self, to: &[u8]) -> Result<bool, RemoteError> {
        let channel = self.channel;
        let both = tokio::try_join!(channel.space(self.staging), channel.space(parent(to)))?;
        Ok(matches!(both, (Some(from), Some(to)) if from.file_system != to.file_system))
    }

    /// Why nothing got the name, where nothing has it.
    async fn trouble(&self, status: &Status) -> Result<Met, RemoteError> {
        if self.has_moved().await? {
            return Ok(Met::Trouble("what was staged has gone".to_owned()));
        }
        Ok(Met::Trouble(why(self.channel, self.folder.path(), status).await?))
    }

    /// Whether it is no longer where it was staged: a yes alone proves nothing. Nobody looks under the final name, from
    /// where it may have been fetched by then.
    async fn has_moved(&self) -> Result<bool, RemoteError> {
        Ok(self.channel.standing(&self.from, PUBLISHING).await? == Ok(None))
    }

    /// Where nothing can be renamed over what is there, that steps aside first. For a moment nothing has the name.
    async fn exchange(&self, to: &[u8]) -> Result<Replaced, RemoteError> {
        let (channel, aside) = (self.channel, [&self.from[..], b".before"].concat());
        debug_assert!(aside.starts_with(self.staging), "it stays in staging until that is cleared");
        if let Err(status) = channel.done(Request::Rename(to, &aside), PUBLISHING).await? {
            return Ok(Replaced::Failed(status.to_string()));
        }
        let why = match channel.done(Request::Rename(&self.from, to), PUBLISHING).await? {
            Ok(()) if self.has_moved().await? => return Ok(Replaced::Done),
            Ok(()) => LIES.to_owned(),
            Err(status) => why(channel, self.folder.path(), &status).await?,
        };
        let _ = channel.done(Request::Rename(&aside, to), PUBLISHING).await?;
        Ok(Replaced::Failed(why))
    }
}
