//! What a server answers.

use bytes::{Buf as _, Bytes, BytesMut};

use super::reader::Reader;
use super::status::{Code, Status};
use super::{Attributes, GREETING, LONGEST_REPLY, SftpError};

/// The one that is asked for.
const VERSION: [u8; 4] = 3_u32.to_be_bytes();

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The first of all.
    Greeting(Extensions),
    /// It was done, or not.
    Status(Status),
    /// What is open now.
    Handle(Bytes),
    /// What was read; never more than the server sent in one reply.
    Data(Bytes),
    /// Names in a folder.
    Names(Vec<Entry>),
    /// What a file is.
    Attributes(Attributes),
    /// To an extension's request, by that extension's own rules.
    Extended(Bytes),
}

/// A name in a folder, which may be any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: Bytes,
    /// What it is.
    pub attributes: Attributes,
}

/// OpenSSH's extensions that a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an extension that is offered or isn't")]
pub struct Extensions {
    /// `fsync@openssh.com`.
    pub fsync: bool,
    /// `hardlink@openssh.com`.
    pub hardlink: bool,
    /// `posix-rename@openssh.com`.
    pub posix_rename: bool,
    /// `statvfs@openssh.com`.
    pub statvfs: bool,
    /// `limits@openssh.com`.
    pub limits: bool,
}

/// How much a server takes; 0 where it doesn't say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes to read at once.
    pub read: u64,
    /// Bytes to write at once.
    pub write: u64,
    /// Files to keep open.
    pub handles: u64,
}

/// A file system's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Free bytes for the login user.
    pub free_bytes: u64,
    /// All bytes.
    pub all_bytes: u64,
    /// Whether more files fit.
    pub takes_files: bool,
    /// Whether it can't be written.
    pub read_only: bool,
    /// Its number: two that differ are of two file systems. 0 where there is none.
    pub file_system: u64,
}

impl Limits {
    /// From the reply to [`Request::Limits`](super::Request::Limits).
    pub fn parse(reply: Bytes) -> Option<Self> {
        let mut from = Reader(reply);
        from.u64()?;
        Some(Self { read: from.u64()?, write: from.u64()?, handles: from.u64()? })
    }
}

impl Space {
    /// From the reply to [`Request::Statvfs`](super::Request::Statvfs).
    pub fn parse(reply: Bytes) -> Option<Self> {
        const READ_ONLY: u64 = 1;
        let mut from = Reader(reply);
        let [_, unit, all, _, free, files, _, free_files, file_system, flags] = {
            let mut fields = [0; 10];
            for field in &mut fields {
                *field = from.u64()?;
            }
            fields
        };
        Some(Self {
            free_bytes: unit.saturating_mul(free),
            all_bytes: unit.saturating_mul(all),
            // Some file systems count none.
            takes_files: files == 0 || free_files > 0,
            read_only: flags & READ_ONLY != 0,
            file_system,
        })
    }
}

/// A server's bytes that wait to be understood.
#[derive(Debug, Default)]
pub struct Replies {
    waiting: BytesMut,
}

impl Replies {
    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// Drops what stands before the greeting, say what a login shell's start-up files print. Returns whether the greeting
    /// has begun; until then all that came is kept.
    pub fn skip_to_greeting(&mut self) -> bool {
        if self.waiting.first_chunk::<5>().copied().is_some_and(is_greeting) {
            return true;
        }
        // The version as well: noise may hold any five bytes.
        let begins = |bytes: &[u8]| {
            bytes[5..] == VERSION && bytes.first_chunk::<5>().copied().is_some_and(is_greeting)
        };
        let Some(at) = self.waiting.windows(9).position(begins) else { return false };
        self.waiting.advance(at);
        true
    }

    /// What came and isn't understood yet.
    pub fn waiting(&self) -> &[u8] {
        &self.waiting
    }

