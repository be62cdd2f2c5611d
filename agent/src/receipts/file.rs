//! A file of JSON lines to which several processes append: durable, and set aside when it has grown.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use skiff_config::ReceiptFiles;

/// Of the lines of thousands of files, which would be a megabyte for each shipment.
const WRITTEN_AT_ONCE: usize = 64 << 10;
/// Empty lines ahead of what [`append_within`] writes: for the lines of a hundred lone files.
const AHEAD_BYTES: usize = 16 << 10;
/// Lines that are longer together are none of a lone file.
const SMALL_BYTES: usize = 4 << 10;

/// Numbers that are missing at once: the file itself right after it was set aside, or one of those before it.
const MOST_MISSING: usize = 1;

/// Makes it, where it is missing.
pub(super) fn make(path: &Path) -> io::Result<()> {
    open(path).map(drop)
}

/// Appends a line for each value; they are durable when this returns. Blocks.
pub(super) fn append(
    path: &Path,
    files: ReceiptFiles,
    values: impl Iterator<Item = Value>,
) -> io::Result<()> {
    let mut values = values.peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let file = with_room(path, files)?;
    let mut lines = BufWriter::with_capacity(WRITTEN_AT_ONCE, &file);
    if ends_torn(path)? {
        lines.write_all(b"\n")?;
    }
    for value in values {
        serde_json::to_writer(&mut lines, &value)?;
        lines.write_all(b"\n")?;
    }
    lines.flush()?;
    drop(lines);
    file.sync_data()
}

/// As [`append`], for what no person reads: empty lines are kept ahead of the last one, because a file that grows costs the
/// file system a commit each time, on ext4 four times as many bytes as what is written within it.
pub(super) fn append_within(path: &Path, files: ReceiptFiles, value: &Value) -> io::Result<()> {
    let lock = with_room(path, files)?;
    // What appends writes nowhere else.
    let file = File::options().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let (end, torn) = end_of_lines(&file, length)?;
    let mut line = if torn { b"\n".to_vec() } else { Vec::new() };
    serde_json::to_writer(&mut line, value)?;
    line.push(b'\n');
    if end + line.len() as u64 > length && line.len() <= SMALL_BYTES {
        line.resize(line.len() + AHEAD_BYTES, b'\n');
    }
    file.write_all_at(&line, end)?;
    file.sync_data()?;
    drop(lock);
    Ok(())
}

