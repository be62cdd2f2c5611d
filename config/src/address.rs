//! `[user@]host[:port]` and `[user@]host:path`, taken apart, wherever people write them.
//!
//! Lacks what a user or a host may be called, which is for who takes them: for `ssh` a host may be any alias, in a
//! configuration it is a name or an address.

/// Why a host and a port can't be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unclear<'a> {
    /// A `[` without a `]`.
    Open,
    /// This stands behind the `]`, and is no port.
    Behind(&'a str),
    /// Several colons, and no brackets: an IPv6 address, with or without a port.
    Colons,
}

/// The user, and what is behind it. The last `@` counts, as it does for ssh: user names may be mail addresses.
pub fn split_user(text: &str) -> (Option<&str>, &str) {
    match text.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, text),
    }
}

/// The host without its brackets, and what is behind its colon.
pub fn split_port(place: &str) -> Result<(&str, Option<&str>), Unclear<'_>> {
    if let Some(bracketed) = place.strip_prefix('[') {
        let (host, behind) = bracketed.split_once(']').ok_or(Unclear::Open)?;
        return match behind.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if behind.is_empty() => Ok((host, None)),
            None => Err(Unclear::Behind(behind)),
        };
    }
    match place.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(Unclear::Colons),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((place, None)),
    }
}

/// The server and the path, told apart as scp does: what has no colon before its first slash, or begins with one, names no
/// server. Brackets keep colons together where the host begins, and nowhere else.
pub fn split_path(target: &str) -> Option<(&str, &str)> {
    let colon = colon(target.as_bytes())?;
    Some((&target[..colon], &target[colon + 1..]))
}

/// As [`split_path`], of any bytes.
pub fn split_path_bytes(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = colon(target)?;
    Some((&target[..colon], &target[colon + 1..]))
}

fn colon(target: &[u8]) -> Option<usize> {
    let mut is_bracketed = target.starts_with(b"[");
    for (at, byte) in target.iter().enumerate() {
        match (byte, target.get(at + 1)) {
            (b'/', _) => return None,
            (b'@', Some(b'[')) => is_bracketed = true,
            (b']', Some(b':')) if is_bracketed => return Some(at + 1),
            (b':', _) if !is_bracketed => return (at > 0).then_some(at),
            _ => {}
        }
    }
    None
}

/// A port: decimal digits, and not zero.
pub fn port(digits: &str) -> Option<u16> {
    let is_number = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|port| is_number && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_an_address_with_colons() {
        assert_eq!(split_user("me@example.org@host:22"), (Some("me@example.org"), "host:22"));
        assert_eq!(split_port("host"), Ok(("host", None)));
        assert_eq!(split_port("host:"), Ok(("host", Some(""))));
        assert_eq!(split_port("[::1]:22"), Ok(("::1", Some("22"))));
        assert_eq!(split_port("[::1]"), Ok(("::1", None)));
        assert_eq!(split_port("::1"), Err(Unclear::Colons));
        assert_eq!(split_port("[::1"), Err(Unclear::Open));
        assert_eq!(split_port("[::1]x"), Err(Unclear::Behind("x")));
    }

    /// As `colon` of OpenSSH's `misc.c` finds it.
    #[test]
    fn a_path_is_behind_the_first_colon_that_is_no_part_of_the_host() {
        for (target, server, path) in [
            ("u@h:in/a:b", "u@h", "in/a:b"),
            ("u@[::1]:in", "u@[::1]", "in"),
            ("[fe80::1%eth0]:a:b", "[fe80::1%eth0]", "a:b"),
            ("a@b@[::1]:in", "a@b@[::1]", "in"),
            ("h:", "h", ""),
            ("h:data[1].csv", "h", "data[1].csv"),
            ("h:/d/[2024]", "h", "/d/[2024]"),
            ("h:a[1]:b", "h", "a[1]:b"),
            ("h[1]:b", "h[1]", "b"),
            ("h:x@[::1]:y", "h", "x@[::1]:y"),
        ] {
            assert_eq!(split_path(target), Some((server, path)));
            assert_eq!(split_path_bytes(target.as_bytes()), Some((server.as_bytes(), path.as_bytes())));
        }
        for local in ["h", "", ":", ":x", "./a:b", "/data/12:00", "a/b:c", "[::1]", "[::1", "u@[::1]/x:y"] {
            assert_eq!(split_path(local), None, "{local}");
        }
    }

    #[test]
    fn a_port_is_a_number_above_zero() {
        assert_eq!(port("65535"), Some(65535));
        for bad in ["", "0", "65536", "+1", "ssh"] {
            assert_eq!(port(bad), None, "{bad}");
        }
    }
}
