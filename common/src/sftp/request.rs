//! What a client asks for.

use super::attributes::Attributes;

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// To read what is there.
    Read,
    /// To write and read what is there.
    Update,
    /// To write and read a file that must not be there yet.
    New,
}

impl Open {
    const fn flags(self) -> u32 {
        const READ: u32 = 1;
        const WRITE: u32 = 2;
        const CREATE: u32 = 8;
        const EXCLUSIVE: u32 = 0x20;
        match self {
            Self::Read => READ,
            Self::Update => READ | WRITE,
            Self::New => READ | WRITE | CREATE | EXCLUSIVE,
        }
    }
}

/// A request. Paths are bytes, as the server's system takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// The first of all, which has no number.
    Init,
    /// Opens a file; a handle comes back.
    Open(&'a [u8], Open, Attributes),
    /// Closes a handle.
    Close(&'a [u8]),
    /// Reads so many bytes at an offset.
    Read(&'a [u8], u64, u32),
    /// Writes, at an offset, so many bytes, which follow.
    Write(&'a [u8], u64, u32),
    /// Looks at what stands under a name, a symlink itself included.
    Lstat(&'a [u8]),
    /// Looks at what a name leads to.
    Stat(&'a [u8]),
    /// Looks at an open file.
    Fstat(&'a [u8]),
    /// Sets attributes of an open file.
    Fsetstat(&'a [u8], Attributes),
    /// Opens a folder for listing; a handle comes back.
    Opendir(&'a [u8]),
    /// The next names of an open folder.
    Readdir(&'a [u8]),
    /// Removes a file.
    Remove(&'a [u8]),
    /// Makes a folder.
    Mkdir(&'a [u8], Attributes),
    /// Removes an empty folder.
    Rmdir(&'a [u8]),
    /// Renames; what has the new name already may be in the way, or not.
    Rename(&'a [u8], &'a [u8]),
    /// Renames, and replaces what has the new name already.
    PosixRename(&'a [u8], &'a [u8]),
    /// Gives a file a second name, which must be free.
    Hardlink(&'a [u8], &'a [u8]),
    /// Brings an open file to the disk.
    Fsync(&'a [u8]),
    /// How much room is where a path leads to.
    Statvfs(&'a [u8]),
    /// How much fits into a request.
    Limits,
}

const EXTENDED: u8 = 200;

impl Request<'_> {
    /// Its bytes, as the request of this number. Those of a write end before what is written.
    pub fn encode(&self, id: u32) -> Vec<u8> {
        let mut frame = Frame(vec![0; 4]);
        frame.0.push(self.kind());
        if let Self::Init = self {
            frame.number(3);
            return frame.finish(0);
        }
        frame.number(id);
        let mut follow = 0;
        match self {
            Self::Init => {}
            Self::Open(path, open, attributes) => {
                frame.text(path);
                frame.number(open.flags());
                attributes.write(&mut frame.0);
            }
            Self::Close(text)
            | Self::Lstat(text)
            | Self::Stat(text)
            | Self::Fstat(text)
            | Self::Opendir(text)
            | Self::Readdir(text)
            | Self::Remove(text)
            | Self::Rmdir(text) => frame.text(text),
            Self::Read(handle, offset, length) | Self::Write(handle, offset, length) => {
                frame.text(handle);
                frame.0.extend(offset.to_be_bytes());
                frame.number(*length);
                if matches!(self, Self::Write(..)) {
                    follow = *length;
                }
            }
            Self::Fsetstat(text, attributes) | Self::Mkdir(text, attributes) => {
                frame.text(text);
                attributes.write(&mut frame.0);
            }
            Self::Rename(from, to) => frame.texts([from, to]),
            Self::PosixRename(from, to) => frame.texts([b"posix-rename@openssh.com", from, to]),
            Self::Hardlink(from, to) => frame.texts([b"hardlink@openssh.com", from, to]),
            Self::Fsync(handle) => frame.texts([b"fsync@openssh.com".as_slice(), handle]),
            Self::Statvfs(path) => frame.texts([b"statvfs@openssh.com".as_slice(), path]),
            Self::Limits => frame.text(b"limits@openssh.com"),
        }
        frame.finish(follow)
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Init => 1,
            Self::Open(..) => 3,
            Self::Close(_) => 4,
            Self::Read(..) => 5,
            Self::Write(..) => 6,
            Self::Lstat(_) => 7,
            Self::Fstat(_) => 8,
            Self::Fsetstat(..) => 10,
            Self::Opendir(_) => 11,
            Self::Readdir(_) => 12,
            Self::Remove(_) => 13,
            Self::Mkdir(..) => 14,
            Self::Rmdir(_) => 15,
            Self::Stat(_) => 17,
            Self::Rename(..) => 18,
            Self::PosixRename(..) | Self::Hardlink(..) | Self::Fsync(_) | Self::Statvfs(_) | Self::Limits => {
                EXTENDED
            }
        }
    }
}

struct Frame(Vec<u8>);

impl Frame {
    fn number(&mut self, number: u32) {
        self.0.extend(number.to_be_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.number(u32::try_from(text.len()).expect("paths and handles are short"));
        self.0.extend(text);
    }

    fn texts<const N: usize>(&mut self, texts: [&[u8]; N]) {
        for text in texts {
            self.text(text);
        }
    }

    /// With its length in front, as if `follow` more bytes were there.
    fn finish(mut self, follow: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).expect("requests are short") + follow;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_form_of_the_draft() {
        assert_eq!(Request::Init.encode(7), b"\0\0\0\x05\x01\0\0\0\x03");
        assert_eq!(Request::Lstat(b"a").encode(7), b"\0\0\0\x0a\x07\0\0\0\x07\0\0\0\x01a");
        let open = Request::Open(b"a", Open::New, Attributes::mode(0o640)).encode(1);
        assert_eq!(open, b"\0\0\0\x16\x03\0\0\0\x01\0\0\0\x01a\0\0\0\x2b\0\0\0\x04\0\0\x01\xa0");
        let write = Request::Write(b"h", 258, 5).encode(1);
        assert_eq!(write, b"\0\0\0\x1b\x06\0\0\0\x01\0\0\0\x01h\0\0\0\0\0\0\x01\x02\0\0\0\x05");
        assert_eq!(
            Request::Fsync(b"h").encode(2),
            b"\0\0\0\x1f\xc8\0\0\0\x02\0\0\0\x11fsync@openssh.com\0\0\0\x01h"
        );
    }
}
