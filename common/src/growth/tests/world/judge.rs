//! Who judges: at any time each copy is the beginning of a log, and in the end each log is there whole and once.

use super::{ALIKE, World};
use crate::growth::Task;

impl World {
    #[track_caller]
    pub(super) fn expect(&self, right: bool, wrong: impl Fn() -> String) {
        assert!(right, "{}, after\n{}", wrong(), self.story.join("\n"));
    }

    pub(super) fn tell(&mut self, what: impl Into<String>) {
        self.story.push(what.into());
    }

    /// At any time each copy is the beginning of a log, and foreign files are as they were.
    pub(super) fn judge(&self, after: &Task) {
        for (name, copy) in &self.there {
            let right = self.foreign.get(name) == Some(copy)
                || self.streams.iter().any(|stream| stream.starts_with(copy));
            self.expect(right, || format!("{name} is no beginning after {after:?}"));
        }
        for (name, theirs) in &self.foreign {
            self.expect(self.there.get(name) == Some(theirs), || {
                format!("{name}, which is foreign, changed after {after:?}")
            });
        }
    }

    /// In the end each log is there whole and once.
    pub(super) fn judge_end(&self, seed: u64) {
        for (number, stream) in self.streams.iter().enumerate() {
            let of_it: Vec<_> = self
                .there
                .iter()
                .filter(|(_, copy)| copy.len() > ALIKE && stream.starts_with(copy))
                .map(|(name, copy)| (name.to_string(), copy.len()))
                .collect();
            if self.reported.contains(&number) || stream.len() <= ALIKE {
                continue;
            }
            // What came and went before it was recorded can't be missed.
            let gone =
                !self.recorded.contains(&number) && !self.inodes.values().any(|inode| inode.stream == number);
            let whole = of_it.iter().filter(|(_, length)| *length == stream.len()).count();
            // One that grew since is sent again from its beginning.
            let is_named = self.names.values().any(|ino| self.inodes[ino].stream == number);
            let gone = gone || self.emptied.contains(&number) && !is_named;
            let nobody_can_tell = self.unheard.contains(&number)
                || self.doubtful.contains(&number)
                || self.as_long.iter().any(|(log, before)| *log == number || *before == Some(number));
            if nobody_can_tell || !self.tells_birth {
                continue;
            }
            self.expect(of_it.len() <= 1, || {
                format!("seed {seed}: log {number} is there more than once: {of_it:?}")
            });
            let missing =
                || format!("seed {seed}: log {number} of {} bytes is there as {of_it:?}", stream.len());
            self.expect(whole == 1 || gone, missing);
        }
    }
}
