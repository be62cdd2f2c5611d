//! Single decisions, a step at a time.

use crate::delivery::OnConflict;
use crate::digest::{Digests, Hasher};
use crate::growth::{FileId, Ledger, Log, LogId, Note, Outcome, Sighting, Task};
use crate::{Algorithm, RelPath};

fn path(name: &str) -> RelPath {
    RelPath::parse(name.as_bytes()).expect("a path")
}

fn digests(length: usize) -> Digests {
    let mut hasher = Hasher::for_destination(Algorithm::Sha256);
    hasher.update(&vec![b'x'; length]);
    hasher.digests()
}

const fn file(ino: u64) -> FileId {
    FileId { dev: 1, ino, born_ns: 7 }
}

fn seen(file: FileId, name: &str, size: u64) -> Sighting {
    Sighting { file, path: Some(path(name)), size, written: true }
}

/// A log that is called as its copy is, and of which all was delivered and read back.
fn delivered(file: FileId, name: &str, shipped: usize) -> Log {
    Log {
        id: LogId::of(file, 0),
        file,
        round: 0,
        path: path(name),
        name: Some(path(name)),
        moving: None,
        shipped: shipped as u64,
        digests: digests(shipped),
        verified: shipped as u64,
        renamed: false,
        unproven: false,
        ended: false,
    }
}

fn ledger(logs: Vec<Log>) -> Ledger {
    Ledger::new("us", OnConflict::KeepBoth, true, logs)
}

fn next(ledger: &mut Ledger) -> Option<Task> {
    ledger.next_step().map(|step| step.task)
}

/// What was read back once is not what was sent again since.
#[test]
fn a_copy_that_was_shorter_and_grew_again_is_read_back_again() {
    let log = delivered(file(1), "app.log", 10);
    let (id, name) = (log.id, path("app.log"));
    let mut ledger = ledger(vec![log]);
    ledger.observe(&[seen(file(1), "app.log", 11)]);
    let measure = Task::Measure { log: id, name };
    assert_eq!(next(&mut ledger), Some(measure.clone()));
    let four = Outcome::Standing { size: 4, same: Some(digests(4)), recorded_is_same: true };
    ledger.on(&measure, &four);
    assert_eq!(next(&mut ledger), Some(Task::Append(id)));
    ledger.on(&Task::Append(id), &Outcome::Shipped { length: 10, digests: digests(10) });
    for _ in 0..3 {
        ledger.observe(&[]);
    }
    assert_eq!(next(&mut ledger), Some(Task::Verify(id)));
}

/// Whoever made it: what was about to be begun there is never empty.
#[test]
fn an_empty_file_under_a_name_that_was_claimed_is_not_ours() {
    let claimed =
        Log { name: None, moving: Some(path("app.log")), verified: 0, ..delivered(file(1), "app.log", 0) };
    let id = claimed.id;
    let mut ledger = ledger(vec![claimed]);
    ledger.observe(&[seen(file(1), "app.log", 11)]);
    let measure = Task::Measure { log: id, name: path("app.log") };
    assert_eq!(next(&mut ledger), Some(measure.clone()));
    ledger.on(&measure, &Outcome::Standing { size: 0, same: Some(digests(0)), recorded_is_same: true });
    let Some(Task::Create { name, .. }) = next(&mut ledger) else { panic!("it begins beside that") };
    assert_ne!(name, path("app.log"));
}

