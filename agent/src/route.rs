//! Several destinations of one watch.
//!
//! A watch that delivers to all of several becomes a leg for each, `NAME>DESTINATION`, which is a watch of its own with
//! its own journal and its own troubles: what one destination does holds up no other. What they share is the source,
//! which goes when the last of them has delivered it ([`Muster`]). A name can't hold a `>`, so a leg is never mistaken.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;

use skiff_common::delivery::Receipt;
use skiff_common::{ItemId, spread};
use skiff_config::{Route, Settings, Watch};

use crate::journal::{Journal, JournalError};

/// Deliveries that are kept in mind until those of the other legs come; what is older stands in the journal. 5 MiB.
const MOST_MARKS: usize = 1 << 16;

/// The settings with a watch for each leg, and one destination chosen where files are spread.
pub fn legs(settings: &Settings, machine: &str) -> Settings {
    let watches = settings.watches.iter().flat_map(|watch| legs_of(watch, machine)).collect();
    Settings { watches, ..settings.clone() }
}

fn legs_of(watch: &Watch, machine: &str) -> Vec<Watch> {
    match &watch.route {
        Route::One | Route::Failover(_) => vec![watch.clone()],
        Route::All(names) => names.iter().map(|to| leg_of(watch, to)).collect(),
        Route::Spread(names) => {
            let key = [machine, watch.name.as_str()].join("\0");
            let to = spread::first(key.as_bytes(), names).expect("a list names two or more").clone();
            vec![Watch { to, route: Route::One, ..watch.clone() }]
        }
    }
}

/// The watch once for each destination that it may have delivered to.
pub fn each(watch: &Watch) -> Vec<Watch> {
    match watch.destinations() {
        [_] => vec![watch.clone()],
        names => names.iter().map(|to| leg_of(watch, to)).collect(),
    }
}

fn leg_of(watch: &Watch, to: &str) -> Watch {
    Watch { name: leg(&watch.name, to), to: to.to_owned(), ..watch.clone() }
}

fn leg(watch: &str, destination: &str) -> String {
    format!("{watch}>{destination}")
}

/// The watch as it is configured, of a watch or a leg.
pub fn base(name: &str) -> &str {
    name.split_once('>').map_or(name, |(base, _)| base)
}

/// The names of all legs of the watch; its own where it has none.
pub fn siblings(watch: &Watch) -> Vec<String> {
    match &watch.route {
        Route::All(names) => names.iter().map(|to| leg(base(&watch.name), to)).collect(),
        Route::One | Route::Failover(_) | Route::Spread(_) => vec![watch.name.clone()],
    }
}

/// The names of the other legs of the watch.
pub fn others(watch: &Watch) -> Vec<String> {
    siblings(watch).into_iter().filter(|leg| *leg != watch.name).collect()
}

/// The names under which the journal has what this watch or leg delivered to the same destination, if it had another route:
/// several destinations where there is one now, or the other way round.
pub fn former(watch: &Watch) -> Vec<String> {
    match &watch.route {
        Route::All(_) => vec![base(&watch.name).to_owned()],
        Route::One | Route::Failover(_) | Route::Spread(_) => {
            destinations(watch).iter().map(|to| leg(&watch.name, to)).collect()
        }
    }
}

/// The destinations that a watch or leg may deliver to.
pub fn destinations(watch: &Watch) -> &[String] {
    match &watch.route {
        Route::One | Route::All(_) | Route::Spread(_) => std::slice::from_ref(&watch.to),
        Route::Failover(names) => names,
    }
}

/// Which legs have delivered which version. A leg is known by its name: a new configuration may put it in another place.
#[derive(Debug, Default)]
pub struct Muster {
    marks: Mutex<Marks>,
    /// The destinations that a watch delivers to now, where it does to all of several.
    routes: Mutex<HashMap<String, Vec<String>>>,
}

/// An item is of a leg, as in the journal.
type Mark = (ItemId, u64);