    /// The next reply and the number of its request, if it is here whole. After an error nothing makes sense any longer.
    pub fn next_reply(&mut self) -> Result<Option<(u32, Reply)>, SftpError> {
        let Some(length) = self.waiting.first_chunk::<4>().map(|length| u32::from_be_bytes(*length)) else {
            return Ok(None);
        };
        // A kind and a number are the least.
        let whole = usize::try_from(length).ok().filter(|length| (5..=LONGEST_REPLY).contains(length));
        let whole = whole.ok_or(SftpError::Length(length))?;
        if self.waiting.len() < 4 + whole {
            self.waiting.reserve(4 + whole - self.waiting.len());
            return Ok(None);
        }
        self.waiting.advance(4);
        let mut from = Reader(self.waiting.split_to(whole).freeze());
        let kind = from.u8().expect("there are five bytes");
        let number = from.u32().expect("there are four more bytes");
        if kind == 2 {
            return greeting(number, &mut from).map(|reply| Some((GREETING, reply)));
        }
        let reply = parse(kind, &mut from)?.ok_or(SftpError::Short(kind))?;
        Ok(Some((number, reply)))
    }
}

/// A length, and the kind.
fn is_greeting([length @ .., kind]: [u8; 5]) -> bool {
    let length = u32::from_be_bytes(length) as usize;
    kind == 2 && (5..=LONGEST_REPLY).contains(&length)
}

fn greeting(version: u32, from: &mut Reader) -> Result<Reply, SftpError> {
    if version < 3 {
        return Err(SftpError::Version(version));
    }
    let mut offered = Extensions::default();
    while !from.is_empty() {
        let (name, _data) = from.text().zip(from.text()).ok_or(SftpError::Short(2))?;
        match &name[..] {
            b"fsync@openssh.com" => offered.fsync = true,
            b"hardlink@openssh.com" => offered.hardlink = true,
            b"posix-rename@openssh.com" => offered.posix_rename = true,
            b"statvfs@openssh.com" => offered.statvfs = true,
            b"limits@openssh.com" => offered.limits = true,
            _ => {}
        }
    }
    Ok(Reply::Greeting(offered))
}

fn parse(kind: u8, from: &mut Reader) -> Result<Option<Reply>, SftpError> {
    Ok(match kind {
        // Old servers leave the words out.
        101 => from.u32().map(|code| {
            Reply::Status(Status { code: Code::of(code), words: from.text().unwrap_or_default() })
        }),
        102 => from.text().map(Reply::Handle),
        103 => from.text().map(Reply::Data),
        104 => names(from).map(Reply::Names),
        105 => Attributes::read(from).map(Reply::Attributes),
        201 => Some(Reply::Extended(std::mem::take(&mut from.0))),
        other => return Err(SftpError::Kind(other)),
    })
}

