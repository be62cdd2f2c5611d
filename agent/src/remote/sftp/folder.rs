//! The destination's folder, as one connection finds it: what is staged there, and by whom it is used.
//!
//! Known by its path alone: what stands there may have been moved, cleared or mounted over since it was entered. Whoever
//! finds that says so ([`Folder::lost`]), and the next one enters what stands there then.
//!
//! Promises that a staging whose last user may still be busy gets a name that only its new user knows: what is late then
//! finds nothing, and so never publishes what is only half written again. Lacks what is in a staging.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use skiff_common::escape::escaped;
use skiff_common::sftp::{Attributes, Code, Entry, FileKind, Open, Reply, Request, Status};
use skiff_common::{RelPath, RemotePath};

use super::channel::{Answer, Channel, done, looked};
use crate::remote::RemoteError;
use crate::remote::connection::nonce;

const ENTERING: &str = "entering the folder";
const CLEARING: &str = "clearing the staging";
/// What shipments left behind is cleared after a week.
const OLD_S: u32 = 7 * 24 * 3600;
/// Probes of writing are there for a moment only.
const OLD_PROBE_S: u32 = 24 * 3600;
/// A staging is a folder of files; one of SCP's is as deep as a batch's paths.
const DEEPEST: usize = 64;

/// A destination's folder.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact that holds or doesn't")]
pub(super) struct Folder {
    root: RemotePath,
    used: bool,
    reads_own: bool,
    links: bool,
    is_roots: bool,
    stagings: Mutex<HashMap<String, Staging>>,
    /// Whether what was entered no longer stands there.
    lost: AtomicBool,
}

/// A shipment's files under way.
struct Staging {
    name: String,
    /// Whether its last user has ended as it should, so that nothing more of it comes.
    at_rest: bool,
}

impl Folder {
    /// Enters `root`, which is made if it is missing. With `sweep`, what `sender` left behind long ago is cleared.
    pub(super) async fn enter(
        channel: &Channel,
        root: &RemotePath,
        sender: &str,
        sweep: bool,
    ) -> Result<Self, RemoteError> {
        let wrong = |why: String| RemoteError::Root { path: root.to_string(), why };
        let path = root.as_bytes();
        let own = below(path, b".skiff");
        // Together what can be, for each round trip is one more before anything is sent.
        let (made, standing) = tokio::try_join!(make_root(channel, path), channel.standing(&own, ENTERING))?;
        made.map_err(wrong)?;
        match standing.map_err(|status| wrong(status.to_string()))? {
            None => {
                let made = channel.done(Request::Mkdir(&own, Attributes::mode(0o700)), ENTERING).await?;
                if let Err(status) = made
                    && !is_folder(channel, &own).await?
                {
                    return Err(wrong(why(channel, path, &status).await?));
                }
            }
            Some(attributes) => match attributes.kind() {
                FileKind::Folder | FileKind::Unknown => {}
                FileKind::Symlink => return Err(wrong(".skiff is a symlink".to_owned())),
                FileKind::File | FileKind::Special => return Err(wrong(".skiff is no folder".to_owned())),
            },
        }
        let (probed, listed, entries) = tokio::try_join!(
            probe(channel, &own),
            channel.list(path, true, ENTERING),
            channel.list(&own, false, ENTERING),
        )?;
        let Probed { now, reads_own, links, is_roots } = match probed {
            Ok(probed) => probed,
            Err(status) => {
                let why = why(channel, path, &status).await?;
                return Err(wrong(format!("cannot write in .skiff: {why}")));
            }
        };
        // Who can't be listed may hold anything.
        let used = listed.map_or(true, |names| names.iter().any(|entry| &entry.name[..] != b".skiff"));
        let entries = entries.unwrap_or_default();
        let (stagings, lost) = Default::default();
        let root = root.clone();
        let folder = Self { root, used, reads_own, links, is_roots, stagings, lost };
        folder.remember(&entries, sender);
        if sweep {
            folder.sweep(channel, &entries, sender, now).await?;
        }
        Ok(folder)
    }

    /// Whether anything stood in it when it was entered.
    pub(super) const fn used(&self) -> bool {
        self.used
    }

    /// Whether a file that is written can be read by the same handle. Else it is closed before, and not gone on with.
    pub(super) const fn reads_own(&self) -> bool {
        self.reads_own
    }

    /// Whether a hard link is made there when the server says so.
    pub(super) const fn links(&self) -> bool {
        self.links
    }

    /// Whether it is root who writes there, as far as the server tells.
    pub(super) const fn is_roots(&self) -> bool {
        self.is_roots
    }

