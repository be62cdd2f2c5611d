//! Reading logs: what follows what was shipped, and whether what was shipped still stands before it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use skiff_common::Algorithm;
use skiff_common::digest::{Digests, Hasher};

/// Bytes that are compared before each step: at the beginning, and before what comes next. A log that was truncated and
/// filled again beyond its old length has other ones there.
const EDGE: u64 = 4096;
/// The most that is read and sent in one step, held in memory. Enough that a long round trip costs little.
const MOST: u64 = 4 << 20;
/// What is sent in one step at first, and at least, so that a step's round trips don't cost more than its bytes.
const LEAST: u64 = 256 << 10;
/// A step that took longer is followed by smaller ones, for nobody looks at the folder meanwhile.
const LONG: Duration = Duration::from_secs(4);
/// A step that was over sooner is followed by larger ones.
const SHORT: Duration = Duration::from_secs(1);
const PIECE: usize = 256 << 10;

/// How much is sent in one step.
pub(super) struct Pace(u64);

impl Default for Pace {
    fn default() -> Self {
        Self(LEAST)
    }
}

impl Pace {
    /// At most so many bytes.
    pub(super) const fn most(&self) -> u64 {
        self.0
    }

    /// A step of so many bytes took so long.
    pub(super) fn took(&mut self, bytes: u64, time: Duration) {
        if time > LONG {
            self.0 = (self.0 / 2).max(LEAST);
        } else if time < SHORT && bytes >= self.0 {
            self.0 = (self.0 * 2).min(MOST);
        }
    }
}

/// What is known of what was shipped of a log.
#[derive(Clone)]
pub(super) struct Known {
    hasher: Hasher,
    pub(super) length: u64,
    head: Vec<u8>,
    edge: Vec<u8>,
}

/// What comes next.
pub(super) struct Next {
    /// What was shipped, and that.
    pub(super) known: Known,
    /// From a multiple of the block on that was asked for.
    pub(super) bytes: Vec<u8>,
    pub(super) from: u64,
}

/// Why a log was not read to where it was to be.
#[derive(Debug)]
pub(super) enum Unread {
    /// It can't be.
    Failed(io::Error),
    /// Whoever follows it is to end.
    Stopped,
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// What a read found.
pub(super) enum Read<T> {
    Is(T),
    /// It doesn't begin with what was shipped.
    Truncated,
}

impl Known {
    /// Of nothing.
    pub(super) fn nothing(algorithm: Algorithm) -> Self {
        let hasher = Hasher::for_destination(algorithm);
        Self { hasher, length: 0, head: Vec::new(), edge: Vec::new() }
    }

    pub(super) fn digests(&self) -> Digests {
        self.hasher.digests()
    }

    /// Of the first `length` bytes of `file`; `None` where it has fewer.
    pub(super) fn of(
        file: &File,
        length: u64,
        algorithm: Algorithm,
        is_stopped: impl Fn() -> bool,
    ) -> Result<Option<Self>, Unread> {
        let mut known = Self::nothing(algorithm);
        known.goes_to(file, length, is_stopped).map(|whole| whole.then_some(known))
    }

    /// Of the first bytes of `file`, once for each length, by reading them once; `None` where it has fewer.
    pub(super) fn of_both(
        file: &File,
        (one, other): (u64, u64),
        algorithm: Algorithm,
        is_stopped: impl Fn() -> bool,
    ) -> Result<(Option<Self>, Option<Self>), Unread> {
        let mut known = Self::nothing(algorithm);
        let shorter = known.goes_to(file, one.min(other), &is_stopped)?.then(|| known.clone());
        let reaches = shorter.is_some() && known.goes_to(file, one.max(other), is_stopped)?;
        let longer = reaches.then_some(known);
        Ok(if one < other { (shorter, longer) } else { (longer, shorter) })
    }

