//! Where a watch's files stand at a destination, and what they are called there.
//!
//! Dates in the configured path are of the file's modification time as its stamp has it, so a name follows from the source
//! alone: an attempt that is made again, by whatever process, gives the same. What they become are whole folders of digits
//! and configured text, always as many, so that no two files of a watch get one name. Below them everything is called as
//! it is here. Lacks the network.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use skiff_common::delivery::{Placement, Staged, Trouble};
use skiff_common::path::PathError;
use skiff_common::{Item, RelPath, RemotePath, Shipment};
use skiff_config::{Destination, Part, PathTemplate, Watch};

use crate::route;
use crate::source::Root;

/// How the files of one watch are called at one destination.
#[derive(Debug, Clone)]
pub struct Naming {
    /// The folders that depend on the file; none where it is empty.
    dated: PathTemplate,
    zone: TimeZone,
}

/// A shipment as its destination sees it.
pub struct Outward {
    /// With the names there. Without the members that can't have one.
    pub shipment: Option<Shipment>,
    /// Gives the files by those names.
    pub source: Root,
    refused: HashMap<RelPath, Trouble>,
}

impl Naming {
    /// The folder there that is the same for all files of the watch, and how they are called below it.
    pub fn at(destination: &Destination, watch: &Watch) -> Result<(RemotePath, Self), PathError> {
        let (root, dated) = destination.path.split(&watch.destination_path, route::base(&watch.name));
        let zone = match destination.time_zone {
            skiff_config::TimeZone::Utc => TimeZone::UTC,
            skiff_config::TimeZone::Local => TimeZone::system(),
        };
        Ok((RemotePath::parse(root.as_bytes())?, Self { dated, zone }))
    }

    /// What this version of a file is called there.
    pub fn name_of(&self, item: &Item) -> Result<RelPath, PathError> {
        if self.dated.is_empty() {
            return Ok(item.path.clone());
        }
        let modified = civil(item.stamp.mtime_ns, &self.zone);
        let folders = self.dated.fill(|part| match part {
            Part::Watch => String::new(),
            Part::Year => format!("{:04}", modified.year().max(0)),
            Part::Month => format!("{:02}", modified.month()),
            Part::Day => format!("{:02}", modified.day()),
            Part::Hour => format!("{:02}", modified.hour()),
        });
        RelPath::in_folder(Some(&RelPath::parse(folders.as_bytes())?), item.path.as_bytes())
    }

    /// The shipment by the names that its members have there.
    pub fn outward(&self, shipment: &Shipment, source: &Root) -> Outward {
        if self.dated.is_empty() {
            let (shipment, source) = (Some(shipment.clone()), source.clone());
            return Outward { shipment, source, refused: HashMap::new() };
        }
        let (mut items, mut local, mut refused) = (Vec::new(), HashMap::new(), HashMap::new());
        for item in &shipment.items {
            match self.name_of(item) {
                Ok(path) => {
                    local.insert(path.clone(), item.path.clone());
                    items.push(Item { path, ..item.clone() });
                }
                Err(error) => {
                    let why = format!("{} can't stand below a date at the destination: {error}", item.path);
                    refused.insert(item.path.clone(), Trouble::permanent(why));
                }
            }
        }
        // The id stays: it names the staging, which a retry has to find again.
        let shipment = (!items.is_empty()).then(|| Shipment { items, ..shipment.clone() });
        Outward { shipment, source: source.called(local), refused }
    }

    /// The placements by the names that are to be published.
    pub fn placed(&self, placements: &[Placement]) -> Vec<Placement> {
        let named = |placement: &Placement| {
            let path = self.name_of(&placement.item).expect("it was staged under that name");
            Placement { item: Item { path, ..placement.item.clone() }, ..placement.clone() }
        };
        placements.iter().map(named).collect()
    }
}

impl Outward {
    /// What became of all members of `shipment`, where those that have a name there fared like this.
    pub fn whole(mut self, shipment: &Shipment, staged: Vec<Staged>) -> Vec<Staged> {
        let mut staged = staged.into_iter();
        let fate = |item: &Item| match self.refused.remove(&item.path) {
            Some(trouble) => Staged::Spoiled(trouble),
            None => staged.next().expect("each member that was sent has a fate"),
        };
        shipment.items.iter().map(fate).collect()
    }
}

