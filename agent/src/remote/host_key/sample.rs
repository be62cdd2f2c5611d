//! Keys for the tests.

use russh::keys::PublicKey;
use russh::keys::ssh_key::public::{Ed25519PublicKey, KeyData};

pub(super) const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCwgjn7xF6X8tpu/RYzu7nCzM5KzVWfuBrjeJ14Uzp8IknGcAyQcM3ArM6qJNlA6aEdZT8MWFe4PgkPpP2Ye2TI73DSjxmFTKr/1fyDOBN/nLwwNkEYBXIrfvm8UQ+TyYVE/+mMJAgovwsaYPk97vGywk4SQzcTK41igAeYLmHDNrCj8Ty6UfBzlEtBJMGoMzgCXgUv93oREjRoIBkUNCQXtuue/+abU7XAGNH4CHf0918qKPbym6quSnnYyzr6cw3ixMUzszfAhpK7syG5qUUQt5pQQElXuIxuaV3jf36mTsPGU67xWnz7bXzpxyCq0Rq67yem5ayLUKaQumwF2cuX";
pub(super) const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHyYtIBonwdU/fPGC+ApHA5qaCtN+YnapMSYamZwv28bYMP0xWP3BdCND+71XjK5CnUXDWeiYxmvI1cQ9/lxObQ=";

/// A different key for each number.
pub(super) fn ed25519(number: u8) -> PublicKey {
    PublicKey::new(KeyData::Ed25519(Ed25519PublicKey([number; 32])), "")
}

pub(super) fn ed25519_text(number: u8) -> String {
    ed25519(number).to_openssh().expect("ed25519 keys can be written").trim_end().to_owned()
}

pub(super) fn parsed(text: &str) -> PublicKey {
    text.parse().expect("a public key")
}
