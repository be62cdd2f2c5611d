//! The hosts that a line is for: a list of patterns, or one hashed name.

use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::ssh_encoding::base64::{Base64, Encoding as _};
use sha1::Sha1;
use skiff_common::wildcard;

use super::name::HostName;

const HASH_MAGIC: &[u8] = b"|1|";
const SHA1_BYTES: usize = 20;
/// OpenSSH gives a list up, whole, when one of its patterns is this long.
const TOO_LONG_BYTES: usize = 1023;

/// The hosts that a line is for.
#[derive(Debug)]
pub(super) enum Hosts {
    /// HMAC-SHA1 of the host's name, keyed with the salt.
    Hashed { salt: [u8; SHA1_BYTES], hash: [u8; SHA1_BYTES] },
    /// Patterns between commas, in lower case.
    Listed(Box<[u8]>),
}

impl Hosts {
    /// Reads the first field of a line. Nothing where a hashed name is garbled.
    pub(super) fn parse(field: &[u8]) -> Option<Self> {
        if !field.starts_with(b"|") {
            return Some(Self::Listed(field.to_ascii_lowercase().into()));
        }
        let field = str::from_utf8(field.strip_prefix(HASH_MAGIC)?).ok()?;
        let (salt, hash) = field.split_once('|')?;
        Some(Self::Hashed { salt: sha1_sized(salt)?, hash: sha1_sized(hash)? })
    }

    /// Whether the line is for `name`.
    pub(super) fn include(&self, name: &HostName) -> bool {
        match self {
            Self::Hashed { salt, hash } => hashed(name, salt) == *hash,
            Self::Listed(patterns) => list_matches(name.as_bytes(), patterns),
        }
    }
}

fn sha1_sized(text: &str) -> Option<[u8; SHA1_BYTES]> {
    Base64::decode_vec(text).ok()?.try_into().ok()
}

pub(super) fn hashed(name: &HostName, salt: &[u8]) -> [u8; SHA1_BYTES] {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt).expect("HMAC takes keys of any length");
    mac.update(name.as_bytes());
    mac.finalize().into_bytes().into()
}

/// One negated match outweighs all others, wherever it stands.
fn list_matches(name: &[u8], patterns: &[u8]) -> bool {
    let mut found = false;
    for pattern in patterns.split(|b| *b == b',') {
        let (negated, pattern) = match pattern.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if pattern.len() >= TOO_LONG_BYTES {
            return false;
        }
        if wildcard::matches(name, pattern) {
            if negated {
                return false;
            }
            found = true;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(field: &str, host: &str, port: u16) -> bool {
        Hosts::parse(field.as_bytes()).expect("readable hosts").include(&HostName::new(host, port))
    }

    #[test]
    fn names_are_equal_whatever_their_case() {
        assert!(includes("Collector.example", "COLLECTOR.Example", 22));
        assert!(!includes("collector.example", "collector.example.net", 22));
        assert!(includes("a,b,c", "b", 22));
    }

    #[test]
    fn wildcards_stand_for_any_bytes_and_for_one() {
        assert!(includes("*.example", "a.b.example", 22));
        assert!(!includes("*.example", "example", 22));
        assert!(includes("h?st*", "host", 22));
        assert!(!includes("h?st", "hst", 22));
        assert!(includes("*a*b*", "xxaxxbab", 22));
    }

    #[test]
    fn a_negation_outweighs_every_match() {
        assert!(!includes("*.example,!bad.example", "bad.example", 22));
        assert!(!includes("!bad.example,*.example", "bad.example", 22));
        assert!(includes("!bad.example,*.example", "good.example", 22));
        assert!(!includes("!bad.example", "good.example", 22));
    }

    #[test]
    fn a_port_other_than_22_is_part_of_the_name() {
        assert!(includes("[host]:2222", "host", 2222));
        assert!(!includes("[host]:2222", "host", 22));
        assert!(!includes("host", "host", 2222));
        assert!(includes("[*]:2222", "host", 2222));
        assert!(includes("*", "host", 2222));
    }

    // Written by `ssh-keygen -H`.
    #[test]
    fn hashed_names_are_found() {
        let host = "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=";
        assert!(includes(host, "192.168.1.61", 22));
        assert!(!includes(host, "192.168.1.62", 22));
        assert!(!includes(host, "192.168.1.61", 2222));
    }

    #[test]
    fn garbled_hashes_are_no_hosts() {
        for field in [
            "|",
            "|1|",
            "|1|AAAA|AAAA",
            "|2|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=",
            "|1|a b|c",
        ] {
            assert!(Hosts::parse(field.as_bytes()).is_none(), "{field}");
        }
    }

    #[test]
    fn endless_patterns_match_nothing() {
        let long = "*".repeat(TOO_LONG_BYTES);
        assert!(!includes(&format!("host,{long}"), "host", 22));
        assert!(includes(&format!("host,{}", &long[1..]), "host", 22));
    }
}
