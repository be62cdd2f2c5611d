//! Names, and what stands here under them: nothing is run, nothing else is overwritten, no symlink is followed.

use std::fs;
use std::os::unix::fs::symlink;

use skiff_tests::pull::{Pull, bytes};
use skiff_tests::{Sshd, Tree, tree};

use super::{MIB, scratch};

/// Names are literal: the server's shell expands nothing and runs nothing, and a hint is given.
#[test]
fn patterns_are_not_expanded_and_names_run_nothing() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root(), 4);
    source.file("a.csv", 5);
    let odd = b"x'; touch ran; \" $(touch ran) `touch ran`\n& *";
    source.file(bytes(odd), 7);

    let pull = Pull::from(&sshd);
    pull.run(sshd.root().join("*.csv"), scratch.path())
        .expect_code(1)
        .expect_said("patterns are not expanded");
    assert_eq!(tree::count(scratch.path()), 0);
    pull.run(sshd.root().join(bytes(odd)), scratch.path()).expect_code(0);
    assert!(tree::same_bytes(&sshd.root().join(bytes(odd)), &scratch.path().join(bytes(odd))));
    let ran = [sshd.root(), sshd.root().join(".."), scratch.path().to_owned()];
    assert!(ran.iter().all(|folder| !folder.join("ran").exists()));
}

/// Another file that stands here is left alone unless `--replace` is given; a folder or a symlink always is.
#[test]
fn another_file_is_left_alone_unless_it_is_to_be_replaced() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 7);
    for name in ["longer", "alike", "new", "folder", "link"] {
        source.file(name, 100);
    }
    let here = scratch.path().join("data");
    let victim = scratch.path().join("victim");
    fs::create_dir_all(here.join("folder")).expect("the scratch folder is writable");
    fs::write(&victim, "somebody else's").expect("the scratch folder is writable");
    symlink(&victim, here.join("link")).expect("the scratch folder is writable");
    fs::write(here.join("longer"), [b'x'; 1000]).expect("the scratch folder is writable");
    fs::write(here.join("alike"), [b'x'; 100]).expect("the scratch folder is writable");

    let pull = Pull::from(&sshd);
    let ended = pull.run(source.root(), scratch.path()).expect_code(1);
    ended
        .expect_said("data/longer stands here")
        .expect_said("data/alike stands here")
        .expect_said("--replace");
    assert!(tree::same_bytes(&source.root().join("new"), &here.join("new")));
    assert_eq!(fs::read(here.join("alike")).expect("it is there"), [b'x'; 100]);

    let ended = pull.with(&["-q", "--replace"]).run(source.root(), scratch.path()).expect_code(1);
    ended.expect_said("a folder stands there").expect_said("a symlink stands there");
    for name in ["longer", "alike"] {
        assert!(tree::same_bytes(&source.root().join(name), &here.join(name)), "{name}");
    }
    assert_eq!(fs::read(&victim).expect("it is there"), b"somebody else's");
}

/// A symlink on the way to a final name is never written through.
#[test]
fn a_planted_symlink_is_not_followed() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(sshd.root().join("data"), 8);
    source.file("sub/inside", 100);
    source.file("sub/large", 5 * MIB);
    source.file("beside", 100);
    let outside = scratch.path().join("outside");
    fs::create_dir_all(&outside).expect("the scratch folder is writable");
    fs::create_dir_all(scratch.path().join("here/data")).expect("the scratch folder is writable");
    symlink(&outside, scratch.path().join("here/data/sub")).expect("the scratch folder is writable");

    let ended = Pull::from(&sshd).run(source.root(), &scratch.path().join("here")).expect_code(1);

    ended.expect_said("data/sub/inside: a symlink stands in the way");
    assert_eq!(tree::count(&outside), 0);
    assert!(scratch.path().join("here/data/beside").exists());
}

skiff_tests::by_sftp_too! {
    patterns_are_not_expanded_and_names_run_nothing,
    another_file_is_left_alone_unless_it_is_to_be_replaced,
    a_planted_symlink_is_not_followed,
}
