//! Where a session can be cut, and how.

use std::fmt;

use crate::fault_proxy::{Fault, Plan};

const FAULTS: [Fault; 3] = [Fault::Fin, Fault::Reset, Fault::Stall];

/// All the places of a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    up_bytes: u64,
    down_bytes: u64,
    stride: u64,
}

/// One cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    fault: Fault,
    is_up: bool,
    byte: u64,
}

impl Places {
    /// Of a session of so many bytes each way. Rounded up, since no two sessions have quite the same length.
    pub(super) fn of(up_bytes: u64, down_bytes: u64) -> Self {
        let (up_bytes, down_bytes) = (up_bytes.next_multiple_of(1024), down_bytes.next_multiple_of(1024));
        let mut places = Places { up_bytes, down_bytes, stride: 0 };
        let all = places.count();
        // The golden ratio: steps of this length spread evenly, however many are made.
        let wished = all * 618 / 1000;
        places.stride =
            (wished..=all + 1).find(|stride| common_divisor(*stride, all) == 1).expect("all + 1 is one");
        places
    }

    pub(super) fn count(&self) -> u64 {
        (self.up_bytes + self.down_bytes) * FAULTS.len() as u64
    }

    /// Each number below `count` is another place.
    pub(super) fn nth(&self, number: u64) -> Place {
        let place = u128::from(number) * u128::from(self.stride) % u128::from(self.count());
        let place = u64::try_from(place).expect("less than the count");
        let kinds = FAULTS.len() as u64;
        let fault = FAULTS[usize::try_from(place % kinds).expect("one of three")];
        let byte = place / kinds;
        match byte.checked_sub(self.up_bytes) {
            None => Place { fault, is_up: true, byte },
            Some(byte) => Place { fault, is_up: false, byte },
        }
    }
}

impl Place {
    pub(super) fn plan(&self) -> Plan {
        if self.is_up { Plan::up_at(self.byte, self.fault) } else { Plan::down_at(self.byte, self.fault) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.is_up { "to the server" } else { "to the client" };
        write!(f, "{:?} after byte {} {way}", self.fault, self.byte)
    }
}

fn common_divisor(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { common_divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_place_comes_once() {
        let places = Places::of(2000, 10);
        let all: HashSet<String> = (0..places.count()).map(|number| places.nth(number).to_string()).collect();
        assert_eq!((places.count(), all.len()), (3 * 3072, 3 * 3072));
    }
}
