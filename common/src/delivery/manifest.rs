//! What was delivered, in the words of `sha256sum` and `b3sum`, for whoever checks it at the destination.

use super::receipt::Receipt;
use crate::digest::Algorithm;
use crate::path::RelPath;

/// Which tool is to accept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestStyle {
    /// `sha256sum -c`, of GNU and of others.
    Sha256sum,
    /// `b3sum -c`.
    B3sum,
}

impl ManifestStyle {
    /// What its digests are.
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::Sha256sum => Algorithm::Sha256,
            Self::B3sum => Algorithm::Blake3,
        }
    }

    /// How its files are called.
    const fn extension(self) -> &'static str {
        match self {
            Self::Sha256sum => "sha256",
            Self::B3sum => "b3",
        }
    }
}

/// The folder that holds manifests, below the folder that the names in them start from.
pub const FOLDER: &str = "skiff-manifests";

/// A manifest of one shipment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Where it goes: it follows from the shipment, so a retry finds its own.
    pub name: RelPath,
    /// Its lines.
    pub text: Vec<u8>,
    /// Names that have no form that the tool reads back.
    pub left_out: Vec<RelPath>,
}

impl Manifest {
    /// Of what these prove, which is of one shipment; `None` of nothing.
    pub fn of(receipts: &[Receipt], style: ManifestStyle) -> Option<Self> {
        let shipment = receipts.first()?.shipment();
        let name = format!("{FOLDER}/{shipment}.{}", style.extension());
        let name = RelPath::parse(name.as_bytes()).expect("digits and letters are a path");
        let mut manifest = Self { name, text: Vec::new(), left_out: Vec::new() };
        // In an order that is the same when it is made again.
        let mut receipts: Vec<&Receipt> = receipts.iter().collect();
        receipts.sort_by_key(|receipt| receipt.name());
        for receipt in receipts {
            match line(receipt, style) {
                Some(line) => manifest.text.extend(line),
                None => manifest.left_out.push(receipt.name().clone()),
            }
        }
        Some(manifest)
    }
}

/// `HEX  NAME`, with a backslash in front where the name is escaped.
fn line(receipt: &Receipt, style: ManifestStyle) -> Option<Vec<u8>> {
    let theirs = Some(*receipt.theirs()).filter(|theirs| theirs.algorithm() == style.algorithm());
    let digest = receipt.digests().by(style.algorithm()).or(theirs)?;
    let (escaped, name) = named(receipt.name().as_bytes(), style)?;
    let mark: &[u8] = if escaped { b"\\" } else { b"" };
    Some([mark, digest.hex().as_bytes(), b"  ", &name, b"\n"].concat())
}

/// As the tool itself would write it, and whether that is escaped.
fn named(name: &[u8], style: ManifestStyle) -> Option<(bool, Vec<u8>)> {
    // b3sum writes a replacement character, which it doesn't take back.
    let is_text = || std::str::from_utf8(name).is_ok_and(|name| !name.contains('\u{fffd}'));
    if style == ManifestStyle::B3sum && !is_text() {
        return None;
    }
    let escape = |byte: &u8| -> Option<&'static [u8]> {
        match (byte, style) {
            (b'\\', _) => Some(b"\\\\"),
            (b'\n', _) => Some(b"\\n"),
            // b3sum takes it as it is; not every version would take it escaped.
            (b'\r', ManifestStyle::Sha256sum) => Some(b"\\r"),
            _ => None,
        }
    };
    let escaped = name.iter().any(|byte| escape(byte).is_some());
    let bytes = name.iter().flat_map(|byte| escape(byte).map_or_else(|| vec![*byte], <[u8]>::to_vec));
    Some((escaped, bytes.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digests;
    use crate::{Digest, Item, Shipment, ShipmentKind, Stamp};

    fn receipts(names: &[&[u8]], theirs: Algorithm) -> Vec<Receipt> {
        let stamp = Stamp { dev: 1, ino: 1, size: 1, mtime_ns: 0, ctime_ns: 0 };
        let item = |name: &&[u8]| Item { path: RelPath::parse(name).expect("a path"), stamp, mode: 0o644 };
        let items: Vec<_> = names.iter().map(item).collect();
        let shipment = Shipment::new("w", "d", ShipmentKind::Batch, items.clone());
        let blake3 = Digest::new(Algorithm::Blake3, [0xb3; 32]);
        let sha256 = Digest::new(Algorithm::Sha256, [0x5a; 32]);
        let digests = Digests { blake3, sha256: (theirs == Algorithm::Sha256).then_some(sha256) };
        let proof = (digests, digests.by(theirs).expect("it was computed"));
        let prove = |item: &Item| Receipt::prove(item, &item.path, proof, &shipment.id, true);
        items.iter().map(|item| prove(item).expect("they agree")).collect()
    }

    #[test]
    fn odd_names_are_escaped_as_each_tool_does() {
        let names: [&[u8]; 5] = [b"plain name", b"a\\b", b"new\nline", b"cr\rmid", b"not utf8 \xff"];
        let receipts = receipts(&names, Algorithm::Sha256);
        let manifest = Manifest::of(&receipts, ManifestStyle::Sha256sum).expect("there is something");
        // By name, whatever the order of the receipts.
        let hex = "5a".repeat(32);
        let escaped = format!("\\{hex}  a\\\\b\n\\{hex}  cr\\rmid\n\\{hex}  new\\nline\n{hex}  not utf8 ");
        let plain = format!("\n{hex}  plain name\n");
        assert_eq!(manifest.text, [escaped.as_bytes(), b"\xff", plain.as_bytes()].concat());
        assert!(manifest.left_out.is_empty());
        assert_eq!(manifest.name.folder().map(|folder| folder.to_string()).as_deref(), Some(FOLDER));
        assert!(manifest.name.as_bytes().ends_with(b".sha256"));

        let manifest = Manifest::of(&receipts, ManifestStyle::B3sum).expect("there is something");
        let hex = "b3".repeat(32);
        let text = format!("\\{hex}  a\\\\b\n{hex}  cr\rmid\n\\{hex}  new\\nline\n{hex}  plain name\n");
        assert_eq!(manifest.text, text.as_bytes());
        assert_eq!(manifest.left_out, [RelPath::parse(names[4]).expect("a path")]);
    }

    #[test]
    fn a_digest_that_nobody_computed_is_not_made_up() {
        let receipts = receipts(&[b"a"], Algorithm::Blake3);
        let manifest = Manifest::of(&receipts, ManifestStyle::Sha256sum).expect("there is something");
        assert_eq!((manifest.text.len(), manifest.left_out.len()), (0, 1));
        assert_eq!(Manifest::of(&[], ManifestStyle::B3sum), None);
    }
}
