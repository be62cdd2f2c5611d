//! Packing what is sent, where it shrinks.

use std::io::{self, Read as _, Write};

use flate2::write::GzEncoder;
use skiff_common::Item;

use crate::source::Root;

/// Of an item that a sample is taken of, in bytes: enough to tell text from what is packed already.
const SAMPLE: usize = 64 << 10;
/// Items of a batch that a sample is taken of.
const SAMPLED_ITEMS: usize = 8;
/// The fastest levels: they take most of what there is to gain, and keep up with a local network.
const ZSTD_LEVEL: i32 = 1;

/// By what to pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Zstd,
    Gzip,
}

impl Codec {
    /// The end of a packed file's name, by which the destination knows what it is.
    pub(crate) const fn ending(self) -> &'static str {
        match self {
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    /// `bytes`, packed.
    pub(crate) fn pack(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut encoder = self.packer()?;
        encoder.write_all(bytes)?;
        encoder.finish()
    }

    /// Packs what is written to it, into memory.
    pub(crate) fn packer(self) -> io::Result<Packer> {
        Ok(match self {
            Self::Zstd => Packer::Zstd(zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
            Self::Gzip => Packer::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::fast())),
        })
    }

    /// Whether packing `items` by this takes a sixth or more away from a sample of them. What can't be read doesn't count.
    pub(crate) fn pays(self, root: &Root, items: &[Item]) -> bool {
        let mut sample = Vec::new();
        for item in items.iter().take(SAMPLED_ITEMS) {
            let left = u64::try_from(SAMPLE.saturating_sub(sample.len())).unwrap_or(0);
            if let Ok(open) = root.open_item(&item.path) {
                // What failed to be read shows when it is sent.
                let _ = (&open.file).take(left).read_to_end(&mut sample);
            }
        }
        // A frame's own headers outweigh what a few bytes could gain.
        sample.len() >= 512 && self.pack(&sample).is_ok_and(|packed| packed.len() < sample.len() / 6 * 5)
    }
}

/// A packer into memory.
pub(crate) enum Packer {
    Zstd(zstd::Encoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Packer {
    /// What came out.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl Write for Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Zstd(encoder) => encoder.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_common::{RelPath, Stamp};

    fn item(name: &str) -> Item {
        let stamp = Stamp { dev: 0, ino: 0, size: 0, mtime_ns: 0, ctime_ns: 0 };
        Item { path: RelPath::parse(name.as_bytes()).expect("a path"), stamp, mode: 0o600 }
    }

    #[test]
    fn text_pays_and_noise_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "2026-01-01 00:00:00 sensor 7 reads 21.5\n".repeat(100);
        let mut noise = vec![0; 8192];
        getrandom::fill(&mut noise).expect("random bytes");
        std::fs::write(folder.path().join("text"), text).expect("written");
        std::fs::write(folder.path().join("noise"), noise).expect("written");
        std::fs::write(folder.path().join("tiny"), "aaaa").expect("written");
        let root = Root::open(folder.path()).expect("it opens");
        for codec in [Codec::Zstd, Codec::Gzip] {
            assert!(codec.pays(&root, &[item("text")]));
            assert!(!codec.pays(&root, &[item("noise")]));
            assert!(!codec.pays(&root, &[item("tiny")]));
            assert!(!codec.pays(&root, &[item("missing")]));
        }
    }
}
