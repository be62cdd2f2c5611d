//! What a server proposes before anything is encrypted, for who wants to see it: the lists of its first packet.
//!
//! Owns collecting that packet from the bytes that come first, and reading it. Promises to keep a bounded part of them, and
//! to show nothing that isn't printable. Nothing decides by it: russh reads the same bytes for itself.

use skiff_common::escape::escaped_up_to;

/// OpenSSH's are around 1.2 KiB.
const MOST_BYTES: usize = 16 << 10;
const MAX_SHOWN_CHARS: usize = 2000;
const KEXINIT: u8 = 20;
const COOKIE_BYTES: usize = 16;
/// As `ssh -vvv` calls them, in their order.
const LISTS: [&str; 8] = [
    "KEX algorithms",
    "host key algorithms",
    "ciphers to the server",
    "ciphers to us",
    "MACs to the server",
    "MACs to us",
    "compression to the server",
    "compression to us",
];

/// The bytes of a connection, until the packet is there.
#[derive(Debug, Default)]
pub(super) struct Proposal {
    heard: Vec<u8>,
    over: bool,
}

impl Proposal {
    /// Takes what came; gives the lists once, when they are there.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Option<Vec<(&'static str, String)>> {
        if self.over {
            return None;
        }
        let room = MOST_BYTES - self.heard.len();
        self.heard.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let lists = packet(&self.heard).map(lists);
        if lists.is_some() || self.heard.len() == MOST_BYTES {
            (self.over, self.heard) = (true, Vec::new());
        }
        lists.filter(|lists| !lists.is_empty())
    }
}

/// What is in the packet behind the greeting.
fn packet(heard: &[u8]) -> Option<&[u8]> {
    let mut rest = heard;
    loop {
        let end = rest.iter().position(|b| *b == b'\n')?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.starts_with(b"SSH-") {
            break;
        }
    }
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let body = rest.get(..length)?;
    let (padding, body) = body.split_first()?;
    body.get(..body.len().checked_sub(usize::from(*padding))?)
}

fn lists(packet: &[u8]) -> Vec<(&'static str, String)> {
    let mut lists = Vec::new();
    let Some((KEXINIT, rest)) = packet.split_first().map(|(kind, rest)| (*kind, rest)) else { return lists };
    let Some(mut rest) = rest.get(COOKIE_BYTES..) else { return lists };
    for name in LISTS {
        let Some((length, after)) = rest.split_first_chunk::<4>() else { break };
        let Some((list, after)) = usize::try_from(u32::from_be_bytes(*length))
            .ok()
            .and_then(|length| after.split_at_checked(length))
        else {
            break;
        };
        lists.push((name, escaped_up_to(list, MAX_SHOWN_CHARS)));
        rest = after;
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(names: &[&str]) -> Vec<u8> {
        let mut packet = vec![0, KEXINIT];
        packet.extend([7; COOKIE_BYTES]);
        for name in names {
            packet.extend(u32::try_from(name.len()).expect("short").to_be_bytes());
            packet.extend(name.as_bytes());
        }
        let length = u32::try_from(packet.len()).expect("short").to_be_bytes();
        [b"hello\r\nSSH-2.0-x\r\n".as_slice(), &length, &packet, b"more"].concat()
    }

    #[test]
    fn lists_are_read_in_whatever_pieces_they_come() {
        let all = sent(&["a,b", "ssh-ed25519", "c", "d", "e", "f", "none", "zlib"]);
        for size in [1, 3, all.len()] {
            let mut proposal = Proposal::default();
            let told: Vec<_> = all.chunks(size).filter_map(|piece| proposal.hear(piece)).collect();
            assert_eq!(told.len(), 1, "once");
            assert_eq!(told[0].len(), 8);
            assert_eq!(told[0][0], ("KEX algorithms", "a,b".to_owned()));
            assert_eq!(told[0][7].1, "zlib");
        }
    }

    #[test]
    fn whatever_else_comes_is_bounded_and_harmless() {
        for bytes in [
            sent(&["a\x1b[2J"]),
            b"SSH-2.0-x\n\xff\xff\xff\xff".to_vec(),
            b"SSH-2.0-x\n\0\0\0\x01\xff".to_vec(),
            vec![b'x'; 3 * MOST_BYTES],
        ] {
            let mut proposal = Proposal::default();
            let told = proposal.hear(&bytes).unwrap_or_default();
            assert!(told.iter().all(|(_, list)| !list.contains('\x1b')), "{told:?}");
            assert!(proposal.heard.len() <= MOST_BYTES);
        }
    }
}
