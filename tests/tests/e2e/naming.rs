//! Names at the destination that depend on the watch and on the file's time.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use skiff_tests::{Agent, Sshd, Tree, tree};
use tempfile::TempDir;

/// The evening of 2024-05-31 and the morning after, by universal time.
const EVENING: u64 = 1_717_199_999;
const MORNING: u64 = 1_717_200_000;

fn set_time(path: &Path, seconds: u64) {
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::options().write(true).open(path).and_then(|file| file.set_modified(modified)).expect("ours");
}

/// What of `source` has to stand at the destination, and where.
fn stands(source: &Tree, sshd: &Sshd, name: &str, there: &str) -> bool {
    let at = sshd.root().join(there);
    at.is_file() && fs::read(at).ok() == fs::read(source.root().join(name)).ok()
}

/// Small files, a large one and one with an odd name get the folders of their day; without a journal they are found there.
#[test]
fn files_stand_below_their_days_and_are_found_there_again() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 1);
    let files = [
        ("a.csv", 10, EVENING, "in/2024/05-31/a.csv"),
        ("sub/b.csv", 10, EVENING, "in/2024/05-31/sub/b.csv"),
        ("sub/c.csv", 10, MORNING, "in/2024/06-01/sub/c.csv"),
        ("odd\nname", 10, MORNING, "in/2024/06-01/odd\nname"),
        ("large.bin", 3 << 20, MORNING, "in/2024/06-01/large.bin"),
    ];
    for (name, bytes, time, _) in files {
        set_time(&source.file(name, bytes), time);
    }
    let rules = "destination_path = '{watch}/{year}/{month}-{day}'";
    let mut agent = Agent::to(&sshd).watch("in", source.root(), rules).started();
    agent.wait_until("all arrive", || {
        files.iter().all(|(name, .., there)| stands(&source, &sshd, name, there))
    });
    agent.wait_for_receipts(files.len());
    assert_eq!(tree::count(&sshd.root()), files.len(), "and nothing else");
    let kept: Vec<_> = fs::read_dir(sshd.root().join("in")).expect("there").flatten().collect();
    assert_eq!(kept.len(), 2, "what skiff keeps for itself stands once, not in each day's folder: {kept:?}");
    assert!(agent.ask(&["verify"]).expect_code(0).said.contains("5 verified"), "the odd one, too");

    agent.terminate();
    fs::remove_dir_all(agent.state_dir()).expect("it is there");
    agent.start();
    agent.wait_for_receipts(files.len());
    assert!(agent.receipts().iter().all(|receipt| receipt["sent"] == false), "nothing is sent twice");
    assert_eq!(tree::count(&sshd.root()), files.len());
}

/// A file that changes on another day is another file there; one that changes on the same day replaces what we brought, and
/// a foreign one keeps its name.
#[test]
fn a_change_on_another_day_is_another_file_and_a_foreign_one_stays() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let mut source = Tree::new(scratch.path().join("in"), 2);
    let put = |source: &mut Tree, name: &str, bytes: u64, time: u64| {
        // Out of sight until its time is right.
        let hidden = source.file(format!("{name}.tmp"), bytes);
        set_time(&hidden, time);
        fs::rename(hidden, source.root().join(name)).expect("renamed");
    };
    let foreign = sshd.root().join("2024-06-01/a");
    fs::create_dir(foreign.parent().expect("a folder")).expect("made");
    fs::write(&foreign, "somebody else's").expect("there is room");
    let rules = "destination_path = '{year}-{month}-{day}'";
    let mut agent = Agent::to(&sshd).watch("in", source.root(), rules).started();

    put(&mut source, "a", 100, EVENING);
    agent.wait_until("it arrives", || stands(&source, &sshd, "a", "2024-05-31/a"));
    put(&mut source, "a", 200, EVENING - 60);
    agent.wait_until("its next version replaces it", || stands(&source, &sshd, "a", "2024-05-31/a"));
    put(&mut source, "a", 300, MORNING);
    let beside = || {
        let files = tree::files_if_there(&sshd.root());
        let beside = files.into_keys().find(|path| path.to_string_lossy().starts_with("2024-06-01/a~"));
        beside.is_some_and(|path| stands(&source, &sshd, "a", &path.to_string_lossy()))
    };
    agent.wait_until("the next day's stands beside the foreign one", beside);
    assert_eq!(fs::read_to_string(&foreign).expect("there"), "somebody else's");
    assert_eq!(fs::metadata(sshd.root().join("2024-05-31/a")).expect("there").len(), 200);
    assert_eq!(tree::count(&sshd.root()), 3);
}

skiff_tests::by_sftp_too! {
    files_stand_below_their_days_and_are_found_there_again,
    a_change_on_another_day_is_another_file_and_a_foreign_one_stays,
}
