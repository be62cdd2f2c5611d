//! One line of a `known_hosts` file.

use russh::keys::ssh_encoding::base64::{Base64, Encoding as _};
use russh::keys::ssh_key::public::{KeyData, RsaPublicKey};
use russh::keys::{Algorithm, PublicKey};

use super::pattern::Hosts;

const REVOKED: &[u8] = b"@revoked";
const AUTHORITY: &[u8] = b"@cert-authority";
/// OpenSSH takes no shorter one.
const RSA_MIN_BITS: usize = 1024;

/// What a line says about its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// It is a key of the hosts.
    None,
    /// It signs certificates for the hosts.
    Authority,
    /// It must not be used for the hosts.
    Revoked,
}

/// A line that could be read.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) marker: Marker,
    pub(super) hosts: Hosts,
    pub(super) key: KeyData,
}

/// Why a line was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It begins with an `@` word that isn't `@revoked` or `@cert-authority`, or with two.
    #[error("unknown marker")]
    Marker,
    /// A `|1|…` that isn't a salt and a hash.
    #[error("garbled hashed host name")]
    HostHash,
    /// It ends before the key.
    #[error("no key")]
    NoKey,
    /// Not a kind of key that is known here; certificates belong to them.
    #[error("unknown kind of key")]
    Kind,
    /// The key isn't base64, isn't a key, isn't of the kind that the line names, or is an RSA key below 1024 bits.
    #[error("garbled key")]
    Key,
}

/// Reads a line (without its newline). Nothing for a comment or a blank line.
pub(super) fn parse(line: &[u8]) -> Option<Result<Line, Flaw>> {
    // OpenSSH holds lines as C strings.
    let line = line.split(|b| *b == 0).next().unwrap_or_default();
    let line = without_blanks(line);
    if line.is_empty() || line[0] == b'#' { None } else { Some(parse_entry(line)) }
}

fn parse_entry(line: &[u8]) -> Result<Line, Flaw> {
    let (marker, line) = split_marker(line)?;
    let (hosts, line) = split_field(line);
    let hosts = Hosts::parse(hosts).ok_or(Flaw::HostHash)?;
    let (kind, line) = split_field(line);
    let (key, _comment) = split_field(line);
    if kind.is_empty() || key.is_empty() {
        return Err(Flaw::NoKey);
    }
    Ok(Line { marker, hosts, key: parse_key(kind, key)? })
}

fn split_marker(line: &[u8]) -> Result<(Marker, &[u8]), Flaw> {
    if line[0] != b'@' {
        return Ok((Marker::None, line));
    }
    let end = marker_end(line).ok_or(Flaw::Marker)?;
    let marker = match &line[..end] {
        REVOKED => Marker::Revoked,
        AUTHORITY => Marker::Authority,
        _ => return Err(Flaw::Marker),
    };
    let rest = without_blanks(&line[end..]);
    if rest.starts_with(b"@") { Err(Flaw::Marker) } else { Ok((marker, rest)) }
}

/// OpenSSH ends a marker at the line's first space, at a tab only in a line without spaces. A revocation that was
/// meant must not get lost that way.
fn marker_end(line: &[u8]) -> Option<usize> {
    let position = |blank| line.iter().position(|b| *b == blank);
    if line.starts_with(b"@revoked\t") {
        return Some(REVOKED.len());
    }
    position(b' ').or_else(|| position(b'\t'))
}

fn parse_key(kind: &[u8], base64: &[u8]) -> Result<KeyData, Flaw> {
    let kind = algorithm(kind).ok_or(Flaw::Kind)?;
    // As C's base64 reader does; above all the \r of files from Windows.
    let base64: Vec<u8> = base64.iter().copied().filter(|b| !matches!(b, b'\r' | 0x0b | 0x0c)).collect();
    let base64 = str::from_utf8(&base64).map_err(|_| Flaw::Key)?;
    let blob = Base64::decode_vec(base64).map_err(|_| Flaw::Key)?;
    let key = PublicKey::from_bytes(&blob).map_err(|_| Flaw::Key)?;
    let long_enough = key.key_data().rsa().is_none_or(|rsa| rsa_bits(rsa) >= RSA_MIN_BITS);
    if key.algorithm() == kind && long_enough { Ok(key.key_data().clone()) } else { Err(Flaw::Key) }
}

