//! Output that waits to be understood. Lacks a bound, which is for who fills it.

/// What came, behind what was taken of it.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn waiting(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Takes up to `most` bytes.
    pub(crate) fn take(&mut self, most: usize) -> Vec<u8> {
        let taken = self.waiting()[..most.min(self.waiting().len())].to_vec();
        self.start += taken.len();
        taken
    }

    /// The next line, without its end, if it is here whole.
    pub(crate) fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = memchr::memchr(b'\n', self.waiting())?;
        let line = self.waiting()[..end].to_vec();
        self.start += end + 1;
        Some(line)
    }

    /// Skips all before `word`, and that; `false`: it hasn't come yet.
    pub(crate) fn skip_past(&mut self, word: &[u8]) -> bool {
        let Some(at) = memchr::memmem::find(self.waiting(), word) else { return false };
        self.start += at + word.len();
        true
    }
}