fn names(from: &mut Reader) -> Option<Vec<Entry>> {
    let count = from.u32()?;
    let mut names = Vec::new();
    for _ in 0..count {
        let name = from.text()?;
        // As `ls -l` would show it: for people.
        from.text()?;
        names.push(Entry { name, attributes: Attributes::read(from)? });
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sftp::FileKind;

    fn framed(body: &[u8]) -> Vec<u8> {
        [&u32::try_from(body.len()).expect("short").to_be_bytes(), body].concat()
    }

    fn text(text: &[u8]) -> Vec<u8> {
        framed(text)
    }

    fn one(body: &[u8]) -> Result<Option<(u32, Reply)>, SftpError> {
        let mut replies = Replies::default();
        replies.push(&framed(body));
        replies.next_reply()
    }

    #[test]
    fn replies_come_whole_however_they_are_cut() {
        let status = [&b"\x65\0\0\0\x09\0\0\0\x02"[..], &text(b"No such file"), &text(b"")].concat();
        let bytes = [framed(&status), framed(b"\x67\0\0\0\x0a\0\0\0\x02hi")].concat();
        for size in 1..bytes.len() {
            let mut replies = Replies::default();
            let mut got = Vec::new();
            for piece in bytes.chunks(size) {
                replies.push(piece);
                while let Some(reply) = replies.next_reply().expect("sense") {
                    got.push(reply);
                }
            }
            let status = Status { code: Code::NoSuchFile, words: Bytes::from_static(b"No such file") };
            assert_eq!(status.to_string(), "no such file");
            let data = Reply::Data(Bytes::from_static(b"hi"));
            assert_eq!(got, [(9, Reply::Status(status)), (10, data)], "in pieces of {size}");
        }
    }

    #[test]
    fn a_greeting_tells_the_extensions() {
        let body = [
            &b"\x02\0\0\0\x03"[..],
            &text(b"fsync@openssh.com"),
            &text(b"1"),
            &text(b"vendor-id"),
            &text(b"x"),
        ]
        .concat();
        let offered = Extensions { fsync: true, ..Extensions::default() };
        assert_eq!(one(&body), Ok(Some((GREETING, Reply::Greeting(offered)))));
        assert_eq!(one(b"\x02\0\0\0\x02"), Err(SftpError::Version(2)));
    }

    /// Whatever a shell prints first, and however it is cut; noise alone never becomes a greeting.
    #[test]
    fn noise_before_the_greeting_is_skipped() {
        let greeting = framed(b"\x02\0\0\0\x03");
        for noise in [&b""[..], b"\n", b"Welcome\n", b"\0\0", b"\xff\0\0\0\x09\x02\0\0", &[2; 5000]] {
            let status = framed(b"\x65\0\0\0\x09\0\0\0\0");
            let bytes = [noise, &greeting, &status].concat();
            for size in [1, 7, bytes.len()] {
                let (mut replies, mut greeted, mut got) = (Replies::default(), false, 0);
                for piece in bytes.chunks(size) {
                    replies.push(piece);
                    greeted = greeted || replies.skip_to_greeting();
                    while greeted && replies.next_reply().expect("sense").is_some() {
                        got += 1;
                    }
                }
                assert_eq!(got, 2, "{noise:?} in pieces of {size}");
            }
            let mut replies = Replies::default();
            replies.push(noise);
            assert!(!replies.skip_to_greeting());
            assert_eq!(replies.waiting(), noise);
        }
        // One that is too old is told as that.
        let mut replies = Replies::default();
        replies.push(&framed(b"\x02\0\0\0\x02"));
        assert!(replies.skip_to_greeting());
        assert_eq!(replies.next_reply(), Err(SftpError::Version(2)));
    }

    #[test]
    fn attributes_are_read_and_written_alike() {
        let (size, permissions) = (Some(1 << 40), Some(0o100_644));
        let attributes = Attributes { size, owner: Some((1234, 4321)), permissions, times: Some((1, 2)) };
        let mut body = b"\x69\0\0\0\x01".to_vec();
        attributes.write(&mut body);
        assert_eq!(one(&body), Ok(Some((1, Reply::Attributes(attributes)))));
        assert_eq!(attributes.kind(), FileKind::File);
        let owned =
            b"\x69\0\0\0\x01\x80\0\0\x06\0\0\0\x07\0\0\0\x08\0\0\xa1\xff\0\0\0\x01\0\0\0\x01a\0\0\0\0";
        let symlink =
            Attributes { owner: Some((7, 8)), permissions: Some(0o120_777), ..Attributes::default() };
        assert_eq!(one(owned), Ok(Some((1, Reply::Attributes(symlink)))));
        assert_eq!(symlink.kind(), FileKind::Symlink);
    }

    #[test]
    fn names_are_bytes_and_their_count_is_not_believed() {
        let body = [&b"\x68\0\0\0\x01\0\0\0\x01"[..], &text(b"a\n\xff"), &text(b"-rw"), &[0; 4]].concat();
        let Ok(Some((1, Reply::Names(names)))) = one(&body) else { panic!("{:?}", one(&body)) };
        assert_eq!(&names[0].name[..], b"a\n\xff");
        let lying = [&b"\x68\0\0\0\x01\xff\xff\xff\xff"[..], &text(b"a"), &text(b""), &[0; 4]].concat();
        assert_eq!(one(&lying), Err(SftpError::Short(104)));
    }

    #[test]
    fn what_is_no_reply_is_told_at_once() {
        let mut replies = Replies::default();
        replies.push(b"This service allows sftp connections only.\n");
        assert_eq!(replies.next_reply(), Err(SftpError::Length(u32::from_be_bytes(*b"This"))));
        assert_eq!(one(b"\x07\0\0\0\x01"), Err(SftpError::Kind(7)));
        assert_eq!(one(b"\x67\0\0\0\x01\0\0\0\x09hi"), Err(SftpError::Short(103)));
    }

    #[test]
    fn room_and_limits_are_read() {
        let fields: Vec<u8> =
            [4096_u64, 1024, 9, 9, 8, 7, 7, 0, 5, 1, 255].iter().flat_map(|f| f.to_be_bytes()).collect();
        let (free_bytes, all_bytes, takes_files) = (8192, 9216, false);
        let space = Space { free_bytes, all_bytes, takes_files, read_only: true, file_system: 5 };
        assert_eq!(Space::parse(fields.into()), Some(space));
        assert_eq!(Limits::parse(Bytes::from_static(&[0; 31])), None);
    }
}