/// The log that was rotated keeps its name until another one needs it; then it gets one of its own. It goes on meanwhile, and
/// is asked for now and then.
#[test]
fn a_copy_whose_new_name_is_denied_goes_on_and_makes_room() {
    let log = delivered(file(1), "app.log", 10);
    let (old, new) = (log.id, LogId::of(file(2), 0));
    let mut ledger = ledger(vec![log]);
    let archived = "archive/app.log.1";
    ledger.observe(&[seen(file(1), archived, 12)]);
    let rename = Task::Rename { log: old, from: path("app.log"), to: path(archived) };
    let mut met = Vec::new();
    let mut is_denied = false;
    for look in 0..40 {
        if look > 2 {
            ledger.observe(&[seen(file(1), archived, 12), seen(file(2), "app.log", 5)]);
        } else {
            ledger.observe(&[seen(file(1), archived, 12)]);
        }
        while let Some(task) = next(&mut ledger) {
            let outcome = match &task {
                Task::Rename { to, .. } if *to == path(archived) => Outcome::Denied,
                Task::Rename { .. } => Outcome::Moved,
                Task::Measure { .. } => {
                    Outcome::Standing { size: 10, same: Some(digests(10)), recorded_is_same: true }
                }
                Task::Append(_) => Outcome::Shipped { length: 12, digests: digests(12) },
                Task::Create { .. } => Outcome::Shipped { length: 5, digests: digests(5) },
                Task::Twin { .. } => Outcome::Same(false),
                Task::Verify(_) => Outcome::Verified(true),
                other => panic!("{other:?} has no place here"),
            };
            is_denied |= outcome == Outcome::Denied;
            ledger.on(&task, &outcome);
            met.push(task);
            assert!(met.len() < 100, "it comes to no rest: {met:?}");
        }
    }
    assert!(is_denied && met.contains(&rename), "{met:?}");
    let place = |wanted: &Task| met.iter().position(|task| task == wanted);
    let begun = place(&Task::Create { log: new, name: path("app.log") });
    assert!(place(&Task::Append(old)) < begun && begun.is_some(), "{met:?}");
    let asked = met.iter().filter(|task| matches!(task, Task::Rename { to, .. } if *to == path(archived)));
    // After 2, 4, 8 and 16 looks.
    assert_eq!(asked.count(), 5, "{met:?}");
    let aside = ledger.log(old).and_then(|log| log.name.clone()).expect("it has a copy");
    assert!(aside.to_string().starts_with("app~"), "{aside}");
}

/// What is refused about one copy holds up no other, and costs less and less.
#[test]
fn a_copy_that_is_not_to_be_read_holds_up_no_other() {
    let (one, other) = (delivered(file(1), "one.log", 10), delivered(file(2), "other.log", 10));
    let ids = (one.id, other.id);
    let mut ledger = ledger(vec![one, other]);
    let (mut refused, mut appended) = (0, 0);
    for _ in 0..40 {
        ledger.observe(&[seen(file(1), "one.log", 12), seen(file(2), "other.log", 12)]);
        while let Some(task) = next(&mut ledger) {
            let outcome = match &task {
                task if task.log() == ids.0 => {
                    refused += 1;
                    assert!(refused < 100, "it is asked again and again");
                    Outcome::Denied
                }
                Task::Measure { .. } => {
                    Outcome::Standing { size: 10, same: Some(digests(10)), recorded_is_same: true }
                }
                Task::Append(_) => {
                    appended += 1;
                    Outcome::Shipped { length: 12, digests: digests(12) }
                }
                Task::Verify(_) => Outcome::Verified(true),
                other => panic!("{other:?} has no place here"),
            };
            ledger.on(&task, &outcome);
        }
    }
    assert_eq!((refused, appended), (5, 1));
}

/// A file system may be mounted as another device than before.
#[test]
fn a_log_is_known_though_its_device_has_another_number() {
    let log = delivered(file(1), "app.log", 10);
    let id = log.id;
    let (now, unborn) = (FileId { dev: 2, ..file(1) }, FileId { born_ns: 0, ..file(3) });
    let nameless = delivered(unborn, "other.log", 10);
    let other = nameless.id;
    let mut ledger = ledger(vec![log, nameless]);
    let there = FileId { dev: 2, ..unborn };
    let notes = ledger.observe(&[seen(now, "app.log.1", 10), seen(there, "other.log", 10)]);
    assert_eq!(ledger.log(id).map(|log| log.file), Some(now));
    assert_eq!(ledger.log(other).map(|log| log.file), Some(there), "it has its name");
    assert!(notes.iter().any(|note| matches!(note, Note::Keep(log) if log.id == id && log.file == now)));
    let rename = Task::Rename { log: id, from: path("app.log"), to: path("app.log.1") };
    assert_eq!(next(&mut ledger), Some(rename));
}

/// Where the device is still there, a file on another one is another file.
#[test]
fn a_file_on_another_device_is_another_one_while_there_is_the_first() {
    let (log, other) = (delivered(file(1), "app.log", 10), delivered(file(2), "other.log", 10));
    let id = log.id;
    let mut ledger = ledger(vec![log, other]);
    ledger.observe(&[seen(FileId { dev: 2, ..file(1) }, "app.log", 10), seen(file(2), "other.log", 10)]);
    assert_eq!(ledger.log(id).map(|log| log.file), Some(file(1)));
}
