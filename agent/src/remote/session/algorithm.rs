//! The kinds of algorithms that two sides have to agree on.

use russh::AlgorithmKind;

/// What is agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// How to agree on keys.
    KeyExchange,
    /// By which kind of key the host is known.
    HostKey,
    /// How to encrypt.
    Cipher,
    /// How to protect from changes.
    Mac,
    /// How to compress.
    Compression,
}

impl Kind {
    /// In a text.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::KeyExchange => "key exchange",
            Self::HostKey => "kind of host key",
            Self::Cipher => "cipher",
            Self::Mac => "MAC",
            Self::Compression => "compression",
        }
    }

    /// What allows one in `sshd_config`.
    pub(super) const fn keyword(self) -> &'static str {
        match self {
            Self::KeyExchange => "KexAlgorithms",
            Self::HostKey => "HostKeyAlgorithms",
            Self::Cipher => "Ciphers",
            Self::Mac => "MACs",
            Self::Compression => "Compression",
        }
    }
}

impl From<AlgorithmKind> for Kind {
    fn from(kind: AlgorithmKind) -> Self {
        match kind {
            AlgorithmKind::Kex => Self::KeyExchange,
            AlgorithmKind::Key => Self::HostKey,
            AlgorithmKind::Cipher => Self::Cipher,
            AlgorithmKind::Mac => Self::Mac,
            AlgorithmKind::Compression => Self::Compression,
        }
    }
}
