//! Each rule for judging a key, by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::super::fingerprint;
use super::super::sample::{ECDSA, RSA, ed25519, ed25519_text, parsed};
use super::*;

const FILE: &str = "known_hosts";

fn known(text: &str) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.add_file(Path::new(FILE), text.as_bytes());
    known
}

fn at(line: usize) -> LineAt {
    LineAt { file: FILE.into(), line }
}

fn recorded(line: usize, key: &PublicKey) -> Recorded {
    Recorded { at: at(line), algorithm: key.algorithm(), fingerprint: fingerprint(key) }
}

#[test]
fn a_recorded_key_is_trusted_whatever_its_comment() {
    let known = known(&format!("# ours\n\nhost {} some comment\n", ed25519_text(1)));
    let mut key = ed25519(1);
    key.set_comment("another");
    assert_eq!(known.check("HOST", 22, &key), Verdict::Trusted { at: at(3) });
}

#[test]
fn a_host_without_lines_is_unknown() {
    let known = known(&format!("other {}\n", ed25519_text(1)));
    assert_eq!(known.check("host", 22, &ed25519(1)), Verdict::Unknown);
    assert_eq!(KnownHosts::default().check("host", 22, &ed25519(1)), Verdict::Unknown);
}

#[test]
fn another_key_of_the_same_kind_is_a_change() {
    let known = known(&format!("host {}\nhost {RSA}\n", ed25519_text(1)));
    let expected = Verdict::Changed { recorded: vec![recorded(1, &ed25519(1))] };
    assert_eq!(known.check("host", 22, &ed25519(2)), expected);
}

#[test]
fn a_key_of_a_kind_that_is_not_recorded_is_not_unknown() {
    let known = known(&format!("host {RSA}\n"));
    let expected = Verdict::OtherKind { recorded: vec![recorded(1, &parsed(RSA))] };
    assert_eq!(known.check("host", 22, &ed25519(1)), expected);
}

#[test]
fn two_keys_of_one_kind_are_both_right() {
    let known = known(&format!("host {}\nhost {}\n", ed25519_text(1), ed25519_text(2)));
    assert_eq!(known.check("host", 22, &ed25519(1)), Verdict::Trusted { at: at(1) });
    assert_eq!(known.check("host", 22, &ed25519(2)), Verdict::Trusted { at: at(2) });
    let expected = Verdict::Changed { recorded: vec![recorded(1, &ed25519(1)), recorded(2, &ed25519(2))] };
    assert_eq!(known.check("host", 22, &ed25519(3)), expected);
}

#[test]
fn revoked_wins_wherever_it_stands() {
    let key = ed25519_text(1);
    for text in [
        format!("host {key}\n@revoked host {key}\n"),
        format!("host {key}\n@revoked *,!other {key}\n"),
        format!("host {key}\n@revoked\tHOST {key}\n"),
    ] {
        assert_eq!(known(&text).check("host", 22, &ed25519(1)), Verdict::Revoked { at: at(2) }, "{text}");
    }
    let first = known(&format!("@revoked * {key}\nhost {key}\n"));
    assert_eq!(first.check("host", 22, &ed25519(1)), Verdict::Revoked { at: at(1) });
    assert_eq!(first.check("host", 2222, &ed25519(1)), Verdict::Revoked { at: at(1) });
}

#[test]
fn a_revocation_concerns_its_key_and_its_hosts() {
    let known = known(&format!("@revoked host {}\nhost {}\n", ed25519_text(1), ed25519_text(2)));
    assert_eq!(known.check("host", 22, &ed25519(2)), Verdict::Trusted { at: at(2) });
    assert_eq!(known.check("other", 22, &ed25519(1)), Verdict::Unknown);
}

#[test]
fn revoked_wins_across_files() {
    let mut known = known(&format!("host {}\n", ed25519_text(1)));
    known.add_file(Path::new("system"), format!("@revoked host {}\n", ed25519_text(1)).as_bytes());
    let expected = Verdict::Revoked { at: LineAt { file: "system".into(), line: 1 } };
    assert_eq!(known.check("host", 22, &ed25519(1)), expected);
}

#[test]
fn an_authority_is_no_host_key() {
    let known = known(&format!("@cert-authority * {}\n", ed25519_text(1)));
    let expected = Verdict::NeedsCertificate { authorities: vec![recorded(1, &ed25519(1))] };
    assert_eq!(known.check("host", 22, &ed25519(1)), expected);
    assert_eq!(known.check("host", 22, &ed25519(2)), expected);
    assert!(known.algorithms_for("host", 22).is_empty());
}

