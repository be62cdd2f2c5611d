//! How we would talk to a host: which algorithms, in which order, and what counts as silence.

use std::borrow::Cow;
use std::time::Duration;

use russh::client;
use russh::keys::Algorithm;
use russh::{Preferred, cipher, compression};

use super::login::Login;

const KEEPALIVES_MISSED: usize = 3;
/// What comes on a channel that nobody reads blocks the whole session when it fills its buffer; the default of 100 is reached
/// before the window is.
const CHANNEL_MESSAGES: usize = 4096;
/// Longer than a full window takes on a slow but healthy link.
pub(super) const MIN_INACTIVITY: Duration = Duration::from_secs(300);
/// Ciphers that are known here. CBC and 3DES are left out for good.
const KNOWN: [cipher::Name; 6] = [
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_CTR,
    cipher::AES_192_CTR,
    cipher::AES_256_CTR,
];

/// The cipher of that name, if it is known here.
pub fn cipher(name: &str) -> Option<cipher::Name> {
    KNOWN.into_iter().find(|known| known.as_ref() == name)
}

/// The names of all ciphers, as they would be offered.
pub fn ciphers() -> Vec<cipher::Name> {
    let mut ciphers = KNOWN.to_vec();
    if !has_aes() {
        // Without help from the processor this one is the fastest.
        ciphers.swap(0, 2);
        ciphers.swap(1, 2);
    }
    ciphers
}

/// What a server may send ahead over one channel, in bytes. Of a long round trip half of it is used, for russh grants no more
/// before that has come. While russh renews the keys, twice as much may come over all channels together; more ends the
/// connection. So it is over half of what is read ahead over all SFTP channels. It takes no memory: what comes is taken.
pub(crate) const WINDOW_BYTES: u32 = 8 << 20;

/// How to talk to a host. `recorded` are the kinds of its recorded keys, `certified` whether authorities are recorded.
pub(super) fn config(login: &Login, recorded: &[Algorithm], certified: bool) -> client::Config {
    client::Config {
        preferred: preferred(login, recorded, certified),
        window_size: WINDOW_BYTES,
        channel_buffer_size: CHANNEL_MESSAGES,
        inactivity_timeout: Some((login.stall_timeout * 5).max(MIN_INACTIVITY)),
        keepalive_interval: Some(login.keepalive).filter(|interval| !interval.is_zero()),
        keepalive_max: KEEPALIVES_MISSED,
        nodelay: true,
        ..client::Config::default()
    }
}

/// What is proposed, in the words of [`super::proposal`].
pub(super) fn tell(preferred: &Preferred) {
    let names = |list: &mut dyn Iterator<Item = String>| list.collect::<Vec<_>>().join(",");
    let certificates = preferred.host_key_certificates.iter().map(Algorithm::to_certificate_type);
    let keys = certificates.chain(preferred.key.iter().map(ToString::to_string));
    for (list, names) in [
        ("KEX algorithms", names(&mut preferred.kex.iter().map(|one| one.as_ref().to_owned()))),
        ("host key algorithms", names(&mut { keys })),
        ("ciphers", names(&mut preferred.cipher.iter().map(|one| one.as_ref().to_owned()))),
        ("MACs", names(&mut preferred.mac.iter().map(|one| one.as_ref().to_owned()))),
        ("compression", names(&mut preferred.compression.iter().map(|one| one.as_ref().to_owned()))),
    ] {
        tracing::trace!("we offer {list}: {names}");
    }
}

/// Asks for a host key of a recorded kind first: a host with only an RSA line would look changed by its ed25519 key.
fn preferred(login: &Login, recorded: &[Algorithm], certified: bool) -> Preferred {
    // Without SHA-1.
    let known: Vec<Algorithm> =
        Preferred::DEFAULT.key.iter().filter(|one| **one != Algorithm::Rsa { hash: None }).cloned().collect();
    // Among those in our own order, as ssh does, whatever the order of the files.
    let first = known.iter().filter(|one| recorded.contains(one));
    let then = known.iter().filter(|one| !recorded.contains(one));
    Preferred {
        key: first.chain(then).cloned().collect(),
        host_key_certificates: if certified { Cow::Owned(known.clone()) } else { Cow::Borrowed(&[]) },
        cipher: Cow::Owned(if login.ciphers.is_empty() { ciphers() } else { login.ciphers.clone() }),
        compression: Cow::Borrowed(if login.compression {
            &[compression::ZLIB_LEGACY, compression::ZLIB, compression::NONE]
        } else {
            &[compression::NONE]
        }),
        ..Preferred::DEFAULT
    }
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}
