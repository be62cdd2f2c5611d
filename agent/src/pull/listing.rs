//! What the server says it has, checked: nothing it says leads out of where it is put, or to a name of skiff's own.

use skiff_common::RelPath;
use skiff_common::escape::escaped_up_to;

use crate::remote::RemoteError;
use crate::source::{OWN_FOLDER, is_brought};

/// The most that is kept of all that a server lists: some 1.7 million names of 30 bytes.
const MOST_LISTED: usize = 256 << 20;
/// What a listed thing takes in memory beside its name.
pub(super) const LISTED_BYTES: usize = 128;

/// How much may still be listed. Names alone say little: a million empty ones take memory, too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { bytes: MOST_LISTED }
    }
}

impl Room {
    /// So many things with so many bytes of names, or of words about them, are kept. An error where they don't fit.
    pub(super) fn take(
        &mut self,
        things: usize,
        bytes: usize,
        attempt: &'static str,
    ) -> Result<(), RemoteError> {
        let taken = things.saturating_mul(LISTED_BYTES).saturating_add(bytes);
        self.bytes = self.bytes.checked_sub(taken).ok_or_else(|| RemoteError::Refused {
            attempt,
            why: format!(
                "what the server lists takes more than {} MiB: name fewer folders at once",
                MOST_LISTED >> 20
            ),
        })?;
        Ok(())
    }

    #[cfg(test)]
    pub(super) const fn of(bytes: usize) -> Self {
        Self { bytes }
    }
}

/// What a source turned out to be.
#[derive(Debug)]
pub(super) enum Found {
    File(Listed),
    Folder(Vec<Listed>),
    /// Nothing that can be fetched, and why.
    Nothing(&'static str),
}

/// Why nothing can be fetched, for a word of `giver.sh`.
pub(super) fn nothing(why: &str) -> &'static str {
    match why {
        "missing" => "no such file or folder",
        "denied" => "permission denied",
        "special" => "it is neither a file nor a folder",
        _ => "the server refuses it",
    }
}

/// The name of something below a source.
pub(super) fn below(base: &[u8], path: &RelPath) -> Vec<u8> {
    let slash: &[u8] = if base.ends_with(b"/") { b"" } else { b"/" };
    [base, slash, path.as_bytes()].concat()
}

/// Which tool lists there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `find -printf`, records ended by NUL; also what the shell prints itself.
    Find,
    /// `stat -c`, records ended by `//` and a newline, which no path holds.
    Stat,
    /// `stat -f`: the same with an octal mode.
    Bsd,
}

impl Style {
    /// How many records end in a piece of a list, at the most: a byte of their end may stand in a name, too.
    pub(super) fn most_records(self, piece: &[u8]) -> usize {
        let end = match self {
            Self::Find => 0,
            Self::Stat | Self::Bsd => b'\n',
        };
        memchr::memchr_iter(end, piece).count()
    }
}

/// What kind of thing is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Symlink,
    Other,
}

/// One thing at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) kind: Kind,
    pub(super) size: u64,
    /// `None`: the server can't tell.
    pub(super) mtime_ns: Option<i64>,
    pub(super) mode: u32,
    /// Below what was listed; `None`: that itself.
    pub(super) path: Option<RelPath>,
}

/// All that was listed. An error names the record that isn't taken, escaped.
pub(super) fn parse(bytes: &[u8], style: Style) -> Result<Vec<Listed>, String> {
    records(bytes, style)
        .filter(|record| !record.is_empty())
        .map(|record| parse_record(record, style).ok_or_else(|| escaped_up_to(record, 200)))
        .collect()
}

fn records(bytes: &[u8], style: Style) -> Box<dyn Iterator<Item = &[u8]> + '_> {
    match style {
        Style::Find => Box::new(bytes.split(|b| *b == 0)),
        Style::Stat | Style::Bsd => Box::new(Slashes(bytes)),
    }
}

/// Splits at `//` and a newline.
struct Slashes<'a>(&'a [u8]);