#[derive(Debug, Default)]
struct Marks {
    known: HashSet<Mark>,
    order: VecDeque<Mark>,
}

impl Muster {
    /// From now on the watch of the configuration, whose leg this may be, has this route.
    pub fn route(&self, watch: &Watch) {
        let mut routes = self.routes.lock().expect("nothing panics while it holds the lock");
        let base = base(&watch.name).to_owned();
        match &watch.route {
            Route::All(names) => drop(routes.insert(base, names.clone())),
            Route::One | Route::Failover(_) | Route::Spread(_) => drop(routes.remove(&base)),
        }
    }

    /// The other legs of the watch: of its route now, as a shipment may have begun by an earlier one.
    fn others(&self, watch: &Watch) -> Option<Vec<String>> {
        let Route::All(then) = &watch.route else { return None };
        let routes = self.routes.lock().expect("nothing panics while it holds the lock");
        let names = routes.get(base(&watch.name)).unwrap_or(then);
        let others = names.iter().filter(|name| **name != watch.to);
        Some(others.map(|to| leg(base(&watch.name), to)).collect())
    }

    /// The leg `watch` has delivered these, with durable receipts: for each, whether all other legs have too. Of two
    /// that ask at once, the later one hears of both. Blocks.
    pub fn arrived(
        &self,
        watch: &Watch,
        receipts: &[Receipt],
        journal: Option<&Journal>,
    ) -> Result<Vec<bool>, JournalError> {
        let Some(others) = self.others(watch) else { return Ok(vec![true; receipts.len()]) };
        let missing = self.mark(watch, &others, receipts);
        let mut complete = Vec::with_capacity(receipts.len());
        let mut folders = HashMap::new();
        for (receipt, missing) in receipts.iter().zip(missing) {
            let mut all = true;
            for leg in missing {
                let item = receipt.item();
                let folder = ItemId::of_folder(leg, item.path.folder().as_ref());
                let Some(journal) = journal else {
                    all = false;
                    break;
                };
                if let std::collections::hash_map::Entry::Vacant(free) = folders.entry(folder) {
                    free.insert(journal.delivered_in(folder)?);
                }
                all &= folders[&folder].has(ItemId::of(leg, &item.path), item.stamp.fingerprint());
            }
            complete.push(all);
        }
        Ok(complete)
    }

    /// Those of the `others` that aren't known to have it, for each.
    fn mark<'a>(&self, watch: &Watch, others: &'a [String], receipts: &[Receipt]) -> Vec<Vec<&'a str>> {
        let mut marks = self.marks.lock().expect("nothing panics while it holds the lock");
        let missing = receipts.iter().map(|receipt| {
            marks.add(mark(&watch.name, receipt));
            let others = others.iter().filter(|leg| !marks.known.contains(&mark(leg, receipt)));
            others.map(String::as_str).collect()
        });
        missing.collect()
    }
}

impl Marks {
    fn add(&mut self, mark: Mark) {
        if self.known.insert(mark) {
            self.order.push_back(mark);
            if self.order.len() > MOST_MARKS {
                self.order.pop_front().map(|oldest| self.known.remove(&oldest));
            }
        }
    }
}

