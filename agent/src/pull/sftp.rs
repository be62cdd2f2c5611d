//! A server without a shell, but with SFTP: what the shell's giver does, asked for in requests.
//!
//! Promises the same: names are literal, many requests are under way at once, and no more is asked for than fits in
//! memory. Digests are computed here, of what is read for them. Lacks any use of the local file system.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, FuturesOrdered, StreamExt as _, TryStreamExt as _};
use skiff_common::digest::Hasher;
use skiff_common::escape::escaped_up_to;
use skiff_common::sftp::{Attributes, Code, Entry, FileKind, Open, Request, Status};
use skiff_common::{Digest, RelPath};
use skiff_config::Compression;

use super::jobs::{BLOCK_BYTES, Heard, Job};
use super::listing::{Found, Kind, Listed, Room, nothing};
use crate::remote::session::Session;
use crate::remote::sftp::{Channel, Failure, Opened, Reading, hasher};
use crate::remote::{Limiter, RemoteError, Traffic};

const LISTING: &str = "listing";
const RECEIVING: &str = "receiving";
const DIGESTS: &str = "reading the digests";

/// Folders that are listed at once.
const FOLDERS: usize = 64;
/// Files of one batch that are read at once for their digests, where all of them are small.
const FILES: usize = 64;
/// Parts of large files that are fetched at once: one fills the channel, and what is under way is lost by a cut.
const PARTS: usize = 2;
/// Larger ones are read one after the other: each has as much under way as the channel holds.
const SMALL: u64 = 256 << 10;

/// A channel to the server's SFTP.
pub(super) struct SftpGiver {
    channel: Channel,
    /// What was read of files that are gone on with: they need not be read to the end from their beginning.
    begun: Arc<Mutex<HashMap<Vec<u8>, Begun>>>,
}

/// A file's first bytes.
#[derive(Clone)]
struct Begun {
    length: u64,
    hasher: Hasher,
    /// What the file was then.
    attributes: Attributes,
}

impl SftpGiver {
    /// Starts one in the login folder.
    pub(super) async fn start(session: &Session, stall: Duration) -> Result<Self, RemoteError> {
        Ok(Self { channel: start(session, stall).await?, begun: Arc::default() })
    }

    /// Another channel; it knows what this one knows.
    pub(super) async fn second(&self, session: &Session, stall: Duration) -> Result<Self, RemoteError> {
        Ok(Self { channel: start(session, stall).await?, begun: Arc::clone(&self.begun) })
    }

    /// What stands under each name, in their order; and what could not be listed.
    pub(super) async fn list(&self, names: &[Vec<u8>]) -> Result<(Vec<Found>, Vec<String>), RemoteError> {
        let (mut room, mut complaints) = (Room::default(), Vec::new());
        let looking = stream::iter(0..names.len()).map(|at| self.look(&names[at]));
        let looked: Vec<_> = looking.buffered(FOLDERS).try_collect().await?;
        let mut found = Vec::with_capacity(names.len());
        for (name, looked) in names.iter().zip(looked) {
            found.push(match looked {
                Ok(attributes) if attributes.kind() == FileKind::Folder => {
                    let own = listed(None, Kind::Folder, &attributes);
                    self.walk(name, own, &mut room, &mut complaints).await?
                }
                Ok(attributes) => Found::File(listed(None, Kind::File, &attributes)),
                Err(why) => Found::Nothing(why),
            });
        }
        Ok((found, complaints))
    }