impl<'a> Iterator for Slashes<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = memchr::memmem::find(self.0, b"//\n");
        let (record, rest) = match end {
            Some(end) => (&self.0[..end], &self.0[end + 3..]),
            None => (self.0, &b""[..]),
        };
        self.0 = rest;
        Some(record)
    }
}

fn parse_record(record: &[u8], style: Style) -> Option<Listed> {
    let mut fields = record.splitn(if style == Style::Find { 5 } else { 4 }, |b| *b == b' ');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let (kind, mode) = match style {
        Style::Find => (kind_of_letter(text()?)?, None),
        Style::Stat => kind_of_mode(u32::from_str_radix(text()?, 16).ok()?),
        Style::Bsd => kind_of_mode(u32::from_str_radix(text()?, 8).ok()?),
    };
    let size: i64 = text()?.parse().ok()?;
    let mtime_ns = parse_time(text()?)?;
    let mode = match mode {
        Some(mode) => mode,
        None => u32::from_str_radix(text()?, 8).ok()?,
    };
    let path = fields.next()?;
    let path = match path {
        b"." => None,
        path => Some(RelPath::parse(path.strip_prefix(b"./")?).ok()?),
    };
    Some(Listed { kind, size: u64::try_from(size).ok()?, mtime_ns, mode: mode & 0o777, path })
}

fn kind_of_letter(letter: &str) -> Option<Kind> {
    match letter {
        "f" => Some(Kind::File),
        "d" => Some(Kind::Folder),
        "l" => Some(Kind::Symlink),
        letter if letter.len() == 1 => Some(Kind::Other),
        _ => None,
    }
}

fn kind_of_mode(mode: u32) -> (Kind, Option<u32>) {
    let kind = match mode & 0o170_000 {
        0o100_000 => Kind::File,
        0o040_000 => Kind::Folder,
        0o120_000 => Kind::Symlink,
        _ => Kind::Other,
    };
    (kind, Some(mode & 0o7777))
}

/// `-`, or seconds and perhaps a fraction. `None`: neither.
#[expect(clippy::option_option, reason = "a time that isn't known is no error")]
fn parse_time(text: &str) -> Option<Option<i64>> {
    if text == "-" {
        return Some(None);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: i64 = digits.parse().ok()?;
    Some(Some(seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)?))
}