fn mark(leg: &str, receipt: &Receipt) -> Mark {
    let item = receipt.item();
    (ItemId::of(leg, &item.path), item.stamp.fingerprint())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use skiff_common::delivery::{Command, Delivery, Event, Placed, Staged};
    use skiff_common::digest::Digests;
    use skiff_common::{Algorithm, Digest, Item, RelPath, Shipment, ShipmentKind, Stamp};

    use super::*;

    fn settings(route: &str) -> Settings {
        let destinations = ["a", "b", "c"].map(|name| format!("[destination.{name}]\naddress = '{name}'\n"));
        let text = format!("{}[[watch]]\nname = 'w'\npath = '/w'\n{route}\n", destinations.concat());
        let environment = skiff_config::Environment::default();
        let text = format!("state_dir = '/s'\n[defaults.destination]\nknown_hosts = ['/k']\n{text}");
        skiff_config::parse(&text, Path::new("skiff.toml"), &environment).expect("it is right")
    }

    fn names(settings: &Settings) -> Vec<(&str, &str)> {
        settings.watches.iter().map(|watch| (watch.name.as_str(), watch.to.as_str())).collect()
    }

    #[test]
    fn all_become_legs_and_others_stay_one_watch() {
        let legs = |route| legs(&settings(route), "m");
        assert_eq!(names(&legs("to = ['a', 'b']")), [("w>a", "a"), ("w>b", "b")]);
        assert_eq!(names(&legs("to = 'a'")), [("w", "a")]);
        assert_eq!(names(&legs("failover = ['b', 'a']")), [("w", "b")]);
        assert_eq!([base("w>a"), base("w")], ["w", "w"]);
    }

    fn receipt(watch: &str, to: &str) -> Receipt {
        let stamp = Stamp { dev: 1, ino: 1, size: 1, mtime_ns: 1, ctime_ns: 1 };
        let item = Item { path: RelPath::parse(b"f").expect("a path"), stamp, mode: 0o644 };
        let theirs = Digest::new(Algorithm::Blake3, [7; 32]);
        let digests = Digests { blake3: theirs, sha256: None };
        let shipment = Shipment::new(watch, to, ShipmentKind::Single, vec![item.clone()]);
        let (mut delivery, _) = Delivery::plan(shipment, false);
        delivery.on(Event::Staged(vec![Staged::Landed { digests, theirs }]));
        match delivery.on(Event::Published(vec![Placed::At(item.path)])).command {
            Some(Command::Finish(mut receipts)) => receipts.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// Whether the source may go, when the leg to `to` has delivered it.
    fn goes(muster: &Muster, route: &str, to: &str) -> bool {
        let legs = legs(&settings(route), "m");
        let leg = legs.watches.iter().find(|watch| watch.to == to).expect("a leg");
        muster.arrived(leg, &[receipt(&leg.name, to)], None).expect("no journal is read")[0]
    }

    #[test]
    fn what_a_leg_has_is_known_by_its_name_when_the_configuration_changes() {
        let muster = Muster::default();
        assert!(!goes(&muster, "to = ['a', 'b', 'c']", "b"));
        assert!(!goes(&muster, "to = ['b', 'a', 'c']", "c"), "a has not got it");
        assert!(goes(&muster, "to = ['c', 'a', 'b']", "a"));

        let muster = Muster::default();
        assert!(!goes(&muster, "to = ['a', 'b']", "a"));
        assert!(!goes(&muster, "to = ['c', 'b']", "b"), "c has not got it");
        assert!(goes(&muster, "to = ['b', 'c']", "c"));
    }

    /// A shipment that began before a change ends after it.
    #[test]
    fn whoever_ends_later_asks_those_that_are_destinations_now() {
        let muster = Muster::default();
        let change = |route| legs(&settings(route), "m").watches.iter().for_each(|leg| muster.route(leg));
        change("to = ['a', 'b']");
        assert!(!goes(&muster, "to = ['a', 'b', 'c']", "a"), "b has not got it");
        assert!(goes(&muster, "to = ['a', 'b', 'c']", "b"), "c gets nothing any more");
        change("to = ['a', 'b', 'c']");
        assert!(!goes(&muster, "to = ['a', 'b']", "b"), "c is to get it, too");
    }

    #[test]
    fn a_machine_always_spreads_to_the_same_and_a_fleet_to_all() {
        let of = |machine: &str| legs(&settings("spread = ['a', 'b', 'c']"), machine).watches[0].to.clone();
        let fleet: Vec<_> = (0..300).map(|n| of(&n.to_string())).collect();
        assert_eq!(fleet, (0..300).map(|n| of(&n.to_string())).collect::<Vec<_>>());
        for name in ["a", "b", "c"] {
            let share = fleet.iter().filter(|to| *to == name).count();
            assert!((70..=130).contains(&share), "{name} has {share} of 300");
        }
    }
}
