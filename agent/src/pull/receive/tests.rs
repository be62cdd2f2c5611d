//! What comes of files whose parts others are at.

use std::io::Write as _;

use super::*;

/// What comes of a file of six bytes of which these are there already, with `rest` sent behind them.
fn landing(target: &Arc<Target>, left: Option<Stamp>, skip: u64, rest: &[u8]) -> Landing {
    let token = Some("pull-1".to_owned());
    let mut hasher = hasher(None);
    hasher.update(&b"abcdef"[..usize::try_from(skip).expect("it is small")]);
    let opening = Opening { file: 0, token, size: 6, skip, left, hasher };
    let mut file = File::begin(target, Box::new(opening)).expect("it can be written");
    file.write(target, rest).expect("there is room");
    file.end(target).expect("it is looked at")
}

fn target() -> (tempfile::TempDir, Arc<Target>) {
    let folder = tempfile::tempdir().expect("a folder");
    let target = Target::open(folder.path()).expect("it opens");
    (folder, Arc::new(target))
}

/// Behind a beginning that is no longer there, the rest would follow zeros.
#[test]
fn a_rest_is_not_put_behind_what_another_pull_began_anew() {
    for begun_anew in [false, true] {
        let (folder, target) = target();
        let part = target.part("pull-1", true).expect("it opens").expect("nobody is at it");
        (&part.file).write_all(b"abc").expect("there is room");
        drop(part);
        let (_, left) = target.left("pull-1").expect("it is there");
        if begun_anew {
            let other = Target::open(folder.path()).expect("it opens");
            other.part("pull-1", true).expect("it opens").expect("nobody is at it");
        }
        let landing = landing(&target, Some(left), 3, b"def");
        match landing {
            Landing::Whole { .. } => assert!(!begun_anew),
            Landing::Busy => assert!(begun_anew),
            other => panic!("{other:?}"),
        }
    }
}

/// What was written is what is published, or nothing is.
#[test]
fn the_stamp_of_a_whole_file_is_that_of_its_part() {
    let (_folder, target) = target();
    let Landing::Whole { stamp, .. } = landing(&target, None, 0, b"abcdef") else { panic!("it is whole") };
    let (_, left) = target.left("pull-1").expect("it is there");
    assert_eq!((stamp, left.size), (Some(left), 6));
}
