//! A key as a person compares it: what `ssh` and `ssh-keygen -lv` print.

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};

use super::line::rsa_bits;

/// `SHA256:…`, as `ssh` prints it.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// As `ssh-keygen -l` prints it, the comment apart: length, fingerprint, kind.
pub fn described(key: &PublicKey) -> String {
    let kind = short_name(&key.algorithm());
    match bits(key.key_data()) {
        Some(bits) => format!("{bits} {} ({kind})", fingerprint(key)),
        None => format!("{} ({kind})", fingerprint(key)),
    }
}

/// The picture that `ssh-keygen -lv` draws, of eleven lines, without a newline at the end.
pub fn random_art(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_randomart(&title(key.key_data()))
}

fn title(key: &KeyData) -> String {
    match bits(key) {
        Some(bits) => format!("[{} {bits}]", short_name(&key.algorithm())),
        None => format!("[{}]", short_name(&key.algorithm())),
    }
}

fn short_name(kind: &Algorithm) -> &'static str {
    match kind {
        Algorithm::Dsa => "DSA",
        Algorithm::Ecdsa { .. } => "ECDSA",
        Algorithm::Ed25519 => "ED25519",
        Algorithm::Rsa { .. } => "RSA",
        Algorithm::SkEcdsaSha2NistP256 => "ECDSA-SK",
        Algorithm::SkEd25519 => "ED25519-SK",
        _ => "UNKNOWN",
    }
}

fn bits(key: &KeyData) -> Option<usize> {
    match key.algorithm() {
        Algorithm::Ed25519
        | Algorithm::SkEd25519
        | Algorithm::SkEcdsaSha2NistP256
        | Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 } => Some(256),
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 } => Some(384),
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 } => Some(521),
        Algorithm::Rsa { .. } => key.rsa().map(rsa_bits),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::super::sample::parsed;
    use super::*;

    #[test]
    fn shows_what_ssh_keygen_shows() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let kinds = [
            ("ed25519", "256"),
            ("rsa", "1024"),
            ("rsa", "2048"),
            ("ecdsa", "256"),
            ("ecdsa", "384"),
            ("ecdsa", "521"),
        ];
        for (number, (kind, bits)) in kinds.iter().cycle().take(24).enumerate() {
            let path = folder.path().join(number.to_string());
            ssh_keygen(&["-q", "-N", "", "-t", kind, "-b", bits], &path);
            let public = std::fs::read_to_string(path.with_extension("pub")).expect("the public key");
            let key = parsed(&public);
            let expected = ssh_keygen(&["-lv"], &path);
            let (first, art) = expected.split_once('\n').expect("a fingerprint and a picture");
            let mut words: Vec<_> = first.split(' ').collect();
            // The comment.
            words.drain(2..words.len() - 1);
            assert_eq!(words.join(" "), described(&key));
            assert_eq!(words[1], fingerprint(&key));
            assert_eq!(art.trim_end(), random_art(&key));
        }
    }

    fn ssh_keygen(arguments: &[&str], path: &Path) -> String {
        let output = Command::new("ssh-keygen").args(arguments).arg("-f").arg(path).output();
        let output = output.expect("ssh-keygen (OpenSSH) must be installed to run this test");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("ssh-keygen prints text")
    }
}
