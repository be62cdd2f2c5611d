//! When a destination may be sent to, and how much.

use std::path::PathBuf;

const DAY: u16 = 24 * 60;

/// Days and times, and what holds then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Monday is the lowest of seven bits. Never none.
    pub days: u8,
    /// In minutes since midnight, below 1440.
    pub from: u16,
    /// The first minute after it; not after `from` means on the next day.
    pub to: u16,
    /// What holds then.
    pub allows: Allowance,
}

/// How much may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// Nothing.
    Nothing,
    /// At most so many bits a second; as much as there is, if `None`.
    Rate(Option<u64>),
}

impl Window {
    /// Whether it covers this minute of this day; Monday is 0.
    pub fn covers(&self, day: u8, minute: u16) -> bool {
        let on = |day: u8| self.days & (1 << (day % 7)) != 0;
        if self.from < self.to {
            return on(day) && (self.from..self.to).contains(&minute);
        }
        (on(day) && minute >= self.from) || (on(day + 6) && minute < self.to)
    }

    /// The whole day.
    pub(crate) fn is_whole_day(&self) -> bool {
        self.from == 0 && self.to == DAY
    }
}

/// What says that a destination is not to be sent to now, say because the link costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PauseWhen {
    /// Nothing does.
    Never,
    /// This file is there. Absolute.
    File(PathBuf),
    /// This command, by its absolute path, ends with 0.
    Command(Vec<String>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_begins() {
        let friday = 4;
        let night = Window { days: 1 << friday, from: 22 * 60, to: 6 * 60, allows: Allowance::Nothing };
        let covered = |day, hour: u16| night.covers(day, hour * 60);
        assert!(covered(friday, 22) && covered(friday + 1, 5));
        assert!(
            !covered(friday, 21)
                && !covered(friday, 5)
                && !covered(friday + 1, 6)
                && !covered(friday + 1, 22)
        );
    }

    #[test]
    fn sunday_night_reaches_into_monday() {
        let night = Window { days: 1 << 6, from: 23 * 60, to: 60, allows: Allowance::Nothing };
        assert!(night.covers(0, 30) && !night.covers(0, 60) && !night.covers(6, 30));
    }
}
