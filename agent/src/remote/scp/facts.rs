//! What a destination can do, and how much room it has, as `hand.sh` tells both.

use skiff_common::Algorithm;

use super::answer::number;
use crate::remote::space::Room;
use crate::ship::Codec;

/// What a destination can do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a tool that is there or isn't")]
pub struct Facts {
    /// What its digest tool computes; `None`: what is there must be read back.
    pub digest: Option<Algorithm>,
    /// Whether it has `scp`.
    pub scp: bool,
    /// Whether it has `tar`.
    pub tar: bool,
    /// Whether it has `gzip`.
    pub gzip: bool,
    /// Whether it has `zstd`.
    pub zstd: bool,
    /// Whether the login user is root, or as good as.
    pub is_root: bool,
    /// Whether anything stood in the folder when the shell began.
    pub used: bool,
    /// The space there when the shell began, where `df` tells.
    pub room: Option<Room>,
}

impl Facts {
    /// Whether it has what unpacks that.
    pub(super) const fn unpacks(&self, codec: Codec) -> bool {
        match codec {
            Codec::Zstd => self.zstd,
            Codec::Gzip => self.gzip,
        }
    }
}

/// The answer to `root`.
pub(crate) fn parse_facts(words: &[u8]) -> Facts {
    let value = |key: &str| {
        let mut words = words.split(|b| *b == b' ');
        words.find_map(|word| word.strip_prefix(key.as_bytes())?.strip_prefix(b"="))
    };
    Facts {
        digest: match value("digest") {
            Some(b"blake3") => Some(Algorithm::Blake3),
            Some(b"sha256") => Some(Algorithm::Sha256),
            _ => None,
        },
        scp: value("scp") == Some(b"scp"),
        tar: value("tar") == Some(b"tar"),
        gzip: value("gzip") == Some(b"yes"),
        zstd: value("zstd") == Some(b"yes"),
        is_root: value("root") == Some(b"yes"),
        used: value("used") != Some(b"no"),
        room: value("free").zip(value("all")).and_then(|(free, all)| room(free, all)),
    }
}

/// The answer to `free`.
pub(crate) fn parse_room(words: &[u8]) -> Option<Room> {
    let mut words = words.split(|b| *b == b' ');
    room(words.next()?, words.next()?)
}

/// Of KiB. A file system that has no size doesn't tell.
fn room(free: &[u8], all: &[u8]) -> Option<Room> {
    let (free, all) = (number(free)?.saturating_mul(1024), number(all)?.saturating_mul(1024));
    (all > 0).then_some(Room { free, all })
}
