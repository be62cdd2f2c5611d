//! What a server said last on standard error. Lacks any meaning of it.

use skiff_common::escape::escaped_up_to;

/// The last words tell most; 4 KiB are enough of them.
const MOST_BYTES: usize = 4096;
const MOST_SHOWN: usize = 300;

/// The end of what was said.
#[derive(Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.0.drain(..self.0.len().saturating_sub(MOST_BYTES));
    }

    /// Without the blanks around it.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.trim_ascii()
    }

    /// Fit to be shown.
    pub(super) fn shown(&self) -> String {
        escaped_up_to(self.bytes(), MOST_SHOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_kept() {
        let mut tail = Tail::default();
        tail.push(&[b'x'; 10_000]);
        tail.push(b" the end\n");
        assert_eq!(tail.bytes().len(), MOST_BYTES - 1);
        assert!(tail.bytes().ends_with(b"x the end"));
        tail.push(&[b' '; 10_000]);
        assert_eq!(tail.shown(), "");
    }
}