    /// Reads on up to `length`; whether it goes so far. Asks before each piece whether to stop: a large log takes minutes.
    pub(super) fn goes_to(
        &mut self,
        file: &File,
        length: u64,
        is_stopped: impl Fn() -> bool,
    ) -> Result<bool, Unread> {
        while self.length < length {
            if is_stopped() {
                return Err(Unread::Stopped);
            }
            let most = usize::try_from(length - self.length).unwrap_or(PIECE).min(PIECE);
            let piece = read_at(file, self.length, most)?;
            if piece.is_empty() {
                return Ok(false);
            }
            self.take(&piece);
        }
        Ok(true)
    }

    fn take(&mut self, piece: &[u8]) {
        let edge = usize::try_from(EDGE).expect("it is small");
        let room = edge - self.head.len();
        self.head.extend_from_slice(&piece[..room.min(piece.len())]);
        self.edge.extend_from_slice(piece);
        let start = self.edge.len().saturating_sub(edge);
        self.edge.drain(..start);
        self.hasher.update(piece);
        self.length += piece.len() as u64;
    }

    /// What `file` holds beyond it, up to `most` bytes.
    pub(super) fn next(&self, file: &File, block: u64, most: u64) -> io::Result<Read<Next>> {
        let before = self.length - self.edge.len() as u64;
        let most = self.edge.len() + usize::try_from(most).expect("it is small");
        if read_at(file, 0, self.head.len())? != self.head {
            return Ok(Read::Truncated);
        }
        let read = read_at(file, before, most)?;
        let Some(new) = read.strip_prefix(&self.edge[..]) else { return Ok(Read::Truncated) };
        let mut known = self.clone();
        known.take(new);
        // Cut while it was read: nobody knows what was.
        if file.metadata()?.len() < known.length {
            return Ok(Read::Truncated);
        }
        let from = self.length / block * block;
        let skip = usize::try_from(from - before).expect("a block is smaller than an edge");
        Ok(Read::Is(Next { known, bytes: read[skip..].to_vec(), from }))
    }
}

/// Whether two files are the same as far as both go, at both ends of that.
pub(super) fn look_alike(one: &File, other: &File) -> io::Result<bool> {
    let common = one.metadata()?.len().min(other.metadata()?.len());
    let edge = usize::try_from(EDGE).expect("it is small");
    let same =
        |at: u64, most: usize| Ok::<_, io::Error>(read_at(one, at, most)? == read_at(other, at, most)?);
    let first = usize::try_from(common).unwrap_or(edge).min(edge);
    let last = common.saturating_sub(EDGE);
    Ok(common > 0 && same(0, first)? && same(last, usize::try_from(common - last).expect("an edge"))?)
}

fn read_at(file: &File, at: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while filled < most {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn steps_are_as_large_as_goes_within_seconds() {
        let mut pace = Pace::default();
        pace.took(LEAST - 1, Duration::ZERO);
        assert_eq!(pace.most(), LEAST, "there was no more to send");
        for _ in 0..10 {
            pace.took(pace.most(), Duration::from_millis(900));
        }
        assert_eq!(pace.most(), MOST);
        pace.took(MOST, Duration::from_secs(2));
        assert_eq!(pace.most(), MOST);
        for _ in 0..10 {
            pace.took(pace.most(), Duration::from_secs(5));
        }
        assert_eq!(pace.most(), LEAST);
    }

    #[test]
    fn reading_stops_between_two_pieces_and_goes_on_from_there() {
        let mut file = tempfile::tempfile().expect("there is room");
        let length = 5 * PIECE;
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
        file.write_all(&bytes).expect("there is room");
        let length = length as u64;
        let asked = Cell::new(0);
        let after_two = || asked.replace(asked.get() + 1) == 2;

        let mut known = Known::nothing(Algorithm::Sha256);
        let stopped = known.goes_to(&file, length, after_two);
        assert!(matches!(stopped, Err(Unread::Stopped)), "{stopped:?}");
        assert_eq!(known.length, 2 * PIECE as u64);
        assert!(matches!(Known::of(&file, length, Algorithm::Sha256, || true), Err(Unread::Stopped)));

        assert!(known.goes_to(&file, length, || false).expect("it can be read"));
        let mut whole = Hasher::for_destination(Algorithm::Sha256);
        whole.update(&bytes);
        assert_eq!(known.digests(), whole.digests());
    }
}
