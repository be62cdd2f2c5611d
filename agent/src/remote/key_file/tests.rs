//! Keys made by `ssh-keygen`, in files of every mode.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::process::Command;

use russh::keys::PublicKey;
use tempfile::TempDir;

use super::*;
use crate::not_shown::not_shown;

const PASSPHRASE: &str = "correct horse";
const KINDS: [(&str, &str); 5] =
    [("ed25519", "256"), ("rsa", "2048"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521")];

struct Keys {
    folder: TempDir,
}

impl Keys {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A key file with mode 600, and the public key that belongs to it.
    fn make(&self, name: &str, arguments: &[&str]) -> (PathBuf, PublicKey) {
        let path = self.path(name);
        let output = Command::new("ssh-keygen").arg("-q").args(arguments).arg("-f").arg(&path).output();
        let output = output.expect("ssh-keygen (OpenSSH) must be installed to run this test");
        assert!(output.status.success(), "{output:?}");
        // One in 512 ECDSA keys of 256 bits has a number that is too short for ssh-key: then another one.
        let is_short = |error: KeyFileError| error.to_string().contains("length invalid");
        if arguments.contains(&"256") && load(&path, Some(PASSPHRASE)).is_err_and(is_short) {
            fs::remove_file(&path).expect("it was made");
            return self.make(name, arguments);
        }
        let public = fs::read_to_string(path.with_extension("pub")).expect("the public key");
        (path, public.parse().expect("a public key"))
    }

    fn plain(&self) -> PathBuf {
        self.make("plain", &["-N", "", "-t", "ed25519"]).0
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a file of ours");
}

fn assert_loads(path: &Path, passphrase: Option<&str>, public: &PublicKey) {
    let key = load(path, passphrase).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(key.public_key().key_data(), public.key_data());
}

#[test]
fn loads_every_kind_in_openssh_form() {
    let keys = Keys::new();
    for (kind, bits) in KINDS {
        let (path, public) = keys.make(&format!("{kind}{bits}"), &["-N", "", "-t", kind, "-b", bits]);
        assert_loads(&path, None, &public);
        assert_loads(&path, Some("not needed"), &public);
    }
}

#[test]
fn loads_encrypted_keys_with_their_passphrase_alone() {
    let keys = Keys::new();
    // Few rounds of bcrypt, to be quick.
    let (openssh, openssh_public) = keys.make("o", &["-N", PASSPHRASE, "-t", "ed25519", "-a", "1"]);
    let (pkcs8, pkcs8_public) = keys.make("p8", &["-N", PASSPHRASE, "-t", "ecdsa", "-m", "PKCS8"]);
    let (pkcs1, pkcs1_public) = keys.make("p1", &["-N", PASSPHRASE, "-t", "rsa", "-b", "2048", "-m", "PEM"]);
    for (path, public) in [(openssh, openssh_public), (pkcs8, pkcs8_public), (pkcs1, pkcs1_public)] {
        assert_loads(&path, Some(PASSPHRASE), &public);
        let error = load(&path, None).expect_err("no passphrase");
        assert!(matches!(error, KeyFileError::Encrypted { .. }), "{error}");
        let error = load(&path, Some("wrong")).expect_err("a wrong passphrase");
        assert!(matches!(error, KeyFileError::Passphrase { .. }), "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
}

#[test]
fn loads_pem() {
    let keys = Keys::new();
    for (name, arguments) in [
        ("rsa1", ["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("rsa8", ["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
        ("p256", ["-t", "ecdsa", "-b", "256", "-m", "PKCS8"]),
        ("p521", ["-t", "ecdsa", "-b", "521", "-m", "PKCS8"]),
        ("sec1", ["-t", "ecdsa", "-b", "384", "-m", "PEM"]),
    ] {
        let (path, public) = keys.make(name, &[&["-N", ""], &arguments[..]].concat());
        assert_loads(&path, None, &public);
        assert_loads(&path, Some("not needed"), &public);
    }
}

#[test]
fn refuses_what_others_may_read_and_says_how_to_mend_it() {
    let path = Keys::new();
    let key = path.plain();
    for mode in [0o640, 0o604, 0o620, 0o610, 0o601, 0o777] {
        set_mode(&key, mode);
        let error = load(&key, None).expect_err("open to others");
        assert!(matches!(error, KeyFileError::TooOpen { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("{} (mode {mode:04o})", key.display())), "{text}");
        assert!(text.ends_with(&format!("; run: chmod 600 {}", key.display())), "{text}");
    }
    for mode in [0o600, 0o400, 0o700] {
        set_mode(&key, mode);
        load(&key, None).expect("closed to others");
    }
}

#[test]
fn judges_what_a_symlink_leads_to() {
    let keys = Keys::new();
    let (key, link) = (keys.plain(), keys.path("link"));
    symlink(&key, &link).expect("a symlink");
    load(&link, None).expect("closed to others");
    set_mode(&key, 0o644);
    let error = load(&link, None).expect_err("open to others");
    assert!(matches!(error, KeyFileError::TooOpen { .. }), "{error}");
}

#[test]
fn files_of_third_parties_are_refused() {
    let path = Path::new("/k");
    let judge = |owner, mode, us| Facts { is_regular: true, mode, owner }.judge(path, us, ACCESS_BY_OTHERS);
    assert!(judge(1000, 0o600, 1000).is_ok());
    assert!(judge(ROOT, 0o600, 1000).is_ok());
    for (owner, us) in [(1001, 1000), (1000, ROOT)] {
        let error = judge(owner, 0o600, us).expect_err("another's file");
        assert!(error.to_string().ends_with(&format!("; run: chown {us} /k && chmod 600 /k")), "{error}");
    }
    let error = judge(ROOT, 0o644, 1000).expect_err("open to others");
    assert!(error.to_string().ends_with("; run: chown 1000 /k && chmod 600 /k"), "{error}");
}

#[test]
fn a_given_away_file_is_refused() {
    let keys = Keys::new();
    let key = keys.plain();
    let another = rustix::process::geteuid().as_raw() + 1;
    // Only root can give files away; the rule itself is tested above.
    if chown(&key, Some(another), None).is_err() {
        return not_shown("a key file that was given away", "only root can make it happen");
    }
    let error = load(&key, None).expect_err("another's file");
    assert!(matches!(error, KeyFileError::ForeignOwner { owner, .. } if owner == another), "{error}");
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let keys = Keys::new();
    let pipe = keys.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    for path in [pipe, keys.folder.path().to_owned(), "/dev/null".into()] {
        let error = load(&path, None).expect_err("not a regular file");
        assert!(matches!(error, KeyFileError::NotRegular { .. }), "{error}");
    }
    let error = load(&keys.path("missing"), None).expect_err("nothing there");
    assert!(matches!(error, KeyFileError::Io { attempt: "open", .. }), "{error}");
}

#[test]
fn what_is_no_key_is_refused() {
    let keys = Keys::new();
    let public = keys.plain().with_extension("pub");
    let written = |name: &str, bytes: &[u8]| {
        let path = keys.path(name);
        fs::write(&path, bytes).expect("a file");
        path
    };
    let empty = written("empty", b"");
    let binary = written("binary", &[0xff; 100]);
    let cut = written("cut", b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n");
    for path in [public, empty, binary, cut] {
        set_mode(&path, 0o600);
        match load(&path, None) {
            Err(error @ KeyFileError::Malformed { .. }) => {
                assert!(error.to_string().contains("ssh-keygen -p -f "), "{error}");
            }
            other => panic!("{}: {other:?}", path.display()),
        }
    }
}

#[test]
fn the_largest_file_is_read_and_no_larger() {
    let keys = Keys::new();
    let key = keys.plain();
    let mut text = fs::read(&key).expect("the key");
    text.resize(MAX_FILE_BYTES, b'\n');
    fs::write(&key, &text).expect("written");
    load(&key, None).expect("as large as may be");
    text.push(b'\n');
    fs::write(&key, &text).expect("written");
    let error = load(&key, None).expect_err("too large");
    assert!(matches!(error, KeyFileError::TooLarge { .. }), "{error}");
}

#[test]
fn commands_take_any_path() {
    assert_eq!(quoted(Path::new("/etc/skiff/id_ed25519")), "/etc/skiff/id_ed25519");
    assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    assert_eq!(quoted(Path::new("-rf")), "./-rf");
}
