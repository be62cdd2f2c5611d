//! Which items travel together.

use std::time::Duration;

use crate::item::Item;
use crate::moment::Moment;
use crate::shipment::ShipmentKind;

/// How batches are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Items up to this size travel in batches, in bytes.
    pub small_file: u64,
    /// A batch's content, in bytes; one item more than fits starts the next batch.
    pub bytes: u64,
    /// A batch's members.
    pub items: usize,
    /// How long after the last item a batch waits for more.
    pub wait: Duration,
}

/// As many waits after its first item a batch goes, though more keep coming.
const MOST_WAITS: u32 = 5;

/// Items that are to travel together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// How.
    pub kind: ShipmentKind,
    /// The items; never empty.
    pub items: Vec<Item>,
}

/// Gathers settled items of one watch into shipments.
#[derive(Debug)]
pub struct Planner {
    limits: BatchLimits,
    items: Vec<Item>,
    bytes: u64,
    /// When it goes at the latest.
    latest: Option<Moment>,
    cut_at: Option<Moment>,
}

impl Planner {
    /// A planner that cuts batches by `limits`.
    pub fn new(limits: BatchLimits) -> Self {
        Self { limits, items: Vec::new(), bytes: 0, latest: None, cut_at: None }
    }

    /// Takes the next item; what is complete with it comes back.
    pub fn add(&mut self, item: Item, now: Moment) -> Vec<Planned> {
        if !self.travels_in_company(&item) {
            return vec![Planned { kind: ShipmentKind::Single, items: vec![item] }];
        }
        let mut complete = Vec::new();
        if self.bytes + item.stamp.size > self.limits.bytes {
            complete.extend(self.cut());
        }
        let latest = *self.latest.get_or_insert(now + self.limits.wait * MOST_WAITS);
        self.cut_at = Some(latest.min(now + self.limits.wait));
        self.bytes += item.stamp.size;
        self.items.push(item);
        if self.items.len() >= self.limits.items {
            complete.extend(self.cut());
        }
        complete
    }

    /// When the items that wait are to go, complete or not.
    pub const fn cut_at(&self) -> Option<Moment> {
        self.cut_at
    }

    /// What waits for company.
    pub fn waiting(&self) -> &[Item] {
        &self.items
    }

    /// Lets go what waits.
    pub fn cut(&mut self) -> Option<Planned> {
        self.bytes = 0;
        (self.latest, self.cut_at) = (None, None);
        let items = std::mem::take(&mut self.items);
        match items.len() {
            0 => None,
            // One file needs no tar around it, and alone it can be resumed.
            1 => Some(Planned { kind: ShipmentKind::Single, items }),
            _ => Some(Planned { kind: ShipmentKind::Batch, items }),
        }
    }

    fn travels_in_company(&self, item: &Item) -> bool {
        let is_small = self.limits.small_file > 0 && item.stamp.size <= self.limits.small_file;
        // The names in a batch come back in listings of one path a line.
        is_small && item.path.is_plain()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RelPath, Stamp};

    const LIMITS: BatchLimits =
        BatchLimits { small_file: 10, bytes: 20, items: 3, wait: Duration::from_millis(20) };

    fn item(path: &str, size: u64) -> Item {
        let stamp = Stamp { dev: 1, ino: 1, size, mtime_ns: 0, ctime_ns: 0 };
        Item { path: RelPath::parse(path.as_bytes()).expect("a path"), stamp, mode: 0o644 }
    }

    fn sizes(planned: &[Planned]) -> Vec<Vec<u64>> {
        planned.iter().map(|plan| plan.items.iter().map(|item| item.stamp.size).collect()).collect()
    }

    #[test]
    fn large_items_travel_alone_and_at_once() {
        let mut planner = Planner::new(LIMITS);
        assert_eq!(sizes(&planner.add(item("a", 11), Moment::START)), [[11]]);
        assert_eq!(planner.cut_at(), None);
    }

    #[test]
    fn without_small_files_even_an_empty_one_travels_alone() {
        let mut planner = Planner::new(BatchLimits { small_file: 0, ..LIMITS });
        assert_eq!(planner.add(item("a", 0), Moment::START)[0].kind, ShipmentKind::Single);
    }

    #[test]
    fn odd_names_travel_alone() {
        let planned = Planner::new(LIMITS).add(item("a\nb", 1), Moment::START);
        assert_eq!(planned[0].kind, ShipmentKind::Single);
    }

    #[test]
    fn batches_are_cut_by_bytes_and_by_count() {
        let mut planner = Planner::new(LIMITS);
        assert!(planner.add(item("a", 9), Moment::START).is_empty());
        assert!(planner.add(item("b", 9), Moment::START).is_empty());
        assert_eq!(sizes(&planner.add(item("c", 3), Moment::START)), [[9, 9]]);
        assert!(planner.add(item("d", 0), Moment::START).is_empty());
        assert_eq!(sizes(&planner.add(item("e", 0), Moment::START)), [[3, 0, 0]]);
        assert_eq!(planner.cut(), None);
    }

    #[test]
    fn a_batch_waits_for_more_but_not_for_ever() {
        let many = BatchLimits { items: 1000, bytes: 1000, ..LIMITS };
        let mut planner = Planner::new(many);
        for n in 1..20 {
            let now = Moment::START + LIMITS.wait / 2 * n;
            assert!(planner.add(item("a", 1), now).is_empty());
            let latest = Moment::START + LIMITS.wait / 2 + LIMITS.wait * MOST_WAITS;
            assert_eq!(planner.cut_at(), Some(latest.min(now + LIMITS.wait)));
        }
        assert_eq!(planner.cut().expect("many wait").kind, ShipmentKind::Batch);
        assert_eq!(planner.cut_at(), None);
        planner.add(item("a", 1), Moment::START);
        assert_eq!(planner.cut_at(), Some(Moment::START + LIMITS.wait), "the next begins anew");
    }
}
