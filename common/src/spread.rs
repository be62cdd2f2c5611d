//! Which of several destinations serves a key: rendezvous hashing.
//!
//! Promises that the same key and names always give the same, that keys share the names evenly, and that a name that
//! comes or goes moves no key but those that it gets or had.

/// The name that serves `key`; `None` where there are no names.
pub fn first<'n>(key: &[u8], names: &'n [String]) -> Option<&'n String> {
    names.iter().max_by_key(|name| weight(key, name))
}

fn weight(key: &[u8], name: &str) -> [u8; 32] {
    *blake3::Hasher::new().update(name.as_bytes()).update(b"\0").update(key).finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_goes_moves_only_its_own_keys() {
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        for key in 0..1000_u32 {
            let key = key.to_le_bytes();
            let before = first(&key, &names).expect("there are names");
            let after = first(&key, &names[..3]).expect("there are names");
            assert!(before == after || before == "d", "{key:?} moved from {before} to {after}");
        }
        assert_eq!(first(b"key", &[]), None);
    }

    #[test]
    fn keys_share_the_names_evenly() {
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        let mut shares = [0_u32; 4];
        for key in 0..10_000_u32 {
            let first = first(&key.to_le_bytes(), &names).expect("there are names");
            shares[names.iter().position(|name| name == first).expect("it is one of them")] += 1;
        }
        assert!(shares.iter().all(|share| (2350..=2650).contains(share)), "{shares:?}");
    }
}
