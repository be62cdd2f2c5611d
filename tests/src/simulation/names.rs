//! The few names that a simulation is about, as numbers.

use skiff_common::delivery::conflict::name_beside;
use skiff_common::{ItemId, RelPath};

/// Files of a scenario, at most.
pub(super) const MOST: usize = 6;
/// Final names: each file's own, then each file's other one, then the one that follows from its content, too. Of the latter
/// each content has its own, and only the one that was used last is looked at.
pub(super) const PLACES: usize = 3 * MOST;
pub(super) const WATCH: &str = "w";
pub(super) const DESTINATION: &str = "d";

/// Made once: parsing and hashing names is dearer than a whole run.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) paths: [RelPath; MOST],
    pub(super) items: [ItemId; MOST],
    places: [RelPath; PLACES],
}

impl Names {
    pub(super) fn new() -> Self {
        // One that doesn't travel in batches, and two folders.
        let paths = ["a", "b.csv", "c\nd", "f/a", "f/e", "g/h"]
            .map(|path| RelPath::parse(path.as_bytes()).expect("a path"));
        let items = [0, 1, 2, 3, 4, 5].map(|n: usize| ItemId::of(WATCH, &paths[n]));
        let place = |place: usize| {
            let name = owner(place);
            match place / MOST {
                0 => paths[name].clone(),
                1 => name_beside(&paths[name], "sender", items[name]),
                _ => paths[name].with_suffix("~content"),
            }
        };
        Self { places: std::array::from_fn(place), paths, items }
    }

    /// Which file that is.
    pub(super) fn name(&self, path: &RelPath) -> usize {
        self.paths.iter().position(|known| known == path).expect("no other file was made")
    }

    /// Which file that is.
    pub(super) fn item(&self, item: ItemId) -> usize {
        self.items.iter().position(|known| *known == item).expect("no other file was made")
    }

    /// Which final name that is.
    pub(super) fn place(&self, path: &RelPath) -> usize {
        self.places.iter().position(|known| known == path).expect("nothing else is brought")
    }

    pub(super) const fn path_of(&self, place: usize) -> &RelPath {
        &self.places[place]
    }
}

/// The other final name of a file.
pub(super) const fn beside(name: usize) -> usize {
    name + MOST
}

/// The final name of a file that follows from its content.
pub(super) const fn of_content(name: usize) -> usize {
    name + 2 * MOST
}

/// All final names of a file.
pub(super) const fn places(name: usize) -> [usize; 3] {
    [name, beside(name), of_content(name)]
}

/// The file that a final name is of.
pub(super) const fn owner(place: usize) -> usize {
    place % MOST
}
