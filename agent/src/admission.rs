//! Which items need no new look: under way, waiting, or delivered a moment ago.
//!
//! Shared by the scanners, who ask, and the dispatcher, who tells. What was delivered longer ago is in the journal.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use skiff_common::ItemId;

/// Deliveries that are remembered here: all that finish while one folder is listed, with room to spare; 3 MiB.
const RECENT: usize = 1 << 16;

/// How an item stands; each with the fingerprint of the stamp it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// On its way. A newer version waits until the older is done.
    UnderWay {
        /// Whether somebody asked meanwhile: then it is to be looked at again afterwards.
        asked: bool,
    },
    /// Failed, and not due again.
    Held(u64),
    /// Delivered a moment ago.
    Delivered(u64),
}

/// The items that need no new look.
#[derive(Debug, Default)]
pub struct Admission {
    items: Mutex<Items>,
}

#[derive(Debug, Default)]
struct Items {
    standing: HashMap<ItemId, Standing>,
    /// Of items under way: what has got this stamp meanwhile is the version that is being delivered.
    restamped: HashMap<ItemId, u64>,
    recent: VecDeque<ItemId>,
}

impl Admission {
    /// Whether a file with this stamp is to go.
    pub fn is_new(&self, item: ItemId, stamp: u64) -> bool {
        match self.items().standing.get_mut(&item) {
            None => true,
            Some(Standing::UnderWay { asked }) => {
                *asked = true;
                false
            }
            Some(Standing::Held(of) | Standing::Delivered(of)) => *of != stamp,
        }
    }

    /// From now on the item stands so. Returns whether it is to be looked at again: an event came while it was under
    /// way, and no other may come.
    pub fn set(&self, item: ItemId, standing: Standing) -> bool {
        let mut items = self.items();
        let standing = match (standing, items.restamped.remove(&item)) {
            (Standing::Delivered(_), Some(stamp)) => Standing::Delivered(stamp),
            (standing, _) => standing,
        };
        let before = items.standing.insert(item, standing);
        if let Standing::Delivered(_) = standing {
            items.recent.push_back(item);
            items.forget_oldest();
        }
        before == Some(Standing::UnderWay { asked: true })
    }

    /// What was delivered of the item, or is just about to be, has this stamp now; unless something else is known of it.
    pub fn restamp(&self, item: ItemId, stamp: u64) {
        let mut items = self.items();
        match items.standing.get(&item) {
            None | Some(Standing::Delivered(_)) => {
                items.standing.insert(item, Standing::Delivered(stamp));
                items.recent.push_back(item);
                items.forget_oldest();
            }
            Some(Standing::UnderWay { .. }) => {
                items.restamped.insert(item, stamp);
            }
            Some(Standing::Held(_)) => {}
        }
    }

    /// The item is to be looked at anew.
    pub fn clear(&self, item: ItemId) {
        let mut items = self.items();
        items.standing.remove(&item);
        items.restamped.remove(&item);
    }

    fn items(&self) -> std::sync::MutexGuard<'_, Items> {
        self.items.lock().expect("nothing panics while it holds the lock")
    }
}

impl Items {
    fn forget_oldest(&mut self) {
        if self.recent.len() <= RECENT {
            return;
        }
        let Some(oldest) = self.recent.pop_front() else { return };
        if matches!(self.standing.get(&oldest), Some(Standing::Delivered(_))) {
            self.standing.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_while_under_way_is_looked_at_afterwards() {
        let (admission, item) = (Admission::default(), ItemId::from_bytes([1; 16]));
        admission.set(item, Standing::UnderWay { asked: false });
        assert!(!admission.set(item, Standing::Delivered(1)), "nobody asked");
        admission.set(item, Standing::UnderWay { asked: false });
        assert!(!admission.is_new(item, 2));
        assert!(admission.set(item, Standing::Delivered(1)));
        assert!(admission.is_new(item, 2) && !admission.is_new(item, 1));
    }

    #[test]
    fn what_is_delivered_or_is_about_to_be_gets_another_stamp() {
        let (admission, item) = (Admission::default(), |n: u8| ItemId::from_bytes([n; 16]));
        let under_way = Standing::UnderWay { asked: false };
        for (n, standing) in (0..).zip([Standing::Delivered(1), Standing::Held(1), under_way]) {
            admission.set(item(n), standing);
            admission.restamp(item(n), 2);
        }
        assert!(!admission.is_new(item(0), 2) && admission.is_new(item(0), 1));
        assert!(admission.is_new(item(1), 2), "what failed may be another version");
        // The end of its delivery comes after the other's.
        admission.set(item(2), Standing::Delivered(1));
        assert!(!admission.is_new(item(2), 2) && admission.is_new(item(2), 1));
        admission.set(item(2), under_way);
        admission.set(item(2), Standing::Delivered(3));
        assert!(!admission.is_new(item(2), 3), "a newer version is another");
    }

    #[test]
    fn only_the_latest_deliveries_are_remembered() {
        let admission = Admission::default();
        let item = |n: usize| ItemId::from_bytes((n as u128).to_le_bytes());
        for n in 0..=RECENT {
            admission.set(item(n), Standing::Delivered(1));
        }
        assert!(admission.is_new(item(0), 1) && !admission.is_new(item(1), 1));
    }
}
