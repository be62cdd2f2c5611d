//! Digests, and the one pass that computes them.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A digest's algorithm; each gives 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// What skiff computes of all it reads.
    Blake3,
    /// What nearly every server can compute.
    Sha256,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blake3 => "blake3",
            Self::Sha256 => "sha256",
        })
    }
}

/// A file's digest. Two of different algorithms are never equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest {
    algorithm: Algorithm,
    bytes: [u8; 32],
}

impl Digest {
    /// The digest that `bytes` are.
    pub const fn new(algorithm: Algorithm, bytes: [u8; 32]) -> Self {
        Self { algorithm, bytes }
    }

    /// Takes 64 hexadecimal digits, of either case.
    pub fn from_hex(algorithm: Algorithm, hex: &[u8]) -> Option<Self> {
        let digits: &[u8; 64] = hex.try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self { algorithm, bytes })
    }

    /// How it was computed.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its 32 bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Its 64 lower-case digits.
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.bytes).to_hex().to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The digests of one run of bytes: BLAKE3 always, SHA-256 where the destination computes that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// By BLAKE3.
    pub blake3: Digest,
    /// By SHA-256, if it was asked for.
    pub sha256: Option<Digest>,
}

impl Digests {
    /// The one by `algorithm`, if it was computed.
    pub const fn by(&self, algorithm: Algorithm) -> Option<Digest> {
        match algorithm {
            Algorithm::Blake3 => Some(self.blake3),
            Algorithm::Sha256 => self.sha256,
        }
    }

    /// Whether `theirs` is among them.
    pub fn agree_with(&self, theirs: &Digest) -> bool {
        self.by(theirs.algorithm) == Some(*theirs)
    }
}

/// Computes both digests of the bytes that pass.
#[derive(Debug, Clone)]
pub struct Hasher {
    blake3: blake3::Hasher,
    sha256: Option<Sha256>,
}

impl Hasher {
    /// A hasher for a destination that computes `theirs`.
    pub fn for_destination(theirs: Algorithm) -> Self {
        Self { blake3: blake3::Hasher::new(), sha256: (theirs == Algorithm::Sha256).then(Sha256::new) }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.blake3.update(bytes);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
    }

    /// The digests of all bytes so far; more may follow.
    pub fn digests(&self) -> Digests {
        Digests {
            blake3: Digest::new(Algorithm::Blake3, *self.blake3.finalize().as_bytes()),
            sha256: self
                .sha256
                .as_ref()
                .map(|sha256| Digest::new(Algorithm::Sha256, sha256.clone().finalize().into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const BLAKE3_OF_ABC: &str = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";

    #[test]
    fn one_pass_gives_the_published_digests() {
        let mut hasher = Hasher::for_destination(Algorithm::Sha256);
        hasher.update(b"a");
        hasher.update(b"bc");
        let digests = hasher.digests();
        assert_eq!(digests.blake3.hex(), BLAKE3_OF_ABC);
        assert_eq!(digests.sha256.expect("was asked for").hex(), SHA256_OF_ABC);
    }

    #[test]
    fn digests_of_two_algorithms_never_agree() {
        let blake3 = Digest::new(Algorithm::Blake3, [7; 32]);
        let digests = Digests { blake3, sha256: None };
        assert!(digests.agree_with(&blake3));
        assert!(!digests.agree_with(&Digest::new(Algorithm::Sha256, [7; 32])));
    }

    #[test]
    fn hex_is_read_back_and_nothing_else() {
        let digest = Digest::from_hex(Algorithm::Sha256, SHA256_OF_ABC.to_uppercase().as_bytes());
        assert_eq!(digest.expect("64 digits").hex(), SHA256_OF_ABC);
        assert_eq!(Digest::from_hex(Algorithm::Sha256, &[b'g'; 64]), None);
        assert_eq!(Digest::from_hex(Algorithm::Sha256, &[b'0'; 63]), None);
    }
}
