//! Files get the owner that their sources have, by number, where root logs in: each by the handle that made it, so that
//! nothing else is ever given away. Lacks any say in whether a file is delivered.

use bytes::Bytes;
use skiff_common::Item;
use skiff_common::sftp::{Attributes, Request, Status};
use tokio::task::spawn_blocking;

use super::SftpRemote;
use super::channel::Channel;
use super::dress;
use super::folder::Folder;
use crate::remote::RemoteError;
use crate::source::Root;

impl SftpRemote {
    /// Makes a file in staging, whose owner is the source's if that is wanted.
    pub(super) async fn create(
        &self,
        (channel, folder): (&Channel, &Folder),
        source: &Root,
        item: &Item,
        path: &[u8],
    ) -> Result<Result<Bytes, Status>, RemoteError> {
        let made = dress::create(channel, path, item).await?;
        if let Ok(handle) = &made
            && self.keeps_owner
        {
            self.give_owner((channel, folder), handle, source, item).await?;
        }
        Ok(made)
    }

    async fn give_owner(
        &self,
        (channel, folder): (&Channel, &Folder),
        handle: &[u8],
        source: &Root,
        item: &Item,
    ) -> Result<(), RemoteError> {
        if !folder.is_roots() {
            self.say_once(folder, "the login user isn't root, so the files are its own");
            return Ok(());
        }
        let (source, path) = (source.clone(), item.path.clone());
        let owner = spawn_blocking(move || source.open_item(&path).ok().map(|open| open.owner)).await;
        // What has gone meanwhile has no owner any longer.
        let Some(owner) = owner.expect("looking doesn't panic and isn't aborted") else { return Ok(()) };
        let attributes = Attributes { owner: Some(owner), ..Attributes::default() };
        let given = channel.done(Request::Fsetstat(handle, attributes), "giving a file its owner").await?;
        if let Err(status) = given {
            self.say_once(folder, &format!("the server gives files no owner: {status}"));
        }
        Ok(())
    }

    fn say_once(&self, folder: &Folder, words: &str) {
        self.connection.warn_once(folder.root(), &format!("{words}: owner = \"preserve\" has no effect"));
    }
}