    /// What a name leads to, if it is a folder or a file that can be read.
    async fn look(&self, name: &[u8]) -> Result<Result<Attributes, &'static str>, RemoteError> {
        let why = |status: Status| match status.code {
            Code::NoSuchFile => nothing("missing"),
            Code::PermissionDenied => nothing("denied"),
            _ => nothing("refused"),
        };
        // A symlink that is named is followed, as scp does.
        let attributes = match self.channel.look(Request::Stat(name), LISTING).await? {
            Ok(attributes) => attributes,
            Err(status) => return Ok(Err(why(status))),
        };
        match attributes.kind() {
            FileKind::Folder => return Ok(Ok(attributes)),
            FileKind::File | FileKind::Unknown => {}
            FileKind::Symlink | FileKind::Special => return Ok(Err(nothing("special"))),
        }
        Ok(match self.channel.open(name, Open::Read, Attributes::default(), LISTING).await? {
            Ok(handle) => {
                self.channel.close(&handle).await?;
                Ok(attributes)
            }
            Err(status) => Err(why(status)),
        })
    }

    /// Everything below a folder.
    async fn walk(
        &self,
        name: &[u8],
        own: Listed,
        room: &mut Room,
        complaints: &mut Vec<String>,
    ) -> Result<Found, RemoteError> {
        let mut all = vec![own];
        let mut folders: Vec<Option<RelPath>> = vec![None];
        while !folders.is_empty() {
            let here = std::mem::take(&mut folders);
            let listing = stream::iter(0..here.len()).map(|at| {
                let folder = here[at].clone();
                async move {
                    let path =
                        folder.as_ref().map_or(name.to_vec(), |below| super::listing::below(name, below));
                    let entries = self.channel.list(&path, false, LISTING).await?;
                    Ok::<_, RemoteError>((folder, entries))
                }
            });
            let mut listing = std::pin::pin!(listing.buffered(FOLDERS));
            while let Some(one) = listing.next().await {
                let (folder, entries) = one?;
                match entries {
                    Ok(entries) => {
                        for entry in entries {
                            take(folder.as_ref(), &entry, (&mut all, &mut folders), room)?;
                        }
                    }
                    Err(status) => {
                        let shown =
                            folder.as_ref().map_or_else(|| escaped_up_to(name, 200), RelPath::to_string);
                        // As many as the shell would tell.
                        if complaints.len() < 20 {
                            complaints.push(format!("cannot list {shown}: {status}"));
                        }
                    }
                }
            }
        }
        Ok(Found::Folder(all))
    }

    /// The digest of each file, or `None` where the server can't read it.
    pub(super) async fn digests(
        &self,
        batches: &[Vec<(usize, u64, Vec<u8>)>],
        mut each: impl AsyncFnMut(usize, Option<Digest>) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        for batch in batches {
            let is_small = batch.iter().all(|(_, size, _)| *size <= SMALL);
            let at_once = if is_small { FILES.min(self.channel.handles()) } else { 1 };
            let reading = stream::iter(0..batch.len()).map(|at| async move {
                let (file, _, name) = &batch[at];
                self.digest(name).await.map(|digest| (*file, digest))
            });
            let mut reading = std::pin::pin!(reading.buffer_unordered(at_once));
            while let Some(one) = reading.next().await {
                let (file, digest) = one?;
                each(file, digest).await?;
            }
        }
        Ok(())
    }

    /// Of a file as it is now. What was read of it before need not be read again if it is the same since.
    async fn digest(&self, name: &[u8]) -> Result<Option<Digest>, RemoteError> {
        let Ok(attributes) = self.channel.look(Request::Stat(name), DIGESTS).await? else { return Ok(None) };
        let Some(size) = attributes.size else { return Ok(None) };
        let begun = self.begun().remove(name).filter(|begun| begun.attributes.is_unchanged(&attributes));
        if let Some(Begun { length, mut hasher, .. }) = begun {
            let read = self.read(name, length, size, |piece| hasher.update(&piece)).await?;
            let now = self.channel.look(Request::Stat(name), DIGESTS).await?;
            if read.is_some() && now.is_ok_and(|now| now.is_unchanged(&attributes)) {
                return Ok(Some(hasher.digests().blake3));
            }
        }
        let mut hasher = hasher();
        let read = self.read(name, 0, size, |piece| hasher.update(&piece)).await?;
        Ok(read.map(|_| hasher.digests().blake3))
    }

    fn begun(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Begun>> {
        self.begun.lock().expect("nothing panics while it holds the lock")
    }

    /// The digest of the first `blocks` blocks of each file.
    pub(super) async fn prefixes(
        &self,
        asked: &[(Vec<u8>, u64)],
    ) -> Result<Vec<Option<Digest>>, RemoteError> {
        let mut digests = Vec::with_capacity(asked.len());
        for (name, blocks) in asked {
            let mut hasher: Hasher = hasher();
            let length = blocks * BLOCK_BYTES;
            let before = self.channel.look(Request::Stat(name), DIGESTS).await?;
            let read = self.read(name, 0, length, |piece| hasher.update(&piece)).await?;
            digests.push((read == Some(length)).then(|| hasher.digests().blake3));
            if let Ok(attributes) = before
                && read == Some(length)
            {
                self.begun().insert(name.clone(), Begun { length, hasher, attributes });
            }
        }
        Ok(digests)
    }

    /// Asks for all jobs, `in_flight` at a time, and hands on what comes.
    pub(super) async fn bodies(
        &self,
        jobs: impl Iterator<Item = Job>,
        in_flight: usize,
        mut pace: impl AsyncFnMut(&Job),
        mut each: impl AsyncFnMut(&Job, Heard<'_>) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        let mut under_way = FuturesOrdered::new();
        let mut ahead = jobs.peekable();
        loop {
            let most =
                |job: &Job| if matches!(job, Job::Part { .. }) { in_flight.min(PARTS) } else { in_flight };
            while let Some(job) = ahead.next_if(|job| under_way.len() < most(job)) {
                pace(&job).await;
                under_way.push_back(async move {
                    let fetched = self.fetch(&job).await;
                    (job, fetched)
                });
            }
            let Some((job, fetched)) = under_way.next().await else { return Ok(()) };
            let Fetched { unreadable, pieces } = fetched?;
            for file in unreadable {
                each(&job, Heard::Unreadable(file)).await?;
            }
            for piece in pieces {
                each(&job, Heard::Piece(&piece)).await?;
            }
            each(&job, Heard::End).await?;
        }
    }

    /// All that a job asks for, a few MiB.
    async fn fetch(&self, job: &Job) -> Result<Fetched, RemoteError> {
        let mut fetched = Fetched::default();
        match job {
            Job::Part { file, name, skipped_blocks, blocks } => {
                let (start, end) = (skipped_blocks * BLOCK_BYTES, (skipped_blocks + blocks) * BLOCK_BYTES);
                let read = self.read(name, start, end, |piece| fetched.pieces.push(piece)).await?;
                if read.is_none() {
                    fetched.unreadable.push(*file);
                }
            }
            Job::Files(files) => {
                let reading = stream::iter(0..files.len()).map(|at| async move {
                    let (file, size, name) = &files[at];
                    let mut pieces = Vec::new();
                    let read = self.read(name, 0, *size, |piece| pieces.push(piece)).await?;
                    Ok::<_, RemoteError>((*file, *size, read, pieces))
                });
                let mut reading = std::pin::pin!(reading.buffered(self.channel.handles().min(FILES)));
                while let Some(one) = reading.next().await {
                    match one? {
                        (file, _, None, _) => fetched.unreadable.push(file),
                        (_, size, Some(read), pieces) => {
                            fetched.pieces.extend(pieces);
                            // One that became shorter is found out by its digest; those behind it stay in their place.
                            let missing = usize::try_from(size - read).expect("it was asked for at once");
                            if missing > 0 {
                                fetched.pieces.push(Bytes::from(vec![0; missing]));
                            }
                        }
                    }
                }
            }
        }
        Ok(fetched)
    }

    /// Reads a part of a file. How much there was of it; `None`: it can't be read.
    async fn read(
        &self,
        name: &[u8],
        start: u64,
        end: u64,
        mut each: impl FnMut(Bytes),
    ) -> Result<Option<u64>, RemoteError> {
        let opened = self.channel.open(name, Open::Read, Attributes::default(), RECEIVING).await?;
        let Ok(handle) = opened else { return Ok(None) };
        let lanes = [Opened { channel: &self.channel, handle }];
        let mut reading = Reading::new(&lanes, start, RECEIVING);
        reading.until(end);
        let mut read = 0;
        let outcome = loop {
            match reading.next().await {
                Ok(Some(piece)) => {
                    read += piece.len() as u64;
                    each(piece);
                }
                Ok(None) => break Ok(Some(read)),
                Err(Failure::No(_)) => break Ok(None),
                Err(Failure::Remote(error)) => break Err(error),
            }
        };
        let [opened] = lanes;
        opened.close().await?;
        outcome
    }
}

async fn start(session: &Session, stall: Duration) -> Result<Channel, RemoteError> {
    // What is asked for is held back elsewhere.
    let unlimited = || Arc::new(Limiter::new(None));
    let traffic = Traffic::new(Arc::default(), (unlimited(), unlimited()), Compression::Off);
    Channel::start(session, stall, Arc::new(traffic), None).await
}

/// What a job brought.
#[derive(Default)]
struct Fetched {
    unreadable: Vec<usize>,
    pieces: Vec<Bytes>,
}

/// Takes one name that the server claims. One that leads elsewhere ends it: no honest server has such.
fn take(
    folder: Option<&RelPath>,
    entry: &Entry,
    (all, folders): (&mut Vec<Listed>, &mut Vec<Option<RelPath>>),
    room: &mut Room,
) -> Result<(), RemoteError> {
    let nonsense = || RemoteError::Nonsense { attempt: LISTING, words: escaped_up_to(&entry.name, 200) };
    if entry.name.contains(&b'/') {
        return Err(nonsense());
    }
    let path = RelPath::in_folder(folder, &entry.name).map_err(|_| nonsense())?;
    room.take(1, path.as_bytes().len(), LISTING)?;
    let kind = match entry.attributes.kind() {
        FileKind::File => Kind::File,
        FileKind::Folder => Kind::Folder,
        FileKind::Symlink => Kind::Symlink,
        FileKind::Special | FileKind::Unknown => Kind::Other,
    };
    if kind == Kind::Folder {
        folders.push(Some(path.clone()));
    }
    all.push(listed(Some(path), kind, &entry.attributes));
    Ok(())
}

fn listed(path: Option<RelPath>, kind: Kind, attributes: &Attributes) -> Listed {
    let mtime_ns = attributes.times.map(|(_, changed)| i64::from(changed) * 1_000_000_000);
    let mode = attributes.permissions.unwrap_or(0o644) & 0o777;
    Listed { kind, size: attributes.size.unwrap_or(0), mtime_ns, mode, path }
}

#[cfg(test)]
mod tests {
    use super::super::listing::LISTED_BYTES;
    use super::*;

    /// CVE-2018-20685 (`.` and empty names), CVE-2019-6111 (names that lead elsewhere).
    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let folder = RelPath::parse(b"a").expect("a path");
        let taken = |name: &'static [u8]| {
            let entry = Entry { name: Bytes::from_static(name), attributes: Attributes::mode(0o100_644) };
            let (mut all, mut folders, mut room) = (Vec::new(), Vec::new(), Room::default());
            let taken = take(Some(&folder), &entry, (&mut all, &mut folders), &mut room);
            taken.map(|()| all[0].path.clone().expect("it has one").to_string())
        };
        for name in [&b"../x"[..], b"/etc/x", b"x/y", b"", b"a\0b", b".", b".."] {
            assert!(matches!(taken(name), Err(RemoteError::Nonsense { .. })), "{name:?} was taken");
        }
        assert_eq!(taken(b"x\ny").expect("a name"), "a/x\\ny");
    }

    #[test]
    fn a_list_that_is_too_long_is_refused() {
        let entry = Entry { name: Bytes::from_static(b"x"), attributes: Attributes::mode(0o100_644) };
        let (mut all, mut folders, mut room) = (Vec::new(), Vec::new(), Room::of(LISTED_BYTES + 1));
        take(None, &entry, (&mut all, &mut folders), &mut room).expect("there is room for one");
        let refused = take(None, &entry, (&mut all, &mut folders), &mut room);
        assert!(matches!(refused, Err(RemoteError::Refused { .. })));
    }
}