    /// Whether what was entered no longer stands there.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// What was entered no longer stands there; nothing of it counts any longer.
    pub(super) fn lost(&self) -> RemoteError {
        self.lost.store(true, Ordering::Relaxed);
        RemoteError::Moved { path: self.root.to_string() }
    }

    /// Whether `staging` stands there, and so what was entered.
    pub(super) async fn holds(&self, channel: &Channel, staging: &[u8]) -> Result<bool, RemoteError> {
        Ok(channel.standing(staging, ENTERING).await? != Ok(None))
    }

    /// The path of what lies below it.
    pub(super) fn at(&self, path: &[u8]) -> Vec<u8> {
        below(self.path(), path)
    }

    pub(super) fn path(&self) -> &[u8] {
        self.root.as_bytes()
    }

    pub(super) const fn root(&self) -> &RemotePath {
        &self.root
    }

    /// An empty staging for the shipment.
    pub(super) async fn fresh(&self, channel: &Channel, id: &str) -> Result<Vec<u8>, RemoteError> {
        // One that can't be cleared now is cleared with those of long ago.
        let _: Result<(), Status> = self.clear(channel, id, std::iter::empty()).await?;
        let name = format!("{id}-{}", nonce());
        let path = self.staged(&name);
        let made = channel.done(Request::Mkdir(&path, Attributes::mode(0o700)), "preparing").await?;
        if let Err(status) = made {
            if status.code == Code::NoSuchFile {
                return Err(self.lost());
            }
            let why = why(channel, self.path(), &status).await?;
            return Err(RemoteError::Refused { attempt: "preparing", why });
        }
        self.stagings().insert(id.to_owned(), Staging { name, at_rest: false });
        Ok(path)
    }

    /// The staging that the shipment has already, for this user alone.
    pub(super) async fn adopt(&self, channel: &Channel, id: &str) -> Result<Option<Vec<u8>>, RemoteError> {
        let Some(staging) = self.stagings().remove(id) else { return Ok(None) };
        let name = if staging.at_rest { staging.name.clone() } else { format!("{id}-{}", nonce()) };
        let path = self.staged(&name);
        if !staging.at_rest {
            let from = self.staged(&staging.name);
            if let Err(status) = channel.done(Request::Rename(&from, &path), "preparing").await? {
                if status.code == Code::NoSuchFile {
                    self.lost.store(true, Ordering::Relaxed);
                }
                return Ok(None);
            }
        }
        self.stagings().insert(id.to_owned(), Staging { name, at_rest: false });
        Ok(Some(path))
    }

    /// Its user has ended as it should.
    pub(super) fn rest(&self, id: &str) {
        if let Some(staging) = self.stagings().get_mut(id) {
            staging.at_rest = true;
        }
    }

    /// Clears the shipment's staging, which may hold these.
    pub(super) async fn discard(
        &self,
        channel: &Channel,
        id: &str,
        names: impl Iterator<Item = Vec<u8>>,
    ) -> Result<(), RemoteError> {
        let cleared = self.clear(channel, id, names).await?;
        cleared.map_err(|status| RemoteError::Refused { attempt: CLEARING, why: status.to_string() })
    }

    async fn clear(&self, channel: &Channel, id: &str, names: impl Iterator<Item = Vec<u8>>) -> Answer<()> {
        let Some(staging) = self.stagings().remove(id) else { return Ok(Ok(())) };
        let path = self.staged(&staging.name);
        // What is known to be there needs no list.
        remove_all(channel, names.map(|name| below(&path, &name))).await?;
        if channel.done(Request::Rmdir(&path), CLEARING).await?.is_ok() {
            return Ok(Ok(()));
        }
        remove_tree(channel, path, DEEPEST).await
    }

    /// What earlier connections left.
    fn remember(&self, entries: &[Entry], sender: &str) {
        let mut stagings = self.stagings();
        for entry in entries {
            let Some(name) = std::str::from_utf8(&entry.name).ok() else { continue };
            let Some((id, _)) = name.rsplit_once('-').filter(|(id, nonce)| is_ours(id, nonce, sender)) else {
                continue;
            };
            stagings.insert(id.to_owned(), Staging { name: name.to_owned(), at_rest: false });
        }
    }

