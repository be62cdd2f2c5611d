//! What travels together: one batch of small items, or one large item.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::item::{Item, ItemId};

/// Names a shipment, at the destination too: 20 hexadecimal digits that depend on the members it was planned with, its watch
/// and its destination alone, so that a retry finds what an earlier attempt left. It keeps them when a member leaves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShipmentId(String);

impl ShipmentId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShipmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ShipmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a shipment travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ShipmentKind {
    /// Many small items in one tar.
    Batch,
    /// One item by itself; resumed in the middle after a cut.
    Single,
}

/// Items of one watch on their way to one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipment {
    /// Its name.
    pub id: ShipmentId,
    /// The watch's name.
    pub watch: String,
    /// The destination's name.
    pub destination: String,
    /// How it travels.
    pub kind: ShipmentKind,
    /// Its members, sorted by path; never empty.
    pub items: Vec<Item>,
}

impl Shipment {
    /// A shipment of `items`, which it sorts.
    ///
    /// # Panics
    /// Where there are no items, or several and the kind is [`ShipmentKind::Single`].
    pub fn new(watch: &str, destination: &str, kind: ShipmentKind, mut items: Vec<Item>) -> Self {
        assert!(!items.is_empty(), "the planner never emits an empty shipment");
        assert!(kind == ShipmentKind::Batch || items.len() == 1, "a single item travels alone");
        items.sort_by(|a, b| a.path.cmp(&b.path));
        let id = id_of(watch, destination, kind, &items);
        Self { id, watch: watch.to_owned(), destination: destination.to_owned(), kind, items }
    }

    /// The id of one of its items.
    pub fn item_id(&self, item: &Item) -> ItemId {
        ItemId::of(&self.watch, &item.path)
    }

    /// The bytes of all items together.
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.stamp.size).sum()
    }
}

fn id_of(watch: &str, destination: &str, kind: ShipmentKind, items: &[Item]) -> ShipmentId {
    let mut hasher = blake3::Hasher::new();
    for name in [watch, destination] {
        hasher.update(name.as_bytes()).update(b"\0");
    }
    hasher.update(&[u8::from(kind == ShipmentKind::Single)]);
    for item in items {
        hasher.update(item.path.as_bytes()).update(b"\0").update(&item.stamp.fingerprint().to_le_bytes());
    }
    ShipmentId(hasher.finalize().to_hex()[..20].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RelPath, Stamp};

    fn item(path: &str, size: u64) -> Item {
        let stamp = Stamp { dev: 1, ino: 1, size, mtime_ns: 0, ctime_ns: 0 };
        Item { path: RelPath::parse(path.as_bytes()).expect("a path"), stamp, mode: 0o644 }
    }

    #[test]
    fn the_id_depends_on_the_members_and_not_on_their_order() {
        let id = |items| Shipment::new("w", "d", ShipmentKind::Batch, items).id;
        assert_eq!(id(vec![item("a", 1), item("b", 2)]), id(vec![item("b", 2), item("a", 1)]));
        assert_ne!(id(vec![item("a", 1)]), id(vec![item("a", 2)]), "a changed file is another shipment");
        assert_ne!(id(vec![item("a", 1)]), id(vec![item("b", 1)]));
    }
}
