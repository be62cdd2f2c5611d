//! A batch as a tar: canonical headers, so that the same members give the same bytes.

use std::io::{self, Read, Write};
use std::path::Path;

use skiff_common::delivery::Trouble;
use skiff_common::digest::Hasher;
use skiff_common::{Algorithm, Item};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::{Outcome, unreadable};
use crate::source::{OpenItem, Root};

/// The length of the tar of `items`, in bytes.
pub(crate) fn batch_bytes(items: &[Item]) -> io::Result<u64> {
    let mut archive = tar::Builder::new(Count(0));
    for item in items {
        append(&mut archive, item, io::repeat(0))?;
    }
    archive.into_inner().map(|count| count.0)
}

/// Reads `items` into a tar, written to `sink`, which comes back. A member that can't be read as planned is filled up with zeros, so that the others still
/// arrive; its outcome says so, and it is never published.
pub(crate) fn send_batch<W: Write>(
    root: &Root,
    items: &[Item],
    algorithm: Algorithm,
    sink: W,
) -> io::Result<(W, Vec<Outcome>)> {
    let mut archive = tar::Builder::new(sink);
    let mut outcomes = Vec::with_capacity(items.len());
    for item in items {
        outcomes.push(send_member(&mut archive, root, item, algorithm)?);
    }
    Ok((archive.into_inner()?, outcomes))
}

fn send_member(
    archive: &mut tar::Builder<impl Write>,
    root: &Root,
    item: &Item,
    algorithm: Algorithm,
) -> io::Result<Outcome> {
    let open = match root.open_item(&item.path) {
        Ok(open) if open.stamp == item.stamp => open,
        Ok(_) => return append(archive, item, io::repeat(0)).map(|()| Err(Trouble::Changed)),
        Err(error) => return append(archive, item, io::repeat(0)).map(|()| Err(error.trouble())),
    };
    let mut member =
        Member { open: &open, hasher: Hasher::for_destination(algorithm), short: false, failed: None };
    append(archive, item, &mut member)?;
    Ok(member.outcome(item))
}

fn append(archive: &mut tar::Builder<impl Write>, item: &Item, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    // Who unpacks it has to read it.
    header.set_mode(item.mode | 0o400);
    header.set_size(item.stamp.size);
    header.set_mtime(u64::try_from(item.stamp.mtime_ns.div_euclid(1_000_000_000)).unwrap_or(0));
    let path = Path::new(OsStr::from_bytes(item.path.as_bytes()));
    archive.append_data(&mut header, path, content.take(item.stamp.size))
}

/// One member's content: exactly as long as it was planned, whatever happens to the file.
struct Member<'a> {
    open: &'a OpenItem,
    hasher: Hasher,
    short: bool,
    failed: Option<io::Error>,
}

impl Member<'_> {
    fn outcome(self, item: &Item) -> Outcome {
        if let Some(error) = self.failed {
            return Err(unreadable(item, &error));
        }
        match self.open.stamp_now() {
            Ok(stamp) if stamp == item.stamp && !self.short => Ok(self.hasher.digests()),
            Ok(_) => Err(Trouble::Changed),
            Err(error) => Err(unreadable(item, &error)),
        }
    }
}

impl Read for Member<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.short {
            match (&self.open.file).read(buffer) {
                Ok(0) => self.short = true,
                Ok(bytes) => {
                    self.hasher.update(&buffer[..bytes]);
                    return Ok(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    self.short = true;
                }
            }
        }
        buffer.fill(0);
        Ok(buffer.len())
    }
}

struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_common::RelPath;

    fn items(root: &Root, names: &[&str]) -> Vec<Item> {
        let item = |name: &&str| {
            let path = RelPath::parse(name.as_bytes()).expect("a path");
            let open = root.open_item(&path).expect("it opens");
            Item { path, stamp: open.stamp, mode: open.mode }
        };
        names.iter().map(item).collect()
    }

    fn send(root: &Root, items: &[Item]) -> (Vec<u8>, Vec<Outcome>) {
        let (sender, mut receiver) = super::super::body();
        let collector = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            while let Some(piece) = receiver.blocking_recv() {
                bytes.extend(piece);
            }
            bytes
        });
        let (sender, outcomes) = send_batch(root, items, Algorithm::Sha256, sender).expect("it is taken");
        sender.finish().expect("it is taken");
        (collector.join().expect("it collects"), outcomes)
    }

    #[test]
    fn the_length_is_known_before_and_members_that_change_spoil_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let long = "n".repeat(200);
        for name in ["a", "gone", "grown", &long] {
            std::fs::write(folder.path().join(name), name.repeat(3)).expect("written");
        }
        let root = Root::open(folder.path()).expect("it opens");
        let items = items(&root, &["a", "gone", "grown", &long]);
        std::fs::remove_file(folder.path().join("gone")).expect("removed");
        std::fs::write(folder.path().join("grown"), "something else").expect("written");
        let (bytes, outcomes) = send(&root, &items);
        assert_eq!(bytes.len() as u64, batch_bytes(&items).expect("counted"));
        assert!(outcomes[0].is_ok() && outcomes[3].is_ok());
        assert_eq!(outcomes[1], Err(Trouble::Gone));
        assert_eq!(outcomes[2], Err(Trouble::Changed));
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names: Vec<_> = archive
            .entries()
            .expect("a tar")
            .map(|e| e.expect("whole").path().expect("named").into_owned())
            .collect();
        assert_eq!(names.last().map(|p| p.to_string_lossy().into_owned()), Some(long));
    }

    /// S2: whatever stands in the folder, what is unpacked elsewhere has no links, no devices and no way up.
    #[test]
    fn members_are_plain_files_below_the_folder() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("a/..b")).expect("made");
        for name in ["a/..b/-rf", "set", "link"] {
            std::fs::write(folder.path().join(name), name).expect("written");
        }
        let mode = std::fs::Permissions::from_mode(0o6755);
        std::fs::set_permissions(folder.path().join("set"), mode).expect("ours");
        let root = Root::open(folder.path()).expect("it opens");
        let items = items(&root, &["a/..b/-rf", "set", "link"]);
        std::fs::remove_file(folder.path().join("link")).expect("removed");
        symlink("/etc/passwd", folder.path().join("link")).expect("made");
        let (bytes, _) = send(&root, &items);
        let mut archive = tar::Archive::new(bytes.as_slice());
        for entry in archive.entries().expect("a tar") {
            let entry = entry.expect("whole");
            let path = entry.path().expect("named").into_owned();
            assert!(entry.header().entry_type().is_file(), "{}", path.display());
            let plain = |part| matches!(part, std::path::Component::Normal(_));
            assert!(path.components().all(plain), "{}", path.display());
            assert_eq!(entry.header().mode().expect("there is one") & 0o7000, 0, "{}", path.display());
            assert!(entry.link_name().expect("sound").is_none(), "{}", path.display());
        }
    }
}