/// It and all that were set aside, the latest first. While they are renamed one number is missing, and after a death within
/// that until the next time.
pub(super) fn all(path: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    let mut missing = 0;
    for path in std::iter::once(path.to_owned()).chain((1..).map(|number| aside(path, number))) {
        match File::open(path) {
            Ok(file) => files.push(file),
            Err(error) if error.kind() == ErrorKind::NotFound && missing < MOST_MISSING => missing += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Lines of a file from the last to the first. Reads no more than it has to.
#[derive(Debug)]
pub(super) struct Backwards {
    file: File,
    /// Where what was read begins.
    start: u64,
    /// What was read and not shown; it may begin in the middle of a line.
    rest: Vec<u8>,
}

impl Backwards {
    /// Of what the file holds now.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let start = file.metadata()?.len();
        Ok(Self { file, start, rest: Vec::new() })
    }

    /// The next one that isn't empty.
    pub(super) fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        const PIECE: u64 = 64 << 10;
        loop {
            if let Some(at) = memchr::memrchr(b'\n', &self.rest) {
                let line = self.rest.split_off(at + 1);
                self.rest.pop();
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            if self.start == 0 {
                let first = std::mem::take(&mut self.rest);
                return Ok(Some(first).filter(|line| !line.is_empty()));
            }
            let start = self.start.saturating_sub(PIECE);
            let mut bytes = vec![0; usize::try_from(self.start - start).expect("a piece is small")];
            self.file.read_exact_at(&mut bytes, start)?;
            bytes.append(&mut self.rest);
            (self.start, self.rest) = (start, bytes);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o600).open(path)
}

/// The file, locked; another one if it was full.
fn with_room(path: &Path, files: ReceiptFiles) -> io::Result<File> {
    let file = locked(path)?;
    if file.metadata()?.len() <= files.rotate_bytes {
        return Ok(file);
    }
    rotate(path, files.keep.get())?;
    locked(path)
}

/// The file that has this name now, locked: while one waits for the lock, the file may be set aside.
fn locked(path: &Path) -> io::Result<File> {
    loop {
        let file = open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        let named = fs::metadata(path);
        match (named, file.metadata()?) {
            (Ok(named), ours) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => return Ok(file),
            (Err(error), _) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
}

/// Where the last line ends that isn't empty, and whether it lacks its line end.
fn end_of_lines(file: &File, length: u64) -> io::Result<(u64, bool)> {
    // With the line end and the byte before it.
    let start = length.saturating_sub(AHEAD_BYTES as u64 + 2);
    let mut bytes = vec![0; usize::try_from(length - start).expect("they are few")];
    file.read_exact_at(&mut bytes, start)?;
    Ok(match bytes.iter().rposition(|byte| *byte != b'\n') {
        Some(at) if at + 1 == bytes.len() => (length, true),
        Some(at) => (start + at as u64 + 2, false),
        None => (length, false),
    })
}

fn ends_torn(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last != [b'\n'])
}

/// Sets it aside under the lock of who calls; the oldest goes where there is no room, and so do those that are more than
/// `keep`.
fn rotate(path: &Path, keep: usize) -> io::Result<()> {
    let is_free = |number: &usize| !aside(path, *number).exists();
    let mut last = keep;
    while !is_free(&(last + 1)) || !is_free(&(last + 2)) {
        last += 1;
    }
    // From the highest number on: a gap would hide what is behind it.
    (keep + 1..=last).rev().try_for_each(|number| gone(fs::remove_file(aside(path, number))))?;
    // Whoever died here left a gap, which has room for those before it.
    let free = (1..=keep).find(is_free).unwrap_or(keep);
    gone(fs::remove_file(aside(path, free)))?;
    for number in (1..free).rev() {
        gone(fs::rename(aside(path, number), aside(path, number + 1)))?;
    }
    fs::rename(path, aside(path, 1))?;
    // The new one has to be there after a power cut, and so has the old one under its new name.
    open(path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// What isn't there needs nothing done to it.
fn gone(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn aside(path: &Path, number: usize) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::num::NonZeroUsize;

    use serde_json::json;

    use super::*;
    use crate::receipts::latest;

    fn numbers(folder: &Path, most: usize, wanted: fn(&Value) -> bool) -> Vec<u64> {
        let found = latest(folder, most, wanted).expect("read");
        found.iter().filter_map(|receipt| receipt["n"].as_u64()).collect()
    }

    #[test]
    fn the_latest_are_read_from_the_end_across_pieces_and_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("receipts.jsonl");
        let line = |n: usize| format!("{{\"n\":{n},\"pad\":\"{}\"}}\n", "x".repeat(n % 300));
        let lines = |range: std::ops::Range<usize>| range.map(line).collect::<String>();
        fs::write(aside(&path, 1), lines(0..3)).expect("written");
        fs::write(&path, lines(3..2000) + "{\"torn").expect("written");
        assert_eq!(numbers(folder.path(), 2, |_| true), [1999, 1998]);
        assert_eq!(numbers(folder.path(), 3, |receipt| receipt["n"].as_u64() < Some(5)), [4, 3, 2]);
        let all: Vec<u64> = (0..2000).rev().collect();
        assert_eq!(numbers(folder.path(), usize::MAX, |_| true), all);
    }

    #[test]
    fn lines_within_a_file_stand_one_behind_the_other_whatever_it_ended_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("receipts.jsonl");
        let put = |n: u64| {
            append_within(&path, ReceiptFiles::default(), &json!({ "n": n })).expect("written");
            fs::metadata(&path).expect("it is there").len()
        };
        let length = put(0);
        assert_eq!((put(1), put(2)), (length, length));
        // An earlier skiff appends at the end, and one that died within its last line.
        append(&path, ReceiptFiles::default(), std::iter::once(json!({ "n": 3 }))).expect("written");
        put(4);
        File::options()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(b"{\"torn"))
            .expect("written");
        put(5);
        fs::write(&path, fs::read(&path).expect("read").trim_ascii_end()).expect("written");
        put(6);
        let pad = "x".repeat(SMALL_BYTES);
        let length = fs::metadata(&path).expect("it is there").len();
        for n in 7..12 {
            append_within(&path, ReceiptFiles::default(), &json!({ "n": n, "pad": pad })).expect("written");
        }
        put(12);
        assert!(fs::metadata(&path).expect("it is there").len() > length);
        assert_eq!(numbers(folder.path(), usize::MAX, |_| true), (0..=12).rev().collect::<Vec<_>>());
    }

    /// No line is lost, and no file is set aside before it is full, whoever waits for the lock meanwhile.
    #[test]
    fn many_that_append_at_once_set_each_full_file_aside_once() {
        const EACH: u64 = 200;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("receipts.jsonl");
        let files = ReceiptFiles { rotate_bytes: 1000, keep: NonZeroUsize::new(1000).expect("more than 0") };
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for n in 0..EACH {
                        append(path, files, std::iter::once(json!({ "n": writer * EACH + n })))
                            .expect("written");
                    }
                });
            }
        });
        let found = numbers(folder.path(), usize::MAX, |_| true);
        assert_eq!(found.len(), found.iter().collect::<BTreeSet<_>>().len());
        assert_eq!(found.len() as u64, 4 * EACH);
        let sizes =
            all(&path).expect("read").into_iter().skip(1).map(|file| file.metadata().expect("open").len());
        assert!(sizes.into_iter().all(|size| size > 1000));
    }

    /// Who reads meanwhile meets the same.
    #[test]
    fn a_death_while_files_are_renamed_hides_none_and_costs_none() {
        for (keep, standing, after) in [
            (2, vec![2], vec![9, 0, 2]),
            (2, vec![1], vec![9, 0, 1]),
            (2, vec![1, 2], vec![9, 0, 1]),
            (4, vec![1, 2, 4], vec![9, 0, 1, 2, 4]),
            (4, vec![1, 3, 4], vec![9, 0, 1, 3, 4]),
            (4, vec![2, 3, 4], vec![9, 0, 2, 3, 4]),
            (2, vec![1, 2, 4, 5], vec![9, 0, 1]),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("receipts.jsonl");
            fs::write(&path, "{\"n\":0}\n").expect("written");
            for number in &standing {
                fs::write(aside(&path, *number), format!("{{\"n\":{number}}}\n")).expect("written");
            }
            let before: Vec<_> = std::iter::once(0).chain(standing.iter().map(|n| *n as u64)).collect();
            assert_eq!(numbers(folder.path(), usize::MAX, |_| true), before, "{standing:?} are read");
            let files = ReceiptFiles { rotate_bytes: 1, keep: NonZeroUsize::new(keep).expect("more than 0") };
            append(&path, files, std::iter::once(json!({ "n": 9 }))).expect("written");
            assert_eq!(numbers(folder.path(), usize::MAX, |_| true), after, "{keep} of {standing:?}");
        }
        // The file itself is missing right after it was set aside.
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("receipts.jsonl.1"), "{\"n\":1}\n").expect("written");
        assert_eq!(numbers(folder.path(), usize::MAX, |_| true), [1]);
    }

    #[test]
    fn the_oldest_go_also_when_fewer_are_to_be_kept_than_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("receipts.jsonl");
        let put = |n: u64, keep| {
            let files = ReceiptFiles { rotate_bytes: 1, keep: NonZeroUsize::new(keep).expect("more than 0") };
            append(&path, files, std::iter::once(json!({ "n": n }))).expect("written");
        };
        (0..6).for_each(|n| put(n, 4));
        assert_eq!(numbers(folder.path(), usize::MAX, |_| true), [5, 4, 3, 2, 1]);
        put(6, 2);
        assert_eq!(numbers(folder.path(), usize::MAX, |_| true), [6, 5, 4]);
        assert!(!aside(&path, 3).exists());
        put(7, 1);
        assert_eq!(numbers(folder.path(), usize::MAX, |_| true), [7, 6]);
    }
}