    async fn sweep(
        &self,
        channel: &Channel,
        entries: &[Entry],
        sender: &str,
        now: u32,
    ) -> Result<(), RemoteError> {
        let own = [sender.as_bytes(), b"-"].concat();
        for entry in entries {
            let Some((_, changed)) = entry.attributes.times else { continue };
            let path = [&self.staged("")[..], &entry.name].concat();
            let age = now.saturating_sub(changed);
            if entry.name.starts_with(b"_") && age > OLD_PROBE_S {
                let _ = channel.done(Request::Remove(&path), CLEARING).await?;
            } else if entry.name.starts_with(&own) && age > OLD_S {
                // One that a slow transfer still writes to is not old.
                let inner = channel.list(&path, false, CLEARING).await?.unwrap_or_default();
                let is_new = |entry: &Entry| {
                    entry.attributes.times.is_none_or(|(_, changed)| now.saturating_sub(changed) <= OLD_S)
                };
                if !inner.iter().any(is_new) {
                    // Whether that worked is for the next time.
                    let _ = remove_tree(channel, path, DEEPEST).await?;
                    self.stagings().retain(|_, staging| staging.name.as_bytes() != &entry.name[..]);
                }
            }
        }
        Ok(())
    }

    fn staged(&self, name: &str) -> Vec<u8> {
        self.at(&[b".skiff/", name.as_bytes()].concat())
    }

    fn stagings(&self) -> MutexGuard<'_, HashMap<String, Staging>> {
        self.stagings.lock().expect("nothing panics while it holds the lock")
    }
}

/// What a member of a batch is called in its staging.
pub(super) fn member(path: &RelPath) -> String {
    blake3::hash(path.as_bytes()).to_hex()[..32].to_owned()
}

/// `SENDER-SHIPMENT`, and 24 digits.
fn is_ours(id: &str, nonce: &str, sender: &str) -> bool {
    let digits = |text: &str, many: usize| text.len() == many && text.bytes().all(|b| b.is_ascii_hexdigit());
    id.split_once('-').is_some_and(|(of, shipment)| of == sender && digits(shipment, 20)) && digits(nonce, 24)
}

/// A path below a folder.
pub(super) fn below(folder: &[u8], path: &[u8]) -> Vec<u8> {
    match folder {
        b"." => path.to_vec(),
        b"/" => [b"/", path].concat(),
        folder => [folder, b"/", path].concat(),
    }
}

/// Makes the folder and those above it. They are the configuration's, so symlinks among them are followed.
async fn make_root(channel: &Channel, path: &[u8]) -> Result<Result<(), String>, RemoteError> {
    if let Ok(attributes) = channel.look(Request::Stat(path), ENTERING).await? {
        return Ok(match attributes.kind() {
            FileKind::Folder | FileKind::Unknown => Ok(()),
            _ => Err("not a folder".to_owned()),
        });
    }
    let ends = path.iter().enumerate().skip(1).filter(|(_, b)| **b == b'/').map(|(at, _)| at);
    for end in ends.chain([path.len()]) {
        let part = &path[..end];
        if channel.look(Request::Stat(part), ENTERING).await?.is_ok() {
            continue;
        }
        let made = channel.done(Request::Mkdir(part, Attributes::mode(0o777)), ENTERING).await?;
        if let Err(status) = made
            && channel.look(Request::Stat(part), ENTERING).await?.is_err()
        {
            let why = why(channel, parent(part), &status).await?;
            return Ok(Err(format!("cannot make {}: {why}", escaped(part))));
        }
    }
    Ok(if channel.look(Request::Stat(path), ENTERING).await?.is_ok() {
        Ok(())
    } else {
        Err("cannot enter it".to_owned())
    })
}

pub(super) fn parent(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|b| *b == b'/') {
        None => b".",
        Some(0) => b"/",
        Some(slash) => &path[..slash],
    }
}

async fn is_folder(channel: &Channel, path: &[u8]) -> Result<bool, RemoteError> {
    let standing = channel.standing(path, ENTERING).await?;
    Ok(standing.is_ok_and(|found| found.is_some_and(|one| one.kind() == FileKind::Folder)))
}

/// What writing has shown.
struct Probed {
    /// The server's time, in seconds since 1970.
    now: u32,
    reads_own: bool,
    links: bool,
    is_roots: bool,
}