/// Whether a path belongs to skiff: what is staged at the server isn't delivered, and what is staged here isn't written.
pub(super) fn is_own(path: &RelPath) -> bool {
    path.components().next() == Some(OWN_FOLDER.as_bytes()) || path.components().any(is_brought)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &[u8]) -> Listed {
        let path = Some(RelPath::parse(path).expect("a path"));
        Listed { kind: Kind::File, size: 5, mtime_ns: Some(7_250_000_000), mode: 0o644, path }
    }

    #[test]
    fn all_tools_are_understood() {
        let found = parse(b"d 4096 7.25 755 .\0f 5 7.2500000000 644 ./a b\nc\0l 3 7 777 ./l\0", Style::Find);
        let found = found.expect("a list");
        assert_eq!((found[0].kind, &found[0].path), (Kind::Folder, &None));
        assert_eq!(found[1], file(b"a b\nc"));
        assert_eq!(found[2].kind, Kind::Symlink);
        let whole = Listed { mtime_ns: Some(7_000_000_000), ..file(b"a\n\xff/b") };
        assert_eq!(parse(b"81a4 5 7 ./a\n\xff/b//\n", Style::Stat), Ok(vec![whole.clone()]));
        assert_eq!(parse(b"100644 5 7 ./a\n\xff/b//\n", Style::Bsd), Ok(vec![whole.clone()]));
        assert_eq!(parse(b"f 5 - 644 ./x\0", Style::Find).expect("a list")[0].mtime_ns, None);
    }

    /// CVE-2018-20685 (`.` and empty names), CVE-2019-6111 (names that lead elsewhere).
    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "../x",
            "./../x",
            "./a/../../x",
            "/etc/x",
            ".//x",
            "./",
            "..",
            "",
            "x",
            "./a/./b",
            "./a//b",
            "./.",
        ] {
            let record = format!("f 5 7 644 {name}\0");
            assert!(parse(record.as_bytes(), Style::Find).is_err(), "{name:?} was taken");
        }
        assert!(parse(&[b"f 5 7 644 ./".as_slice(), &[b'x'; 256], b"\0"].concat(), Style::Find).is_err());
    }

    #[test]
    fn nonsense_is_refused_and_shown_escaped() {
        for record in [
            "f",
            "f 5",
            "f -5 7 644 ./x",
            "f 99999999999999999999 7 644 ./x",
            "ff 5 7 644 ./x",
            "f 5 7 9 ./x",
        ] {
            assert!(parse(record.as_bytes(), Style::Find).is_err(), "{record:?} was taken");
        }
        assert!(parse(b"f 5 x 644 ./x", Style::Find).is_err());
        assert_eq!(parse(b"\x1b[2Jno", Style::Find), Err("\\x1b[2Jno".to_owned()));
    }

    #[test]
    fn hostile_lists_cause_errors_and_no_panic() {
        let scraps: Vec<&[u8]> = vec![
            b"f 5 7 644 ./a",
            b"d 0 - 755 .",
            b"\0",
            b"//\n",
            b" ",
            b"./",
            b"../",
            b"81a4 ",
            b"-1 ",
            b"9223372036854775807",
            b".",
            b"\xff",
        ];
        let mut random = blake3::Hasher::new().update(b"lists").finalize_xof();
        for _ in 0..50_000 {
            let mut picks = [0; 12];
            random.fill(&mut picks);
            let list: Vec<u8> =
                picks.iter().flat_map(|pick| scraps[usize::from(*pick) % scraps.len()]).copied().collect();
            for style in [Style::Find, Style::Stat, Style::Bsd] {
                let _taken_or_not = parse(&list, style);
            }
        }
    }

    /// However it comes in pieces, each record is paid for, with its name or without.
    #[test]
    fn short_names_take_room_as_long_ones_do() {
        for (style, list) in [
            (Style::Find, &b"f 0 0 0 ./a\0f 0 0 0 ./b\0f 0 0 0 ./c\0"[..]),
            (Style::Stat, b"81a4 0 0 ./a//\n81a4 0 0 ./b//\n81a4 0 0 ./c//\n"),
        ] {
            for size in 1..list.len() {
                let room = |bytes| {
                    let mut room = Room::of(bytes);
                    let mut pieces = list.chunks(size);
                    pieces.try_for_each(|piece| room.take(style.most_records(piece), piece.len(), "listing"))
                };
                let enough = 3 * LISTED_BYTES + list.len();
                assert!(room(enough).is_ok() && room(enough - 1).is_err(), "in pieces of {size}");
            }
        }
        let refused = Room::default().take((2 << 20) + 1, 0, "listing");
        assert!(matches!(refused, Err(RemoteError::Refused { .. })), "two million names without a letter");
    }

    #[test]
    fn setuid_is_never_taken_over() {
        assert_eq!(parse(b"f 5 7 6755 ./x\0", Style::Find).expect("a list")[0].mode, 0o755);
        assert_eq!(parse(b"89ed 5 7 ./x//\n", Style::Stat).expect("a list")[0].mode, 0o755);
    }

    #[test]
    fn skiffs_own_folder_is_known() {
        let path = |text: &str| RelPath::parse(text.as_bytes()).expect("a path");
        assert!(is_own(&path(".skiff")) && is_own(&path(".skiff/a")));
        assert!(!is_own(&path(".skiffs")) && !is_own(&path("a/.skiff")));
        assert!(is_own(&path("a/.skiff-0123456789abcdef01234567/new")));
        assert!(!is_own(&path("a/.skiff-0123456789abcdef0123456")) && !is_own(&path("a/.skiff-")));
    }
}