fn civil(mtime_ns: i64, zone: &TimeZone) -> DateTime {
    zone.to_datetime(Timestamp::from_nanosecond(i128::from(mtime_ns)).unwrap_or(Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use skiff_common::{ShipmentKind, Stamp};

    use super::*;

    fn naming(path: &str, below: &str) -> (RemotePath, Naming) {
        let text = format!(
            "state_dir = '/s'\n[destination.d]\naddress = 'h'\nknown_hosts = ['/k']\npath = '{path}'\n\
             [[watch]]\nname = 'w'\npath = '/w'\nto = ['d', 'e']\ndestination_path = '{below}'\n\
             [destination.e]\naddress = 'h'\nknown_hosts = ['/k']\n"
        );
        let environment = skiff_config::Environment::default();
        let settings =
            skiff_config::parse(&text, Path::new("skiff.toml"), &environment).expect("it is right");
        let settings = route::legs(&settings, "m");
        Naming::at(&settings.destinations[0], &settings.watches[0]).expect("a path")
    }

    fn item(path: &str, mtime_s: i64) -> Item {
        let stamp = Stamp { dev: 1, ino: 1, size: 1, mtime_ns: mtime_s * 1_000_000_000, ctime_ns: 0 };
        Item { path: RelPath::parse(path.as_bytes()).expect("a path"), stamp, mode: 0o644 }
    }

    #[test]
    fn a_name_has_the_dates_of_the_file_in_universal_time() {
        let (root, naming) = naming("/srv/{watch}/{year}-{month}", "{day}/{hour}");
        assert_eq!(root.to_string(), "/srv/w");
        for (mtime_s, name) in [
            (1_717_199_999, "2024-05/31/23/a/b"),
            (1_717_200_000, "2024-06/01/00/a/b"),
            (0, "1970-01/01/00/a/b"),
            (-1, "1969-12/31/23/a/b"),
        ] {
            assert_eq!(naming.name_of(&item("a/b", mtime_s)).expect("a name").to_string(), name);
        }
        // Beyond what a calendar reaches.
        assert!(naming.name_of(&item("a", i64::MAX / 1_000_000_000)).is_ok());
    }

    #[test]
    fn without_dates_all_stays_as_it_is() {
        let (root, naming) = naming("in/{watch}", "x");
        assert_eq!(root.to_string(), "in/w/x");
        assert_eq!(naming.name_of(&item("a/b", 9)).expect("a name").to_string(), "a/b");
    }

    #[test]
    fn a_member_that_can_have_no_name_there_holds_up_no_other() {
        // As long as a path may be, to four bytes.
        let long = vec!["x".repeat(200); 20].join("/") + "/" + &"y".repeat(71);
        let (_, naming) = naming("/srv/{year}", "");
        let items = vec![item("a", 0), item(&long, 0), item("z", 0)];
        let shipment = Shipment::new("w", "d", ShipmentKind::Batch, items);
        let folder = tempfile::tempdir().expect("a folder");
        let outward = naming.outward(&shipment, &Root::open(folder.path()).expect("it opens"));
        let sent = outward.shipment.clone().expect("two have names");
        assert_eq!(sent.id, shipment.id);
        let names: Vec<_> = sent.items.iter().map(|item| item.path.to_string()).collect();
        assert_eq!(names, ["1970/a", "1970/z"]);
        let staged = names.iter().map(|name| Staged::Spoiled(Trouble::retryable(name))).collect();
        let whole = outward.whole(&shipment, staged);
        assert_eq!(whole[0], Staged::Spoiled(Trouble::retryable("1970/a")));
        assert!(
            matches!(&whole[1], Staged::Spoiled(Trouble::Failed { reason, .. }) if reason.contains("longer"))
        );
        assert_eq!(whole[2], Staged::Spoiled(Trouble::retryable("1970/z")));
    }
}