#[test]
fn an_authority_does_not_hide_a_host_key() {
    let known = known(&format!("@cert-authority * {}\nhost {}\n", ed25519_text(1), ed25519_text(2)));
    assert_eq!(known.check("host", 22, &ed25519(2)), Verdict::Trusted { at: at(2) });
    let expected = Verdict::Changed { recorded: vec![recorded(2, &ed25519(2))] };
    assert_eq!(known.check("host", 22, &ed25519(1)), expected);
}

#[test]
fn an_unusual_port_without_lines_uses_the_plain_name() {
    let known = known(&format!("host {}\n@revoked host {}\n", ed25519_text(1), ed25519_text(2)));
    assert_eq!(known.check("host", 2222, &ed25519(1)), Verdict::Trusted { at: at(1) });
    assert_eq!(known.check("host", 2222, &ed25519(2)), Verdict::Revoked { at: at(2) });
    // Another server may well listen there.
    assert_eq!(known.check("host", 2222, &ed25519(3)), Verdict::Unknown);
    assert!(known.algorithms_for("host", 2222).is_empty());
}

#[test]
fn an_unusual_port_with_lines_uses_no_other() {
    let known = known(&format!("host {}\n[host]:2222 {}\n", ed25519_text(1), ed25519_text(2)));
    assert_eq!(known.check("host", 2222, &ed25519(2)), Verdict::Trusted { at: at(2) });
    let expected = Verdict::Changed { recorded: vec![recorded(2, &ed25519(2))] };
    assert_eq!(known.check("host", 2222, &ed25519(1)), expected);
    assert_eq!(known.check("host", 22, &ed25519(1)), Verdict::Trusted { at: at(1) });
}

#[test]
fn asks_for_the_kinds_that_are_recorded() {
    let key = ed25519_text(1);
    let known = known(&format!("host {RSA}\nhost {ECDSA}\nhost {RSA}\nhost {key}\n@revoked host {key}\n"));
    let rsa = |hash| Algorithm::Rsa { hash: Some(hash) };
    let expected = [rsa(HashAlg::Sha512), rsa(HashAlg::Sha256), parsed(ECDSA).algorithm()];
    assert_eq!(known.algorithms_for("host", 22), expected);
    assert!(known.algorithms_for("other", 22).is_empty());
}

#[test]
fn lines_that_cannot_be_read_are_skipped_and_remembered() {
    let known = known(&format!("@marked host {0}\nhost ssh-ed25519 AAAA\nhost {0}", ed25519_text(1)));
    assert_eq!(known.check("host", 22, &ed25519(1)), Verdict::Trusted { at: at(3) });
    let skipped = |line, flaw| Skipped { at: at(line), flaw, revokes: false };
    assert_eq!(known.skipped(), [skipped(1, Flaw::Marker), skipped(2, Flaw::Key)]);
}

/// A key that was to be revoked and isn't: nobody may miss that behind other garbage.
#[test]
fn a_revocation_that_cannot_be_read_is_remembered_first() {
    let garbage = "a\n".repeat(MAX_SKIPPED);
    let known = known(&format!("{garbage}@revoked * ssh-ed25519 AAAA\n"));
    let first = &known.skipped()[0];
    assert_eq!((first.at.line, first.revokes), (MAX_SKIPPED + 1, true));
    assert!(first.to_string().contains("revokes no key"), "{first}");
}

#[test]
fn garbage_takes_bounded_memory() {
    let known = known(&"a\n".repeat(100_000));
    assert_eq!(known.skipped().len(), MAX_SKIPPED);
}

#[test]
fn files_that_are_missing_are_empty_and_others_count() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let there = folder.path().join("there");
    fs::write(&there, format!("host {}\n", ed25519_text(1))).expect("a file");
    let paths = [folder.path().join("missing"), "/dev/null".into(), there.clone()];
    let known = KnownHosts::load(&paths).expect("readable files");
    assert_eq!(
        known.check("host", 22, &ed25519(1)),
        Verdict::Trusted { at: LineAt { file: there, line: 1 } }
    );
}

#[test]
fn files_that_cannot_be_read_are_errors() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let below_a_file = file.join("below");
    for path in [folder.path().to_owned(), below_a_file] {
        let error = KnownHosts::load(std::slice::from_ref(&path)).expect_err("not readable");
        assert!(matches!(error, KnownHostsError::Io { .. }), "{error}");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("a file of ours");
    // Root reads it all the same.
    assert_eq!(KnownHosts::load(std::slice::from_ref(&file)).is_err(), fs::read(&file).is_err());
}

#[test]
fn files_without_end_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("large");
    fs::File::create(&file).and_then(|file| file.set_len(MAX_FILE_BYTES + 1)).expect("a sparse file");
    let error = KnownHosts::load(&[file]).expect_err("too large");
    assert!(matches!(error, KnownHostsError::TooLarge { .. }), "{error}");
}
