//! A store that version 1 wrote, kept as it was: it opens for ever (fault 45).
//!
//! Made by [`populate_golden`] on x86-64; the files are what a stopped agent leaves. A change that makes this fail
//! makes every installed journal untrusted: migrate instead.

use super::*;

const GOLDEN: &[(&str, &[u8])] = &[
    ("journal.seq", include_bytes!("golden/v1/journal.seq")),
    ("journal/conf", include_bytes!("golden/v1/conf")),
    ("journal/db", include_bytes!("golden/v1/db")),
];

fn populate_golden(dir: &Path) {
    let (journal, _) = open(dir);
    deliver(&journal, "a", 0..20);
    deliver(&journal, "a", 20..23);
    record(&journal, &[Record::Planned(shipment("d", 0..1)), Record::Planned(shipment("e", 0..60))]);
    record(&journal, &[Record::Held(held(1)), Record::Held(held(2))]);
    record(&journal, &[Record::Released(held(1).item)]);
    close(journal);
}

fn unpack(dir: &Path) {
    fs::create_dir(dir.join("journal")).expect("a new folder");
    for (name, bytes) in GOLDEN {
        fs::write(dir.join(name), bytes).expect("there is room");
    }
}

/// All that can be asked of it.
fn say(journal: &Journal, opening: &Opening) -> String {
    let known = journal.delivered_in(folder_id("a")).expect("it can be read");
    let has = |item: &Item| known.has(id(item), item.stamp.fingerprint());
    let digest = |item: &Item| known.digest_of(id(item)).expect("it can be read");
    let items: Vec<_> =
        (0..25).map(|number| item("a", number)).map(|item| (has(&item), digest(&item))).collect();
    format!("{:?}\n{:?}\n{:?}\n{items:?}", opening.trust, opening.pending, opening.held)
}

#[test]
fn fault_45_store_of_version_1_keeps_opening() {
    let (golden, fresh) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    unpack(golden.path());
    populate_golden(fresh.path());

    let (journal, opening) = open(golden.path());
    let (like, expected) = open(fresh.path());

    assert_eq!((&opening.trust, &opening.doubt), (&Trust::Kept, &None));
    assert_eq!((opening.pending.len(), opening.held.len()), (2, 1));
    assert_eq!(say(&journal, &opening), say(&like, &expected));
    deliver(&journal, "z", 0..2);
    close(journal);
    assert_eq!(open(golden.path()).1.trust, Trust::Kept);
}

/// With `SKIFF_MAKE_GOLDEN` these become the golden files: only for a new version, beside the old ones.
#[test]
fn golden_files_can_be_made() {
    let dir = tempfile::tempdir().expect("a folder");
    populate_golden(dir.path());
    let to = std::env::var_os("SKIFF_MAKE_GOLDEN");
    for (name, _) in GOLDEN {
        let made = dir.path().join(name);
        assert!(fs::metadata(&made).expect("it is there").len() > 0, "{name}");
        if let Some(to) = &to {
            let file = Path::new(name).file_name().expect("a name");
            fs::copy(&made, Path::new(to).join(file)).expect("there is room");
        }
    }
}
