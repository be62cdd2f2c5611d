//! Whatever byte rots or is cut off: all is there, or the journal says that it isn't to be trusted.

use std::path::PathBuf;

use super::*;

/// A folder in memory, if there is room: this many journals are 17 GB, of which nothing has to outlive anything.
fn scratch() -> tempfile::TempDir {
    const ROOM_BYTES: u64 = 1 << 30;
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |disk| disk.f_bavail * disk.f_frsize);
    let in_memory = (free > ROOM_BYTES).then(|| tempfile::tempdir_in(memory).ok()).flatten();
    in_memory.unwrap_or_else(|| tempfile::tempdir().expect("a folder"))
}

/// What the journal is after `harm` was done to a copy of `healthy`.
fn after_harm(healthy: &Path, harm: impl FnOnce(&Path)) -> (Trust, String) {
    let dir = scratch();
    copy_folder(healthy, dir.path());
    harm(dir.path());
    let (journal, opening) = open(dir.path());
    let contents = contents(&journal, &opening);
    // One that takes records and opens again, too.
    deliver(&journal, "z", 0..2);
    close(journal);
    let (journal, again) = open(dir.path());
    assert_eq!(again.trust, Trust::Kept);
    assert_eq!(journal.delivered_in(folder_id("z")).expect("it can be read").len(), 2);
    close(journal);
    (opening.trust, contents)
}

struct Healthy {
    dir: tempfile::TempDir,
    contents: String,
    empty: String,
}

impl Healthy {
    /// One whose log hasn't been read yet: what sled makes of damage there is to lose what follows.
    fn just_written() -> Self {
        let (dir, copy) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (journal, opening) = open(copy.path());
        let empty = contents(&journal, &opening);
        close(journal);
        populate(dir.path());
        copy_folder(dir.path(), copy.path());
        let (journal, opening) = open(copy.path());
        let contents = contents(&journal, &opening);
        close(journal);
        Self { dir, contents, empty }
    }

    /// One of whose log sled has a snapshot, as after each opening.
    fn opened_again() -> Self {
        let healthy = Self::just_written();
        close(open(healthy.dir.path()).0);
        healthy
    }

    /// Whether it was kept, after it has checked that what is kept is right, and what isn't is empty.
    fn survives(&self, what: &str, harm: impl FnOnce(&Path)) -> bool {
        let (trust, contents) = after_harm(self.dir.path(), harm);
        let kept = trust == Trust::Kept;

        assert!(
            contents == *if kept { &self.contents } else { &self.empty },
            "{what}: {trust:?} with {contents}"
        );
        kept
    }

    /// The files below the state folder that hold the journal, and their lengths without the padding at the end.
    fn files(&self) -> Vec<(PathBuf, usize)> {
        let journal = fs::read_dir(self.dir.path().join("journal")).expect("a folder");
        let mut files = vec![PathBuf::from("journal.seq")];
        files.extend(journal.map(|file| Path::new("journal").join(file.expect("a file").file_name())));
        files.retain(|file| self.dir.path().join(file).is_file());
        let used = |file: &Path| {
            let bytes = fs::read(self.dir.path().join(file)).expect("it can be read");
            bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
        };
        files.into_iter().map(|file| (file.clone(), used(&file))).collect()
    }
}

/// Numbers without a pattern that the format could share.
fn scattered(count: usize, below: usize) -> impl Iterator<Item = usize> {
    let number = move |n: usize| {
        blake3::hash(&n.to_le_bytes()).as_bytes()[..8]
            .iter()
            .fold(0, |all, byte| all * 256 + usize::from(*byte))
    };
    (0..count).map(move |n| number(n) % below)
}

/// `usually`, or what `SKIFF_TEST_FLIPS` says: each takes about a twentieth of a second.
fn flips(usually: usize) -> usize {
    std::env::var("SKIFF_TEST_FLIPS").map_or(usually, |text| text.parse().expect("a number"))
}

/// Flips `in_log` bits of the log and some of each other file; returns how many flips were noticed.
fn flip_bits(healthy: &Healthy, in_log: usize) -> usize {
    let mut noticed = 0;
    for (file, length) in healthy.files() {
        let count = if file.ends_with("db") { in_log } else { length.min(30) };
        for (n, at) in scattered(count, length).enumerate() {
            let kept =
                healthy.survives(&format!("bit {} of byte {at} of {}", n % 8, file.display()), |dir| {
                    let mut bytes = fs::read(dir.join(&file)).expect("it can be read");
                    bytes[at] ^= 1 << (n % 8);
                    fs::write(dir.join(&file), bytes).expect("it is written");
                });
            noticed += usize::from(!kept);
        }
    }
    noticed
}

#[test]
fn a_copy_is_kept() {
    assert!(Healthy::just_written().survives("no harm", |_| {}));
    assert!(Healthy::opened_again().survives("no harm", |_| {}));
}

#[test]
fn any_bit_flipped_in_a_log_without_a_snapshot_is_harmless_or_noticed() {
    let noticed = flip_bits(&Healthy::just_written(), flips(200));
    assert!(noticed > 20, "{noticed}");
}

#[test]
fn any_bit_flipped_behind_a_snapshot_is_harmless_or_noticed() {
    let noticed = flip_bits(&Healthy::opened_again(), flips(100));
    assert!(noticed > 20, "{noticed}");
}

#[test]
fn any_cut_is_harmless_or_noticed() {
    let mut noticed = 0;
    for healthy in [Healthy::just_written(), Healthy::opened_again()] {
        for (file, length) in healthy.files() {
            for at in scattered(12, length).chain([0, length - 1]) {
                let kept = healthy.survives(&format!("{} cut at {at}", file.display()), |dir| {
                    let file = fs::OpenOptions::new().write(true).open(dir.join(&file)).expect("it opens");
                    file.set_len(at as u64).expect("it is cut");
                });
                noticed += usize::from(!kept);
            }
        }
    }
    assert!(noticed > 20, "{noticed}");
}

#[test]
fn any_missing_file_is_harmless_or_noticed() {
    let remove = |healthy: &Healthy, file: &Path| {
        healthy.survives(&format!("{} removed", file.display()), |dir| {
            fs::remove_file(dir.join(file)).expect("it is removed");
        })
    };
    for healthy in [Healthy::just_written(), Healthy::opened_again()] {
        for (file, _) in healthy.files() {
            let kept = remove(&healthy, &file);
            assert!(!kept || !(file.ends_with("db") || file.ends_with("journal.seq")), "{}", file.display());
        }
    }
}
