//! Where a session can be cut, and how.

use std::fmt;

use crate::fault_proxy::{Fault, Plan};

const FAULTS: [Fault; 3] = [Fault::Fin, Fault::Reset, Fault::Stall];
/// Coarse, so that runs one after the other number the same places.
const GRAIN: u64 = 4096;

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
        let (up_bytes, down_bytes) = (up_bytes.next_multiple_of(GRAIN), down_bytes.next_multiple_of(GRAIN));
        let bytes = up_bytes + down_bytes;
        // The golden ratio: steps of this length spread evenly, however many are made.
        let wished = bytes * 618 / 1000;
        let stride = (wished..=bytes + 1)
            .find(|stride| common_divisor(*stride, bytes) == 1)
            .expect("bytes + 1 is one");
        Places { up_bytes, down_bytes, stride }
    }

    /// The bytes of both directions: so many places cut each byte once, one after the other in another way.
    pub(super) fn bytes(&self) -> u64 {
        self.up_bytes + self.down_bytes
    }

    /// Each byte in each way.
    pub(super) fn count(&self) -> u64 {
        self.bytes() * FAULTS.len() as u64
    }

    /// Each number below `count` is another place, each below `bytes` another byte.
    pub(super) fn nth(&self, number: u64) -> Place {
        let (round, step) = (number / self.bytes(), u128::from(number % self.bytes()));
        let byte = step * u128::from(self.stride) % u128::from(self.bytes());
        let byte = u64::try_from(byte).expect("less than the bytes");
        let fault = FAULTS[usize::try_from((byte + round) % FAULTS.len() as u64).expect("one of three")];
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
    fn each_place_comes_once_and_each_byte_first() {
        let places = Places::of(2000, 10);
        let all: HashSet<String> = (0..places.count()).map(|number| places.nth(number).to_string()).collect();
        let bytes: HashSet<(bool, u64)> = (0..places.bytes())
            .map(|number| places.nth(number))
            .map(|place| (place.is_up, place.byte))
            .collect();
        assert_eq!((all.len(), bytes.len()), (3 * 2 * 4096, 2 * 4096));
    }
}