/// The kind of key that a line names. RSA goes under the names of its signatures too.
fn algorithm(name: &[u8]) -> Option<Algorithm> {
    let name = str::from_utf8(name).ok()?;
    match name.parse().ok()? {
        Algorithm::Rsa { .. } => Some(Algorithm::Rsa { hash: None }),
        Algorithm::Other(_) => None,
        kind => Some(kind),
    }
}

/// The length of an RSA key as OpenSSH counts it: of the modulus without leading zeros.
pub(super) fn rsa_bits(key: &RsaPublicKey) -> usize {
    let Some([first, rest @ ..]) = key.n().as_positive_bytes() else { return 0 };
    8 * rest.len() + (u8::BITS - first.leading_zeros()) as usize
}

/// The line up to the next blank, and what follows the blanks.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|b| is_blank(*b)).unwrap_or(line.len());
    (&line[..end], without_blanks(&line[end..]))
}

fn without_blanks(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|b| !is_blank(*b)).unwrap_or(line.len());
    &line[start..]
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

#[cfg(test)]
mod tests {
    use super::super::sample::{ECDSA, RSA, ed25519_text};
    use super::*;

    fn marker_of(line: &str) -> Result<Marker, Flaw> {
        parse(line.as_bytes()).expect("not a comment").map(|line| line.marker)
    }

    #[test]
    fn comments_and_blank_lines_say_nothing() {
        for line in ["", " ", " \t", "# host ssh-ed25519 AAAA", "\t#", "\0host"] {
            assert!(parse(line.as_bytes()).is_none(), "{line:?}");
        }
    }

    #[test]
    fn fields_stand_between_any_blanks() {
        let key = ed25519_text(1).replace(' ', "\t \t");
        for line in [
            format!("host {key}"),
            format!(" \t host\t {key} a comment"),
            format!("host\t{key}\r"),
            format!("host {key} #"),
        ] {
            assert_eq!(marker_of(&line), Ok(Marker::None), "{line:?}");
        }
    }

    #[test]
    fn markers_are_told_apart() {
        let key = ed25519_text(1);
        assert_eq!(marker_of(&format!("@revoked host {key}")), Ok(Marker::Revoked));
        assert_eq!(marker_of(&format!("  @cert-authority \t*.example {key}")), Ok(Marker::Authority));
        for marker in
            ["@Revoked", "@", "@x", "@revoked @revoked", "@cert-authority @revoked", "@cert-authority\t"]
        {
            assert_eq!(marker_of(&format!("{marker} host {key}")), Err(Flaw::Marker), "{marker}");
        }
    }

    #[test]
    fn a_tab_ends_a_revocation_whatever_follows() {
        let key = ed25519_text(1);
        assert_eq!(marker_of(&format!("@revoked\thost {key}")), Ok(Marker::Revoked));
        assert_eq!(marker_of(&format!("@revoked\t host {key}")), Ok(Marker::Revoked));
        assert_eq!(marker_of(&format!("@revoked\thost\t{}", key.replace(' ', "\t"))), Ok(Marker::Revoked));
    }

    #[test]
    fn rsa_goes_under_three_names() {
        for name in ["ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"] {
            assert_eq!(
                marker_of(&format!("host {}", RSA.replace("ssh-rsa", name))),
                Ok(Marker::None),
                "{name}"
            );
        }
        assert_eq!(marker_of(&format!("host {ECDSA}")), Ok(Marker::None));
    }

    #[test]
    fn flaws_are_named() {
        let key = ed25519_text(1);
        let blob = &key["ssh-ed25519 ".len()..];
        let cases = [
            ("host".to_owned(), Flaw::NoKey),
            ("host ssh-ed25519".to_owned(), Flaw::NoKey),
            (format!("host {blob}"), Flaw::NoKey),
            (format!("host ssh-unheard-of {blob}"), Flaw::Kind),
            (format!("host ssh-ed25519-cert-v01@openssh.com {blob}"), Flaw::Kind),
            (format!("host ssh-rsa {blob}"), Flaw::Key),
            (format!("host ssh-ed25519 {}", &blob[4..]), Flaw::Key),
            (format!("host ssh-ed25519 {blob}AAAA"), Flaw::Key),
            (format!("host ssh-ed25519 {}", blob.replace('A', "!")), Flaw::Key),
            ("host ssh-ed25519 #".to_owned(), Flaw::Key),
            (format!("|1|x|y {key}"), Flaw::HostHash),
            ("host 1024 35 1234567".to_owned(), Flaw::Kind),
        ];
        for (line, flaw) in cases {
            assert_eq!(marker_of(&line), Err(flaw), "{line:?}");
        }
    }
}