/// Writes something, and looks at it.
async fn probe(channel: &Channel, own: &[u8]) -> Answer<Probed> {
    const MARK: &[u8] = b"x";
    let path = below(own, format!("_{}", nonce()).as_bytes());
    let handle = match channel.open(&path, Open::New, Attributes::mode(0o600), ENTERING).await? {
        Ok(handle) => handle,
        Err(status) => return Ok(Err(status)),
    };
    let written = channel.begin_write(&handle, 0, Bytes::from_static(MARK), ENTERING).await?;
    let written = done(written, ENTERING).await?;
    let reading = channel.begin_read(&handle, 0, 1, ENTERING).await?;
    let looking = channel.begin(Request::Fstat(&handle), ENTERING).await?;
    channel.close(&handle).await?;
    let links = links(channel, &path).await?;
    let removing = channel.begin(Request::Remove(&path), ENTERING).await?;
    // Whatever else the server may answer to that.
    let reads_own = matches!(reading.reply().await?, Reply::Data(bytes) if bytes == MARK);
    let attributes = looked(looking, ENTERING).await?;
    let _ = done(removing, ENTERING).await?;
    let attributes = attributes.unwrap_or_default();
    let now = attributes.times.map_or(0, |(_, changed)| changed);
    let is_roots = attributes.owner.is_some_and(|(user, _)| user == 0);
    Ok(written.map(|()| Probed { now, reads_own, links, is_roots }))
}

/// There are servers that say yes and do nothing. Found out once, where nobody else takes the file: a link that is looked
/// for under its final name may have been fetched by then.
async fn links(channel: &Channel, path: &[u8]) -> Result<bool, RemoteError> {
    if !channel.offered().hardlink {
        return Ok(false);
    }
    let link = [path, b"l"].concat();
    if channel.done(Request::Hardlink(path, &link), ENTERING).await?.is_err() {
        return Ok(false);
    }
    let found = channel.standing(&link, ENTERING).await?.ok().flatten();
    // Nothing waits for that.
    let _removing = channel.begin(Request::Remove(&link), ENTERING).await?;
    Ok(found.is_some_and(|found| matches!(found.kind(), FileKind::File | FileKind::Unknown)))
}

/// Removes these files, as far as they are there.
async fn remove_all(channel: &Channel, paths: impl Iterator<Item = Vec<u8>>) -> Result<(), RemoteError> {
    let mut removing = Vec::new();
    for path in paths {
        removing.push(channel.begin(Request::Remove(&path), CLEARING).await?);
    }
    for one in removing {
        let _ = done(one, CLEARING).await?;
    }
    Ok(())
}

/// Removes a folder and all below it; symlinks are removed, not followed.
async fn remove_tree(channel: &Channel, path: Vec<u8>, deepest: usize) -> Answer<()> {
    let entries = match channel.list(&path, false, CLEARING).await? {
        Ok(entries) => entries,
        Err(Status { code: Code::NoSuchFile, .. }) => return Ok(Ok(())),
        Err(status) => return Ok(Err(status)),
    };
    let is_folder = |entry: &Entry| entry.attributes.kind() == FileKind::Folder;
    let (folders, files): (Vec<_>, Vec<_>) =
        entries.into_iter().filter(|entry| !entry.name.contains(&b'/')).partition(is_folder);
    remove_all(channel, files.iter().map(|entry| below(&path, &entry.name))).await?;
    if deepest > 0 {
        for entry in folders {
            let _ = Box::pin(remove_tree(channel, below(&path, &entry.name), deepest - 1)).await?;
        }
    }
    channel.done(Request::Rmdir(&path), CLEARING).await
}

/// Why it failed, as far as the server can be made to tell: OpenSSH calls most things a failure.
pub(super) async fn why(channel: &Channel, path: &[u8], status: &Status) -> Result<String, RemoteError> {
    if matches!(status.code, Code::Failure | Code::PermissionDenied)
        && let Some(space) = channel.space(path).await?
    {
        if space.read_only {
            return Ok(Code::ReadOnly.to_string());
        }
        // Less than a block is no room.
        if status.code == Code::Failure && (space.free_bytes < 4096 || !space.takes_files) {
            return Ok(Code::NoSpace.to_string());
        }
    }
    Ok(status.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stagings_of_the_same_sender_and_form_are_ours() {
        let (sender, shipment, nonce) = ("0123abcd", "a".repeat(20), "b".repeat(24));
        assert!(is_ours(&format!("{sender}-{shipment}"), &nonce, sender));
        assert!(!is_ours(&format!("ffffffff-{shipment}"), &nonce, sender));
        assert!(!is_ours(&format!("{sender}-{shipment}"), "../../../../../../../../a", sender));
        assert!(!is_ours(&format!("{sender}-a/b"), &nonce, sender));
        assert!(!is_ours(sender, &nonce, sender));
    }

    #[test]
    fn paths_are_below_the_folder() {
        assert_eq!(below(b".", b"a"), b"a");
        assert_eq!(below(b"/", b"a"), b"/a");
        assert_eq!(below(b"/srv", b"a/b"), b"/srv/a/b");
        assert_eq!(parent(b"/srv"), b"/");
        assert_eq!(parent(b"srv"), b".");
    }
}
